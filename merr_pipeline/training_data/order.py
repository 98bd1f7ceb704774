"""In which order examples are learned: from a seed alone, so that a run can go on in mid epoch.

The order of an epoch is that of hashes of seed, epoch and record id. It is the same on every
machine and in every version of every library, and a record that is added moves no other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from merr_pipeline.schema import MerrError


@dataclass(frozen=True)
class Position:
    """How far a run has come: ``samples`` of ``epoch`` are learned, by all ranks together."""

    epoch: int = 0
    samples: int = 0

    def after(self, samples: int, epoch_length: int) -> Position:
        """The position when so many more are learned."""
        epochs, rest = divmod(self.samples + samples, epoch_length)
        return Position(self.epoch + epochs, rest)


class Order:
    """The records of every epoch, of each kind as often as the mixture says.

    2 is every record twice an epoch, 0.5 half of them (others each epoch), 0 none. Kinds that the
    mixture does not name come once.
    """

    def __init__(
        self,
        record_ids: Sequence[str],
        kinds: Sequence[str],
        mixture: Mapping[str, float] | None = None,
        seed: int = 0,
    ) -> None:
        """Check the mixture.

        Args:
            record_ids: of all records.
            kinds: of each record, such as ``fine:reason``.
            mixture: how often each kind comes in an epoch.
            seed: of another order.

        Raises:
            MerrError: the mixture names a kind that no record has, is negative, or leaves nothing.
        """
        mixture = mixture or {}
        if unknown := sorted(set(mixture) - set(kinds)):
            raise MerrError(
                f"mixture names {', '.join(unknown)}; there is {', '.join(sorted(set(kinds)))}."
            )
        if negative := sorted(kind for kind, times in mixture.items() if times < 0):
            raise MerrError(f"mixture of {', '.join(negative)} is negative.")
        self._record_ids, self._seed = list(record_ids), seed
        self._members: dict[str, list[int]] = {}
        for index, kind in enumerate(kinds):
            self._members.setdefault(kind, []).append(index)
        self._times = {kind: mixture.get(kind, 1.0) for kind in self._members}
        self.epoch_length = sum(
            round(self._times[kind] * len(members)) for kind, members in self._members.items()
        )
        if not self.epoch_length:
            raise MerrError("there is nothing to learn: no record, or the mixture leaves out all.")

    def epoch(self, number: int) -> list[int]:
        """Indices of the records of an epoch, counted from 0, in their order."""
        found: list[tuple[bytes, int]] = []
        for kind, members in self._members.items():
            ranked = sorted(members, key=lambda index: self._key("choice", number, index))
            wanted = round(self._times[kind] * len(members))
            for place in range(wanted):
                copy, index = divmod(place, len(members))
                chosen = ranked[index]
                found.append((self._key(f"copy {copy}", number, chosen), chosen))
        return [index for _, index in sorted(found)]

    def from_position(self, start: Position, rank: int = 0, ranks: int = 1) -> Iterator[int]:
        """Indices for one of several ranks, from a position on, without an end.

        Ranks take turns, so a position holds whatever their number; it is what was learned, not
        what a loader has read ahead.
        """
        epoch, place = start.epoch, start.samples + rank
        while True:
            order = self.epoch(epoch) if place < self.epoch_length else []
            while place < self.epoch_length:
                yield order[place]
                place += ranks
            epoch, place = epoch + 1, place - self.epoch_length

    def _key(self, purpose: str, epoch: int, index: int) -> bytes:
        text = f"{self._seed}\0{epoch}\0{purpose}\0{self._record_ids[index]}"
        return hashlib.sha256(text.encode()).digest()
