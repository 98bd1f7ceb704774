"""What is to be told of one clip: its rows, and the peak search done again under three rules."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from merr_pipeline.clips.hashes import HashMemory
from merr_pipeline.clips.manifest import read_inputs
from merr_pipeline.clips.tables import read_columns
from merr_pipeline.emotion.facs import load_action_units
from merr_pipeline.history import last_run
from merr_pipeline.moment.frames import gates
from merr_pipeline.moment.peaks import Moment, find_moment
from merr_pipeline.moment.rules import load_moment_rules
from merr_pipeline.moment.series import Floats, Mask, Series, floats, series_of
from merr_pipeline.moment.speaking import may_talk
from merr_pipeline.moment.stage import MomentStage
from merr_pipeline.moment.why import Passed, passed_over, why_chosen
from merr_pipeline.pipeline import Pipeline, build_stages
from merr_pipeline.schema import STAGE_SCHEMAS, Clip, MerrError, Row
from merr_pipeline.settings import Settings
from merr_pipeline.stage import is_ok
from merr_pipeline.takedown.record import read_record, without_taken_down

RULES = ("emotion_aus", "paper", "all_aus")
"""The settings of ``moment.rule``; the first is ours."""


@dataclass(frozen=True)
class Found:
    """The peak search under one rule."""

    rule: str
    moment: Moment
    passed: Sequence[Passed]
    why: str  # this frame was chosen


@dataclass(frozen=True)
class Story:
    """All that the picture shows."""

    clip: Clip
    rows: dict[str, Row]
    series: Series | None  # of the main person; None where no face was chosen
    found: Sequence[Found]
    rule: str = RULES[0]  # by which the record was made
    closed: Mapping[str, Mask] = field(default_factory=dict)  # where no peak of ours may lie
    active_at: float | None = None  # from where on the scale an Action Unit counts as active
    speaking_by_chance: float | None = None
    signs: frozenset[str] = frozenset()  # the Action Units of a label that somebody gave
    names: Mapping[str, str] = field(default_factory=dict)  # of Action Units

    @property
    def main_track(self) -> Row | None:
        """The track that peaks were searched in."""
        if self.series is None:
            return None
        number = self.rows["moment"]["main_person"]["track"]
        track: Row = next(t for t in self.rows["face"]["tracks"] if t["track"] == number)
        return track


def read_story(out: Path, clip_id: str) -> Story:
    """Read what the last build of a folder knows of a clip.

    Raises:
        MerrError: there is no build, or it has no such clip, or the clip was not worked on.
    """
    request, settings = last_run(out)
    columns = read_columns(request.mapping, request.preset, settings.templates)
    hashes = HashMemory(out / "cache" / "hashes.json")
    found = read_inputs(request.clips, request.manifest, columns, hashes)
    inputs = without_taken_down(found, read_record(request.out))
    clip = _find(clip_id, inputs.clips)
    pipeline = Pipeline(build_stages(settings), out)
    pipeline.store.refresh()
    columns_of = {name: schema.names for name, schema in STAGE_SCHEMAS.items()}
    [rows] = pipeline.rows([pipeline.settled(clip)], columns_of)
    if not is_ok(rows, "probe"):
        reason = rows.get("probe", {}).get("reason") or "it was not worked on yet"
        raise MerrError(f"{clip_id} has nothing to show: {reason}.")
    return _story(clip, rows, settings)


def _find(clip_id: str, clips: Sequence[Clip]) -> Clip:
    known = {str(clip.clip_id): clip for clip in clips}
    if clip_id not in known:
        near = difflib.get_close_matches(clip_id, known, n=3, cutoff=0.0)
        raise MerrError(f"{clip_id} is no clip of this build. Near to it: {', '.join(near)}.")
    return known[clip_id]


def _story(clip: Clip, rows: dict[str, Row], settings: Settings) -> Story:
    if not is_ok(rows, "moment"):
        return Story(clip, rows, None, ())
    main = rows["moment"]["main_person"]
    track = next(track for track in rows["face"]["tracks"] if track["track"] == main["track"])
    series, rules = series_of(track), load_moment_rules(settings.templates)
    talks = may_talk(series.time_s, rows["voice"], main["speaking"], rules.speaking)
    table, scale = load_action_units(settings.templates), rows["face"]["au_scale"]
    signs = MomentStage(settings).signs(clip)
    found = []
    for rule in RULES:
        under = settings.moment.model_copy(update={"rule": rule})
        moment = find_moment(series, scale, table, rules.peak, under, talks, signs)
        passed = passed_over(series, moment, scale, table, rules.peak, under, talks)
        asked = signs if rule == "emotion_aus" else frozenset()
        found.append(Found(rule, moment, passed, why_chosen(moment, asked)))
    return Story(
        clip,
        rows,
        series,
        found,
        rule=settings.moment.rule,
        closed=gates(
            series, settings.moment.edge_frames, table.scales[scale].active_at, rules.peak
        ),
        active_at=table.scales[scale].active_at,
        speaking_by_chance=rules.speaking.chance,
        signs=signs,
        names={code: unit.name for code, unit in table.units.items()},
    )


def mouth_of(story: Story) -> Floats:
    """(frames,) How far the main person's mouth is open; NaN where not seen."""
    assert story.main_track is not None
    return floats(story.main_track["mouth_open"])
