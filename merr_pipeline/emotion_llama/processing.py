"""From a clip's question, words and media to the tokens and tensors of the model."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from PIL import Image
from torch import Tensor
from transformers import AutoProcessor, ProcessorMixin

from merr_pipeline.emotion_llama.configuration import EmotionLlamaConfig
from merr_pipeline.emotion_llama.layout import PLACEHOLDERS, PUBLISHED, layout_from
from merr_pipeline.emotion_llama.loss import IGNORED
from merr_pipeline.emotion_llama.preprocessing import Pixels, default_pixels

TOKENS = {name: f"<|{name}|>" for name in PLACEHOLDERS}
"""The special tokens that vectors take the place of, unless a tokenizer lends others."""

PUBLISHED_TEMPLATE = (
    "{% for message in messages %}{% if message['role'] == 'user' %}"
    "{{ bos_token }}[INST] {{ message['content'] }}  [/INST]"
    "{% else %}{{ message['content'] }}{{ eos_token }}{% endif %}{% endfor %}"
)
"""Chat template of the published training; the template of a chat model's tokenizer goes first."""

_CONTENT, _ANSWER = "\x00content\x00", "\x00answer\x00"  # no template has them


@dataclass(frozen=True)
class Question:
    """What is asked of a clip."""

    question: str
    task: str
    transcript: str | None = None


