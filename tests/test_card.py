"""The dataset card, as the Hub's own parser reads it."""

from __future__ import annotations

from collections import Counter

import pytest
from huggingface_hub import DatasetCard
from made_rows import made_clip
from test_dataset_assemble import Made

LANGUAGES = ("en", "en-GB", "zh")


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Made:
    """30 clips of two licences, one of them none of the Hub's; the first is rejected."""
    made = Made(tmp_path_factory.mktemp("card") / "out")
    licences = (None, "CC BY 4.0", "mine alone")
    made.clips = [
        made_clip(i, source_id=f"show {i % 12}", licence=licences[i % 3]) for i in range(30)
    ]
    for i, clip in enumerate(made.clips):
        made.store.add(clip, transcript={"text_language": LANGUAGES[i % 3]})
    made.store.add(made.clips[0], moment={"face_coverage": 0.1})
    made.assemble()
    return made


@pytest.fixture(scope="module")
def card(made) -> DatasetCard:
    return DatasetCard.load(made.out / "dataset" / "README.md")


def table(card: DatasetCard, head: str) -> dict[str, list[str]]:
    """The rows below a head, first cell first."""
    lines = card.text.partition(f"| {head}")[2].splitlines()[2:]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    size = next(i for i, line in enumerate(lines) if not line.startswith("|"))
    return {row[0]: row[1:] for row in rows[:size]}


def test_the_front_matter_says_what_the_data_says(card):
    data = card.data.to_dict()

    assert data["license"] == ["cc-by-4.0", "other", "unknown"]
    assert (data["license_name"], data["license_link"]) == ("per-clip", "README.md")
    assert data["language"] == ["en", "zh"]
    assert data["size_categories"] == ["n<1K"]
    assert data["multilinguality"] == ["multilingual"]
    assert data["annotations_creators"] == ["machine-generated", "found"]
    assert {"video-classification", "video-text-to-text"} <= set(data["task_categories"])


def test_the_configs_name_the_files_that_are_there(card, made):
    configs = {one["config_name"]: one for one in card.data.to_dict()["configs"]}

    assert set(configs) == {"clips", "coarse", "fine", "rejected"}
    assert [name for name, one in configs.items() if one.get("default")] == ["clips"]
    for one in configs.values():
        for files in one["data_files"]:
            assert list((made.out / "dataset").glob(files["path"]))


def test_labels_licences_and_reasons_are_counted(card, made):
    clips = made.table("clips")

    labels = Counter(row["label"] for row in clips)
    shown = {name: sum(map(int, row)) for name, row in table(card, "label | train").items()}
    assert shown == labels
    licences = Counter(row["licence"] or "(not given)" for row in clips)
    assert table(card, "licence of the clips") == {
        name: [str(count)] for name, count in licences.items()
    }
    assert "Transcripts by language: `en` 9, `en-GB` 10, `zh` 10." in card.text
    assert table(card, "stage | reason") == {"dataset": ["low_face_coverage", "1"]}


def test_it_says_how_it_was_made_and_where_that_ends(card, made):
    assert "profile `embedded`" in card.text
    stages = table(card, "stage | tool")
    assert stages["face"][:2] == ["face tool", "1.2"]
    assert {"dataset", "agreement", "near_duplicates"} <= set(stages)
    saved = {f"`{path.name}`" for path in (made.out / "dataset" / "templates").iterdir()}
    assert set(table(card, "template | sha256")) == saved
    assert "no statement about what a person felt" in card.text.replace("\n", " ").replace(
        "  ", " "
    )
