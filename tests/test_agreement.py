"""The verdict on a label: which voices count, which rule decides, what becomes of the clip."""

from __future__ import annotations

from itertools import product

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from made_rows import made_clip, made_rows, not_ok

from merr_pipeline.dataset.accept import FIRST_LOOK
from merr_pipeline.dataset.agreement import (
    Decision,
    ModelOpinion,
    Opinions,
    Policy,
    RulesOpinion,
    Stance,
    Verdict,
    conflict_of,
    decide,
    load_policy,
    opinions_of,
    with_verdict,
)
from merr_pipeline.dataset.clip_row import clip_row
from merr_pipeline.dataset.quality import quality
from merr_pipeline.schema import MerrError
from merr_pipeline.templates import shipped_folder

CLIP = made_clip(7)
CAREFUL = load_policy("careful")
POLICIES = ("careful", "pseudo_labels", "strict")

STRONG = RulesOpinion("happy", 0.8, 0.4, "intensity_0_5")
SURE = ModelOpinion("happy", 0.9)


def opinions(label: str | None = "sad", source: str | None = "manifest", **voices) -> Opinions:
    return Opinions(label, source if label else None, **voices)


def verdict(policy: Policy = CAREFUL, **said) -> str:
    return decide(opinions(**said), policy).verdict.value


def own(rules: list[dict], **heard) -> Policy:
    hearing = {
        "au_rules": {"min_score": 0.5, "min_margin": 0.1, "scales": ["intensity_0_5"]},
        "llm_blind": {"min_confidence": 0.7, "min_share": 0.6},
    }
    return Policy.model_validate(
        {"name": "own", "sha256": "", "heard": hearing | heard, "rules": rules}
    )


class TestCareful:
    @pytest.mark.parametrize("label", ["sad", None])
    @pytest.mark.parametrize("rules", [None, STRONG, RulesOpinion("happy", 0.2, 0.01, "proxy_0_5")])
    def test_without_a_model_every_label_is_accepted(self, label, rules):
        assert verdict(label=label, au_rules=rules) == "accept"
        if label and rules:
            assert verdict(label="happy", source="au_rules", au_rules=rules) == "accept"

    def test_a_model_that_is_sure_of_another_label_asks_for_a_look(self):
        assert verdict(llm_blind=SURE) == "needs_review"
        assert verdict(llm_blind=ModelOpinion("sad", 0.9)) == "accept"

    def test_a_model_that_is_not_sure_or_not_of_one_mind_is_not_heard(self):
        assert verdict(llm_blind=ModelOpinion("happy", 0.69)) == "accept"
        assert verdict(llm_blind=ModelOpinion("happy", 0.9, share=0.5)) == "accept"
        assert verdict(llm_blind=ModelOpinion("happy", 0.9, share=0.6)) == "needs_review"

    def test_no_two_models_throw_out_what_a_person_wrote(self):
        against = {"au_rules": STRONG, "llm_blind": SURE, "second": "happy"}

        assert verdict(**against) == "needs_review"

    def test_two_models_of_one_mind_throw_out_what_only_rules_say(self):
        by_rules = {"source": "au_rules", "au_rules": RulesOpinion("sad", 0.8, 0.4, "probability")}

        assert verdict(**by_rules, llm_blind=SURE, second="happy") == "label_conflict"
        assert verdict(**by_rules, llm_blind=SURE, second="fear") == "needs_review"
        assert verdict(**by_rules, llm_blind=SURE) == "needs_review"
        assert verdict(**by_rules, second="happy") == "accept"

    def test_a_clip_without_a_label_has_nothing_to_agree_with(self):
        decision = decide(opinions(label=None, llm_blind=SURE, second="happy"), CAREFUL)

        assert decision == Decision(Verdict.ACCEPT, "there is no label to agree with")


