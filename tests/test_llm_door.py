"""The door against a real server that fails: what is sent and kept, and how each fault ends."""

import asyncio
import base64
import io
import json
import logging
import time
from email.utils import formatdate

import PIL.Image
import pytest
from doors import Label, ask, llm, open_door, question
from model_server import CUT, HANG, ModelServer, Step, answer, said, slow, status

from merr_pipeline.llm.failures import ModelUnusable
from merr_pipeline.llm.messages import Picture, Sound, system, user
from merr_pipeline.llm.prices import Usage
from merr_pipeline.schema import PASSES_WITH_TIME, MerrError, Reason
from merr_pipeline.settings import LlmSettings, SettingsError
from merr_pipeline.stage import fail, one

HAPPY = answer({"label": "happy"})


def jpeg(width: int = 448, height: int = 252) -> Picture:
    file = io.BytesIO()
    PIL.Image.new("RGB", (width, height), "grey").save(file, "jpeg")
    return Picture(file.getvalue())


# what is sent


def test_an_answer_comes_back_as_the_wanted_type_with_what_it_took(tmp_path):
    with ModelServer([HAPPY]) as server:
        outcome = ask(llm(server.url), tmp_path, question())

    (answered,) = outcome.answers
    assert answered.value == Label(label="happy")
    assert answered.usage == Usage(prompt=100, completion=20)
    assert (answered.from_cache, answered.repaired, answered.model) == (False, False, "toy")
    body = server.requests[0].body
    assert body["messages"] == [{"role": "user", "content": "how is he?"}]
    assert (body["model"], body["temperature"], body["seed"], body["max_tokens"]) == (
        "toy",
        0.0,
        0,
        50,
    )
    assert body["response_format"]["json_schema"]["schema"]["required"] == ["label"]
    assert "stream" not in body


def test_parameters_set_to_null_are_not_sent_and_more_may_be(tmp_path):
    settings = {
        "temperature": None,
        "seed": None,
        "limit_name": "max_completion_tokens",
        "extra": {"top_k": 5, "chat_template_kwargs": {"enable_thinking": False}},
    }
    with ModelServer([HAPPY]) as server:
        ask(llm(server.url, **settings), tmp_path, question())

    body = server.requests[0].body
    assert not {"temperature", "seed", "max_tokens"} & body.keys()
    assert (body["max_completion_tokens"], body["top_k"]) == (50, 5)
    assert body["chat_template_kwargs"] == {"enable_thinking": False}


@pytest.mark.parametrize("style", ["input_audio", "audio_url"])
def test_pictures_and_sound_are_sent_inline(tmp_path, style):
    picture, sound = jpeg(), Sound(b"RIFFwave", duration_s=2.0)
    messages = (system("look"), user("what is it?", picture, sound))
    with ModelServer([HAPPY]) as server:
        ask(llm(server.url, audio_part=style), tmp_path, question(messages))

    told, asked = server.requests[0].body["messages"]
    text, image, audio = asked["content"]
    assert told == {"role": "system", "content": "look"}
    assert text == {"type": "text", "text": "what is it?"}
    head, _, data = image["image_url"]["url"].partition(",")
    assert (head, base64.b64decode(data)) == ("data:image/jpeg;base64", picture.data)
    wave = base64.b64encode(sound.data).decode()
    assert audio == (
        {"type": "input_audio", "input_audio": {"data": wave, "format": "wav"}}
        if style == "input_audio"
        else {"type": "audio_url", "audio_url": {"url": f"data:audio/wav;base64,{wave}"}}
    )


def test_samples_of_one_question_differ_in_seed_and_are_kept_apart(tmp_path):
    with ModelServer([HAPPY, answer({"label": "sad"})]) as server:
        questions = [question(sample=0), question(sample=1)] * 2
        outcome = ask(llm(server.url, seed=7), tmp_path, *questions)

    assert [a.value.label for a in outcome.answers] == ["happy", "sad", "happy", "sad"]
    assert [asked.body["seed"] for asked in server.requests] == [7, 8]


