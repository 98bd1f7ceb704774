"""What a finished build says of its own corpus: edges between words, for ``merr tone-words``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from merr_pipeline.clips.hashes import HashMemory
from merr_pipeline.clips.manifest import read_inputs
from merr_pipeline.clips.tables import read_columns
from merr_pipeline.dataset.plan import LOOK_SIZE
from merr_pipeline.dataset.shards import batched
from merr_pipeline.files import write_atomically
from merr_pipeline.history import last_run
from merr_pipeline.pipeline import Pipeline, build_stages
from merr_pipeline.request import Request
from merr_pipeline.schema import STAGE_SCHEMAS, MerrError
from merr_pipeline.settings import Settings
from merr_pipeline.speech.corpus_edges import counts, with_edges
from merr_pipeline.speech.tone import heard
from merr_pipeline.speech.tone_table import ToneWords, read_tone_words
from merr_pipeline.speech.wording import Heard
from merr_pipeline.takedown.record import read_record, without_taken_down
from merr_pipeline.templates import load_template

TEMPLATE = "tone_words.yaml"
NEEDED = ("voice", "transcript", "tone")


def write_tone_words(out: Path, folder: Path) -> list[str]:
    """Write ``folder/tone_words.yaml`` with edges from the voices of a build.

    It is read when ``folder`` is named as ``templates``, and stands in the fingerprint of every row
    that is made with it.

    Returns:
        One line for each feature that got edges: for whom, and from how many voices.

    Raises:
        MerrError: there is no finished build, it has too few voices, or its own words have edges
            from a corpus; or the folder has such a file already.
    """
    request, settings = last_run(out)
    template = load_template(TEMPLATE, settings.templates)
    words = read_tone_words(template)
    target = folder / TEMPLATE
    if target.exists():
        raise MerrError(f"{target} is there already; take it away, or give another --to.")
    text = with_edges(template, list(_voices(request, settings, words)), words)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(target, text.encode())
    return counts(read_tone_words(load_template(TEMPLATE, folder)).edges)


def _voices(request: Request, settings: Settings, words: ToneWords) -> Iterator[Heard]:
    """Every voice that the build has described."""
    columns = read_columns(request.mapping, request.preset, settings.templates)
    hashes = HashMemory(request.out / "cache" / "hashes.json")
    found = read_inputs(request.clips, request.manifest, columns, hashes)
    inputs = without_taken_down(found, read_record(request.out))
    pipeline = Pipeline(build_stages(settings), request.out)
    pipeline.store.refresh()
    wanted = {name: STAGE_SCHEMAS[name].names for name in NEEDED}
    for clips in batched(inputs.clips, LOOK_SIZE):
        states = [pipeline.settled(clip) for clip in clips]
        for clip, rows in zip(clips, pipeline.rows(states, wanted), strict=True):
            voice = heard(clip, rows, words)
            if voice is not None:
                yield voice