class TestOtherPolicies:
    def test_pseudo_labels_need_two_models_and_a_face_that_does_not_contradict(self):
        policy = load_policy("pseudo_labels")

        def adopted(**voices) -> ModelOpinion | None:
            return decide(opinions(label=None, **voices), policy).adopted

        assert adopted(llm_blind=SURE, second="happy") == SURE
        assert adopted(llm_blind=SURE, second="happy", au_rules=STRONG) == SURE
        assert adopted(llm_blind=SURE, second="sad") is None
        assert adopted(llm_blind=SURE) is None
        assert adopted(llm_blind=ModelOpinion("happy", 0.5), second="happy") is None
        frown = RulesOpinion("angry", 0.8, 0.4, "intensity_0_5")
        assert adopted(llm_blind=SURE, second="happy", au_rules=frown) is None
        weak = RulesOpinion("angry", 0.8, 0.4, "proxy_0_5")
        assert adopted(llm_blind=SURE, second="happy", au_rules=weak) == SURE

    def test_what_a_person_wrote_is_never_replaced_also_where_the_space_does_not_have_it(self):
        unknown = Opinions(None, "manifest", llm_blind=SURE, second="happy")

        for name in POLICIES:
            assert decide(unknown, load_policy(name)).adopted is None
            assert decide(unknown, load_policy(name)).verdict == Verdict.ACCEPT

    def test_strict_throws_out_a_persons_label_only_where_all_three_name_one_other(self):
        strict = load_policy("strict")
        against = {"au_rules": STRONG, "llm_blind": SURE, "second": "happy"}

        assert verdict(strict, **against) == "label_conflict"
        assert verdict(strict, **{**against, "second": "fear"}) == "needs_review"
        assert verdict(strict, au_rules=STRONG) == "needs_review"

    @pytest.mark.parametrize(
        "weak",
        [
            RulesOpinion("happy", 0.49, 0.4, "intensity_0_5"),
            RulesOpinion("happy", 0.8, 0.14, "intensity_0_5"),
            RulesOpinion("happy", 0.8, 0.4, "proxy_0_5"),
        ],
    )
    def test_rules_that_are_unsure_or_see_only_proxies_are_not_heard(self, weak):
        strict = load_policy("strict")

        assert verdict(strict, au_rules=weak) == "accept"
        least = RulesOpinion("happy", 0.5, 0.15, "probability")
        assert verdict(strict, au_rules=least) == "needs_review"

    def test_the_rules_have_no_say_of_a_label_that_is_their_own(self):
        silent = {"when": {"au_rules": ["silent"]}, "verdict": "needs_review", "why": "silent"}
        policy = own([silent, {"verdict": "accept", "why": "heard"}])
        happy = {"label": "happy", "au_rules": STRONG}

        assert verdict(policy, **happy, source="au_rules") == "needs_review"
        assert verdict(policy, **happy, source="manifest") == "accept"

    def test_a_face_without_signs_speaks_against_no_label(self):
        still = RulesOpinion("neutral", 1.0, 1.0, "intensity_0_5")

        assert verdict(load_policy("strict"), au_rules=still) == "accept"
        assert verdict(au_rules=still, second="neutral") == "accept"
        assert verdict(au_rules=STRONG, second="happy") == "needs_review"


labels = st.sampled_from(["happy", "sad", "fear"])
shares = st.floats(0, 1)
everything = st.builds(
    Opinions,
    st.none() | labels,
    st.sampled_from([None, "manifest", "au_rules"]),
    st.none()
    | st.builds(
        RulesOpinion, labels, shares, shares, st.sampled_from(["intensity_0_5", "proxy_0_5"])
    ),
    st.none() | st.builds(ModelOpinion, labels, shares, st.none() | shares),
    st.none() | labels,
).filter(lambda o: o.label_source is not None or o.label is None)


