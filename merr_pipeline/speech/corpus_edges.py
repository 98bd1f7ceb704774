"""Edges between words, from the corpus itself: what is slow among these voices, in this language.

The edges that are shipped are priors. Given enough described voices, this makes edges at quantiles
(not at equal widths, which outliers would set), for each group that has enough of them. They are
written as a ``tone_words.yaml`` of the user's own, so that its content hash stands in every row and
no rerun changes a word silently.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import numpy as np
import yaml

from merr_pipeline.schema import MerrError
from merr_pipeline.speech.tone_table import GROUPS, EdgeRow, Group, ToneWords
from merr_pipeline.speech.wording import Heard, is_measured
from merr_pipeline.stage import rounded
from merr_pipeline.templates import Template


def edges_of(voices: Sequence[Heard], words: ToneWords) -> dict[str, list[EdgeRow]]:
    """Edges for each feature of ``words.corpus``: the most special groups first, then everybody.

    A group gets edges when it has ``words.corpus.least_clips`` voices in which the feature was
    measured, and when the quantiles differ.
    """
    found = {}
    for name, adaptive in words.corpus.features.items():
        measure = words.measure_of(name)
        values = [
            (voice.group, voice.measures[measure])
            for voice in voices
            if is_measured(name, voice, words)
        ]
        rows = [
            row
            for by in adaptive.by
            for row in _rows(values, by, adaptive.quantiles, words.corpus.least_clips)
        ]
        if rows:
            found[name] = rows
    return found


def _rows(
    values: Iterable[tuple[Group, float | None]],
    by: Sequence[str],
    quantiles: Sequence[float],
    least: int,
) -> list[EdgeRow]:
    groups: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for group, value in values:
        known = [found for name in by if (found := group.get(name)) is not None]
        if value is not None and len(known) == len(by):
            groups[tuple(known)].append(value)
    rows = []
    for key, members in sorted(groups.items()):
        edges = [rounded(float(edge)) for edge in np.percentile(members, quantiles)]
        if len(members) >= least and all(lower < upper for lower, upper in pairwise(edges)):
            rows.append(
                EdgeRow(group=dict(zip(by, key, strict=True)), clips=len(members), below=edges)
            )
    return rows


def with_edges(template: Template, voices: Sequence[Heard], words: ToneWords) -> str:
    """The text of a ``tone_words.yaml`` that has edges from these voices.

    Raises:
        MerrError: the template has edges from a corpus already, or no group has enough voices.
    """
    if words.edges:
        raise MerrError(
            "the tone_words.yaml in force has edges from a corpus already; "
            "build once without it, then make new ones."
        )
    found = edges_of(voices, words)
    if not found:
        raise MerrError(
            f"{len(voices)} described voices are too few for edges of their own: no group has "
            f"{words.corpus.least_clips} (corpus.least_clips in tone_words.yaml). "
            "The shipped edges stay in force."
        )
    table = {name: [row.model_dump() for row in rows] for name, rows in found.items()}
    head = (
        f"\n# Made from {len(voices)} described voices. A voice takes the first row whose group it "
        f"belongs to;\n# groups are by {', '.join(GROUPS)}.\n"
    )
    text = yaml.safe_dump({"edges": table}, sort_keys=False, default_flow_style=None, width=100)
    return template.text.rstrip("\n") + "\n" + head + text


def counts(edges: Mapping[str, Sequence[EdgeRow]]) -> list[str]:
    """One line for each feature: ``tempo: language=en (812), everybody (1204)``."""
    return [
        f"{name}: " + ", ".join(f"{row.named()} ({row.clips})" for row in rows)
        for name, rows in edges.items()
    ]
