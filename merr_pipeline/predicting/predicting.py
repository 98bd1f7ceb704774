"""A trained model about clips that nobody has described: label, probabilities, reasons.

The label is the likeliest of its space, so it is always one of them; the text answers a question of
its own, and is what the model says, right or wrong.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from merr_pipeline.emotion.spaces import SPACES_TEMPLATE
from merr_pipeline.emotion_llama.configuration import ENCODERS
from merr_pipeline.emotion_llama.modeling import EmotionLlamaForConditionalGeneration
from merr_pipeline.emotion_llama.parts import add_encoder
from merr_pipeline.emotion_llama.processing import Question
from merr_pipeline.predicting.answerer import Answer, Answerer, Asked, How
from merr_pipeline.predicting.answering import recipe_of, shown_to
from merr_pipeline.predicting.asking import Pools
from merr_pipeline.predicting.perceiving import Seen, perceive
from merr_pipeline.schema import MerrError, Row
from merr_pipeline.settings import load_settings
from merr_pipeline.templates import load_template
from merr_pipeline.training.saved import load_run

AT_ONCE = 16
"""Clips whose values are in memory at one time, some 25 MB each."""


@dataclass(frozen=True)
class Prediction:
    """One clip: what was seen of it, and what the model makes of that."""

    clip_id: str
    media_path: str
    refused: str | None = None  # why there is nothing below
    label: str | None = None
    probabilities: dict[str, float] | None = None  # of all labels of the space
    question: str | None = None
    answer: str | None = None
    is_cut: bool | None = None  # the model had more to say
    peak_time_s: float | None = None
    transcript: str | None = None
    shown: tuple[str, ...] = ()  # of image, face, temporal, audio; the words come as they are
    missing: dict[str, str] | None = None  # of picture, face, sound, words: the reason


def predict(
    clips: Sequence[Path],
    run_folder: Path,
    question: str | None = None,
    out: Path | None = None,
    profile: str = "embedded",
    overrides: Sequence[str] = (),
    transcript: str | None = None,
    encoders: Mapping[str, Path] | None = None,
    device: str | None = None,
    how: How | None = None,
    told: Callable[[str], None] = lambda line: None,
) -> list[Prediction]:
    """Look at clips, and ask a model about them.

    Args:
        clips: files, and folders with files.
        run_folder: of a training run, or of a saved model.
        question: in place of one of ours for the reasons.
        out: where the annotation store is kept; by default it is gone afterwards.
        profile: of perception.
        overrides: ``key=value`` of settings; ``label.space`` says which labels there are.
        transcript: what is said in the one clip that there is.
        encoders: folders of those that the model was trained without, by name.
        device: of the model; the first GPU by default, where there is one.
        how: how answers are made.
        told: called with a line before a while of silence.

    Raises:
        MerrError: there is no such clip, run, encoder, label space or setting.
    """
    settings = load_settings(profile, overrides)
    pools, space = Pools(settings.templates), settings.label.space
    labels = list(pools.labels(space, None))
    if not labels:
        known = load_template(SPACES_TEMPLATE, settings.templates).data["spaces"]
        raise MerrError(f"label.space = {space}: there is {', '.join(known)}.")
    model, processor = load_run(run_folder, device)
    for name, folder in (encoders or {}).items():
        add_encoder(model, processor, name, folder)
    _check_encoders(model, run_folder)
    answerer = Answerer(model, processor, how)
    with tempfile.TemporaryDirectory() if out is None else nullcontext(str(out)) as place:
        found = perceive(clips, Path(place), profile, overrides, transcript, told)
        of_clip = shown_to(model, processor, recipe_of(run_folder, None, found.root, None))
        told(f"asking the model about {sum(one.row is not None for one in found.seen)} clips")
        return [
            prediction
            for start in range(0, len(found.seen), AT_ONCE)
            for prediction in _of_some(
                found.seen[start : start + AT_ONCE], of_clip, answerer, pools, space, question
            )
        ]


def _of_some(
    seen: Sequence[Seen],
    of_clip: Callable[[Row], Mapping[str, Tensor]],
    answerer: Answerer,
    pools: Pools,
    space: str,
    question: str | None,
) -> list[Prediction]:
    shown: list[Mapping[str, Tensor]] = []
    there: list[Seen] = []
    refused = {one.clip_id: one.refused or "" for one in seen if one.row is None}
    for one in seen:
        if one.row is not None:
            try:
                shown.append(of_clip(one.row))
                there.append(one)
            except MerrError as error:
                refused[one.clip_id] = str(error)
    labels = list(pools.labels(space, None))
    names = [Question(pools.emotion(one.clip_id, space), "emotion", _words(one)) for one in there]
    whys = [
        Question(question or pools.blind_reason(one.clip_id), "reason", _words(one))
        for one in there
    ]
    weighed = answerer.label_probabilities(
        [Asked(asked, one) for asked, one in zip(names, shown, strict=True)], labels
    )
    answers = answerer.answers([Asked(asked, one) for asked, one in zip(whys, shown, strict=True)])
    found = {
        one.clip_id: _prediction(one, given, dict(zip(labels, weights, strict=True)), why, answer)
        for one, given, weights, why, answer in zip(
            there, shown, weighed, whys, answers, strict=True
        )
    }
    return [
        found.get(one.clip_id)
        or Prediction(one.clip_id, one.media_path, refused[one.clip_id], missing=one.missing)
        for one in seen
    ]


def _words(one: Seen) -> str | None:
    words: str | None = one.row["transcript"] if one.row else None
    return words


def _prediction(
    one: Seen,
    given: Mapping[str, Tensor],
    weights: Mapping[str, float],
    why: Question,
    answer: Answer,
) -> Prediction:
    assert one.row is not None
    kinds = {name.rpartition("_")[0] for name in given}
    return Prediction(
        clip_id=one.clip_id,
        media_path=one.media_path,
        label=max(weights, key=lambda label: weights[label]),
        probabilities={label: round(weight, 6) for label, weight in weights.items()},
        question=why.question,
        answer=answer.text,
        is_cut=answer.cut,
        peak_time_s=one.row["peak_time_s"],
        transcript=one.row["transcript"],
        shown=tuple(name for name in ENCODERS if name in kinds),
        missing=one.missing,
    )


def _check_encoders(model: EmotionLlamaForConditionalGeneration, run_folder: Path) -> None:
    if not model.model.encoders:
        raise MerrError(
            f"the model of {run_folder} has no encoders: it was trained on features from a cache, "
            "and a clip has none yet.\nName the folders of those that made them: "
            f"{' '.join(f'--encoder {name}=FOLDER' for name in ENCODERS)}"
        )


def as_text(one: Prediction) -> str:
    """For people: several lines."""
    if one.refused is not None:
        return f"{one.clip_id}: refused ({one.refused})"
    assert one.probabilities is not None
    assert one.missing is not None
    ranked = sorted(one.probabilities.items(), key=lambda item: -item[1])
    said = "nothing" if one.transcript is None else f"“{_printable(one.transcript)}”"
    peak = "no peak" if one.peak_time_s is None else f"peak at {one.peak_time_s:.2f} s"
    lines = [
        f"{one.clip_id}: {one.label}",
        "  " + ", ".join(f"{label} {weight:.1%}" for label, weight in ranked),
        f"  {peak}; said: {said}; shown: {', '.join(one.shown) or 'no stream'}",
    ]
    if one.missing:
        lines.append("  missing: " + ", ".join(f"{k} ({v})" for k, v in one.missing.items()))
    end = " […]" if one.is_cut else ""
    return "\n".join([*lines, f"  {one.question}", f"  {_printable(one.answer or '')}{end}"])


def _printable(text: str) -> str:
    """What would move a terminal's cursor or colour it, by its code: a model may say anything."""
    return "".join(
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text
    )
