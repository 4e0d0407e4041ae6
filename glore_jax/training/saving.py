"""When a training run saves, and when it stops: decided after every update, the same everywhere.

A checkpoint is written by all processes together, each its own shards, and a run is gone on with
from one checkpoint: so all must save after the same update, and stop after the same one. But what
makes them want to, a clock or a signal, comes to each at its own time. So after every update each
process says what it wants, and all do the largest of what was wanted:

    CONTINUE < SAVE < STOP

* The clock is that of process 0. Two clocks run apart: the second would ask for another save one
  update after the first.
* A signal may come to any process; STOP is to save, and then to end.
* To exchange what is wanted is a collective of its own, and to wait for its result is to wait for
  the slowest process. So the result is used one update late, when it is there anyway:

      update                1         2         3         4
      process 0 wants       .         SAVE      .         .
      process 1 wants       .         .         STOP      .
      all do                .         .         SAVE      STOP

* The last update is special. There is no later one to learn the result at, so all wait for it.
  And the clock plays no part: the caller exports the result at once, which serves as the save. A
  signal does: the run saves its last state and ends, and the next one only exports it. What was
  wanted an update before is due now, and counts too.
"""

import dataclasses
import enum
import time
from collections.abc import Callable

from glore_jax.parallel import processes


class Action(enum.IntEnum):
    """What is done after an update; the largest that any process wants."""

    CONTINUE = 0
    SAVE = 1
    STOP = 2  # save, then end


class SaveClock:
    """Says that it is time to save, once every `seconds`.

    Args:
      seconds: from one save to the next.
      enabled: False: it never is. Default: only in process 0.
      now: the time in seconds.
    """

    def __init__(
        self,
        seconds: float,
        enabled: bool | None = None,
        now: Callable[[], float] = time.monotonic,
    ):
        self._seconds = seconds
        self._enabled = processes.is_main() if enabled is None else enabled
        self._now = now
        self._last = now()

    def is_due(self) -> bool:
        """True if more than `seconds` have passed since it was made or was last due."""
        if not self._enabled or self._now() - self._last <= self._seconds:
            return False
        self._last = self._now()
        return True


@dataclasses.dataclass
class SavePolicy:
    """Decides after each update, in each process, what all do.

    Attributes:
      updates: how many the run has.
      signalled: whether this process was told to end.
      clock: when it is time to save.
      exchange: of what the processes want.
    """

    updates: int
    signalled: Callable[[], bool]
    clock: SaveClock
    exchange: processes.DelayedMaximum = dataclasses.field(default_factory=processes.DelayedMaximum)

    def after_update(self, done: int) -> Action:
        """What to do now that `done` updates are done. To be called after each, by all."""
        is_last = done == self.updates
        wanted = self._wanted(is_last)
        agreed = self.exchange.final(wanted) if is_last else self.exchange.next(wanted)
        return Action(agreed)

    def _wanted(self, is_last: bool) -> Action:
        if self.signalled():
            return Action.STOP
        if not is_last and self.clock.is_due():
            return Action.SAVE
        return Action.CONTINUE
