"""What the checker answers: the claims of a text, each proven or with what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Claim:
    """Something that the text says."""

    text: str
    kind: str
    evidence_ids: tuple[str, ...] = ()
    why: str = ""  # what is wrong with it; empty when it is grounded

    @property
    def grounded(self) -> bool:
        """Whether the evidence proves it."""
        return not self.why


@dataclass(frozen=True)
class Grounding:
    """All claims of a text."""

    claims: tuple[Claim, ...]

    @property
    def ungrounded(self) -> tuple[Claim, ...]:
        """What the evidence does not prove."""
        return tuple(claim for claim in self.claims if not claim.grounded)

    @property
    def rests_on_evidence(self) -> bool:
        """Whether any claim points to some: not where a text says no more than an emotion."""
        return any(claim.grounded and claim.evidence_ids for claim in self.claims)

    @property
    def share(self) -> float:
        """Grounded claims among all, 0..1; a text that claims nothing proves nothing: 0."""
        return 1 - len(self.ungrounded) / len(self.claims) if self.claims else 0.0
