"""Mono sound on the clock of the picture."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.error import FFmpegError

from merr_pipeline.media.container import Lost, decode, open_media, packets, video_stream
from merr_pipeline.schema import Reason
from merr_pipeline.stage import fail, skip

LONGEST_GAP_S = 600.0  # more silence than this is an error of the file
CANCELLING = -0.3  # correlation of two channels below which their mean loses the sound
SOUND_GAP_S = 0.05  # a larger jump in the sound's own times is a gap, and is kept as one


@dataclass(frozen=True)
class Sound:
    """Mono sound on the clip's clock: sample 0 is at the first frame of the picture.

    ``samples`` is float32, full scale 1.0. Before ``start_s`` there is no sound in the file, and
    the samples are 0. ``lost.broken`` counts packets that could not be decoded.
    """

    samples: np.ndarray
    rate_hz: int
    start_s: float
    lost: Lost = field(default_factory=Lost)

    @property
    def duration_s(self) -> float:
        """Seconds from time 0 to the end of the sound."""
        return len(self.samples) / self.rate_hz


def read_sound(path: Path, rate_hz: int = 16_000) -> Sound:
    """Decode the sound of a clip to mono at ``rate_hz``, gaps in it kept as silence.

    Raises:
        NotOk: as `open_media`; skipped with ``NO_AUDIO_STREAM``; failed with
            ``AUDIO_DECODE_ERROR`` when not one sample can be decoded, or made mono.
    """
    lost = Lost()
    with open_media(path) as container:
        audio, video = container.streams.best("audio"), video_stream(container)
        if audio is None:
            raise skip(Reason.NO_AUDIO_STREAM)
        if audio.codec_context is None:
            raise fail(Reason.AUDIO_DECODE_ERROR, "no decoder for this audio codec")
        zero_s, runs = _read_runs(container, audio, video, rate_hz, lost)
    if not any(run.samples_in for run in runs):
        raise fail(Reason.AUDIO_DECODE_ERROR, f"{lost.broken} broken packets")
    return _place(runs, runs[0].start_s if zero_s is None else zero_s, rate_hz, lost)


class _Run:
    """Sound without a gap: resampled as it comes, all channels kept."""

    def __init__(self, first: Any, start_s: float, rate_hz: int) -> None:
        self.start_s, self.samples_in, self._rate_in_hz = start_s, 0, first.sample_rate
        self._kind = (first.format.name, first.layout.name, first.sample_rate)
        self._resampler = av.AudioResampler(format="fltp", rate=rate_hz)
        self._parts: list[np.ndarray] = []

    def takes(self, frame: Any) -> bool:
        """Whether the frame goes on where this run ends."""
        if (frame.format.name, frame.layout.name, frame.sample_rate) != self._kind:
            return False
        end_s = self.start_s + self.samples_in / self._rate_in_hz
        return frame.time is None or abs(frame.time - end_s) <= SOUND_GAP_S

    def add(self, frame: Any) -> None:
        self.samples_in += frame.samples
        frame.pts = None  # its time is known by now; jitter in it must not reach the resampler
        self._parts += self._resample(frame)

    def mono(self) -> np.ndarray:
        """The whole run as float32 mono."""
        return mix_to_mono(np.concatenate([*self._parts, *self._resample(None)], axis=1))

    def _resample(self, frame: Any | None) -> list[np.ndarray]:
        try:
            return [part.to_ndarray() for part in self._resampler.resample(frame)]
        except MemoryError:
            raise
        except FFmpegError as error:  # 65 channels, say
            kind = ", ".join(map(str, self._kind))
            raise fail(Reason.AUDIO_DECODE_ERROR, f"cannot be resampled: {kind} Hz") from error


def _read_runs(
    container: Any, audio: Any, video: Any | None, rate_hz: int, lost: Lost
) -> tuple[float | None, list[_Run]]:
    """The time of the first frame of the picture (None without one), and the runs of sound."""
    zero_s: float | None = None
    runs: list[_Run] = []
    for packet in packets(container, [s for s in (audio, video) if s is not None], lost):
        if packet.stream is not audio:
            if zero_s is None and packet.stream.codec_context is not None:
                zero_s = next((f.time for f in decode(packet, Lost())), None)
            continue
        for frame in decode(packet, lost):
            if not runs or not runs[-1].takes(frame):
                runs.append(_Run(frame, frame.time or 0.0, rate_hz))
            runs[-1].add(frame)
    return zero_s, runs


def _place(runs: list[_Run], zero_s: float, rate_hz: int, lost: Lost) -> Sound:
    placed = [(round((run.start_s - zero_s) * rate_hz), run.mono()) for run in runs]
    end = max(at + len(samples) for at, samples in placed)
    if end <= 0:
        raise fail(Reason.AUDIO_DECODE_ERROR, "the sound ends before the picture begins")
    if end > sum(len(samples) for _, samples in placed) + LONGEST_GAP_S * rate_hz:
        raise fail(
            Reason.AUDIO_DECODE_ERROR, f"the times of the sound jump by {end / rate_hz:.0f} s"
        )
    whole = np.zeros(end, np.float32)
    for at, samples in placed:
        inside = samples[max(0, -at) :]
        whole[max(0, at) : max(0, at) + len(inside)] = inside
    return Sound(whole, rate_hz, max(0.0, placed[0][0] / rate_hz), lost)


def mix_to_mono(channels: np.ndarray) -> np.ndarray:
    """Mean of the channels (channels x samples); the louder of two that cancel each other out."""
    if len(channels) == 2 and _correlation(*channels) < CANCELLING:
        energy = (channels.astype(np.float64) ** 2).sum(axis=1)
        return np.asarray(channels[int(energy.argmax())], np.float32)
    return np.asarray(channels.mean(axis=0, dtype=np.float64), np.float32)


def _correlation(left: np.ndarray, right: np.ndarray) -> float:
    size = float(np.linalg.norm(left)) * float(np.linalg.norm(right))
    return float(np.dot(left, right)) / size if size else 0.0