class TestEveryCombination:
    @pytest.mark.parametrize("name", POLICIES)
    @given(said=everything)
    def test_has_one_verdict_and_never_gives_a_label_to_a_clip_that_has_one(self, name, said):
        decision = decide(said, load_policy(name))

        assert decision.verdict in set(Verdict)
        assert decision.why
        assert decision == decide(said, load_policy(name))
        if said.label_source is not None:
            assert decision.adopted is None

    @given(said=everything)
    def test_by_default_only_models_ever_cost_a_clip_anything(self, said):
        without = Opinions(said.label, said.label_source, said.au_rules)

        assert decide(without, CAREFUL).verdict == Verdict.ACCEPT
        if said.label_source == "manifest":
            assert decide(said, CAREFUL).verdict != Verdict.LABEL_CONFLICT

    @given(said=everything, order=st.permutations(["accept", "needs_review", "label_conflict"]))
    def test_is_decided_by_the_first_rule_that_fits_in_the_order_of_the_file(self, said, order):
        rules = [{"when": {}, "verdict": name, "why": name} for name in order]

        assert decide(said, own(rules)).verdict == order[0]

    @given(said=everything)
    def test_reads_each_stance_by_itself(self, said):
        """Of 27 rules, one for each combination of stances, just one fits."""
        combinations = list(product(Stance, repeat=3))
        names = ("au_rules", "llm_blind", "second")
        fitting = []
        for stances in combinations:
            when = {name: [stance.value] for name, stance in zip(names, stances, strict=True)}
            rules = [
                {"when": when, "verdict": "needs_review", "why": "this one"},
                {"verdict": "accept", "why": "another"},
            ]
            if decide(said, own(rules)).why == "this one":
                fitting.append(stances)

        assert len(fitting) == 1


def looked(**changes) -> dict:
    rows = made_rows(CLIP, **changes)
    return {s: {n: rows[s][n] for n in names} for s, names in FIRST_LOOK.items() if s in rows}


BLIND = {"text_source": "llm_blind", "llm_label": "fear", "llm_confidence": 0.8}


class TestOpinionsOfRows:
    def test_come_from_the_first_look(self):
        votes = [{"label": "fear", "count": 3}, {"label": "sad", "count": 1}]
        label = {
            "label": "sad",
            "label_margin": 0.1,
            "label_candidates": [
                {"label": "sad", "score": None, "source": "manifest"},
                {"label": "angry", "score": 0.6, "source": "au_rules"},
                {"label": "fear", "score": 0.5, "source": "au_rules"},
            ],
        }
        found = opinions_of(
            looked(label=label, fine=BLIND | {"llm_votes": votes, "second_label": "happy"})
        )

        assert found == Opinions(
            label="sad",
            label_source="manifest",
            au_rules=RulesOpinion("angry", 0.6, 0.1, "intensity_0_5"),
            llm_blind=ModelOpinion("fear", 0.8, 0.75),
            second="happy",
        )
        assert found.told() == (
            "label sad (manifest); au_rules angry 0.60; llm_blind fear 0.80; second happy"
        )

    def test_a_candidate_without_a_rival_leads_by_all_of_its_score(self):
        label = {"label_margin": None}

        assert opinions_of(looked(label=label)).au_rules.margin == 0.7

    def test_a_model_that_was_told_the_label_has_no_say(self):
        assert opinions_of(looked(fine=BLIND | {"text_source": "llm_told"})).llm_blind is None

    def test_a_text_that_was_refused_has_no_say(self):
        failed = BLIND | {"second_label": "fear"} | not_ok("failed", "ungrounded")

        found = opinions_of(looked(fine=failed))
        assert (found.llm_blind, found.second) == (None, None)

    def test_a_label_outside_the_space_is_still_what_somebody_wrote(self):
        unknown = not_ok("failed", "label_unknown") | {"label": None, "label_source": None}
        undecided = not_ok("skipped", "label_undecided") | {"label": None, "label_source": None}

        assert opinions_of(looked(label=unknown)).label_source == "manifest"
        assert opinions_of(looked(label=undecided)).label_source is None

    def test_a_clip_of_which_nothing_is_known_has_none(self):
        assert opinions_of({}) == Opinions(None, None)


