"""How a question to a model can fail, and what each failure means for the clip and for the run.

::

    NotOk
      CallFailed       this clip has no answer; its reason says whether that passes with time
        Unlucky        the server failed; the same request may well succeed a moment later
    MerrError
      ModelUnusable    no clip could get an answer: wrong key, wrong model, no money left
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import aiohttp
import openai

from merr_pipeline.llm.limits import retry_after_s
from merr_pipeline.schema import MerrError, Reason, Status
from merr_pipeline.stage import NotOk

NO_COMPLETION = "what it sent is no chat completion"
MOST_SAID = 300  # characters of a server's words that are passed on


class CallFailed(NotOk):
    """A question that got no answer that can be used. A stage may let it pass: it makes the row."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(Status.FAILED, reason, detail)


class Unlucky(CallFailed):
    """A failure of the server's, after which the same request may succeed.

    ``retry_after_s`` is what the server asks to wait, if it does. ``may_be_billed`` says that the
    server may have worked on it all the same.
    """

    def __init__(
        self,
        reason: Reason,
        detail: str,
        retry_after_s: float | None = None,
        *,
        may_be_billed: bool = False,
    ) -> None:
        super().__init__(reason, detail)
        self.retry_after_s = retry_after_s
        self.may_be_billed = may_be_billed


class JsonModeUnsupported(Exception):  # noqa: N818 - the door asks in another way then
    """The server says that it cannot be asked for JSON in this ``mode``."""

    def __init__(self, mode: str) -> None:
        super().__init__(mode)
        self.mode = mode


class ModelUnusable(MerrError):  # noqa: N818 - it says what is wrong, not with what
    """No clip could get an answer from this model: the run stops, and says what to do."""


WHAT_TO_DO = {
    400: "Mend what it names: temperature, seed (null sends none), limit_name or extra of "
    "llm.{role}.",
    401: "Put a valid key into the environment variable that llm.{role}.key_env names.",
    402: "Pay, or ask another server; what was answered is kept.",
    403: "The key has no right to this model: use another key or another model.",
    404: "Set llm.{role}.model to a name that the server has, and see that llm.{role}.base_url is "
    "where its API begins (mostly it ends in /v1).",
    429: "The quota of the key is used up: raise it or wait for the next period; what was answered "
    "is kept.",
}

_UNUSABLE_CODES = {
    "unsupported_parameter": 400,
    "unsupported_value": 400,
    "unknown_parameter": 400,
    "invalid_api_key": 401,
    "model_not_found": 404,
    "insufficient_quota": 429,
}
_UNUSABLE_WORDS = {  # of servers that have no code for it
    400: re.compile(
        r"(unexpected|unknown|unrecognized|unsupported) (request )?(field|parameter|argument)|"
        r"extra (inputs|fields) (are )?not permitted",
        re.IGNORECASE,
    ),
    404: re.compile(
        r"server is pinned to|invalid model name|"
        r"model \S{1,80} (is |was )?(not found|does not exist)",
        re.IGNORECASE,
    ),
}
_GATEWAY_TIMEOUTS = {504, 524}  # somebody before the server waited no longer; it may work on
_TOO_LARGE = re.compile(
    r"context.?(length|window|size)|maximum.{0,20}(length|tokens)|too (large|long|many tokens)|"
    r"exceeds? the (available|maximum|limit)",
    re.IGNORECASE,
)
_JSON_MODE = re.compile(
    r"response_?format|json_schema|json_object|json schema|structured.?output|guided|grammar",
    re.IGNORECASE,
)


def may_be_billed(error: BaseException) -> bool:
    """Whether a server may bill a request that ended so.

    One that it refused with a status is not billed. Of one that it was given and that brought
    nothing back (a time limit, a connection that broke, our own end) nobody knows.
    """
    if isinstance(error, Unlucky):
        return error.may_be_billed
    return not isinstance(error, (CallFailed, ModelUnusable, JsonModeUnsupported))


def understand(
    error: Exception, role: str, model: str, secret: str, body: Mapping[str, Any]
) -> Exception:
    """What an error of the SDK means; to be raised.

    ``secret`` is taken out of whatever the server says. ``body`` is what it was sent.
    """
    if _is_refused(error):
        return Unlucky(Reason.MODEL_UNREACHABLE, "no connection")
    if isinstance(error, (openai.APITimeoutError, TimeoutError)):
        why = f"no answer within llm.{role}.timeout_s"
        return Unlucky(Reason.MODEL_TIMEOUT, why, may_be_billed=True)
    if isinstance(error, openai.APIStatusError):
        return _of_status(error, role, model, secret, body)
    if isinstance(error, openai.APIConnectionError):
        why = "no connection, or it broke"
        return Unlucky(Reason.MODEL_UNREACHABLE, why, may_be_billed=True)
    return Unlucky(Reason.MODEL_SERVER_ERROR, NO_COMPLETION, may_be_billed=True)


def _is_refused(error: BaseException | None) -> bool:
    """Whether no connection could be made; the SDK calls that a time limit (openai 3.54)."""
    while error is not None:
        if isinstance(error, aiohttp.ClientConnectorError):
            return True
        error = error.__cause__
    return False


def _of_status(
    error: openai.APIStatusError, role: str, model: str, secret: str, body: Mapping[str, Any]
) -> Exception:
    status, words = error.status_code, _words(error, secret)
    asked_format = body.get("response_format")
    if asked_format and status in {400, 422, 501} and _JSON_MODE.search(f"{words} {error.param}"):
        return JsonModeUnsupported(asked_format["type"].removeprefix("json_"))
    unusable = _UNUSABLE_CODES.get(error.code or "")
    if unusable is None and status in {401, 402, 403, 404}:
        unusable = status
    if unusable is None and status in {400, 422}:
        unusable = next((n for n, said in _UNUSABLE_WORDS.items() if said.search(words)), None)
    if unusable is not None:
        what_to_do = WHAT_TO_DO[unusable].format(role=role)
        return ModelUnusable(
            f"llm.{role}: the server of model {model!r} refuses every request ({status}): {words}\n"
            f"{what_to_do}"
        )
    wait = retry_after_s(error.response.headers)
    if status == 429:
        return Unlucky(Reason.MODEL_RATE_LIMIT, "status 429", wait)
    if status == 408:
        return Unlucky(Reason.MODEL_TIMEOUT, "status 408", wait)
    if status >= 500 or status in {409, 425}:
        late = status in _GATEWAY_TIMEOUTS
        return Unlucky(Reason.MODEL_SERVER_ERROR, f"status {status}", wait, may_be_billed=late)
    if status == 413 or _TOO_LARGE.search(words) or error.code == "context_length_exceeded":
        return CallFailed(Reason.REQUEST_TOO_LARGE, f"status {status}: {words}")
    return CallFailed(Reason.REQUEST_REJECTED, f"status {status}: {words}")


def _words(error: openai.APIStatusError, secret: str) -> str:
    """What the server says is wrong, on one line, without the key."""
    body: Any = error.body
    if isinstance(body, Mapping):
        body = body.get("error", body)  # the SDK mostly unwraps it
    if isinstance(body, Mapping):
        body = body.get("message") or body.get("detail") or body
    return said(str(body or "no further word"), secret)


def said(text: str, secret: str) -> str:
    """A model's or server's words for people: on one line, not long, without the key."""
    text = " ".join(text.split())
    if secret:
        text = text.replace(secret, "(key)")
    return text if len(text) <= MOST_SAID else f"{text[: MOST_SAID - 1]}…"
