"""The ``moment`` stage: the main person, the peaks of their expression, and its two pictures.

A still picture has no peak in time: its one frame is shown with the verdict ``none``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

import av
import cv2
import numpy as np

from merr_pipeline.emotion.facs import load_action_units
from merr_pipeline.emotion.rules import load_rules
from merr_pipeline.emotion.spaces import load_label_space
from merr_pipeline.media import Picture, frame_jpeg, read_frames
from merr_pipeline.moment.course import summaries
from merr_pipeline.moment.others import describe_others
from merr_pipeline.moment.peaks import Moment, Peak, find_moment
from merr_pipeline.moment.person import MainPerson, choose_person
from merr_pipeline.moment.pictures import face_jpeg
from merr_pipeline.moment.rules import load_moment_rules
from merr_pipeline.moment.series import Series
from merr_pipeline.moment.speaking import may_talk, speaking
from merr_pipeline.schema import MOMENT, Clip, Reason, Row, Status
from merr_pipeline.settings import Settings
from merr_pipeline.stage import Identity, Stage, Work, digest, each, fail, skip

UNLIKELY_TOGETHER = "unlikely_together"  # a flag; behind a colon, the Action Units


class MomentStage(Stage):
    """One row per clip: who, when, and what it looks like."""

    name = "moment"
    needs = ("probe", "voice", "face")
    schema = MOMENT

    def __init__(self, settings: Settings) -> None:
        self._settings = settings.moment
        self._units = load_action_units(settings.templates)
        self._rules = load_moment_rules(settings.templates)
        self._space = load_label_space(settings.label.space, settings.templates)
        self._emotions = load_rules(self._units, settings.templates)

    def identity(self) -> Identity:
        """Versions shape the pictures and the numbers, settings and templates the choice."""
        return Identity(
            stage=self.name,
            version=5,
            tool="opencv",
            tool_version=f"{cv2.__version__}, pyav {av.__version__}, numpy {np.__version__}",
            template=digest([self._rules.sha256, self._units.sha256]),
            settings=self._settings.model_dump(mode="json"),
        )

    def facts(self, clip: Clip) -> Mapping[str, Any]:
        """The signs of the manifest's label, which choose among the peaks."""
        return {"signs": sorted(self.signs(clip))}

    def annotate(self, batch: Sequence[Work]) -> list[Row]:
        """One row per clip."""
        return each(batch, self.annotate_one)

    def annotate_one(self, work: Work) -> Row:
        """The payload for one clip.

        Raises:
            NotOk: skipped with the reason of the face stage when there is no face, with
                ``UPSTREAM`` when that stage failed; failed with ``DECODE_ERROR`` when the frame
                cannot be read again.
        """
        probe, tracks = work.seen["probe"], _tracks(work)
        scale = work.seen["face"]["au_scale"]
        looked_at = work.seen["face"]["looked_at"]
        voice = work.seen["voice"]
        spoken = [speaking(track, voice, self._rules.speaking) for track in tracks]
        person = choose_person(
            tracks,
            probe,
            self._rules,
            looked_at=looked_at,
            speaking=spoken,
            wanted=self._settings.person,
        )
        talks = may_talk(person.series.time_s, voice, person.speaking, self._rules.speaking)
        moment = find_moment(
            person.series,
            scale,
            self._units,
            self._rules.peak,
            self._settings,
            talks,
            self.signs(work.clip),
        )
        return {
            **self._person(person),
            "others": describe_others(tracks, spoken, person.tracks, probe),
            **self._peaks(person, moment),
            **self._action_units(person, moment, scale),
            **self._pictures(work, person, moment),
            "flags": [
                *self._flags(tracks, person, moment),
                *self._unlikely(person.series, moment.main.position, scale),
            ],
        }

    def signs(self, clip: Clip) -> frozenset[str]:
        """Action Units that speak for the label that the manifest gives; none where none counts."""
        label = self._space.find(clip.label) if clip.label and self._settings.by_label else None
        return self._emotions.signs(label, self._space) if label else frozenset()

    def _person(self, person: MainPerson) -> Row:
        track = person.track
        return {
            "main_person": {
                "track": track["track"],
                "score": person.score,
                "speaking": person.speaking,
                "sure": person.sure,
                "searched": person.searched,
            },
            "shot": track["shot"],
            "face_coverage": person.coverage,
            "face_track": [
                {"time_s": time_s, "box": box, "confidence": confidence}
                for time_s, box, confidence in zip(
                    track["time_s"], track["box"], track["confidence"], strict=True
                )
            ],
        }

    def _peaks(self, person: MainPerson, moment: Moment) -> Row:
        main, track = moment.main, person.track
        return {
            "peaks": [_peak(peak, track) for peak in moment.peaks],
            "peak_frame_index": track["frame_index"][main.position],
            "peak_time_s": track["time_s"][main.position],
            "peak_score": main.strength,
            "peak_verdict": main.verdict,
            "head_pose": {
                angle: track[angle][main.position] for angle in ("pitch_deg", "yaw_deg", "roll_deg")
            },
            "gaze": {
                angle: track[f"gaze_{angle}"][main.position] for angle in ("pitch_deg", "yaw_deg")
            },
        }

    def _action_units(self, person: MainPerson, moment: Moment, scale: str) -> Row:
        track = person.track
        return {
            "action_units": summaries(
                person.series,
                moment.main.position,
                moment.sustained,
                self._units,
                self._rules.course,
                self._settings.smoothing_s,
                self._rules.peak.least_spread[scale],
            ),
            "au_series": {
                "time_s": track["time_s"],
                "values": [
                    {"au": trace["au"], "value": trace["value"]} for trace in track["action_units"]
                ],
            },
        }

    def _pictures(self, work: Work, person: MainPerson, moment: Moment) -> Row:
        position, settings = moment.main.position, self._settings
        frame = _frame_at(work, person.track["frame_index"][position])
        box = person.track["box"][position]
        return {
            "peak_frame": frame_jpeg(frame, settings.frame_side_px, settings.jpeg_quality),
            "face_crop": None
            if box is None  # a tool that gives Action Units without a place
            else face_jpeg(frame, box, settings.crop_side_px, settings.jpeg_quality),
        }

    def _flags(self, tracks: Sequence[Row], person: MainPerson, moment: Moment) -> list[str]:
        other_shots = any(track["shot"] != person.track["shot"] for track in tracks)
        flags = {
            "main_person_unsure": round(person.sure, 3) < self._rules.unsure_below,
            "faces_in_other_shots": other_shots,  # whether it is the same person is not known
            "no_action_units": not np.any(person.series.measured),
            "sustained_expression": bool(moment.sustained),
        }
        return [flag for flag, is_so in flags.items() if is_so]

    def _unlikely(self, series: Series, peak: int, scale: str) -> list[str]:
        """A warning for each pair of Action Units that a face hardly shows at once."""
        values = {
            trace.au: round(float(trace.value[peak]), 3)
            for trace in series.traces
            if np.isfinite(trace.value[peak])
        }
        return [
            f"{UNLIKELY_TOGETHER}:{'+'.join(pair.units)}"
            for pair in self._units.unlikely(values, scale)
        ]


def _tracks(work: Work) -> list[Row]:
    """The face tracks, at least one."""
    face = work.seen["face"]
    if face["status"] == Status.FAILED:
        raise skip(Reason.UPSTREAM, f"face: {face['reason']}")
    if face["status"] == Status.SKIPPED:
        raise skip(Reason(face["reason"]), face["detail"] or "")
    tracks = [track for track in face["tracks"] if track["frame_index"]]
    if not tracks:
        raise skip(Reason.NO_FACE)
    return tracks


def _peak(peak: Peak, track: Row) -> Row:
    return {
        "frame_index": track["frame_index"][peak.position],
        "time_s": track["time_s"][peak.position],
        "score": peak.strength,
        "verdict": peak.verdict,
    }


def _frame_at(work: Work, index: int) -> Picture:
    """Decode up to that frame and no further."""
    with closing(read_frames(work.clip.path, "rgb24", index, from_frame=index)) as frames:
        frame = next(frames, None)
    if frame is None:
        raise fail(Reason.DECODE_ERROR, f"frame {index} cannot be read again")
    return frame.image