class TestRow:
    def row(self, decision: Decision, **changes) -> dict:
        return with_verdict(clip_row(CLIP, made_rows(CLIP, **changes), "train", []), decision)

    def test_says_the_verdict_and_why_and_leaves_the_ratings_to_people(self):
        looked_at = self.row(Decision(Verdict.NEEDS_REVIEW, "the blind model names another"))
        accepted = self.row(Decision(Verdict.ACCEPT, "all agree"))

        assert looked_at["review"] == {
            "ratings": None,
            "mean": None,
            "verdict": "needs_review",
            "why": "the blind model names another",
        }
        assert looked_at["flags"] == ["music", "dataset:needs_review"]
        assert accepted["review"]["verdict"] == "accept"
        assert accepted["review"]["why"] is None
        assert accepted["flags"] == ["music"]

    def test_takes_a_label_only_where_there_is_none(self):
        decision = Decision(Verdict.ACCEPT, "two models", ModelOpinion("fear", 0.8))
        undecided = not_ok("skipped", "label_undecided") | {"label": None}

        taken = self.row(decision, label=undecided)
        kept = self.row(decision)

        assert (taken["label"], taken["label_source"], taken["label_confidence"]) == (
            *("fear", "llm_blind", 0.8),
        )
        assert kept["label_source"] == "manifest"
        assert kept["label"] != "fear"

    def test_a_conflict_is_refused_with_who_said_what(self):
        rows = looked(fine=BLIND | {"second_label": "fear"})
        refusal = conflict_of(CLIP, rows, Decision(Verdict.LABEL_CONFLICT, "both models"))

        assert (refusal.stage, refusal.reason) == ("dataset", "label_conflict")
        assert refusal.detail.startswith("both models: label ")
        assert refusal.detail.endswith("llm_blind fear 0.80; second fear")
        assert conflict_of(CLIP, rows, Decision(Verdict.NEEDS_REVIEW, "one")) is None


class TestQuality:
    def agreement(self, **fine) -> float:
        candidates = [
            {"label": "sad", "score": None, "source": "manifest"},
            {"label": "sad", "score": 0.6, "source": "au_rules"},
        ]
        label = {"label": "sad", "label_candidates": candidates}
        return quality(made_rows(CLIP, label=label, fine=fine))["agreement"]

    def test_counts_what_models_say_that_were_not_told_the_label(self):
        assert self.agreement() == 1.0
        assert self.agreement(text_source="llm_blind", llm_label="sad") == 1.0
        assert self.agreement(text_source="llm_blind", llm_label="fear") == 0.75  # (1/2 + 1) / 2
        assert self.agreement(text_source="llm_told", llm_label="fear") == 1.0
        assert self.agreement(second_label="fear") == 0.75
        both = self.agreement(text_source="llm_blind", llm_label="fear", second_label="fear")
        assert both == pytest.approx(2 / 3, abs=1e-3)


class TestFile:
    def test_every_shipped_policy_is_read(self):
        text = (shipped_folder() / "agreement.yaml").read_text("utf-8")

        assert tuple(yaml.safe_load(text)["policies"]) == POLICIES

    def test_a_policy_that_is_not_there_is_named_with_those_that_are(self):
        with pytest.raises(MerrError, match="careful, pseudo_labels, strict"):
            load_policy("bold")

    def test_a_policy_that_leaves_some_clip_without_a_verdict_is_refused(self):
        with pytest.raises(ValueError, match="last rule must have no `when`"):
            own([{"when": {"second": ["agrees"]}, "verdict": "accept", "why": "both"}])

    @pytest.mark.parametrize(
        "when",
        [
            {},
            {"label_from": ["manifest"], "llm_blind": ["agrees"]},
            {"label_from": ["none"]},
            {"label_from": ["none", "manifest"], "llm_blind": ["agrees"]},
        ],
    )
    def test_a_policy_that_would_replace_a_label_is_refused(self, when):
        rule = {"when": when, "verdict": "accept", "takes": "llm_blind", "why": "bold"}

        with pytest.raises(ValueError, match=r"takes: llm_blind needs when\.label_from \[none\]"):
            own([rule, {"verdict": "accept", "why": "else"}])

    def test_a_misspelt_verdict_names_the_file(self, tmp_path):
        text = (shipped_folder() / "agreement.yaml").read_text("utf-8")
        (tmp_path / "agreement.yaml").write_text(
            text.replace("needs_review\n", "need_review\n"), "utf-8"
        )

        with pytest.raises(MerrError, match=r"agreement\.yaml, careful is wrong"):
            load_policy("careful", tmp_path)
