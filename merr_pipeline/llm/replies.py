"""What a server's chat completion holds: a text, or why there is none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from merr_pipeline.llm.failures import NO_COMPLETION, CallFailed, Unlucky, said
from merr_pipeline.llm.messages import text_tokens
from merr_pipeline.llm.prices import Usage
from merr_pipeline.schema import Reason


@dataclass(frozen=True)
class Reply:
    """What a model answered, and what that took."""

    text: str
    usage: Usage
    finish: str = "stop"
    refusal: str = ""

    def accepted(self, secret: str) -> Reply:
        """The reply, if it is a whole answer.

        Raises:
            CallFailed: it is a refusal, cut at ``max_tokens``, or empty.
        """
        if self.refusal or self.finish == "content_filter":
            words = self.refusal or "a filter of the server's held it back"
            raise CallFailed(Reason.MODEL_REFUSED, said(words, secret))
        if self.finish == "length":
            raise CallFailed(Reason.ANSWER_CUT, f"cut after {self.usage.completion} tokens")
        if not self.text.strip():
            raise CallFailed(Reason.ANSWER_EMPTY)
        return self


def read_completion(completion: Any, prompt: Usage) -> tuple[Reply, bool]:
    """The reply in what the SDK gave, and whether the server said what it took.

    The SDK checks little: what a server calls a completion may be a page of HTML, or hold no
    choice. ``prompt`` is our estimate, for servers that do not count.

    Raises:
        Unlucky: it is no completion.
    """
    choices = getattr(completion, "choices", None)
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = getattr(choice, "message", None)
    if message is None:
        raise Unlucky(Reason.MODEL_SERVER_ERROR, NO_COMPLETION, may_be_billed=True)
    text = _text(getattr(message, "content", None))
    counted = Usage.from_server(getattr(completion, "usage", None))
    usage = counted or prompt + Usage(completion=text_tokens(text))
    finish = str(getattr(choice, "finish_reason", "") or "")
    return Reply(text, usage, finish, _text(getattr(message, "refusal", None))), counted is not None


def _text(content: Any) -> str:
    """A text; half a character (a lone surrogate), which no file can hold, becomes a mark."""
    return content.encode("utf-8", "replace").decode("utf-8") if isinstance(content, str) else ""
