"""A loaded model answers questions about clips, and says how likely each label is to it.

Answers are greedy unless beams are asked for, and nothing is ever drawn: the same questions in the
same order give the same answers. Questions of about one length share a batch, for a row that waits
for a longer one is work for nothing.

A label's likelihood is that of its tokens and of the end of the answer behind them, so a label that
begins like another (``worried``, ``worried about``) gets nothing of the other's. The likelihoods
are made to sum to 1 over the labels that were asked about: what else the model might have said is
left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import GenerationConfig

from merr_pipeline.dataset.shards import batched
from merr_pipeline.emotion_llama.collate import PaddingCollator
from merr_pipeline.emotion_llama.modeling import EmotionLlamaForConditionalGeneration
from merr_pipeline.emotion_llama.processing import EmotionLlamaProcessor, Question
from merr_pipeline.training_data.data import vectors_of

LABEL_ROWS = 32
"""Rows of one step over labels, each with a copy of its prompt's keys and values: some 200 MB for
400 tokens of a 7B model."""


@dataclass(frozen=True)
class Asked:
    """A question about a clip, and what the model is shown of that (see `data.OfClip`)."""

    question: Question
    shown: Mapping[str, Tensor]


@dataclass(frozen=True)
class Answer:
    """What the model said; ``cut`` where it had more to say than it was let."""

    text: str
    cut: bool


@dataclass(frozen=True)
class How:
    """How answers are made."""

    beams: int = 1
    longest: int = 512  # tokens of an answer
    batch: int = 16  # questions at a time


class Answerer:
    """Asks one model, on the device on which it is."""

    def __init__(
        self,
        model: EmotionLlamaForConditionalGeneration,
        processor: EmotionLlamaProcessor,
        how: How | None = None,
    ) -> None:
        self._model, self._processor, self._how = model.eval(), processor, how or How()
        tokenizer, own = processor.tokenizer, model.generation_config
        ends = own.eos_token_id if isinstance(own.eos_token_id, list) else [own.eos_token_id]
        # A chat model's turn may end with another token than its texts.
        ends += [tokenizer.eos_token_id, *processor.answer_ids("")[-1:]]
        self._ends = sorted({end for end in ends if end is not None})
        pad = tokenizer.pad_token_id
        pad = self._ends[0] if pad is None else pad
        self._left = PaddingCollator(pad, side="left")
        # Its own, for that of a pretrained model may say to draw, and at which temperature.
        self._generation = GenerationConfig(
            do_sample=False,
            num_beams=self._how.beams,
            max_new_tokens=self._how.longest,
            eos_token_id=self._ends,
            pad_token_id=pad,
            bos_token_id=own.bos_token_id,
            suppress_tokens=own.suppress_tokens,
        )

    def answers(self, asked: Sequence[Asked]) -> list[Answer]:
        """One answer for each question, in their order."""
        prompts = [self._prompt(one) for one in asked]
        found: dict[int, Answer] = {}
        for some in batched(_by_length(prompts), self._how.batch):
            batch = self._together([prompts[index] for index in some])
            with torch.inference_mode():
                found |= zip(some, self._generated(batch), strict=True)
        return [found[index] for index in range(len(asked))]

    def label_probabilities(
        self, asked: Sequence[Asked], labels: Sequence[str]
    ) -> list[list[float]]:
        """The probability of each label as the answer to each question; they sum to 1.

        Each prompt is read once; its labels then go on from there side by side.
        """
        prompts = [self._prompt(one) for one in asked]
        replies = [self._processor.answer_ids(label) for label in labels]
        at_once = min(self._how.batch, max(1, LABEL_ROWS // len(labels)))
        found: dict[int, list[float]] = {}
        for some in batched(_by_length(prompts), at_once):
            batch = self._together([prompts[index] for index in some])
            with torch.inference_mode():
                likelihoods = self._likelihoods(batch, replies).double()
            found |= zip(some, likelihoods.softmax(-1).tolist(), strict=True)
        return [found[index] for index in range(len(asked))]

    def _prompt(self, one: Asked) -> dict[str, Any]:
        vectors = vectors_of(self._processor, one.shown)
        return {"input_ids": self._processor.prompt_ids(one.question, vectors), **one.shown}

    def _together(self, prompts: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        device = self._model.device
        return {name: tensor.to(device) for name, tensor in self._left(prompts).items()}

    def _generated(self, batch: dict[str, Tensor]) -> list[Answer]:
        length = batch["input_ids"].shape[1]
        written = self._model.generate(**batch, generation_config=self._generation)
        ends = torch.tensor(self._ends, device=written.device)
        ended = torch.isin(written[:, length:], ends).any(1).tolist()
        texts = self._processor.answers(written, length)
        return [Answer(text, not end) for text, end in zip(texts, ended, strict=True)]

    def _likelihoods(self, batch: dict[str, Tensor], replies: Sequence[list[int]]) -> Tensor:
        """``[clips, labels]``: log probabilities of all tokens of a reply together."""
        there = batch["attention_mask"]
        positions = (there.cumsum(1) - 1).clamp(min=0)
        read = self._model(**batch, position_ids=positions, use_cache=True, logits_to_keep=1)
        clips, count = len(there), len(replies)
        tokens, wanted = _side_by_side(replies, there.device)
        tokens, wanted = tokens.repeat(clips, 1), wanted.repeat(clips, 1)
        logits = read.logits.repeat_interleave(count, 0)
        if tokens.shape[1] > 1:  # the last token of a reply predicts nothing that is asked for
            cache = read.past_key_values
            cache.batch_repeat_interleave(count)
            before = there.repeat_interleave(count, 0)
            starts = before.sum(1, keepdim=True)
            steps = torch.arange(tokens.shape[1] - 1, device=there.device)
            rest = self._model(
                input_ids=tokens[:, :-1],
                attention_mask=torch.cat([before, wanted[:, :-1].to(before)], 1),
                position_ids=starts + steps,
                past_key_values=cache,
                use_cache=True,
            )
            logits = torch.cat([logits, rest.logits], 1)
        chosen = functional.log_softmax(logits.float(), -1).gather(-1, tokens[..., None])[..., 0]
        return chosen.masked_fill(~wanted, 0.0).sum(1).reshape(clips, count)


def _side_by_side(replies: Sequence[list[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """``[labels, tokens]`` token ids, and where there is one."""
    longest = max(len(reply) for reply in replies)
    tokens = torch.tensor([reply + [0] * (longest - len(reply)) for reply in replies])
    lengths = torch.tensor([len(reply) for reply in replies])
    wanted = torch.arange(longest)[None] < lengths[:, None]
    return tokens.to(device), wanted.to(device)


def _by_length(prompts: Sequence[Mapping[str, Any]]) -> Iterable[int]:
    """Numbers of the prompts, the longest first: what does not fit into memory fails at once."""
    return sorted(range(len(prompts)), key=lambda index: -len(prompts[index]["input_ids"]))
