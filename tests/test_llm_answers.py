"""The schema a model is given, and how leniently its answer is read."""

import json
import math
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from merr_pipeline.llm.answers import (
    UnfitError,
    read_answer,
    repair_turns,
    response_format,
    strict_schema,
    with_instruction,
)
from merr_pipeline.llm.messages import Message, Picture, system, user


class Cue(BaseModel):
    evidence_id: str
    reading: str = Field("", description="what it tells")


class Fine(BaseModel):
    label: Literal["happy", "sad"]
    confidence: float = Field(ge=0, le=1)
    main: Cue = Field(Cue(evidence_id="E0"), description="the clue that counts most")
    cues: list[Cue] = []
    text: str | None = None


FITS = {"label": "sad", "confidence": 0.5, "cues": [{"evidence_id": "E1", "reading": "x"}]}


def objects_in(schema):
    if isinstance(schema, dict):
        if "properties" in schema:
            yield schema
        for value in schema.values():
            yield from objects_in(value)
    if isinstance(schema, list):
        for value in schema:
            yield from objects_in(value)


def test_the_schema_requires_every_field_and_takes_no_other():
    schema = strict_schema(Fine)

    assert schema["required"] == ["label", "confidence", "main", "cues", "text"]
    assert len(list(objects_in(schema))) == 3  # Fine, Cue among the definitions, Cue written out
    for part in objects_in(schema):
        assert part["additionalProperties"] is False
        assert part["required"] == list(part["properties"])
    assert schema["properties"]["main"]["description"] == "the clue that counts most"
    assert '"default"' not in json.dumps(schema)


def test_nothing_stands_beside_a_reference_in_the_schema():
    def references(node):
        if isinstance(node, dict):
            if "$ref" in node:
                yield node
            for value in node.values():
                yield from references(value)
        if isinstance(node, list):
            for value in node:
                yield from references(value)

    assert [list(node) for node in references(strict_schema(Fine))] == [["$ref"]]


def test_a_field_may_be_called_like_a_keyword_of_schemas():
    class Odd(BaseModel):
        default: str
        properties: int

    assert strict_schema(Odd)["required"] == ["default", "properties"]


def test_the_three_modes_ask_for_json_in_three_ways():
    schema = strict_schema(Cue)

    assert response_format(schema, "schema") == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": schema, "strict": True},
    }
    assert response_format(schema, "object") == {"type": "json_object"}
    assert response_format(schema, "none") is None


def test_the_instruction_is_the_last_that_the_user_says():
    picture = Picture(b"jpeg")
    messages = (system("be brief"), user("look", picture), Message("assistant", ("what?",)))

    told = with_instruction(messages, strict_schema(Cue))

    assert (told[0], told[2]) == (messages[0], messages[2])
    assert told[1].parts[:2] == ("look", picture)
    assert json.dumps(strict_schema(Cue)) in told[1].parts[2]


@pytest.mark.parametrize(
    "around",
    [
        "{}",
        "\n\t {} \n",
        "```json\n{}\n```",
        "```\n{}\n```",
        "Here it is:\n\n{}\n\nI hope that helps {{really}}.",
        '<think>Perhaps {{"label": "happy", "confidence": 1}}? No.</think>{}',
        'I first thought {{"label": "happy", "confidence": 0.9}}. Final answer: {}',
        "{{broken: yes}} {}",
        "[{}]",
    ],
)
def test_an_answer_is_found_in_what_stands_around_it(around):
    found = read_answer(around.format(json.dumps(FITS)), Fine)

    assert (found.label, found.confidence, found.cues[0].evidence_id) == ("sad", 0.5, "E1")


def test_a_line_break_inside_a_text_is_read():
    assert read_answer('{"evidence_id": "E1", "reading": "one\ntwo"}', Cue).reading == "one\ntwo"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no JSON object"),
        ("happy, I would say", "no JSON object"),
        ("[1, 2]", "no JSON object"),
        ('{"label": "sad", "confidence": ', "no JSON that can be read: Expecting value"),
        ('{"label": "sad", "confidence": 0.5,}', "no JSON that can be read"),
        ('{"label": "sad", "confidence": NaN}', "NaN is no JSON"),
        ('{"label": "angry", "confidence": 0.5}', "- label: Input should be 'happy' or 'sad'"),
        ('{"label": "sad"}', "- confidence: Field required"),
        ('{"label": "sad", "confidence": 7}', "- confidence: .* less than or equal to 1"),
        ('{"label": "sad", "confidence": 0.5, "cues": [{}]}', "- cues.0.evidence_id: Field requ"),
        ('{"label": "sad", "confidence": 0.5, "text": "\\ud800"}', "surrogates not allowed"),
        ('{"a":' * 100_000, "no JSON that can be read"),
        ("{" * 100_000, "no JSON that can be read"),
        ('{"label": "sad", "confidence": ' + "9" * 5000 + "}", "no JSON that can be read"),
    ],
)
def test_an_answer_that_does_not_fit_says_what_is_wrong(text, why):
    with pytest.raises(UnfitError, match=why):
        read_answer(text, Fine)


def test_of_many_errors_the_first_are_told():
    cues = [{"reading": "x"}] * 9
    with pytest.raises(UnfitError) as told:
        read_answer(json.dumps(FITS | {"cues": cues}), Fine)

    lines = str(told.value).splitlines()
    assert lines[0] == "- cues.0.evidence_id: Field required"
    assert lines[-1] == "- and 4 more"
    assert len(lines) == 6


def test_the_repair_shows_the_answer_and_what_is_wrong_with_it():
    shown, told = repair_turns("nonsense" * 1000, "- label: missing")

    assert shown == Message("assistant", ("nonsense" * 500,))
    assert "- label: missing" in told.parts[0]


no_braces = st.text(st.characters(exclude_characters="{}", codec="utf-8"), max_size=50)
fine_answers = st.builds(
    Fine,
    label=st.sampled_from(["happy", "sad"]),
    confidence=st.floats(0, 1),
    main=st.builds(Cue, evidence_id=st.text(), reading=st.text()),
    cues=st.lists(st.builds(Cue, evidence_id=st.text(), reading=st.text()), max_size=3),
    text=st.none() | st.text(),
)


@given(fine_answers, no_braces, no_braces, st.booleans())
def test_any_answer_is_read_as_it_was_meant_whatever_stands_around_it(value, before, after, plain):
    text = json.dumps(value.model_dump(), ensure_ascii=plain)

    assert read_answer(f"{before}{text}{after}", Fine) == value


@given(st.text(st.sampled_from('{}[]":,ab1\\ \n') | st.characters()))
def test_whatever_a_model_says_is_an_answer_that_fits_or_is_told_why_not(text):
    try:
        value = read_answer(text, Fine)
    except UnfitError as unfit:
        told = str(unfit)
    else:
        told = f"{value.label} {math.isfinite(value.confidence)}"
    assert told.strip()
    assert "False" not in told