def test_roles_that_leave_out_their_server_ask_that_of_the_text_with_its_key(tmp_path):
    with ModelServer([HAPPY]) as server:
        settings = LlmSettings.model_validate(
            {
                "text": {"base_url": server.url, "model": "toy", "key_env": "KEY"},
                "vision": {"model": "eye"},
            }
        )
        questions = question(), question(role="vision", stage="scene")
        keys = {"KEY": "s3cret"}
        outcome = ask(settings, tmp_path, *questions, roles=("text", "vision"), environment=keys)

    assert [a.model for a in outcome.answers] == ["toy", "eye"]
    assert [asked.body["model"] for asked in server.requests] == ["toy", "eye"]
    assert {asked.headers["authorization"] for asked in server.requests} == {"Bearer s3cret"}
    assert [(a.stage, a.model) for a in outcome.accounts] == [("fine", "toy"), ("scene", "eye")]


def test_roles_that_ask_one_model_share_its_limits(tmp_path):
    with ModelServer([slow(HAPPY, 0.05)]) as server:
        settings = LlmSettings.model_validate(
            {
                "text": {"base_url": server.url, "model": "toy", "concurrency": 3},
                "second": {"model": "toy", "concurrency": 8},
            }
        )
        questions = [question(f"{n}", role=("text", "second")[n % 2]) for n in range(12)]
        outcome = ask(settings, tmp_path, *questions, roles=("text", "second"), together=True)

    assert len(outcome.answers) == 12
    assert server.most_in_flight == 3


# faults that pass


@pytest.mark.parametrize(
    "fault",
    [
        status(500),
        status(503),
        status(429),
        status(408),
        CUT,
        Step(body=b"<html>Bad gateway</html>", headers={"content-type": "text/html"}),
        Step(body=b'{"choices": [{"mess'),
        Step(body=b'{"error": {"message": "overloaded", "code": 529}}'),
        Step(body=b'{"choices": []}'),
        Step(body=b"[]"),
        Step(body=b"null"),
    ],
    ids=lambda step: f"{step.status} {step.body[:20]!r}{' cut' * step.cut}",
)
def test_after_a_fault_of_the_server_it_is_asked_again(tmp_path, fault):
    with ModelServer([fault, fault, HAPPY]) as server:
        outcome = ask(llm(server.url), tmp_path, question())

    assert [a.value.label for a in outcome.answers] == ["happy"]
    assert len(server.requests) == 3
    assert len({json.dumps(asked.body) for asked in server.requests}) == 1
    (account,) = outcome.accounts
    assert (account.requests, account.unanswered, account.usage) == (3, 2, Usage(100, 20))


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (status(429), Reason.MODEL_RATE_LIMIT),
        (status(500), Reason.MODEL_SERVER_ERROR),
        (status(503), Reason.MODEL_SERVER_ERROR),
        (CUT, Reason.MODEL_UNREACHABLE),
        (HANG, Reason.MODEL_TIMEOUT),
        (slow(HAPPY, byte_s=0.05), Reason.MODEL_TIMEOUT),  # a byte now and then does not help
        (Step(body=b"{}"), Reason.MODEL_SERVER_ERROR),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_fault_at_every_try_ends_with_a_reason_that_passes_with_time(tmp_path, fault, reason):
    with ModelServer([fault]) as server:
        limit_s = 0.15 if reason == Reason.MODEL_TIMEOUT else 5
        outcome = ask(llm(server.url, timeout_s=limit_s, retries=2), tmp_path, question())

    assert outcome.reasons == [reason]
    assert reason in PASSES_WITH_TIME
    assert len(server.requests) == 3
    assert str(outcome.results[0]).endswith("; 3 tries")


def test_a_server_that_is_not_there_is_unreachable(tmp_path):
    with ModelServer([HAPPY]) as server:
        gone = server.url
    outcome = ask(llm(gone, retries=1), tmp_path, question())

    assert outcome.reasons == [Reason.MODEL_UNREACHABLE]


def test_a_slow_first_byte_within_the_limit_is_waited_for(tmp_path):
    with ModelServer([slow(HAPPY, first_byte_s=0.4)]) as server:
        outcome = ask(llm(server.url, timeout_s=3), tmp_path, question())

    assert len(outcome.answers) == len(server.requests) == 1


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [({"retry_after": "0.3"}, 0.3), ({"retry_after_ms": "400"}, 0.4)],
)
def test_the_server_says_how_long_to_wait(tmp_path, headers, wait_s):
    with ModelServer([status(429, **headers), HAPPY]) as server:
        ask(llm(server.url), tmp_path, question())

    first, second = server.requests
    assert wait_s <= second.time_s - first.time_s < wait_s + 1.5


