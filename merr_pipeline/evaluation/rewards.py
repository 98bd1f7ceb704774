"""A reward for reinforcement learning (GRPO): right emotions, few words, the wanted form.

::

    from merr_pipeline.evaluation.rewards import emotion_reward  # by groups of labels

    GRPOTrainer(model, reward_funcs=[emotion_reward], ...)           # TRL
    orms["emotion"] = lambda *_: EmotionReward(load_wheels(folder))  # ms-swift, by emotion wheels

The set F of what was said against ``solution`` is what MER-OV scores, so a longer list could be
worth trying; hence each word more than ``solution`` has costs something.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

from merr_pipeline.emotion.spaces import LabelSpace, load_label_space, plain
from merr_pipeline.evaluation.reading import Reader, load_rules
from merr_pipeline.evaluation.sets import f_score
from merr_pipeline.evaluation.wheel import Classes, label_groups

THOUGHT = re.compile(r"\s*<think>.+?</think>\s*<answer>([^<]+)</answer>\s*", re.DOTALL)
PLAIN = re.compile(r"[^.!?:;<>\n]+")
SPACE = "merr9"


class EmotionReward:
    """Set F, less ``length_penalty`` for each word too many, plus ``format_reward``.

    Args:
        classes: what counts as the same emotion; by default the groups of labels. Where the truth
            has no class (neutral, on wheels), the words themselves are compared.
        thinking: whether the form is ``<think>...</think><answer>...</answer>``; else it is a bare
            list of emotions.
        length_penalty: for each word more than the truth has.
        format_reward: for an answer in the form.
        space: label space whose words are looked for in texts.
    """

    def __init__(
        self,
        classes: Classes | None = None,
        thinking: bool = True,
        length_penalty: float = 0.1,
        format_reward: float = 0.2,
        space: LabelSpace | None = None,
    ) -> None:
        space = space or load_label_space(SPACE)
        self._reader = Reader(space, load_rules())
        self._classes = classes or label_groups(space)
        self._thinking = thinking
        self._length_penalty, self._format_reward = length_penalty, format_reward
        self.__name__ = "emotion_reward"  # trainers log a reward by this

    def __call__(
        self, completions: Sequence[Any], solution: Sequence[Any], **kwargs: Any
    ) -> list[float]:
        """One reward for each completion.

        Args:
            completions: texts, or conversations whose last turn is the answer.
            solution: for each a label, labels with commas between, or a list of them.
            kwargs: further columns of the data, which do not count.
        """
        del kwargs
        pairs = zip(completions, solution, strict=True)
        return [self._one(_text(said), _words(true)) for said, true in pairs]

    def _one(self, text: str, true: list[str]) -> float:
        said = self._reader.words(text)
        too_many = max(0, len(said) - max(1, len(true)))
        reward = self._f(true, said) - self._length_penalty * too_many
        return reward + (self._format_reward if self._has_form(text) else 0.0)

    def _f(self, true: list[str], said: list[str]) -> float:
        themselves = frozenset(map(plain, true)), frozenset(map(plain, said))
        pairs = zip(self._classes.of(true), self._classes.of(said), strict=True)
        scores = [f_score(*(pair if pair[0] else themselves)) for pair in pairs]
        return sum(scores) / len(scores)

    def _has_form(self, text: str) -> bool:
        if self._thinking:
            return THOUGHT.fullmatch(text) is not None
        return PLAIN.fullmatch(text.strip().rstrip(".")) is not None


def emotion_reward(
    completions: Sequence[Any], solution: Sequence[Any], **kwargs: Any
) -> list[float]:
    """`EmotionReward` as it is by default: groups of labels, with thinking."""
    return _default()(completions, solution, **kwargs)


@cache
def _default() -> EmotionReward:
    return EmotionReward()


def _text(said: Any) -> str:
    """Of a completion, as trainers give it: a text, or turns, whose content may be in parts."""
    if isinstance(said, str):
        return said
    content = said[-1]["content"] if said else ""
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content)


def _words(true: Any) -> list[str]:
    words = true.split(",") if isinstance(true, str) else list(true)
    return [word.strip() for word in words if word.strip()]
