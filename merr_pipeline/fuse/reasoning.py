"""The ``fine`` stage by a language model: it sees the numbered evidence and nothing else of a clip.

By default it is asked blind: what label the evidence points to, and why. With ``fine.told`` it is
told the clip's label, as MERR's authors did, and writes for that. Either way its text is checked
as the composer's is; what it claims without evidence is shown to it once, and if it still claims
such things, its text is not kept.

With ``fine.samples`` over 1 the label of most answers counts, and the text of the first answer
with it. With ``fine.second`` another model names a label too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from merr_pipeline.emotion.spaces import load_label_space
from merr_pipeline.fuse.grounds import NEEDS, READS, Grounds, label_of
from merr_pipeline.fuse.judge import Case, refusal_of, row_of
from merr_pipeline.fuse.prompt import Prompter, load_fine_prompt
from merr_pipeline.fuse.reasoned import Opinion, Reasoned, opinion_in, reasoned_in
from merr_pipeline.llm.cache import shaping
from merr_pipeline.llm.prices import Usage
from merr_pipeline.llm.questions import Answer, Question
from merr_pipeline.llm.stage import Asks, CallStage
from merr_pipeline.schema import FINE, PASSES_WITH_TIME, Row
from merr_pipeline.settings import Role, Settings, SettingsError
from merr_pipeline.stage import Identity, NotOk, Work, digest

NO_SECOND = "no_second_opinion"
"""Flag: the second model was asked, and gave no answer that fits."""


class FineModelStage(CallStage):
    """One text per clip, by a language model, checked before it is kept."""

    name = "fine"
    needs = NEEDS
    reads = READS
    schema = FINE

    def __init__(self, settings: Settings) -> None:
        self._settings, folder = settings.fine, settings.templates
        self._grounds = Grounds.load(folder)
        space, prompt = load_label_space(settings.label.space, folder), load_fine_prompt(folder)
        self._prompter = Prompter(prompt, self._grounds, space, settings.fine.max_words)
        self._reasoned, self._opinion = reasoned_in(space), opinion_in(space)
        self._template = digest([*self._grounds.sha256s, space.sha256, prompt.sha256])
        self.roles: tuple[Role, ...] = ("text", "second") if settings.fine.second else ("text",)
        self._models = {role: settings.llm.of(role) for role in self.roles}
        self._space = space.name
        if settings.fine.samples > 1 and self._models["text"].temperature == 0:
            raise SettingsError(
                f"fine.samples = {settings.fine.samples} asks for several answers, which at "
                "llm.text.temperature = 0 are one.\nSet a temperature over 0, such as 0.7."
            )

    def identity(self) -> Identity:
        """The models, all seven templates, the label space, what is told, how often it is asked."""
        text = self._models["text"]
        return Identity(
            stage=self.name,
            version=3,
            tool="openai-compatible server",
            model=text.model or "",
            revision=text.revision,
            template=self._template,
            settings={
                **self._settings.model_dump(mode="json"),
                "space": self._space,
                "models": {role: shaping(model) for role, model in self._models.items()},
            },
        )

    def questions(self, work: Work) -> Sequence[Question[Any]]:
        """The text, as often as ``fine.samples`` says, and then the second opinion.

        Raises:
            NotOk: skipped with ``NO_EVIDENCE``; nothing is asked about nothing.
        """
        case, seed, max_words = self._case(work), work.clip.sha256, self._settings.max_words
        messages = self._prompter.reasoning(case.items, seed, case.given)
        asked: list[Question[Any]] = [
            Question(
                "text",
                self.name,
                messages,
                self._reasoned,
                check=lambda answer: refusal_of(case, answer, max_words),
                sample=sample,
            )
            for sample in range(self._settings.samples)
        ]
        if self._settings.second:
            second = self._prompter.second_opinion(case.items, seed)
            asked.append(Question("second", self.name, second, self._opinion))
        return asked

    def row(self, work: Work, answers: Sequence[Answer[Any]]) -> Row:
        """The checked text of the first answer with the label of most.

        Raises:
            NotOk: there is no answer, or its text may not be kept; the evidence is kept.
        """
        case = self._case(work)
        values = [answer.value for answer in answers]
        if waits := next((v for v in values if _is_passing(v)), None):
            raise _with(waits, {"evidence": case.evidence})
        second = values.pop() if self._settings.second else None
        votes = Counter(label for value in values if (label := _label_of(value)) is not None)
        if not votes:
            raise _with(values[0], {"evidence": case.evidence})
        [(llm_label, _), *_] = votes.most_common(1)  # of equals the first that was named
        more = self._votes(votes) | _second_opinion(second, llm_label)
        chosen = [value for value in values if _label_of(value) == llm_label]
        texts = [value for value in chosen if isinstance(value, Reasoned)]
        if not texts:
            raise _with(chosen[0], more)
        return _joined(row_of(case, texts[0]), more)

    async def ask_one(self, work: Work, door: Asks) -> Row:
        """The row of one clip; an answer that cannot be used leaves the others their say."""
        return await super().ask_one(work, _Patient(door))

    def _case(self, work: Work) -> Case:
        label = label_of(work)
        given = label.name if self._settings.told else None
        return Case(self._grounds, self._grounds.evidence_of(work), label, given)

    def _votes(self, votes: Counter[str]) -> Row:
        if self._settings.samples == 1:
            return {}
        return {"llm_votes": [{"label": name, "count": n} for name, n in votes.most_common()]}


class _Patient:
    """A door that hands out what came of a question as its answer, also if that is a failure."""

    def __init__(self, door: Asks) -> None:
        self._door = door

    async def ask(self, question: Question[Any]) -> Answer[Any]:
        try:
            return await self._door.ask(question)
        except NotOk as ended:
            return Answer[Any](ended, "", "", Usage(), from_cache=False, repaired=False)


def _is_passing(value: Any) -> bool:
    """Whether it is worth asking again in the next run; what was answered is then in the cache."""
    return isinstance(value, NotOk) and value.reason in PASSES_WITH_TIME


def _label_of(value: Any) -> str | None:
    """The label of an answer, also of one whose text may not be kept."""
    if isinstance(value, NotOk):
        label: str | None = value.payload.get("llm_label")
        return label
    return str(value.label)


def _second_opinion(value: Any, llm_label: str) -> Row:
    if value is None:
        return {}
    if not isinstance(value, Opinion):
        return {"flags": [NO_SECOND]}
    return {"second_label": value.label, "second_agrees": value.label == llm_label}


def _with(ended: NotOk, more: Row) -> NotOk:
    payload = _joined(ended.payload, more)
    return NotOk(ended.status, ended.reason, ended.detail, payload)


def _joined(row: Row, more: Row) -> Row:
    flags = [*(row.get("flags") or []), *(more.get("flags") or [])]
    return {**row, **more, **({"flags": flags} if flags or "flags" in row else {})}