def test_the_server_may_say_it_as_a_date(tmp_path):
    def script(asked):
        if asked.number:
            return HAPPY
        return status(503, retry_after=formatdate(time.time() + 2, usegmt=True))

    with ModelServer(script) as server:
        ask(llm(server.url), tmp_path, question())

    first, second = server.requests
    assert 0.9 <= second.time_s - first.time_s < 3.5  # dates have whole seconds


def test_while_the_server_asks_to_wait_nobody_asks_it(tmp_path):
    def script(asked):
        return status(429, retry_after="0.5") if asked.number == 0 else HAPPY

    with ModelServer(script) as server:
        questions = [question(f"{n}") for n in range(6)]
        outcome = ask(llm(server.url, concurrency=1), tmp_path, *questions, together=True)

    assert len(outcome.answers) == 6
    waits = [asked.time_s - server.requests[0].time_s for asked in server.requests[1:]]
    assert min(waits) >= 0.5


def test_a_server_that_asks_for_hours_is_tried_again_after_the_longest_wait(tmp_path):
    with ModelServer([status(429, retry_after="7200"), HAPPY]) as server:
        outcome = ask(llm(server.url, max_wait_s=0.2), tmp_path, question())

    assert len(outcome.answers) == 1
    assert 0.2 <= server.requests[1].time_s - server.requests[0].time_s < 1.5


def test_waits_grow_with_each_try(tmp_path):
    with ModelServer([status(500)]) as server:
        ask(llm(server.url, retries=6, backoff_s=0.02), tmp_path, question())

    times = [asked.time_s for asked in server.requests]
    assert len(times) == 7
    assert times[-1] - times[0] < 0.02 * (2**6 - 1) + 1.5


def test_a_server_that_fails_question_after_question_is_left_alone(tmp_path):
    with ModelServer([status(500)]) as server:
        questions = [question(f"{n}") for n in range(40)]
        settings = llm(server.url, retries=1, backoff_s=0.001, concurrency=2)
        outcome = ask(settings, tmp_path, *questions)

    assert set(outcome.reasons[:10]) == {Reason.MODEL_SERVER_ERROR}
    assert set(outcome.reasons[10:]) == {Reason.MODEL_UNREACHABLE}
    assert len(server.requests) == 20


def test_a_server_that_answers_now_and_then_is_not_left_alone(tmp_path):
    def script(asked):
        return status(500) if asked.text.startswith("bad") else HAPPY

    with ModelServer(script) as server:
        questions = [question(f"{kind} {n}") for n in range(15) for kind in ("bad", "good")]
        settings = llm(server.url, retries=0, concurrency=1)
        outcome = ask(settings, tmp_path, *questions)

    assert outcome.reasons == [Reason.MODEL_SERVER_ERROR] * 15
    assert len(outcome.answers) == 15


# faults of the request or the answer


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (status(413), Reason.REQUEST_TOO_LARGE),
        (status(400, "This model's maximum context length is 4096"), Reason.REQUEST_TOO_LARGE),
        (status(400, "no", error_code="context_length_exceeded"), Reason.REQUEST_TOO_LARGE),
        (status(400, "cannot decode the image"), Reason.REQUEST_REJECTED),
        (status(422, "cannot decode the image"), Reason.REQUEST_REJECTED),
        (said(None, refusal="I cannot judge people."), Reason.MODEL_REFUSED),
        (said("", finish="content_filter"), Reason.MODEL_REFUSED),
        (said('{"label": "hap', finish="length"), Reason.ANSWER_CUT),
        (said(""), Reason.ANSWER_EMPTY),
        (said(None), Reason.ANSWER_EMPTY),
    ],
    ids=lambda value: str(value) if isinstance(value, str) else "",
)
def test_what_would_fail_again_is_asked_once_and_is_no_answer(tmp_path, fault, reason):
    with ModelServer([fault]) as server:
        outcome = ask(llm(server.url), tmp_path, question(), question())

    assert outcome.reasons == [reason, reason]
    assert reason not in PASSES_WITH_TIME
    assert len(server.requests) == 2  # once for each question: nothing of it is kept
    paid = Usage(200, 40) if fault.status == 200 else Usage()
    assert outcome.accounts[0].usage == paid


