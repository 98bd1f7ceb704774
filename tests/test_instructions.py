"""Instruction records: which questions a clip gives, and that they are drawn by its id."""

import re

import pytest

from merr_pipeline.dataset.instructions import GIVEN, TASKS, instruction_records, load_questions
from merr_pipeline.schema import MerrError
from merr_pipeline.templates import shipped_folder

QUESTIONS = load_questions()


def clip_row(**changes: object) -> dict:
    return {
        "clip_id": "clip_1",
        "label": "happy",
        "label_source": "manifest",
        "label_space": "merr9",
        "coarse_caption": "The voice: fast.",
        "fine_caption": "In the video, the person shows raised cheeks.",
        "text_source": "composer",
        "llm_label": None,
        "transcript": "Hello.",
        "media_path": "a/clip_1.mp4",
        "sha256": "0" * 64,
        "split": "train",
        "peak_frame": b"not in a record",
        "fine_selection": None,
        **changes,
    }


def tasks_of(**changes: object) -> list[tuple[str, str, str]]:
    records = instruction_records(clip_row(**changes), QUESTIONS)
    return [(r["granularity"], r["task"], r["messages"][1]["content"]) for r in records]


def test_a_clip_with_a_label_gives_all_four_tasks():
    assert tasks_of() == [
        ("coarse", "describe", "The voice: fast."),
        ("coarse", "emotion", "happy"),
        ("coarse", "sentiment", "positive"),
        ("fine", "reason", "In the video, the person shows raised cheeks."),
    ]


def test_an_undecided_clip_is_only_described():
    assert tasks_of(label=None, label_source=None) == [
        ("coarse", "describe", "The voice: fast."),
        ("fine", "describe", "In the video, the person shows raised cheeks."),
    ]


def test_a_label_that_may_be_pleasant_or_not_gives_no_sentiment():
    assert ("coarse", "sentiment") not in [task[:2] for task in tasks_of(label="surprise")]


def test_in_the_sentiment_space_there_is_no_emotion_to_ask_for():
    tasks = tasks_of(label="negative", label_space="sentiment")

    assert [task[1:] for task in tasks if task[1] in ("emotion", "sentiment")] == [
        ("sentiment", "negative")
    ]


def test_texts_that_are_missing_give_no_record():
    left = [task for _, task, _ in tasks_of(coarse_caption=None, fine_caption=None)]

    assert left == ["emotion", "sentiment"]
    assert tasks_of(label=None, coarse_caption=None, fine_caption=None) == []


def test_a_clip_that_the_selection_leaves_out_keeps_its_coarse_records_alone():
    everything = tasks_of(fine_selection="chosen")

    assert everything == tasks_of()
    assert tasks_of(fine_selection="over_quota") == everything[:3]


def test_a_record_has_the_columns_of_the_contract():
    [first, *_] = instruction_records(clip_row(), QUESTIONS)

    assert set(first) == {
        *("record_id", "clip_id", "granularity", "task", "messages", "label", "label_source"),
        *("transcript", "media_path", "sha256", "split"),
    }
    assert first["record_id"] == "clip_1:coarse:describe"
    assert [message["role"] for message in first["messages"]] == ["user", "assistant"]


@pytest.mark.parametrize("source", ["manifest", "au_rules"])
def test_the_question_comes_from_the_pool_of_its_task(source):
    for record in instruction_records(clip_row(label_source=source), QUESTIONS):
        given = source == "manifest" and record["task"] == "reason"
        pool = [
            question.split("{")[0]
            for question in QUESTIONS.pools[GIVEN if given else record["task"]]
        ]
        assert any(record["messages"][0]["content"].startswith(begin) for begin in pool)


def test_a_given_label_is_named_in_the_question_that_its_text_answers():
    def question(source: str) -> str:
        records = instruction_records(clip_row(label_source=source), QUESTIONS)
        (record,) = [record for record in records if record["task"] == "reason"]
        return str(record["messages"][0]["content"])

    assert "happy" in question("manifest")
    assert "happy" not in question("au_rules")


def test_the_emotion_question_lists_the_labels_of_its_space():
    nine = "happy, sad, angry, surprise, fear, worried, contempt, doubt, neutral"

    [question] = [
        r["messages"][0]["content"]
        for r in instruction_records(clip_row(), QUESTIONS)
        if r["task"] == "emotion"
    ]

    assert nine in question
    assert "{" not in question


def test_the_same_record_asks_the_same_and_others_ask_otherwise():
    def ask(clip_id: str) -> tuple[str, ...]:
        records = instruction_records(clip_row(clip_id=clip_id), QUESTIONS)
        return tuple(record["messages"][0]["content"] for record in records)

    assert ask("a") == ask("a")
    asked = {ask(f"clip_{n}")[1] for n in range(60)}
    assert len(asked) == len(QUESTIONS.pools["emotion"])


def test_every_task_has_several_questions_and_no_question_twice():
    for task in TASKS:
        pool = QUESTIONS.pools[task]
        assert len(set(pool)) == len(pool) >= 4
        assert all(("{labels}" in question) == (task == "emotion") for question in pool)


