"""The answers file: what is taken, and how each fault is told by its line."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_answers_files import line, write_answers

from merr_pipeline.evaluation.answers import read_answers
from merr_pipeline.evaluation.folds import read_folds, score_folds
from merr_pipeline.evaluation.labels import HEADLINE, pair
from merr_pipeline.schema import MerrError


def written(tmp_path, content: bytes):
    path = tmp_path / "answers.jsonl"
    path.write_bytes(content)
    return path


def test_answers_are_read_by_line_task_and_clip(tmp_path):
    path = write_answers(
        tmp_path / "a.jsonl",
        line("a", "happy", label_probabilities={"happy": 0.75, "sad": 0.25}),
        line("a", "Because.", task="reason", record_id="a:fine:reason", question="Why?"),
    )

    answers = read_answers(path)

    assert answers.of("emotion")["a"].label_probabilities == {"happy": 0.75, "sad": 0.25}
    assert answers.of("reason")["a"].question == "Why?"
    assert answers.of("sentiment") == {}
    assert sorted(answers.lines) == [1, 2]


def test_clip_and_answer_are_enough_and_empty_lines_count_for_nothing(tmp_path):
    content = b'\xef\xbb\xbf\n{"clip_id": "a", "answer": "sad"}\r\n\n  \n'

    (one,) = read_answers(written(tmp_path, content)).lines.items()

    assert (one[0], one[1].task) == (2, "emotion")


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (b'{"clip_id": "a"', "it is no JSON"),
        (b"[1]", "it is no JSON object"),
        (b"\xff", "not UTF-8"),
        (b'{"clip_id": "a"}', "answer: Field required"),
        (b'{"clip_id": "", "answer": "x"}', "clip_id"),
        (b'{"clip_id": 7, "answer": "x"}', "clip_id"),
        (b'{"clip_id": "a", "answer": null}', "answer"),
        (b'{"clip_id": "a", "answer": "x", "task": "guess"}', "task"),
        (b'{"clip_id": "a", "answer": "x", "label": "sad"}', "label"),
        (b'{"clip_id": "a", "answer": "x", "label_probabilities": {"sad": 1.5}}', "sad"),
        (b'{"clip_id": "a", "answer": "x", "label_probabilities": {"sad": NaN}}', "sad"),
        (b'{"clip_id": "first", "answer": "x"}', r"first \(emotion\) was answered in line 1"),
        (b"[" * 100_000, "it is no JSON"),
    ],
)
def test_a_bad_line_is_named_with_its_number(tmp_path, bad, told):
    content = b'{"clip_id": "first", "answer": "x"}\n\n' + bad + b"\n"

    with pytest.raises(MerrError, match=rf"answers\.jsonl:\nline 3: .*{told}"):
        read_answers(written(tmp_path, content))


def test_all_faults_are_told_at_once_and_many_are_counted(tmp_path):
    with pytest.raises(MerrError, match=r"line 1: .*\nline 2: (.*\n)*and 3 more lines"):
        read_answers(written(tmp_path, b"x\n" * 8))


def test_a_file_that_is_not_there_or_empty_is_refused(tmp_path):
    with pytest.raises(MerrError, match="cannot be read"):
        read_answers(tmp_path / "none.jsonl")
    with pytest.raises(MerrError, match="holds no answer"):
        read_answers(written(tmp_path, b"\n"))


def test_clips_that_the_dataset_has_not_are_named_by_line(tmp_path):
    answers = read_answers(write_answers(tmp_path / "a.jsonl", line("a", "x"), line("z", "x")))

    answers.check_known({"a", "z"})
    with pytest.raises(MerrError, match="line 2: the dataset has no clip 'z'"):
        answers.check_known({"a"})


def test_two_answers_to_one_task_of_a_clip_are_not_chosen_between(tmp_path):
    path = write_answers(
        tmp_path / "a.jsonl", line("a", "x", record_id="1"), line("a", "y", record_id="2")
    )

    with pytest.raises(MerrError, match="lines 1 and 2 both answer the task emotion for a"):
        read_answers(path).of("emotion")


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(tmp_path_factory, content):
    path = written(tmp_path_factory.mktemp("any"), content)

    with pytest.raises(MerrError, match=r"line \d+: |holds no answer"):
        read_answers(path)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), texts))
def test_what_is_written_as_json_is_read_as_it_was(tmp_path_factory, said):
    path = tmp_path_factory.mktemp("any") / "a.jsonl"
    lines = (json.dumps(line(*one), ensure_ascii=False) for one in said.items())
    path.write_text("".join(f"{one}\n" for one in lines), "utf-8", newline="")

    if said:
        read = read_answers(path).of("emotion")
        assert {clip_id: one.answer for clip_id, one in read.items()} == said


# folds

LABELS = ("happy", "sad")
KNOWN = frozenset({"00001", "00002", "00003", "00004", "other"})


def test_folds_are_scored_one_by_one_with_mean_and_spread(tmp_path):
    path = tmp_path / "folds.csv"
    path.write_text("clip_id,fold\n00001,1\n00002,1\n00003,2\n00004,2\nunknown,2\n")
    true = {"00001": "happy", "00002": "sad", "00003": "happy", "00004": "happy", "other": "sad"}
    said = {"00001": "happy", "00002": "happy", "00003": "happy", "00004": "happy"}

    scores = score_folds(pair(LABELS, true, said), read_folds(path, KNOWN))

    assert {fold: one["accuracy"] for fold, one in scores.by_fold.items()} == {"1": 0.5, "2": 1.0}
    assert scores.mean["accuracy"] == 0.75
    assert scores.spread["accuracy"] == pytest.approx(0.353553)  # 0.5 / sqrt(2)
    assert scores.clips == {"1": 2, "2": 2}
    assert scores.without_fold == ("other",)
    assert set(scores.mean) == set(HEADLINE)


def test_dfews_own_lists_are_read_by_their_folder(tmp_path):
    for fold, names in {1: ("1", "2"), 2: ("3", "4")}.items():
        rows = "".join(f"{name},1\n" for name in names)
        (tmp_path / f"set_{fold}.csv").write_text(f"video_name,label\n{rows}")

    assert read_folds(tmp_path, KNOWN) == {"00001": "1", "00002": "1", "00003": "2", "00004": "2"}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("clip,fold\na,1\n", "must have the columns"),
        ("clip_id,fold\n1,1\n1,2\n", "in the folds 1 and 2"),
        ("clip_id,fold\nnone,1\n", "names no clip of this dataset"),
        ("clip_id,fold\n1,\n", "line 2: clip_id or fold is empty"),
    ],
)
def test_folds_that_cannot_be_are_refused(tmp_path, content, told):
    path = tmp_path / "folds.csv"
    path.write_text(content)

    with pytest.raises(MerrError, match=told):
        read_folds(path, KNOWN)


def test_one_fold_has_no_spread():
    scores = score_folds(pair(LABELS, {"a": "sad"}, {"a": "sad"}), {"a": "1"})

    assert scores.spread == dict.fromkeys(HEADLINE)