def test_a_failure_is_a_row_of_its_clip_with_what_was_said(tmp_path):
    with ModelServer([said(None, refusal="I cannot judge\npeople.")]) as server:
        outcome = ask(llm(server.url), tmp_path, question())

    def stage(_work):
        raise outcome.results[0]

    assert one(stage, None) == {
        "status": "failed",
        "reason": "model_refused",
        "detail": "I cannot judge people.",
    }


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (said("I think he is happy."), "no JSON object"),
        (said('{"label": "happy"'), "no JSON that can be read"),
        (answer({"mood": "happy"}), "- label: Field required"),
        (answer({"label": 3}), "- label: Input should be a valid string"),
    ],
    ids=["no JSON", "broken", "other field", "other type"],
)
def test_an_answer_that_does_not_fit_is_shown_once_with_what_is_wrong(tmp_path, wrong, told):
    with ModelServer([wrong, HAPPY]) as server:
        outcome = ask(llm(server.url), tmp_path, question(), question())

    first, second = outcome.answers
    assert (first.value.label, first.repaired, first.usage) == ("happy", True, Usage(200, 40))
    assert (second.from_cache, len(server.requests)) == (True, 2)
    asked, shown, reproach = server.requests[1].body["messages"]
    assert asked == {"role": "user", "content": "how is he?"}
    assert shown["content"] == json.loads(wrong.body)["choices"][0]["message"]["content"]
    assert told in reproach["content"]


def test_an_answer_that_still_does_not_fit_is_invalid_and_not_kept(tmp_path):
    with ModelServer([said("happy"), answer({"mood": 1}), HAPPY]) as server:
        outcome = ask(llm(server.url), tmp_path, question(), question())

    assert outcome.reasons == [Reason.ANSWER_INVALID]
    assert str(outcome.results[0]) == "- label: Field required"
    assert [a.value.label for a in outcome.answers] == ["happy"]
    assert len(server.requests) == 3


def test_what_a_stage_finds_wrong_is_shown_too_and_ends_with_its_reason(tmp_path):
    def check(value):
        if value.label != "sad":
            return fail(Reason.UNGROUNDED, f"E9 shows no {value.label}")
        return None

    with ModelServer([HAPPY, answer({"label": "sad"}), HAPPY, HAPPY]) as server:
        outcome = ask(
            llm(server.url), tmp_path, question(check=check), question("again", check=check)
        )

    assert outcome.answers[0].value.label == "sad"
    assert outcome.reasons == [Reason.UNGROUNDED]
    assert "E9 shows no happy" in server.requests[1].text


def test_a_kept_answer_that_a_new_check_refuses_is_repaired_and_not_asked_for_anew(tmp_path):
    with ModelServer([HAPPY, answer({"label": "sad"})]) as server:
        ask(llm(server.url), tmp_path, question())
        strict = question(
            check=lambda value: None if value.label == "sad" else fail(Reason.UNGROUNDED, "no")
        )
        outcome = ask(llm(server.url), tmp_path, strict, strict)

    assert [a.value.label for a in outcome.answers] == ["sad", "sad"]
    assert [a.from_cache for a in outcome.answers] == [False, True]
    assert len(server.requests) == 2
    assert len(server.requests[1].body["messages"]) == 3


# servers without schemas


@pytest.mark.parametrize("code", [400, 422, 501])
def test_a_server_without_schemas_is_remembered_and_asked_in_words(tmp_path, code):
    def script(asked):
        if "response_format" in asked.body:
            return status(code, f"{asked.body['response_format']['type']} is not supported")
        return said('Sure!\n```json\n{"label": "happy"}\n```')

    with ModelServer(script) as server:
        questions = [question(f"{n}") for n in range(5)]
        outcome = ask(llm(server.url), tmp_path, *questions)

    assert [a.value.label for a in outcome.answers] == ["happy"] * 5
    assert len(server.requests) == 5 + 2  # schema and object were tried once
    kinds = [asked.body.get("response_format", {}).get("type") for asked in server.requests]
    assert kinds == ["json_schema", "json_object", *[None] * 5]
    assert '"required": ["label"]' in server.requests[-1].text


