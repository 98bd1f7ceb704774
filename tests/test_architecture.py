"""ARCHITECTURE.md is true: rooms exist, imports run downward, named packages do their work."""

import ast
import re
from pathlib import Path

import pytest

from merr_pipeline.schema import STAGE_SCHEMAS

REPO = Path(__file__).parent.parent
PACKAGE = REPO / "merr_pipeline"
PAGE = (REPO / "ARCHITECTURE.md").read_text("utf-8")
IMPORT_NAMES = {"faster-whisper": "faster_whisper", "opencv-python": "cv2", "OpenFace": "openface"}


def tables() -> list[list[list[str]]]:
    found, rows = [], []
    for line in [*PAGE.splitlines(), ""]:
        if line.startswith("|"):
            rows.append([cell.strip() for cell in line.strip("|").split("|")])
        elif rows:
            found.append(rows[2:])
            rows = []
    return found


def floors() -> dict[str, int]:
    rows = next(table for table in tables() if table[0][0].isdigit())
    return {room.strip("`"): int(floor) for floor, room, _ in rows}


def modules() -> list[Path]:
    own = [path for path in PACKAGE.rglob("*.py") if not path.name.endswith("_program.py")]
    return [path for path in own if path.relative_to(PACKAGE).as_posix() != "__init__.py"]


def room_of(module: str) -> str:
    """``merr_pipeline.emotion.facs`` -> ``emotion/facs``: the longest room that holds it."""
    path = module.removeprefix("merr_pipeline.").replace(".", "/")
    holding = [room for room in floors() if path == room or path.startswith(f"{room}/")]
    assert holding, f"{module} is in no room of ARCHITECTURE.md"
    return max(holding, key=len)


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def name_of(path: Path) -> str:
    parts = path.relative_to(REPO).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def ours(path: Path) -> set[str]:
    known = {name_of(module) for module in modules()}
    return {name for name in imports(path) if name in known}


def test_every_room_exists():
    for room in floors():
        assert (PACKAGE / room).is_dir() or (PACKAGE / f"{room}.py").is_file(), room


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_imports_run_downward(path):
    here = room_of(name_of(path))
    for imported in ours(path):
        there = room_of(imported)
        assert there == here or floors()[there] < floors()[here], f"{here} imports {imported}"


def test_there_is_no_circle_of_modules():
    graph = {name_of(path): ours(path) for path in modules()}
    done: set[str] = set()

    def visit(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, f"circle: {' > '.join((*above, name))}"
        if name not in done:
            for imported in sorted(graph[name] - {name}):
                visit(imported, (*above, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_the_core_knows_nothing_of_prefect():
    for path in modules():
        names = imports(path)
        assert not {name for name in names if name.split(".")[0] in {"prefect", "flows"}}, path


def test_the_stages_of_the_page_are_those_of_the_schema():
    assert [row[0].strip("`") for row in tables()[0]] == list(STAGE_SCHEMAS)


def package_rows() -> list[tuple[str, str]]:
    rows = tables()[-1]
    return [
        (row[0].split(" ")[0], place) for row in rows for place in re.findall("`([^`]+)`", row[1])
    ]


@pytest.mark.parametrize(("package", "place"), package_rows())
def test_each_named_package_does_its_work_where_the_page_says(package, place):
    root = PACKAGE / place if (PACKAGE / place).exists() else REPO / place
    files = list(root.rglob("*.py")) or [PACKAGE / f"{place}.py"]
    wanted = IMPORT_NAMES.get(package, package)
    names = {part for path in files for name in imports(path) for part in name.split(".")}

    assert wanted in names
