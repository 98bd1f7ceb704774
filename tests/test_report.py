"""What the report counts: the numbers are those of the dataset, and what leaks is found."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from builds import rows
from hypothesis import given
from hypothesis import strategies as st
from made_datasets import assembled, rewritten, write_dataset

from merr_pipeline.grounding.claims import Claim
from merr_pipeline.report.claims import link
from merr_pipeline.report.curves import chart_of
from merr_pipeline.report.leaks import long_words
from merr_pipeline.report.published import compare, load_published
from merr_pipeline.report.source import open_finished
from merr_pipeline.report.spent import read_spent, total_usd
from merr_pipeline.report.survey import UNDECIDED, Survey, quantiles, survey
from merr_pipeline.report.voices import Pair
from merr_pipeline.report.write import summary_of
from merr_pipeline.schema import MerrError


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    return assembled(tmp_path_factory.mktemp("report") / "out")


@pytest.fixture(scope="module")
def clips(out) -> list[dict]:
    return rows(out, "clips")


@pytest.fixture(scope="module")
def found(out) -> Survey:
    return survey(open_finished(out))


# --- counts --------------------------------------------------------------------------------------


def test_labels_are_counted_by_split(found, clips):
    assert found.clips == len(clips) == 27
    assert found.labels == Counter(row["label"] for row in clips)
    assert found.by_split == Counter((row["label"], row["split"]) for row in clips)
    assert found.decided == 27
    first = found.label_order()[0]
    assert found.labels[first] == max(found.labels.values())
    assert set(found.absent_labels()) == {"fear", "worried", "contempt", "doubt"}


def test_an_undecided_clip_is_counted_and_has_no_share(out, tmp_path):
    lost = rewritten(out, tmp_path, lambda n, row: row | {"label": None} if n < 5 else row)

    found = survey(open_finished(lost))

    assert found.labels[UNDECIDED] == 5
    assert found.decided == 22
    assert found.label_order()[-1] == UNDECIDED
    shares = [found.share_of(label) for label in found.label_order()[:-1]]
    assert sum(shares) == pytest.approx(1)


def test_evenness_is_1_for_equal_shares_and_0_for_one_label_alone():
    even = Survey("x", {}, space_labels=("a", "b"), labels=Counter(a=4, b=4))
    alone = Survey("x", {}, space_labels=("a", "b"), labels=Counter(a=4))

    assert even.evenness() == pytest.approx(1)
    assert even.imbalance() == 1
    assert alone.evenness() == pytest.approx(0)
    assert Survey("x", {}).evenness() is None


def test_action_units_are_those_that_the_evidence_names(out, tmp_path):
    def without(number: int, row: dict) -> dict:
        return row | {"evidence": row["evidence"][1:]} if row["label"] == "sad" else row

    changed = rewritten(out, tmp_path, without)

    found = survey(open_finished(changed))

    sad = found.labels["sad"]
    assert 0 < sad < 27
    assert found.units == {"AU12": 27 - sad}
    assert found.top_units("sad") == []
    assert found.top_units("happy") == [("AU12", found.labels["happy"])]
    assert found.unit_names == {"AU12": "lip corner puller"}


def test_durations_fall_into_their_second(out, tmp_path):
    lengths = [0.4, 1.0, 1.9, 14.99, 15.0, 300.0]
    changed = rewritten(
        out, tmp_path, lambda n, row: row | {"duration_s": lengths[n]} if n < 6 else None
    )

    bins = dict(survey(open_finished(changed)).duration_bins())

    assert {name: count for name, count in bins.items() if count} == {
        "0–1 s": 1,
        "1–2 s": 2,
        "14–15 s": 1,
        "15 s and over": 2,
    }


def test_coverage_counts_what_is_there_and_tells_why_the_rest_is_not(out, tmp_path):
    def change(number: int, row: dict) -> dict:
        if number == 0:
            return row | {"transcript": None, "transcript_status": "no_transcript"}
        if number == 1:
            return row | {"label": None, "flags": [*row["flags"], "label:label_undecided"]}
        if number == 2:
            missing = [{"measure": "f0_median_hz", "reason": "background"}]
            return row | {
                "prosody": row["prosody"] | {"f0_median_hz": None, "not_measured": missing}
            }
        if number == 3:
            return row | {"prosody": None, "flags": ["voice:no_speech"], "face_crop": None}
        return row

    coverages = survey(open_finished(rewritten(out, tmp_path, change))).coverages

    fields, measures = coverages.fields, coverages.measures
    assert (fields["transcript"].filled, fields["transcript"].reasons()) == (
        26,
        [("no_transcript", 1)],
    )
    assert fields["label"].reasons() == [("label_undecided", 1)]
    assert fields["face picture"].filled == 26
    assert fields["scene"].share == 1
    assert fields["speaker"].reasons() == [("not given", 27)]
    assert measures["pitch"].filled == 25
    assert measures["pitch"].reasons() == [("background", 1), ("no_speech", 1)]


def test_two_who_name_the_label_are_compared_clip_by_clip(found, clips):
    [pair] = found.agreement.pairs()

    assert (pair.one, pair.other) == ("manifest", "rules")
    happy = sum(row["label"] == "happy" for row in clips)
    assert (pair.clips, pair.agreeing) == (27, happy)
    assert pair.counts["sad", "happy"] == found.labels["sad"]
    assert pair.kappa == pytest.approx(0)  # who always says the same agrees by chance alone


def test_a_model_that_was_told_the_label_has_no_voice(out, tmp_path):
    def change(number: int, row: dict) -> dict:
        source = "llm_blind" if number < 4 else "llm_told"
        return row | {"llm_label": row["label"], "text_source": source}

    pairs = survey(open_finished(rewritten(out, tmp_path, change))).agreement.pairs()

    by_name = {(pair.one, pair.other): pair for pair in pairs}
    assert by_name["manifest", "model"].clips == 4
    assert by_name["manifest", "model"].share == 1


def test_kappa_is_cohens():
    pair = Pair(
        "manifest",
        "model",
        Counter({("a", "a"): 20, ("a", "b"): 5, ("b", "a"): 10, ("b", "b"): 15}),
    )

    assert pair.share == pytest.approx(0.7)
    assert pair.kappa == pytest.approx(
        0.4
    )  # the example of Cohen's kappa: .7 observed, .5 by chance
    assert Pair("manifest", "model", Counter({("a", "a"): 3})).kappa is None


def test_quality_has_the_quantiles_of_the_clips_that_have_a_score(found, clips):
    faces = sorted(row["quality"]["face"] for row in clips)

    assert faces[0] > 0
    assert sorted(found.scores["face"]) == faces
    assert quantiles([1.0, 2.0, 3.0, 4.0, 5.0]) == (1, 2, 3, 4, 5)
    assert quantiles([]) is None


def test_what_was_left_out_is_counted_by_reason(found, out):
    assert found.rejected == len(rows(out, "rejected")) == 3
    assert [(one.stage, one.reason, one.inputs) for one in found.refused()] == [
        ("dataset", "low_face_coverage", 2),
        ("face", "tool_timeout", 1),
    ]
    assert found.refused()[1].examples == [("clip_0002", "<b>")]


# --- leaks ---------------------------------------------------------------------------------------


def test_a_build_leaks_nothing(found):
    assert found.leaks.faults() == 0
    assert not any(found.leaks.leaks.values())
    assert set(found.leaks.splits) >= {"train"}


def leaky(out: Path, tmp_path: Path, change) -> Survey:
    def put(number: int, row: dict) -> dict:
        row = row | {"split": "train" if number % 2 else "test", "source_id": f"own {number}"}
        return row | change(number, row)

    return survey(open_finished(rewritten(out, tmp_path / "leaky", put)))


@pytest.mark.parametrize("kind", ["source", "speaker"])
def test_a_source_or_a_speaker_in_two_splits_is_found(out, tmp_path, kind):
    found = leaky(out, tmp_path, lambda n, row: {f"{kind}_id": "one"} if n in (3, 4, 5) else {})

    [leak] = found.leaks.leaks[kind]
    assert leak.what == "one"
    assert [split for split, _ in leak.clips] == ["test", "train"]
    assert found.leaks.faults() == 1


@pytest.mark.parametrize(
    ("by", "kind", "faults"),
    [
        ("sound", "near_duplicate", 1),
        ("pictures", "near_duplicate", 1),
        ("looks_alike", "looks_alike", 0),
    ],
)
def test_near_duplicates_in_two_splits_are_found_once(out, tmp_path, clips, by, kind, faults):
    ids = [row["clip_id"] for row in clips]

    def change(number: int, row: dict) -> dict:
        others = {0: ids[1], 1: ids[0], 2: ids[4], 4: ids[2]}
        near = [{"clip_id": others[number], "by": by}] if number in others else []
        return {"near_duplicates": near}

    leaks = leaky(out, tmp_path, change).leaks

    [leak] = leaks.leaks[kind]  # 2 and 4 lie in one split
    assert {clip for _, clip in leak.clips} == {ids[0], ids[1]}
    assert leaks.faults() == faults
    assert leaks.near == {by: 2}
    assert leaks.clips_with_near == 4


def test_equal_transcripts_of_five_words_are_found_and_short_ones_are_not(out, tmp_path):
    said = {
        0: "Well, I never said that!",
        1: "well i never SAID that",
        2: "No, no!",
        3: "No, no!",
        4: "你怎么来了",
        5: "你怎么来了？",
    }

    def change(number: int, row: dict) -> dict:
        return {"transcript": said[number]} if number in said else {}

    leaks = leaky(out, tmp_path, change).leaks

    assert [leak.what for leak in leaks.leaks["transcript"]] == [
        "well i never said that",
        "你 怎 么 来 了",
    ]
    assert leaks.equal_transcripts == 2
    assert leaks.faults() == 0  # to be looked at: two people may say the same


@given(st.text())
def test_words_of_any_text_are_read(text):
    assert long_words(text) == "" or len(long_words(text).split()) >= 5


# --- models --------------------------------------------------------------------------------------


def write_run(out: Path, name: str, *models: dict) -> None:
    zero = dict.fromkeys(("requests", "unanswered", "from_cache"), 0)
    uses = [{"stage": "fine", "model": "m"} | zero | model for model in models]
    (out / "runs").mkdir(parents=True, exist_ok=True)
    (out / "runs" / f"{name}.json").write_text(json.dumps({"models": uses}))


def test_tokens_and_cost_are_summed_over_runs(tmp_path):
    use = {"requests": 2, "prompt_tokens": 100, "completion_tokens": 10, "cost_usd": 0.25}
    write_run(tmp_path, "a", use)
    write_run(tmp_path, "b", use, use | {"model": "other", "cost_usd": 0.5})
    (tmp_path / "runs" / "c.json").write_text("{ cut")

    spent = read_spent(tmp_path)

    assert [(one.model, one.requests, one.prompt_tokens, one.cost_usd) for one in spent] == [
        ("m", 4, 200, 0.5),
        ("other", 2, 100, 0.5),
    ]
    assert total_usd(spent) == 1.0


def test_what_has_no_price_has_no_total(tmp_path):
    use = {"prompt_tokens": 1, "completion_tokens": 1}
    write_run(tmp_path, "a", use | {"cost_usd": 0.25})
    write_run(tmp_path, "b", use | {"cost_usd": None})

    assert total_usd(read_spent(tmp_path)) is None
    assert read_spent(tmp_path / "nowhere") == []


# --- beside others -------------------------------------------------------------------------------


def test_ours_is_filled_by_counts_and_published_ones_by_the_file(found):
    published = load_published()

    ours, *others = compare([found], published)

    assert ours.cells == {
        "audio": 1.0,
        "objective": 1.0,
        "expression": 1.0,
        "label": 1.0,
        "multimodal": 1.0,
    }
    assert ours.quantity.startswith("27 clips; ")
    merr = next(one for one in others if one.name == "MERR")
    assert "28,618" in merr.quantity
    assert set(merr.cells.values()) == {True}
    assert all(one.source for one in published.datasets)


def test_a_published_dataset_of_your_own_is_checked(tmp_path):
    (tmp_path / "published_datasets.yaml").write_text(
        "version: 1\ndatasets:\n  - {name: mine, quantity: 3 clips, source: me, lable: yes}\n"
    )

    with pytest.raises(MerrError, match="lable"):
        load_published(tmp_path)


# --- claims --------------------------------------------------------------------------------------

EVIDENCE = [{"id": "E1"}, {"id": "E2"}]


def test_a_claim_is_found_with_words_between_that_the_checker_leaves_out():
    text = "A very wide, agitated intonation and brows slightly drawn together."
    claims = [
        Claim("very wide agitated intonation", "voice", ("E1",)),
        Claim("brows drawn together", "face", ("E2", "E9")),
    ]

    linked = link(text, claims, EVIDENCE)

    assert [(piece.text, piece.evidence_ids) for piece in linked.claims] == [
        ("very wide, agitated intonation", ("E1",)),
        ("brows slightly drawn together", ("E2",)),  # E9 is no evidence of the clip
    ]
    assert linked.apart == ()


def test_the_same_words_claimed_more_often_than_they_stand_there_add_their_evidence():
    claims = [Claim("parted lips", "face", (one,)) for one in ("E1", "E1", "E2")]

    linked = link("Parted lips; parted lips.", claims, EVIDENCE)

    assert [piece.evidence_ids for piece in linked.claims] == [("E1", "E2"), ("E1",)]


def test_a_claim_that_is_wrong_says_why_and_one_in_no_words_stands_apart():
    claims = [
        Claim("smile", "face", (), "AU12 is not in the evidence"),
        Claim("unsaid", "face", ("E1",)),
    ]

    linked = link("A smile.", claims, EVIDENCE)

    assert [(piece.text, piece.why) for piece in linked.pieces if piece.is_claim] == [
        ("smile", "AU12 is not in the evidence")
    ]
    assert [piece.text for piece in linked.apart] == ["unsaid"]


@given(
    st.text(alphabet="ab ,.é我İß", max_size=40),
    st.lists(
        st.tuples(st.text(alphabet="ab é我İß", max_size=8), st.sampled_from(["E1", "E2", "E3"]))
    ),
)
def test_the_pieces_are_the_text_to_the_letter_and_no_claim_is_lost(text, wanted):
    claims = [Claim(words, "face", (one,)) for words, one in wanted]

    linked = link(text, claims, EVIDENCE)

    assert "".join(piece.text for piece in linked.pieces) == text
    assert {one for piece in linked.claims for one in piece.evidence_ids} <= {"E1", "E2"}
    named = {one for _, one in wanted if one != "E3"}
    assert {one for piece in linked.claims for one in piece.evidence_ids} == named


# --- curves --------------------------------------------------------------------------------------


def a_row(times: list[float], values: list[float | None], **more) -> dict:
    return {
        "kind": "video",
        "duration_s": 2.0,
        "au_scale": "intensity_0_5",
        "au_series": {"time_s": times, "values": [{"au": "AU12", "value": values}]},
        "action_units": [{"au": "AU12", "name": "Lip corner puller"}],
        "peak_time_s": 0.5,
        "shots": [{"start_s": 0.0}, {"start_s": 1.0}],
        "segments": [{"start_s": 0.2, "end_s": 1.2}],
    } | more


def test_a_curve_lies_at_its_times_and_heights():
    chart = chart_of(a_row([0.0, 1.0, 2.0], [0.0, 5.0, 2.5]))

    assert chart.curves[0].lines == ("0,100 500,0 1000,50",)
    assert (chart.curves[0].name, chart.curves[0].highest) == ("Lip corner puller", 5.0)
    assert (chart.peak_x, chart.cuts_x, chart.speech) == (250.0, (500.0,), ((100.0, 500.0),))


def test_a_curve_is_broken_where_the_face_was_not_seen():
    times = [0.0, 0.1, 0.2, 0.3, 1.5, 1.6]
    chart = chart_of(a_row(times, [1.0, 1.0, None, 1.0, 1.0, 1.0]))

    assert [len(line.split()) for line in chart.curves[0].lines] == [2, 2, 2]


def test_a_probability_fills_the_scale_at_1_and_a_long_curve_keeps_its_highest_point():
    times = [number / 1000 for number in range(2000)]
    values = [0.1] * 2000
    values[777] = 1.0

    chart = chart_of(a_row(times, values, au_scale="probability"))

    assert chart.top == 1.0
    points = chart.curves[0].lines[0].split()
    assert len(points) <= 250
    assert any(point.endswith(",0") for point in points)


@pytest.mark.parametrize(
    "more", [{"kind": "still"}, {"au_series": None}, {"duration_s": None}, {"duration_s": 0.0}]
)
def test_without_a_series_there_is_no_chart(more):
    assert chart_of(a_row([0.0], [1.0]) | more) is None


# --- in short, and what cannot be read -----------------------------------------------------------


def test_the_summary_has_the_numbers_of_the_dataset(found, out):
    text = summary_of(out)

    assert "27 clips, 3 inputs left out" in text
    for label, count in found.labels.items():
        assert f"| {label} | {count} | " in text
    assert "| dataset | low_face_coverage | 2 |" in text
    assert "clips of one source: 0" in text
    assert "No model was asked." in text


def test_a_folder_without_a_dataset_is_told(tmp_path):
    with pytest.raises(MerrError, match="no finished dataset"):
        open_finished(tmp_path)


def test_a_newer_schema_is_refused_and_a_lost_file_is_told(out, tmp_path):
    write_dataset(tmp_path, rows(out, "clips"))
    manifest = tmp_path / "dataset" / "manifest.json"
    dataset = open_finished(tmp_path)
    dataset.files("clips")[0].unlink()

    with pytest.raises(MerrError, match="cannot be read"):
        survey(dataset)
    manifest.write_text(
        manifest.read_text().replace('"schema_version": "1', '"schema_version": "9')
    )
    with pytest.raises(MerrError, match="schema version 9"):
        open_finished(tmp_path)


def test_an_empty_dataset_has_a_survey(tmp_path):
    write_dataset(tmp_path, [])

    found = survey(open_finished(tmp_path))

    assert (found.clips, found.label_order(), found.duration_bins()) == (0, [], [])
    assert "0 clips" in summary_of(tmp_path)