def test_questions_that_wait_meanwhile_are_asked_as_the_server_can(tmp_path):
    def script(asked):
        if "response_format" in asked.body:
            return status(400, "response_format is not supported")
        return HAPPY

    with ModelServer(script) as server:
        questions = [question(f"{n}") for n in range(10)]
        outcome = ask(llm(server.url, concurrency=1), tmp_path, *questions, together=True)

    assert len(outcome.answers) == 10
    # the first question tries both modes, and waits behind the second's try of the next
    assert len(server.requests) <= 10 + 3


def test_a_server_with_objects_but_no_schemas_is_asked_for_objects(tmp_path):
    def script(asked):
        if asked.body["response_format"]["type"] == "json_schema":
            return status(400, "Unknown value", param="response_format.type")
        return HAPPY

    with ModelServer(script) as server:
        outcome = ask(llm(server.url), tmp_path, question("a"), question("b"))
        again = ask(llm(server.url), tmp_path, question("a"))

    assert len(outcome.answers) == 2
    assert "JSON schema" in server.requests[-1].text
    assert (again.answers[0].from_cache, len(server.requests)) == (True, 3)


@pytest.mark.parametrize(("mode", "kind"), [("object", "json_object"), ("none", None)])
def test_the_json_mode_may_be_set(tmp_path, mode, kind):
    with ModelServer([HAPPY]) as server:
        ask(llm(server.url, json_mode=mode), tmp_path, question())

    body = server.requests[0].body
    assert body.get("response_format", {}).get("type") == kind
    assert "JSON schema" in server.requests[0].text


# what stops the run


@pytest.mark.parametrize(
    ("fault", "what_to_do"),
    [
        (status(401, "bad key s3cret"), "environment variable that llm.text.key_env names"),
        (status(402), "Pay"),
        (status(403), "no right to this model"),
        (status(404, "The model `toy` does not exist."), "llm.text.model"),
        (status(400, "no", error_code="model_not_found"), "llm.text.model"),
        (status(400, "no temperature", error_code="unsupported_value"), "null sends none"),
        (status(429, "quota", error_code="insufficient_quota"), "quota"),
        (Step(400, b"{\"detail\": \"Server is pinned to 'a'; requested 'b'.\"}"), "llm.text.model"),
        (Step(422, b'{"detail": "Unexpected fields in the request: {\'top_k\'}"}'), "extra of"),
        (
            status(400, "[{'type': 'extra_forbidden', 'msg': 'Extra inputs are not permitted'}]"),
            "extra",
        ),
    ],
    ids=[
        *("401", "402", "403", "404", "model_not_found", "unsupported_value", "quota"),
        *("pinned", "unexpected field", "extra input"),
    ],
)
def test_what_no_clip_can_overcome_stops_the_run(tmp_path, fault, what_to_do):
    with ModelServer([fault]) as server:
        outcome = ask(
            llm(server.url, key_env="KEY"),
            tmp_path,
            *(question(f"{n}") for n in range(3)),
            environment={"KEY": "s3cret"},
        )

    assert len(server.requests) == 1  # after that, nothing is sent
    for error in outcome.results:
        assert isinstance(error, ModelUnusable)
        assert isinstance(error, MerrError)
        assert what_to_do in str(error)
        assert "s3cret" not in str(error)


def test_answers_on_their_way_when_the_run_stops_are_kept(tmp_path):
    def script(asked):
        return slow(HAPPY, 0.3) if asked.text == "slow" else slow(status(401), 0.1)

    with ModelServer(script) as server:
        questions = [question("slow"), question("quick"), *(question(f"{n}") for n in range(9))]
        outcome = ask(llm(server.url, concurrency=2), tmp_path, *questions, together=True)
        again = ask(llm(server.url), tmp_path, question("slow"))

    assert len(outcome.answers) == 1
    assert len(server.requests) == 2
    assert again.answers[0].from_cache


