"""Step labels from rollouts, for the stepwise outcome reward model (SORM; section 4.1 step 2 of the paper).

A step is good (1) if the student can still reach the right answer from the prefix that ends with it: at least
one of K continuations of the prefix *verifies* it. Good steps make all earlier steps good, so the labels of a
solution are 1...1 0...0 with one switch, the first error.

A *cut* is the number of steps that a prefix keeps; cut c decides the label of step index c - 1.
"""

import dataclasses
from collections.abc import Sequence

from glore_jax.tasks.base import Task

SCHEDULES = ("backward", "full", "bisect")


def verifies(
    task: Task,
    prefix_steps: Sequence[str],
    continuation_steps: Sequence[str],
    gold: str,
    consistency: bool,
) -> bool:
    """Whether a continuation shows that its prefix can still lead to the right answer.

    The answer must come from the continuation and be right. With `consistency` the result of the prefix's
    last step must occur in the continuation as a number token: else the trace may have ignored a wrong step
    and solved the problem afresh. A last step without a result, and an empty prefix, leave nothing to be
    used.
    """
    if not task.grade(continuation_steps, gold):
        return False
    result = task.step_result(prefix_steps[-1]) if consistency and prefix_steps else None
    return result is None or task.is_used(result, continuation_steps)


@dataclasses.dataclass(frozen=True)
class StepLabels:
    """Labels of one solution with their evidence; every list has one entry per step.

    Attributes:
      labels: 1 good, 0 bad; never rises from one step to the next.
      hits, tries: verified and all rollouts of the prefix that ends with the step; 0 of 0 where none were
        run. With a schedule that stops early these are no rates: see `hit_rates`.
      source: `graded` (the final step: its label is the graded answer), `rollout` (decided by the step's own
        rollouts) or `propagated` (good because a later step is; with `bisect` also bad because an earlier one is).
      first_error: index of the first bad step, -1 if there is none.
    """

    labels: list[int]
    hits: list[int]
    tries: list[int]
    source: list[str]
    first_error: int


class StepLabeller:
    """Decides which prefixes of one solution need rollouts, and labels its steps from their outcomes.

    Schedule `full` tries every cut, as the paper does. `backward` gives the same labels from the same
    outcomes with fewer rollouts: a right solution needs none, since its graded answer makes all its steps
    good; a wrong one is scanned from its last cut down to the first cut with a hit, which makes all earlier
    steps good. `bisect` halves the cuts between the last known hit and the first known failure instead: fewest
    prefixes for long solutions, but where a failed cut comes before one that would have hit it labels later
    steps bad that `full` labels good.

        labeller = StepLabeller(len(steps), correct, k=8, schedule="backward")
        while not labeller.done:
            while (cut := labeller.next_cut()) is not None:
                start k rollouts of steps[:cut]
            labeller.record(cut, hits, tries) for each cut that has finished, in any order
        labels = labeller.result()
    """

    def __init__(self, num_steps: int, correct: bool, k: int, schedule: str):
        """ValueError for a solution without steps, k below 1, or an unknown schedule."""
        if num_steps < 1 or k < 1:
            raise ValueError(f"num_steps = {num_steps}, k = {k}: both must be at least 1")
        if schedule not in SCHEDULES:
            raise ValueError(f"schedule '{schedule}': must be one of {', '.join(SCHEDULES)}")
        self._num_steps, self._correct, self._k, self._schedule = (
            num_steps,
            bool(correct),
            k,
            schedule,
        )
        settled = correct and schedule != "full"
        # Cuts still to try lie between `low`, which was hit (0: none was), and `high`.
        self._low, self._high = 0, 1 if settled else num_steps
        self._running: set[int] = set()
        self._outcomes: dict[int, tuple[int, int]] = {}

    def next_cut(self) -> int | None:
        """A cut in 1 .. num_steps - 1 to run rollouts for, each once; None if there is none at present."""
        if self._high - self._low <= 1 or (self._running and self._schedule != "full"):
            return None
        if self._schedule == "bisect":
            cut = (self._low + self._high) // 2
        else:
            cut = self._high = self._high - 1
        self._running.add(cut)
        return cut

    def record(self, cut: int, hits: int, tries: int) -> None:
        """Takes the outcome of a cut from `next_cut`: `hits` verified of `tries` rollouts.

        Rollouts may stop after the first hit, so tries may be less than k; but only k failures make a step
        bad.

        Raises:
          ValueError: the cut is not running, or the counts cannot be.
        """
        if cut not in self._running:
            raise ValueError(f"cut {cut} is not running")
        if not 0 <= hits <= tries <= self._k or (not hits and tries < self._k):
            raise ValueError(f"cut {cut}: {hits} hits of {tries} tries with k = {self._k}")
        self._running.remove(cut)
        self._outcomes[cut] = (hits, tries)
        if self._schedule == "full":
            return
        if hits:
            self._low = cut
        else:
            self._high = cut

    @property
    def done(self) -> bool:
        """Whether all labels are decided: nothing is running and nothing is left to try."""
        return not self._running and self._high - self._low <= 1

    def result(self) -> StepLabels:
        """The labels; RuntimeError before `done`."""
        if not self.done:
            raise RuntimeError("rollouts are missing: the labels are not decided yet")
        outcomes = [self._outcomes.get(cut, (0, 0)) for cut in range(1, self._num_steps)]
        last_hit = max((cut for cut, (hits, _) in self._outcomes.items() if hits), default=0)
        good = self._num_steps if self._correct else last_hit
        # A good step without a hit of its own owes its label to a later one, a bad step without rollouts to an earlier one.
        source = [
            "rollout" if hits or (tries and index >= good) else "propagated"
            for index, (hits, tries) in enumerate(outcomes)
        ]
        return StepLabels(
            labels=[int(index < good) for index in range(self._num_steps)],
            hits=[hits for hits, _ in outcomes] + [0],
            tries=[tries for _, tries in outcomes] + [0],
            source=source + ["graded"],
            first_error=-1 if self._correct else good,
        )


def hit_rates(hits: Sequence[int], tries: Sequence[int], k: int) -> list[float | None]:
    """The share of rollouts that verified each prefix; None unless all k were run.

    Fewer tries mean that rollouts stopped at a hit, and hits / tries would be too high.
    """
    return [h / t if t == k else None for h, t in zip(hits, tries, strict=True)]
