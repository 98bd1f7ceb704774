"""``merr evaluate`` on a finished dataset: results, page, figures, comparison, exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from made_answers_files import TRUE, evaluated, line, write_answers
from made_wheels import write_wheels
from model_server import Asked, ModelServer, Step, answer
from typer.testing import CliRunner

from merr_pipeline.cli import app
from merr_pipeline.evaluation.run import Options, evaluate, names_of
from merr_pipeline.evaluation.score import Draws
from merr_pipeline.evaluation.truth import read_truth
from merr_pipeline.schema import MerrError
from merr_pipeline.settings import load_settings

SETTINGS = load_settings(environment={})
FEW = Draws(rounds=50)


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    return evaluated(tmp_path_factory.mktemp("scored") / "out")


def shares(label: str) -> dict[str, float]:
    return {one: 0.6 if one == label else 0.05 for one in ("happy", "sad", "angry", "neutral")}


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Path:
    """All right but e, which is said to be happy too, with sentiments that are all positive."""
    said = {clip: label for clip, label in TRUE.items() if label} | {"e": "happy"}
    lines = [line(c, one, label_probabilities=shares(one)) for c, one in said.items()]
    lines += [line(clip, "positive", task="sentiment") for clip in said]
    lines += [line("learned", "happy")]
    return write_answers(tmp_path_factory.mktemp("files") / "good.jsonl", *lines)


@pytest.fixture(scope="module")
def bad(tmp_path_factory) -> Path:
    lines = [line(c, "who knows?", label_probabilities=shares("sad")) for c in "abcdef"]
    return write_answers(tmp_path_factory.mktemp("files") / "bad.jsonl", *lines)


def scored(out: Path, to: Path, *files: Path, **options) -> dict:
    evaluate(out, files, to, Options(draws=FEW, **options), SETTINGS)
    return json.loads((to / "results.json").read_text("utf-8"))


def test_the_results_hold_scores_matrix_and_how_answers_were_read(out, good, tmp_path):
    results = scored(out, tmp_path, good)

    emotion = results["answers"]["good"]["emotion"]
    assert results["dataset"]["clips"] == 8
    assert results["dataset"]["with_label"] == emotion["clips"] == 7
    assert emotion["scores"]["accuracy"]["value"] == pytest.approx(6 / 7, abs=1e-6)
    assert emotion["scores"]["uar"]["value"] == pytest.approx(4 / 5)
    assert emotion["by_label"]["happy"] == {
        "precision": 0.666667,
        "recall": 1.0,
        "f1": 0.8,
        "clips": 2,
    }
    assert emotion["confusion"]["columns"][-3:] == ["other emotion", "unread", "no answer"]
    assert emotion["confusion"]["counts"][2][0] == 1
    assert emotion["confusion"]["rates"][2][0] == 1.0
    assert (emotion["parse_failures"], emotion["read"]) == (0.0, {"alone": 7})
    low, high = (emotion["scores"]["accuracy"][name] for name in ("low", "high"))
    assert low < 6 / 7 < high


def test_sentiments_are_scored_against_their_records(out, good, tmp_path):
    sentiment = scored(out, tmp_path, good)["answers"]["good"]["sentiment"]

    # two happy are positive, two sad and one angry negative, neutral neutral, surprise is not asked
    assert [row[:3] for row in sentiment["confusion"]["counts"]] == [
        [2, 0, 0],
        [1, 0, 0],
        [3, 0, 0],
    ]
    assert sentiment["scores"]["accuracy"]["value"] == pytest.approx(2 / 6, abs=1e-6)


def test_what_is_unread_or_unanswered_is_wrong_and_named(out, bad, tmp_path):
    emotion = scored(out, tmp_path, bad)["answers"]["bad"]["emotion"]

    assert {one["value"] for one in emotion["scores"].values()} == {0.0}
    assert emotion["parse_failures"] == 1.0
    assert emotion["without_answer"] == ["g"]
    neutral = emotion["confusion"]["counts"][8]
    assert neutral[8:] == [0, 0, 1, 0]  # unread: not neutral


def test_two_files_are_compared_on_the_same_draws(out, good, bad, tmp_path):
    results = scored(out, tmp_path, bad, good)

    (difference,) = results["differences"]
    accuracy = difference["values"]["emotion.accuracy"]
    assert (difference["of"], difference["less"]) == ("good", "bad")
    assert accuracy["value"] == pytest.approx(6 / 7, abs=1e-6)
    assert accuracy["low"] > 0
    page = (tmp_path / "results.md").read_text("utf-8")
    assert "| score | good less bad |" in page
    assert "| emotion accuracy (WAR) | **+85.7 [" in page


def test_sets_are_scored_by_wheels_and_groups(out, good, tmp_path):
    wheels = write_wheels(tmp_path / "wheels")

    sets = scored(out, tmp_path / "to", good, wheels=wheels)["answers"]["good"]["sets"]

    by_wheel = sets["emotion_wheel"]
    assert by_wheel["open_labels"]["clips"] == 0  # "joyful" is on none of these wheels
    assert by_wheel["label"]["clips"] == 4  # happy and sad are, and neutral is not
    assert by_wheel["label"]["skipped_neutral"] == 1
    assert by_wheel["label"]["scores"]["hit_rate"]["value"] == 1.0
    assert by_wheel["label"]["scores"]["mean_length"]["value"] == 1.0
    assert sets["label_groups"]["open_labels"]["scores"]["f"]["value"] == 1.0


def test_folds_are_in_results_and_page(out, good, tmp_path):
    path = tmp_path / "folds.csv"
    path.write_text("clip_id,fold\na,1\nb,1\nc,1\nd,2\ne,2\n")

    emotion = scored(out, tmp_path / "to", good, folds=path)["answers"]["good"]["emotion"]

    assert emotion["folds"]["by_fold"]["2"]["accuracy"] == 0.5
    assert emotion["folds"]["mean"]["accuracy"] == 0.75
    assert emotion["folds"]["without_fold"] == ["f", "g"]
    page = (tmp_path / "to" / "results.md").read_text("utf-8")
    assert "| mean ± standard deviation |" in page
    assert "In no fold: f, g." in page


def test_a_rerun_gives_the_same_bytes(out, good, bad, tmp_path):
    for name in ("one", "two"):
        scored(out, tmp_path / name, good, bad)

    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert files == [
        *(f"confusion_emotion_{n}.{s}" for n in ("bad", "good") for s in ("png", "svg")),
        *(f"confusion_sentiment_good.{s}" for s in ("png", "svg")),
        *("probabilities.png", "probabilities.svg", "results.json", "results.md"),
        *("scores.png", "scores.svg"),
    ]
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_chosen_clips_are_drawn_and_unknown_ones_refused(out, good, tmp_path):
    scored(out, tmp_path, good, show=("e", "a"))

    drawn = (tmp_path / "probabilities.svg").read_text("utf-8")
    assert "<!-- e: angry -->" in drawn
    assert "<!-- a: happy -->" in drawn
    assert "<!-- c: sad -->" not in drawn
    with pytest.raises(MerrError, match="--show zz: no answer about it"):
        scored(out, tmp_path, good, show=("zz",))


def test_judges_are_asked_through_the_door_and_compared(out, tmp_path):
    def script(asked: Asked) -> Step:
        if "<text>" in asked.text:
            return answer({"emotions": ["glad"]})
        return answer({"reason": "-", "score": 8 if "grin" in asked.text else 3})

    clips = "abcdefg"
    first = write_answers(
        tmp_path / "first.jsonl", *(line(c, "a frown", task="reason") for c in clips)
    )
    second = write_answers(
        tmp_path / "second.jsonl", *(line(c, "a grin", task="reason") for c in clips)
    )
    with ModelServer(script) as server:
        settings = load_settings(
            overrides=[f"llm.text.base_url={server.url}", "llm.text.model=toy"], environment={}
        )
        options = Options(judges=("text",), draws=FEW)
        found = evaluate(out, [first, second], tmp_path / "to", options, settings)
        asked = len(server.requests)
        again = evaluate(out, [first, second], tmp_path / "to", options, settings)
        assert len(server.requests) == asked

    results = json.loads((tmp_path / "to" / "results.json").read_text("utf-8"))
    judge = results["answers"]["second"]["judge"]
    assert judge["clue"]["score"] == {"value": 8.0, "low": 8.0, "high": 8.0, "clips": 7}
    assert judge["judges"] == {"text": "toy"}
    assert len(judge["told_the_label"]) == 5
    assert results["differences"][0]["values"]["judge.clue"]["value"] == 5.0
    assert found.is_whole
    assert any("0 requests" in note and "from the cache" in note for note in again.notes)
    assert "| second | clue overlap (7 clips) | 8.00 [8.00, 8.00] | toy: 8.00 |" in (
        (tmp_path / "to" / "results.md").read_text("utf-8")
    )


# the command


def merr(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["evaluate", *map(str, arguments), "--rounds", "20"])
    if isinstance(result.exception, MerrError):
        return 2, str(result.exception)
    return result.exit_code, result.output


def test_the_command_exits_0_with_all_answers_and_1_without(out, good, bad, tmp_path):
    code, _ = merr(out, "--answers", good, "--to", tmp_path)
    assert code == 0

    code, told = merr(out, "--answers", good, "--answers", bad, "--to", tmp_path)
    assert code == 1
    assert "bad: no answer to 1 clips: g" in told


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--split", "tset"], "there is train, validation, test, all"),
        (["--split", "validation"], "no clip in the split validation; it has train, test"),
        (["--reading", "psychic"], "there is rules, last_word"),
        (["--judge", "jury"], "there is text, vision, audio, second"),
        (["--judge", "text"], "llm.text.base_url and llm.text.model must be set"),
        (["--wheels", "nowhere"], "is not a folder"),
        (["--folds", "nowhere.csv"], "cannot be read"),
    ],
)
def test_what_cannot_be_done_is_told_with_what_can(out, good, tmp_path, arguments, told):
    code, said = merr(out, "--answers", good, "--to", tmp_path, *arguments)

    assert code == 2
    assert told in said


def test_nothing_to_score_and_answers_about_nothing_asked_are_refused(out, tmp_path):
    other = write_answers(tmp_path / "x.jsonl", line("learned", "happy"))

    assert "name --answers FILE" in merr(out, "--to", tmp_path)[1]
    assert (
        "answers nothing about the split test" in merr(out, "--answers", other, "--to", tmp_path)[1]
    )
    assert merr(out, "--answers", other, "--to", tmp_path, "--split", "train")[0] == 0


def test_the_test_split_is_the_default_and_all_takes_every_clip(out):
    assert "learned" not in read_truth(out).clips
    assert read_truth(out).known == {*TRUE, "learned"}
    assert set(read_truth(out, "all").clips) == {*TRUE, "learned"}


def test_files_that_are_called_alike_keep_their_folders(tmp_path):
    one, two = tmp_path / "x" / "a.jsonl", tmp_path / "y" / "a.jsonl"

    assert names_of([one, two, tmp_path / "b.jsonl"]) == ["x/a", "y/a", "b"]
    with pytest.raises(MerrError, match="two files are called"):
        names_of([one, one])
