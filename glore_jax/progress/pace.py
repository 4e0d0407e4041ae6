"""How fast something goes at present."""

import collections
import time
from collections.abc import Callable

_WINDOW_SECONDS = 300.0  # what the rate is measured over, once there is so much
_SAMPLES = 60  # kept of it


class Pace:
    """Measures the rate of a count.

    Args:
      done: the count at the start; it was not done in this time.
      clock: seconds.
    """

    def __init__(self, done: int, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._first = done
        self._start = clock()
        self._samples = collections.deque([(self._start, done)])
        self._last = self._start, done

    def reach(self, done: int) -> None:
        """The count is `done` by now."""
        now = self._clock()
        self._last = now, done
        if now - self._samples[-1][0] >= _WINDOW_SECONDS / _SAMPLES:
            self._samples.append(self._last)
        while len(self._samples) > 1 and now - self._samples[1][0] >= _WINDOW_SECONDS:
            self._samples.popleft()

    @property
    def rate(self) -> float | None:
        """A second, over the last minutes; None before anything is counted.

        Time that has passed since the last count is not in it.
        """
        before, less = self._samples[0]
        now, done = self._last
        return (done - less) / (now - before) if done > less and now > before else None

    def left(self, total: int) -> float | None:
        """Seconds until the count is `total`, as of now; None before anything is counted."""
        rate = self.rate
        if rate is None:
            return None
        last, done = self._last
        return max(0.0, (total - done) / rate - (self._clock() - last))

    @property
    def count(self) -> int:
        """As of last."""
        return self._last[1]

    @property
    def done(self) -> int:
        """What was counted in this time."""
        return self._last[1] - self._first

    @property
    def seconds(self) -> float:
        """From the start to the last count."""
        return self._last[0] - self._start
