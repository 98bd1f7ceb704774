"""What a model must answer: its JSON schema, how an answer is read, how a wrong one is shown to it.

A server that can hold a model to a schema is given it; any other is asked in the prompt, and its
answer is read leniently: in a code fence, with thoughts before it and remarks around it.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError

from merr_pipeline.llm.messages import Message, as_plain, user

M = TypeVar("M", bound=BaseModel)
Schema = dict[str, Any]

MOST_ERRORS = 5  # told of one answer
MOST_STARTS = 500  # of objects looked for in one answer, so that brackets without end cost little
MOST_SHOWN = 4000  # characters of a wrong answer that are shown to the model again


class UnfitError(ValueError):
    """An answer that is no JSON, or not of the wanted shape. Its text tells the model what is."""


@functools.cache
def strict_schema(model: type[BaseModel]) -> Schema:
    """The JSON schema of a model as strict servers want it; one dict for all, not to be changed.

    Every field is required, none may be added, and nothing stands beside a reference (OpenAI's
    rules for structured outputs; vLLM, SGLang and llama.cpp take the same).
    """
    schema = model.model_json_schema()
    definitions = schema.get("$defs", {})
    strict: Schema = _strict(schema, definitions)
    return strict


def _strict(node: Any, definitions: Mapping[str, Any]) -> Any:
    if isinstance(node, list):
        return [_strict(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node and len(node) > 1:  # write out what it refers to
        target = definitions[node["$ref"].removeprefix("#/$defs/")]
        beside = {key: value for key, value in node.items() if key != "$ref"}
        return _strict({**target, **beside}, definitions)
    names = {"properties", "$defs"}  # their keys are names, not keywords
    found = {
        key: {name: _strict(inner, definitions) for name, inner in value.items()}
        if key in names
        else _strict(value, definitions)
        for key, value in node.items()
        if key != "default"
    }
    if "properties" in found:
        found["required"] = list(found["properties"])
        found["additionalProperties"] = False
    return found


def response_format(schema: Schema, mode: str) -> dict[str, Any] | None:
    """The request's ``response_format`` in one of the three JSON modes; none asks for nothing."""
    if mode == "schema":
        named = {"name": "answer", "schema": schema, "strict": True}
        return {"type": "json_schema", "json_schema": named}
    return {"type": "json_object"} if mode == "object" else None


def instruction(schema: Schema) -> str:
    """How to answer, in words, for a server that cannot hold a model to a schema."""
    return (
        "Answer with one JSON object and nothing else: no remark, no code fence. It must fit this "
        f"JSON schema:\n{json.dumps(schema, ensure_ascii=False)}"
    )


def with_instruction(messages: tuple[Message, ...], schema: Schema) -> tuple[Message, ...]:
    """The messages with the instruction as the last thing that the user says."""
    last = max(n for n, message in enumerate(messages) if message.role == "user")
    *parts, end = messages[last].parts
    added = (
        (f"{end}\n\n{instruction(schema)}",) if isinstance(end, str) else (end, instruction(schema))
    )
    told = Message("user", (*parts, *added))  # a lone text stays one, for simple servers
    return (*messages[:last], told, *messages[last + 1 :])


def repair_turns(text: str, wrong: str) -> tuple[Message, Message]:
    """The answer that cannot be used, and what is wrong with it.

    Both may repeat words that were said in a clip: here too they must steer no chat template.
    """
    shown = text[:MOST_SHOWN] or "(nothing)"
    return (
        Message("assistant", (_lines_as_plain(shown),)),
        user(
            f"That answer cannot be used:\n{_lines_as_plain(wrong)}\n"
            "Give the whole answer again, mended: one JSON object and nothing else."
        ),
    )


def _lines_as_plain(text: str) -> str:
    return "\n".join(map(as_plain, text.split("\n")))


def read_answer(text: str, model: type[M]) -> M:
    """The answer in a model's text.

    The whole text if it is one JSON object; else the last object in it that fits, for what comes
    last is what a model settled on.

    Raises:
        UnfitError: there is no JSON object in it, or none that fits; it says what is wrong with
            the last.
    """
    objects, broken = _objects(_THOUGHTS.sub("", text))
    wrong: ValidationError | None = None
    for found in reversed(objects):
        try:
            return model.model_validate(found)
        except ValidationError as error:
            wrong = wrong or error
    if broken or wrong is None:
        raise UnfitError(broken or "It holds no JSON object.")
    raise UnfitError(_explain(wrong)) from wrong


_THOUGHTS = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)


def _not_a_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


_decoder = json.JSONDecoder(strict=False, parse_constant=_not_a_number)  # raw newlines may stand


def _objects(text: str) -> tuple[list[dict[str, Any]], str | None]:
    """Every outermost JSON object in a text, in order; what broke the first, if one is broken."""
    found: list[dict[str, Any]] = []
    broken: str | None = None
    place, starts = text.find("{"), 0
    while place >= 0 and starts < MOST_STARTS:
        try:
            item, end = _decoder.raw_decode(text, place)
            json.dumps(item, ensure_ascii=False).encode()  # no file can hold half a character
            found.append(item)
        except (ValueError, RecursionError) as error:  # RecursionError: thousands of open brackets
            broken = broken or f"It is no JSON that can be read: {error}"
            end = place + 1
        place, starts = text.find("{", end), starts + 1
    return found, broken


def _explain(error: ValidationError) -> str:
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    lines = [
        f"- {'.'.join(str(part) for part in problem['loc']) or 'the answer'}: {problem['msg']}"
        for problem in problems
    ]
    if len(lines) > MOST_ERRORS:
        lines = [*lines[:MOST_ERRORS], f"- and {len(lines) - MOST_ERRORS} more"]
    return "\n".join(lines)
