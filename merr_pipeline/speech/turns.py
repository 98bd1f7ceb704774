"""Who speaks when, as far as the words say it."""

from __future__ import annotations

from collections.abc import Sequence

from merr_pipeline.schema import Row
from merr_pipeline.speech.vad import Span

OVERLAP_S = 0.1  # subtitles touch and round; less is no overlap


def turns_of(segments: Sequence[Row], speech: Sequence[Span]) -> list[Row]:
    """Turns from the segments of a transcript, in order of time.

    Where speakers are named, neighbouring segments of one are one turn, and a segment without a
    name is a turn of nobody known. Where nobody is named there is one turn, as long as the speech
    that was heard. Segments without times give none.
    """
    timed = [segment for segment in segments if segment["start_s"] is not None]
    if not any(segment["speaker"] for segment in timed):
        spans = speech or [Span(segment["start_s"], segment["end_s"]) for segment in timed]
        if not segments or not spans:
            return []
        return [_turn(None, spans[0].start_s, max(span.end_s for span in spans))]
    turns: list[Row] = []
    for segment in sorted(timed, key=lambda segment: (segment["start_s"], segment["end_s"])):
        if turns and turns[-1]["speaker"] == segment["speaker"]:
            turns[-1]["end_s"] = max(turns[-1]["end_s"], segment["end_s"])
        else:
            turns.append(_turn(segment["speaker"], segment["start_s"], segment["end_s"]))
    return turns


def do_overlap(turns: Sequence[Row]) -> bool:
    """Whether two people speak at once for `OVERLAP_S` or longer."""
    latest: dict[str | None, float] = {}
    for turn in turns:
        others = [end_s for speaker, end_s in latest.items() if speaker != turn["speaker"]]
        until_s = min(max(others, default=0.0), turn["end_s"])
        if round(until_s - turn["start_s"], 3) >= OVERLAP_S:
            return True
        latest[turn["speaker"]] = max(latest.get(turn["speaker"], 0.0), turn["end_s"])
    return False


def _turn(speaker: str | None, start_s: float, end_s: float) -> Row:
    return {"speaker": speaker, "start_s": start_s, "end_s": end_s}