@pytest.mark.parametrize(
    ("text", "environment", "told"),
    [
        ({"model": "toy"}, {}, r"llm\.text\.base_url must be set"),
        ({"base_url": "http://localhost/v1"}, {}, r"llm\.text\.model must be set"),
        ({}, {}, r"llm\.text\.base_url and llm\.text\.model must be set"),
        (
            {"model": "toy", "base_url": "http://localhost/v1", "key_env": "KEY"},
            {"KEY": " "},
            "environment variable KEY, which is not set",
        ),
    ],
)
def test_a_role_without_model_server_or_key_is_refused_at_the_start(
    tmp_path, text, environment, told
):
    with pytest.raises(MerrError, match=told):
        open_door(LlmSettings.model_validate({"text": text}), tmp_path, environment=environment)


@pytest.mark.parametrize(
    "url", ["localhost:8000", "http://me:pass@host/v1", "http://host/v1?key=1", "ftp://host"]
)
def test_an_address_that_holds_a_key_or_is_none_is_refused(url):
    with pytest.raises(ValueError, match="must"):
        llm(url)


def test_more_fields_cannot_contradict_the_settings():
    with pytest.raises(ValueError, match="cannot hold seed, stream"):
        llm("http://localhost/v1", extra={"stream": True, "seed": 1})


def test_an_unset_model_is_told_of_by_the_settings():
    with pytest.raises(SettingsError, match=r"llm\.vision\.model"):
        llm("http://localhost/v1").of("vision")


# keys, logs, what is left behind


def test_the_key_is_in_the_header_and_nowhere_else(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    steps = [status(500, "key s3cret"), status(400, "your key s3cret is fine, the image is not")]
    with ModelServer([*steps, HAPPY]) as server:
        settings = llm(server.url, key_env="KEY")
        outcome = ask(settings, tmp_path, question(), question(), environment={"KEY": "s3cret"})

    assert server.requests[0].headers["authorization"] == "Bearer s3cret"
    assert str(outcome.results[0]) == "status 400: your key (key) is fine, the image is not"
    assert len(outcome.answers) == 1
    assert "s3cret" not in caplog.text
    assert "s3cret" not in repr(settings)
    for file in tmp_path.iterdir():
        assert b"s3cret" not in file.read_bytes()


def test_a_call_that_is_cancelled_leaves_nothing_behind(tmp_path):
    async def run(url):
        async with open_door(llm(url, concurrency=1, timeout_s=60), tmp_path) as door:
            tasks = [asyncio.create_task(door.ask(question(f"{n}"))) for n in range(3)]
            await asyncio.sleep(0.2)
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(isinstance(error, asyncio.CancelledError) for error in ended)
            async with asyncio.timeout(3):
                return await door.ask(question("after")), door.ledger.accounts[0]

    def script(asked):
        return HAPPY if asked.text == "after" else HANG

    with ModelServer(script) as server:
        answered, account = asyncio.run(run(server.url))
        time.sleep(0.05)

    assert answered.value.label == "happy"
    assert [asked.text for asked in server.requests] == ["0", "after"]
    assert (account.requests, account.unanswered) == (2, 1)


def test_a_question_asked_many_times_at_once_is_paid_for_once(tmp_path):
    with ModelServer([slow(HAPPY, 0.1)]) as server:
        outcome = ask(llm(server.url), tmp_path, *[question()] * 20, together=True)

    assert len(outcome.answers) == 20
    assert sum(not a.from_cache for a in outcome.answers) == 1
    assert len(server.requests) == 1
    (account,) = outcome.accounts
    assert (account.requests, account.from_cache, account.usage) == (1, 19, Usage(100, 20))


def test_when_the_first_of_them_is_cancelled_the_next_asks(tmp_path):
    async def run(url):
        async with open_door(llm(url), tmp_path) as door:
            first = asyncio.create_task(door.ask(question()))
            await asyncio.sleep(0.1)
            second = asyncio.create_task(door.ask(question()))
            await asyncio.sleep(0.05)
            first.cancel()
            return await second

    with ModelServer([HANG, HAPPY]) as server:
        assert asyncio.run(run(server.url)).value.label == "happy"
        assert len(server.requests) == 2