def test_the_answer_to_the_emotion_task_is_one_of_the_labels_offered():
    for space, labels in QUESTIONS.labels.items():
        for label in labels:
            records = instruction_records(clip_row(label=label, label_space=space), QUESTIONS)
            for record in records:
                if record["task"] == "emotion":
                    question, answer = (m["content"] for m in record["messages"])
                    assert answer in question


def test_a_task_without_questions_is_refused(tmp_path):
    text = (shipped_folder() / "questions.yaml").read_text("utf-8")
    (tmp_path / "questions.yaml").write_text(text.replace("reason:  #", "reasons:  #"), "utf-8")

    with pytest.raises(MerrError, match=r"(?s)questions.yaml is wrong.*reason\n  Field required"):
        load_questions(tmp_path)


def test_a_question_with_a_misspelt_placeholder_is_refused(tmp_path):
    text = (shipped_folder() / "questions.yaml").read_text("utf-8")
    (tmp_path / "questions.yaml").write_text(text.replace("{labels}?", "{lables}?"), "utf-8")

    with pytest.raises(MerrError, match=r"must have \{labels\}"):
        load_questions(tmp_path)


class TestTextsOfModels:
    def fine(self, **changes: object) -> list[dict]:
        row = clip_row(llm_label="happy", **changes)
        return [r for r in instruction_records(row, QUESTIONS) if r["granularity"] == "fine"]

    @pytest.mark.parametrize(("source", "named"), [("llm_blind", False), ("llm_told", True)])
    def test_a_question_names_the_label_only_where_the_model_was_told_it(self, source, named):
        [record] = self.fine(text_source=source)

        question = record["messages"][0]["content"]
        assert ("happy" in question) == named
        assert record["task"] == "reason"

    @pytest.mark.parametrize("label", ["sad", None])
    def test_a_blind_text_about_another_label_than_the_clips_is_no_answer(self, label):
        assert self.fine(text_source="llm_blind", label=label) == []

    def test_a_told_text_is_about_the_clips_label_whatever_the_model_thinks(self):
        assert len(self.fine(text_source="llm_told", label="sad")) == 1


class TestChinese:
    """``coarse.language: zh``: coarse questions and answers; what is fine stays English."""

    CHINESE = load_questions(language="zh")

    def records(self, **changes: object) -> dict[tuple[str, str], tuple[str, str, str]]:
        row = clip_row(coarse_caption="声音方面，语速较快。", **changes)
        return {
            (r["granularity"], r["task"]): (
                r["label"],
                *(message["content"] for message in r["messages"]),
            )
            for r in instruction_records(row, self.CHINESE)
        }

    def test_coarse_answers_are_chinese_and_the_label_stays_what_it_is(self):
        records = self.records()

        assert {key: (label, answer) for key, (label, _, answer) in records.items()} == {
            ("coarse", "describe"): ("happy", "声音方面，语速较快。"),
            ("coarse", "emotion"): ("happy", "高兴"),
            ("coarse", "sentiment"): ("happy", "积极"),
            ("fine", "reason"): ("happy", "In the video, the person shows raised cheeks."),
        }

    def test_coarse_questions_are_chinese_and_fine_ones_english(self):
        records = self.records()

        for (granularity, _), (_, question, _) in records.items():
            assert bool(re.search("[A-Za-z{]", question)) == (granularity == "fine"), question
        question = records["coarse", "emotion"][1]
        assert "高兴、悲伤、愤怒、惊讶、恐惧、担忧、轻蔑、疑惑、中性" in question

    def test_a_question_of_a_fine_description_is_english_too(self):
        question = self.records(label=None, label_source=None)["fine", "describe"][1]

        assert question in QUESTIONS.pools["describe"]

    def test_every_label_of_every_space_is_offered_and_answered_by_its_name(self):
        for space, labels in self.CHINESE.labels.items():
            names = [self.CHINESE.said("coarse", label) for label in labels]
            assert len(set(names)) == len(names)
            assert self.CHINESE.listed("coarse", space) == "、".join(names)

    @pytest.mark.parametrize(
        ("old", "new", "told"),
        [
            ("  disgust: 厌恶\n", "", "labels has no disgust"),
            ("disgust: 厌恶", "disgust: disgust", "'disgust' is no Chinese"),
            ("下列哪种情绪：{labels}", "下列哪种情绪", r"must have \{labels\}"),
            ("积极的、消极的还是中性的？", "positive?", "is no Chinese"),
        ],
    )
    def test_what_is_missing_or_left_in_english_is_an_error(self, tmp_path, old, new, told):
        text = (shipped_folder() / "questions_zh.yaml").read_text("utf-8")
        assert old in text
        (tmp_path / "questions_zh.yaml").write_text(text.replace(old, new), "utf-8")

        with pytest.raises(MerrError, match=f"(?s)questions_zh.yaml is wrong.*{told}"):
            load_questions(tmp_path, "zh")
        assert load_questions(tmp_path).chinese is None  # an English build does not read it
