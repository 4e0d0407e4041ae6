"""How long a stage and a run still take: the plan's times, set right by what was done of it.

    plan       student/round-0   student/dev-0   sample/records   orm/plain
    seconds         600               20              900             300
    measured      done in 660         -           two thirds: 1200
                                                      ▲ left 600      ▲ 300 x 660 / 600

What is under way goes by its own rate. What is to come takes what the plan says, times the factor
by which work of its kind has taken longer so far. What the plan lists before the piece under way
has been done, by this start or an earlier one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

_ENOUGH_SECONDS = 30.0  # of measured work, for a factor to say something


@dataclasses.dataclass(frozen=True)
class Planned:
    """A piece of work of the plan: its stage, name and kind as in `record`, and seconds, about."""

    stage: str
    name: str
    kind: str
    seconds: float


class Estimate:
    """What is left of `planned`, which stands in the order in which it is done."""

    def __init__(self, planned: Sequence[Planned] = ()):
        self._planned = planned
        self._places = {piece.name: place for place, piece in enumerate(planned)}
        self._begun = -1  # place of the planned piece that was begun last
        self._measured: dict[str, tuple[float, float]] = {}  # name -> share done, seconds

    def begin(self, name: str) -> None:
        """The piece `name` is under way; it may be one that is not planned."""
        self._begun = self._places.get(name, self._begun)

    def measured(self, name: str, share: float, seconds: float) -> None:
        """So far `share` of the piece `name` took so many seconds; nothing if it is not planned."""
        if name in self._places:
            self._measured[name] = share, seconds

    def left(
        self, stages: Sequence[str], name: str, piece_left: float | None
    ) -> tuple[float | None, float | None]:
        """(seconds of the first of `stages`, seconds of all of them), about.

        Args:
          stages: the one that runs and those that follow.
          name: the piece under way; empty if there is none.
          piece_left: its seconds by its own rate; None if that is not known.

        None where neither the plan nor a rate says anything.
        """
        if not stages:
            return None, 0.0
        first, *later = stages
        if all(piece.stage != first for piece in self._planned):
            of_stage = piece_left
            unknown = not self._planned and (later or piece_left is None)
        else:
            of_stage = self._of_stage(first, name, piece_left)
            unknown = False
        rest = [piece for piece in self._planned if piece.stage in later]
        return of_stage, None if unknown else (of_stage or 0.0) + sum(map(self._seconds, rest))

    def _of_stage(self, stage: str, name: str, piece_left: float | None) -> float:
        to_come = [
            piece
            for place, piece in enumerate(self._planned)
            if piece.stage == stage and place > self._begun
        ]
        own = piece_left
        if own is None:
            own = self._seconds(self._planned[self._places[name]]) if name in self._places else 0.0
        return own + sum(map(self._seconds, to_come))

    def _seconds(self, piece: Planned) -> float:
        return piece.seconds * self._factor(piece.kind)

    def _factor(self, kind: str) -> float:
        """Seconds taken for one planned."""
        measured = [
            (self._planned[self._places[name]], share, seconds)
            for name, (share, seconds) in self._measured.items()
        ]
        for some in ([m for m in measured if m[0].kind == kind], measured):
            taken = sum(seconds for _, _, seconds in some)
            expected = sum(share * piece.seconds for piece, share, _ in some)
            if taken >= _ENOUGH_SECONDS and expected > 0:
                return taken / expected
        return 1.0