class EmotionLlamaProcessor(ProcessorMixin):
    """Tokenizer, layout and preprocessing of one model, saved with it.

    Words that come from outside (a transcript, a question, an answer) are never read as special
    tokens, neither as placeholders nor as the end of a turn, whatever they hold.
    """

    attributes = ("tokenizer",)
    tokenizer_class = "AutoTokenizer"

    def __init__(
        self,
        tokenizer: Any = None,
        layout: Mapping[str, Any] | None = None,
        tokens: Mapping[str, str] | None = None,
        pixels: Mapping[str, Any] | None = None,
        chat_template: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Add the placeholders to the tokenizer, where it has them not.

        Args:
            tokenizer: of the language model.
            layout: as `Layout.as_dict` gives it; the published one by default.
            tokens: the special token of each placeholder; a tokenizer's reserved ones may serve.
            pixels: fields of `Pixels` by encoder.
            chat_template: in place of the tokenizer's own.
            **kwargs: whatever else a saved processor holds.
        """
        del kwargs
        self.layout = (PUBLISHED if layout is None else layout_from(layout)).as_dict()
        self.tokens = dict(TOKENS if tokens is None else tokens)
        self.pixels = dict(default_pixels(self.layout["picture_px"]) if pixels is None else pixels)
        template = chat_template or tokenizer.chat_template or PUBLISHED_TEMPLATE
        super().__init__(tokenizer, chat_template=template)
        tokenizer.add_special_tokens(
            {"extra_special_tokens": list(self.tokens.values())},
            replace_extra_special_tokens=False,
        )
        self._check_tokens()

    def _check_tokens(self) -> None:
        ids = self.placeholder_ids
        if len(set(ids.values())) < len(PLACEHOLDERS):
            raise ValueError(f"placeholders share a token: {self.tokens}")
        for name, token in self.tokens.items():
            if ids[name] in self._plain(token):
                raise ValueError(f"{token} is no special token: words could make it")

    @property
    def placeholder_ids(self) -> dict[str, int]:
        """The token id of each placeholder."""
        found: dict[str, int] = {
            name: self.tokenizer.convert_tokens_to_ids(self.tokens[name]) for name in PLACEHOLDERS
        }
        return found

    def config_fields(self) -> dict[str, Any]:
        """Fields of an `EmotionLlamaConfig` that must be the same as here."""
        ids = {f"{name}_token_id": number for name, number in self.placeholder_ids.items()}
        return {"layout": self.layout, **ids}

    def prompt_ids(self, asked: Question, vectors: Mapping[str, int]) -> list[int]:
        """Tokens up to where the answer begins.

        Args:
            asked: question, task and words.
            vectors: how many pictures (``image``) and vectors of each stream the clip has.
        """
        layout = layout_from(self.layout)
        counts = layout.counts(vectors)
        texts = {"transcript": asked.transcript, "task": asked.task, "question": asked.question}
        before, after = self._frame
        filled = layout.filled(counts, texts)
        return self._tokenized([("words", before), *filled, ("words", after)], counts)

    def answer_ids(self, answer: str) -> list[int]:
        """Tokens of an answer and of the end of its turn."""
        return self._tokenized([("said", answer), ("words", self._end)], {})

    def example(
        self, asked: Question, answer: str, vectors: Mapping[str, int]
    ) -> dict[str, list[int]]:
        """``input_ids`` and ``labels``, which are `IGNORED` up to where the answer begins."""
        prompt, reply = self.prompt_ids(asked, vectors), self.answer_ids(answer)
        return {"input_ids": prompt + reply, "labels": [IGNORED] * len(prompt) + reply}

    def picture_values(self, name: str, pictures: Sequence[Image.Image]) -> Tensor:
        """What the encoder ``name`` reads: ``[pictures, 3, height, width]``."""
        return Pixels(**self.pixels[name]).of(pictures)

    def answers(self, written: Tensor, prompt_length: int) -> list[str]:
        """Texts of what `generate` gave, which begins with the prompt."""
        texts: list[str] = self.tokenizer.batch_decode(
            written[:, prompt_length:], skip_special_tokens=True
        )
        return [text.strip() for text in texts]

    @cached_property
    def _frame(self) -> tuple[str, str]:
        """What stands before and after the user's turn, up to where the answer begins."""
        asked = [{"role": "user", "content": _CONTENT}]
        rendered = self._rendered(asked, add_generation_prompt=True)
        before, _, after = rendered.partition(_CONTENT)
        return before, after

    @cached_property
    def _end(self) -> str:
        """What ends an answer."""
        talk = [
            {"role": "user", "content": _CONTENT},
            {"role": "assistant", "content": _ANSWER},
        ]
        return self._rendered(talk).partition(_ANSWER)[2].rstrip()

    def _rendered(self, talk: list[dict[str, str]], **how: Any) -> str:
        # A model that may think is asked not to: the reasons are the answer itself.
        text: str = self.tokenizer.apply_chat_template(
            talk, chat_template=self.chat_template, tokenize=False, enable_thinking=False, **how
        )
        return text

    def _tokenized(self, parts: Sequence[tuple[str, str]], counts: Mapping[str, int]) -> list[int]:
        """Texts between special tokens are tokenized as one, as a whole prompt would be."""
        ids: list[int] = []
        text = ""
        for kind, content in parts:
            if kind == "said":
                text += content
                continue
            if kind in PLACEHOLDERS:
                ids += self._plain(text) + [self.placeholder_ids[kind]] * counts[kind]
                text = ""
                continue
            for number, piece in enumerate(self._special.split(content)):
                if number % 2:  # a special token of the frame
                    ids += [*self._plain(text), self.tokenizer.convert_tokens_to_ids(piece)]
                    text = ""
                else:
                    text += piece
        return ids + self._plain(text)

    def _plain(self, text: str) -> list[int]:
        if not text:
            return []
        found: list[int] = self.tokenizer(
            text, add_special_tokens=False, split_special_tokens=True
        )["input_ids"]
        return found

    @cached_property
    def _special(self) -> re.Pattern[str]:
        added = self.tokenizer.added_tokens_decoder.values()
        tokens = sorted({one.content for one in added if one.special}, key=len, reverse=True)
        return re.compile("(" + "|".join(map(re.escape, tokens)) + ")")


AutoProcessor.register(EmotionLlamaConfig, EmotionLlamaProcessor)
