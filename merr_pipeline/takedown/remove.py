"""A takedown from end to end."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from merr_pipeline.build import ANSWERS, held
from merr_pipeline.schema import MerrError
from merr_pipeline.takedown.loose import clear_answers, clear_files, clear_notes
from merr_pipeline.takedown.record import add_to_record
from merr_pipeline.takedown.search import leftovers
from merr_pipeline.takedown.tables import clear_dataset, clear_store
from merr_pipeline.takedown.wanted import Taken, Wanted, find_taken


@dataclass(frozen=True)
class Removal:
    """What a takedown came to. ``left`` is where a clip is still found; none is the proof."""

    taken: Taken
    store_rows: int
    dataset_rows: int
    answers: int
    files: int
    left: list[str]


def take_down(out: Path, wanted: Wanted) -> Removal:
    """Remove clips from an output folder and see that nothing of them is left.

    First it is noted that they must not come back (`record`), then the rest is done in an order in
    which it can be done again after a kill: names are looked up in the dataset and the store, so
    these two go last. The media files in the input folder are the user's, and stay.

    Raises:
        MerrError: the folder holds no build, a name in ``wanted`` is not there, or somebody else
            works on the folder.
    """
    if not (out / "annotations").is_dir() and not (out / "dataset").is_dir():
        raise MerrError(f"{out} holds no build: neither annotations nor a dataset.")
    with held(out):
        taken = find_taken(out, wanted)
        add_to_record(out, taken.sha256s)
        answers = clear_answers(out / ANSWERS, taken)
        clear_notes(out, taken)
        files = clear_files(out, taken)
        store_rows = clear_store(out, taken)
        dataset_rows = clear_dataset(out, taken)
        return Removal(taken, store_rows, dataset_rows, answers, files, leftovers(out, taken))
