"""What decides of a clip beside its own rows: policy, selection, label space, near-duplicates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from merr_pipeline.dataset.agreement import Policy, load_policy, with_verdict
from merr_pipeline.dataset.near import NearRules, load_near_rules
from merr_pipeline.dataset.plan import Plan
from merr_pipeline.dataset.selection import SelectionPlan, load_selection
from merr_pipeline.emotion.spaces import LabelSpace, load_label_space
from merr_pipeline.schema import Row
from merr_pipeline.settings import Settings
from merr_pipeline.stage import Identity

GROUPS_STAGE = "open_labels"
"""Name of what groups the open labels among the stages of ``provenance``."""


@dataclass(frozen=True)
class Decisions:
    """The four as they are in force for a build."""

    policy: Policy
    selection: SelectionPlan | None
    space: LabelSpace
    near: NearRules

    @classmethod
    def load(cls, settings: Settings) -> Decisions:
        """Read them from the user's templates folder, else the shipped one.

        Raises:
            MerrError: one is missing, or says something that cannot be.
        """
        folder, own = settings.templates, settings.dataset
        space = load_label_space(settings.label.space, folder)
        return cls(
            load_policy(own.agreement, folder),
            load_selection(own.select, space, folder),
            space,
            load_near_rules(folder),
        )

    def identities(self) -> Sequence[Identity]:
        """Named as the stages are, so that provenance says how these fields were made."""
        chosen_by = [self.selection.identity()] if self.selection else []
        grouped_by = Identity(
            stage=GROUPS_STAGE,
            version=1,
            tool=f"label space {self.space.name}",
            template=self.space.sha256,
        )
        return [self.policy.identity(), *chosen_by, grouped_by, self.near.identity()]

    def add_to(self, row: Row, plan: Plan) -> Row:
        """A row of ``clips`` with what was decided of it."""
        row = with_verdict(row, plan.accepted[row["clip_id"]].decision)
        return row | {
            "near_duplicates": plan.near.rows_of(row["clip_id"]),
            "fine_selection": plan.selection_of(row["clip_id"]),
            "open_label_groups": [self.space.place(word) for word in row["open_labels"]],
        }
