"""How far the mesh tools' Action Units go with those of OpenFace on real clips.

::

    python benchmarks/au_agreement.py [SHARED]     # default: ../shared, beside the checkout

SHARED has ``clips``, ``openface`` (a CSV for each clip) and ``models/face_landmarker.task``.

Pearson r, pooled over all frames, each series about its own mean in its shot, so that neither a
person's face nor a tool's zero counts. Frames: OpenFace reports success, is sure enough (as our
`openface` tool asks), and its neighbours are of the same face; the mesh lies on that face; the
mesh is turned by less than .6 rad. Intervals: the shots drawn anew, 95 %. Chance: what one in
twenty reaches when one series is turned round within its shot. OpenFace is no ground truth: with
other landmark models it agrees with itself as the column `OF-OF` says.

The figures beside ours were measured the same way on sixteen clips of the same kind, of which
twelve had usable frames; ten of the sixteen are here.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml
from measuring.agreement import Array, Pair, chance, interval, pooled_r

from merr_pipeline.clips.manifest import read_inputs
from merr_pipeline.clips.probe import ProbeStage
from merr_pipeline.face.coefficients import load_blendshapes
from merr_pipeline.face.stage import FaceStage
from merr_pipeline.face.tracks import Box
from merr_pipeline.schema import Row
from merr_pipeline.settings import load_settings
from merr_pipeline.stage import Work
from merr_pipeline.templates import load_template

ROOT = Path(__file__).parent.parent
MAX_YAW_RAD = 0.6
SAME_FACE = 0.3  # IoU of the boxes; OpenFace's ends at the brows, the mesh's at the hair
WANTED = ("AU45", "AU01", "AU07", "AU12", "AU25")  # are to be no worse than the earlier figures


class Before(NamedTuple):
    """An earlier measurement, by the same method."""

    r: float
    chance: float


NOT_MEASURED = Before(np.nan, np.nan)

GEOMETRY_BEFORE = {
    "AU45": Before(0.54, 0.07),
    "AU01": Before(0.45, 0.08),
    "AU07": Before(0.43, 0.17),
    "AU12": Before(0.39, 0.21),
    "AU25": Before(0.38, 0.12),
    "AU06": Before(0.46, 0.33),
    "AU26": Before(0.21, 0.14),
    "AU15": Before(0.24, 0.11),
}
"""notes/openface_measured.md: geometry of a face mesh against AU_r, twelve clips."""

BLENDSHAPES_BEFORE = {
    "AU45": Before(0.58, 0.09),
    "AU01": Before(0.27, 0.15),
    "AU07": Before(0.38, 0.12),
    "AU12": Before(0.31, 0.11),
    "AU25": Before(0.23, 0.15),
    "AU06": Before(0.45, 0.15),
    "AU15": Before(0.26, 0.11),
    "AU09": Before(0.19, 0.11),
    "AU26": Before(0.16, 0.10),
    "AU17": Before(0.15, 0.12),
    "AU20": Before(0.15, 0.16),
    "AU02": Before(0.09, 0.12),
    "AU04": Before(0.08, 0.11),
    "AU05": Before(0.08, 0.10),
    "AU23": Before(0.07, 0.19),
    "AU10": Before(0.00, np.nan),
    "AU14": Before(-0.06, np.nan),
}
"""models/README.md: coefficients of FaceLandmarker against AU_r, twelve clips, 1293 frames."""

OPENFACE_ITSELF = {
    "AU45": 0.81, "AU01": 0.65, "AU07": 0.60, "AU12": 0.56, "AU25": 0.57, "AU06": 0.61,
    "AU26": 0.72, "AU15": 0.53, "AU09": 0.76, "AU05": 0.78,
}  # fmt: skip
"""notes/openface_measured.md: OpenFace with one landmark model against OpenFace with another."""


def main() -> None:
    """Measure and print."""
    shared = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT.parent / "shared"
    works = annotated_clips(shared)
    openface = face_rows(works, "openface", f"face.openface.csv_dir={shared / 'openface'}")
    model = shared / "models" / "face_landmarker.task"
    with tempfile.TemporaryDirectory() as templates:
        write_all_tiers(Path(templates))
        everything = f"templates={templates}"
        tables = {
            "facemesh": (GEOMETRY_BEFORE, []),
            "blendshapes": (
                BLENDSHAPES_BEFORE,
                [everything, f"face.blendshapes.model={model}"],
            ),
        }
        for tool, (before, overrides) in tables.items():
            ours = face_rows(works, tool, *overrides)
            compare(tool, openface, ours, before)


def annotated_clips(shared: Path) -> list[Work]:
    """The clips that have a CSV, with their probe rows."""
    stage = ProbeStage(load_settings())
    return [
        Work(clip, {"probe": stage.annotate([Work(clip, {})])[0]})
        for clip in read_inputs(shared / "clips").clips
        if (shared / "openface" / f"{clip.path.stem}.csv").is_file()
    ]


def face_rows(works: list[Work], tool: str, *overrides: str) -> list[Row]:
    """The face row of each clip by one tool."""
    stage = FaceStage(load_settings(overrides=[f"face.tool={tool}", *overrides]))
    stage.setup()
    rows = stage.annotate(works)
    stage.close()
    return rows


def write_all_tiers(folder: Path) -> None:
    """The table of tiers with each unit that blendshapes could tell of, so that all are tested."""
    table = load_template("action_units.yaml").data
    units = load_blendshapes().action_units
    table["tools"]["blendshapes"]["aus"] = {unit: {"reliability": "low"} for unit in units}
    (folder / "action_units.yaml").write_text(yaml.safe_dump(table))


def compare(tool: str, openface: list[Row], ours: list[Row], before: dict[str, Before]) -> None:
    """Print the agreement of one tool, and whether the wanted units reach what they had."""
    units = sorted({trace["au"] for row in ours for track in row["tracks"] or []
                    for trace in track["action_units"]}, key=rank)  # fmt: skip
    print(f"\n{tool} against OpenFace")
    print(
        f"{'':6}{'r':>6}  {'95 %':14}{'chance':>7}{'shots':>7}{'frames':>8}"
        f"{'before':>9}{'chance':>8}{'OF-OF':>7}"
    )
    for unit in units:
        pairs = list(pairs_of(unit, openface, ours))
        if not np.isfinite(pooled_r(pairs)):
            print(f"{unit:6} does not move")
            continue
        r, (low, high) = pooled_r(pairs), interval(pairs)
        known = before.get(unit, NOT_MEASURED)
        frames = sum(len(one) for one, _ in pairs)
        print(
            f"{unit:6}{r:6.2f}  {f'{low:.2f} to {high:.2f}':14}{chance(pairs):7.2f}{len(pairs):7}"
            f"{frames:8}{known.r:9.2f}{known.chance:8.2f}"
            f"{OPENFACE_ITSELF.get(unit, np.nan):7.2f}  {verdict(unit, r, high, known)}"
        )


def rank(unit: str) -> tuple[int, str]:
    """The wanted units first, in their order."""
    return (WANTED.index(unit) if unit in WANTED else len(WANTED), unit)


def verdict(unit: str, r: float, high: float, before: Before) -> str:
    """Whether a wanted unit reaches what was measured before."""
    if unit not in WANTED:
        return ""
    if round(r, 2) >= before.r:
        return "reached"
    return "missed, within the interval" if high >= before.r else "missed"


def pairs_of(unit: str, openface: list[Row], ours: list[Row]) -> Iterable[Pair]:
    """By clip, track and track: both series over the frames in which both see the same face."""
    for theirs, mine in zip(openface, ours, strict=True):
        for track in theirs["tracks"] or []:
            for other in mine["tracks"] or []:
                if track["shot"] == other["shot"]:
                    one, two = both(unit, track, other)
                    if len(one):
                        yield one, two


def both(unit: str, track: Row, other: Row) -> tuple[Array, Array]:
    """Values of one unit in the frames that both tracks have, on the same face."""
    values, others = (
        next((trace["value"] for trace in t["action_units"] if trace["au"] == unit), None)
        for t in (track, other)
    )
    if values is None or others is None:
        return np.empty(0), np.empty(0)
    place = {frame: number for number, frame in enumerate(other["frame_index"])}
    found = [
        (values[i], others[place[frame]])
        for i, frame in enumerate(track["frame_index"])
        if frame in place and same_face(track, i, other, place[frame])
    ]
    known = np.array(found, float).reshape(-1, 2)
    known = known[np.isfinite(known).all(axis=1)]
    return known[:, 0], known[:, 1]


def same_face(track: Row, i: int, other: Row, k: int) -> bool:
    """Whether both saw the same face there, and it was not turned too far."""
    one, two = track["box"][i], other["box"][k]
    if one is None or two is None or abs(np.radians(other["yaw_deg"][k])) >= MAX_YAW_RAD:
        return False
    return Box(**one).overlap(Box(**two)) > SAME_FACE


if __name__ == "__main__":
    main()
