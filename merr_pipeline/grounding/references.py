"""What stands beside a facial sign: its value, its number in the list, another to compare with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from merr_pipeline.grounding.claims import Claim
from merr_pipeline.grounding.clause import Clause, Found
from merr_pipeline.grounding.retelling import Proven
from merr_pipeline.grounding.view import EvidenceView
from merr_pipeline.schema import Row

_LOOSE = ("more than", "less than")  # may be about anything
_NEAR = 4  # words behind them
_RANKS = ("most", "second", "third", "least")  # among all
_BARE = ("stronger", "weaker")  # without a "than"
NOT_BESIDE = "it is not of what is named beside it"

Named = list[tuple[Found, tuple[str, ...]]]
"""What is named in a clause, each with the ids that it may be."""


@dataclass(frozen=True)
class References:
    """Judges values and comparisons by one evidence list."""

    view: EvidenceView

    def references(
        self, clause: Clause, proven: Sequence[Proven], before: Sequence[Row]
    ) -> Iterator[Claim]:
        """A value, or a number of the evidence list, must be that of what is named beside it.

        As many as there are things named go with these in order; one in brackets goes with what
        stands before it; else each goes with all of them.
        """
        signs = [named for item, claim in proven for named in self._signs(item, claim, before)]
        facts = [
            (item, claim.evidence_ids)
            for item, claim in proven
            if claim and item.kind in ("fact", "arousal", "needs") and claim.evidence_ids
        ]
        named = sorted([*signs, *facts], key=lambda one: one[0].start)
        ids, values = clause.of("id"), clause.of("value")
        yield from _beside(ids, named)
        voiced = [one for one in facts if self._is_voice(one[1])]
        of_ids = [(item, item.meaning) for item in ids]
        nothing: list[tuple[Found, tuple[str, ...]]] = [(item, ()) for item in values[:1]]
        of_voice = [item for item in values if self._is_voice(item.meaning)]
        for item in of_voice:
            nearest, behind = _nearest(item, [*self._parts_of_voice(clause), *voiced])
            is_told = " " in item.text  # its unit says of what it is: "6.3 syllables per second"
            near = nearest or of_ids if is_told else nearest or behind or of_ids or nothing
            yield from _beside([item], near)
        of_face = [item for item in values if item not in of_voice]
        yield from _beside(of_face, [*signs, *voiced] or of_ids or nothing)

    def _parts_of_voice(self, clause: Clause) -> list[tuple[Found, tuple[str, ...]]]:
        """``a tempo of 6.3``: what is measured of a voice, with all that it may read."""
        parts = []
        for tag in clause.tags:
            features = {
                feature
                for thing in tag.readings.get("thing", ())
                if thing.modality == "voice"
                for needs in thing.does.values()
                for feature in needs.words
            }
            ids = tuple(self.view.named[one][0]["id"] for one in features if one in self.view.named)
            if features:
                parts.append((Found("thing", None, tag.text, start=tag.start, end=tag.end), ids))
        return parts

    def _signs(
        self, item: Found, claim: Claim | None, before: Sequence[Row]
    ) -> list[tuple[Found, tuple[str, ...]]]:
        """The facial signs that are named, each with the ids of the Action Units it may be."""
        if item.kind == "face":
            return [(item, tuple(row["id"] for row in self._units(item.meaning)))]
        if item.kind == "thing" and len(item.meaning.units) == 1:  # "the outer ones with 0.88"
            return [(item, tuple(row["id"] for row in self._units(item.meaning.units)))]
        if item.kind == "all_signs":
            return [(item, (row["id"],)) for row in before]
        return []

    def _units(self, codes: Sequence[str]) -> list[Row]:
        return [self.view.units[code] for code in codes if code in self.view.units]

    def _is_voice(self, ids: Sequence[str]) -> bool:
        return any(row["id"] in ids and row["modality"] == "voice" for row in self.view.rows)

    def comparisons(
        self, clause: Clause, proven: Sequence[Proven], signs_before: Sequence[Row]
    ) -> Iterator[Claim]:
        """That what stands before is stronger, or weaker, than what stands behind, or than all.

        Where nothing stands behind, it is than all that was named before.
        """
        for item in clause.of("comparison"):
            before = [self._strength(one) for one, _ in proven if one.anchor < item.start]
            near = item.end + (_NEAR if item.text in _LOOSE else len(clause.text))
            behind = [self._strength(one) for one, _ in proven if item.end <= one.start < near]
            left = [one for one in before if one is not None][-1:]
            right = [one for one in behind if one is not None][:1]
            if item.meaning in _RANKS:
                left, right = left or right, self._strengths()
            if item.meaning in _BARE and not right:  # "beside the smile, the frown is stronger"
                known = [one for one in before if one is not None][:-1]
                right = known or [row["value"] for row in self._strong(signs_before)]
                right = [value for value in right if value not in left]
            named = [one for one, _ in proven if item.end <= one.start < near]
            if item.text in _LOOSE and not any(one.kind in ("face", "thing") for one in named):
                continue  # "more than a second", "less well than joy"
            if not left and not right and clause.has("emotion"):
                continue  # "fits it more clearly than the face does"
            yield Claim(item.text, "comparison", why=_wrong_comparison(item.meaning, left, right))

    def _strengths(self) -> list[float]:
        """The strongest first; none where there is no intensity."""
        units = self._strong(list(self.view.units.values()))
        return sorted((row["value"] for row in units), reverse=True)

    @staticmethod
    def _strong(units: Sequence[Row]) -> list[Row]:
        return [row for row in units if row["scale"] == "intensity_0_5"]

    def _strength(self, item: Found) -> float | None:
        """Only intensities can be compared."""
        if item.kind not in ("face", "thing"):
            return None
        rows = self._units(item.meaning if item.kind == "face" else item.meaning.units)
        values = [row["value"] for row in rows if row["scale"] == "intensity_0_5"]
        return max(values, default=None)


def _wrong_comparison(how: str, left: Sequence[float], right: Sequence[float]) -> str:
    if not left or not right:
        return "no strengths that can be compared"
    holds = {
        "more": left[0] > right[0],
        "less": left[0] < right[0],
        "stronger": left[0] > max(right),
        "weaker": left[0] < min(right),
        "most": left[0] >= right[0],
        "second": left[0] in right[1:2],
        "third": left[0] in right[2:3],
        "least": left[0] <= right[-1],
    }
    return "" if holds[how] else "it is not so"


def _beside(
    references: Sequence[Found], named: Sequence[tuple[Found, tuple[str, ...]]]
) -> Iterator[Claim]:
    in_order = len(references) == len(named)
    for place, item in enumerate(references):
        beside = [named[place]] if in_order else _in_brackets(item, named) or named
        wrong = not all(set(item.meaning) & set(ids) for _, ids in beside)
        why = NOT_BESIDE if wrong else ""
        yield Claim(item.text, "reference", () if wrong else item.meaning, why)


def _nearest(item: Found, named: Named) -> tuple[Named, Named]:
    """What stands last before a value, and what stands first behind it."""
    in_order = sorted(named, key=lambda one: (one[0].end, one[0].start))
    before = [one for one in in_order if one[0].end <= item.start]
    return before[-1:], [one for one in in_order if one not in before][:1]


def _in_brackets(
    item: Found, named: Sequence[tuple[Found, tuple[str, ...]]]
) -> list[tuple[Found, tuple[str, ...]]]:
    """What stands right before a value that has a part of the sentence to itself."""
    before = [one for one in named if one[0].end <= item.start and one[0].part < item.part]
    return before[-1:]
