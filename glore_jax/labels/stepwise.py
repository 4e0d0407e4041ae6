"""Step labels from rollouts, for the stepwise ORM (SORM; section 4.1 step 2 of the paper).

A step is good (1) if the student can still reach the right answer from the prefix that ends with
it: at least one of K continuations of the prefix *verifies* it. Good steps make all earlier steps
good, so the labels of a solution are 1...1 0...0 with one switch, the first error.

A *cut* is the number of steps that a prefix keeps. Cut c decides the label of the step at index
c - 1. The last step has no cut: its label is the grade of the whole solution.

    steps       s0      s1      s2      s3
    cut             1       2       3       -
    K rollouts      hits    none    none    graded wrong
    labels      1       0       0       0           first_error = 1

Propagation, the paper's first rule of post-processing, can be left out (`LabelRule.propagate`): a
step is then as good as its own rollouts are, and labels may rise again.
"""

import dataclasses
from collections.abc import Sequence

from glore_jax.tasks.base import Task

SCHEDULES = ("backward", "full", "bisect")


@dataclasses.dataclass(frozen=True)
class LabelRule:
    """How the steps of a draft get their labels.

    Attributes:
      k: rollouts of a prefix.
      schedule: which prefixes are tried, one of `SCHEDULES`; see `StepLabeller`.
      consistency: a rollout has to use the last result of its prefix; see `verifies`.
      propagate: a good step makes all earlier ones good. Without it every prefix has to be tried.

    ValueError for k below 1, an unknown schedule, or one that leaves prefixes out where nothing is
    propagated.
    """

    k: int
    schedule: str = "backward"
    consistency: bool = True
    propagate: bool = True

    def __post_init__(self):
        if self.k < 1:
            raise ValueError(f"k = {self.k}: must be at least 1")
        if self.schedule not in SCHEDULES:
            raise ValueError(f"schedule '{self.schedule}': must be one of {', '.join(SCHEDULES)}")
        if not self.propagate and self.schedule != "full":
            raise ValueError(f"schedule '{self.schedule}': must be full without propagation")


def verifies(
    task: Task,
    prefix_steps: Sequence[str],
    continuation_steps: Sequence[str],
    gold: str,
    consistency: bool,
) -> bool:
    """Whether a continuation shows that its prefix can still lead to the right answer.

    The answer must come from the continuation and be right. With `consistency` (the paper's second
    rule of post-processing) the result of the prefix's last step must occur in the continuation as
    a number token: else the trace may have ignored a wrong step and solved the problem afresh. A
    last step without a result, and an empty prefix, leave nothing to be used.
    """
    if not task.grade(continuation_steps, gold):
        return False
    if not consistency or not prefix_steps:
        return True
    result = task.step_result(prefix_steps[-1])
    return result is None or task.is_used(result, continuation_steps)


@dataclasses.dataclass(frozen=True)
class StepLabels:
    """Labels of one solution with their evidence; every list has one entry per step.

    Attributes:
      labels: 1 good, 0 bad; with propagation it never rises from one step to the next.
      hits, tries: verified and all rollouts of the prefix that ends with the step; 0 of 0 where
        none were run.
      source: `graded` (the final step: its label is the graded answer), `rollout` (decided by the
        step's own rollouts) or `propagated` (good because a later step is; with `bisect` also bad
        because an earlier one is).
      first_error: index of the first bad step, -1 if there is none.
    """

    labels: list[int]
    hits: list[int]
    tries: list[int]
    source: list[str]
    first_error: int


class StepLabeller:
    """Decides which prefixes of a solution need rollouts, and labels its steps from their outcomes.

    Schedule `full` tries every cut, as the paper does. `backward` gives the same labels from the
    same outcomes with fewer rollouts: a right solution needs none, since its graded answer makes
    all its steps good; a wrong one is scanned from its last cut down to the first cut with a hit,
    which makes all earlier steps good. `bisect` halves the cuts between the last known hit and the
    first known failure instead: fewest prefixes for long solutions, but where a failed cut comes
    before one that would have hit it labels later steps bad that `full` labels good.

        labeller = StepLabeller(len(steps), correct, LabelRule(k=8))
        while not labeller.done:
            while (cut := labeller.next_cut()) is not None:
                start k rollouts of steps[:cut]
            labeller.record(cut, hits, tries) for each cut that has finished, in any order
        labels = labeller.result()
    """

    def __init__(self, num_steps: int, correct: bool, rule: LabelRule):
        """ValueError for a solution without steps."""
        if num_steps < 1:
            raise ValueError(f"num_steps = {num_steps}: must be at least 1")
        self._num_steps = num_steps
        self._correct = bool(correct)
        self._rule = rule
        # Cuts still to try lie strictly between `low`, which was hit (0: none was), and `high`,
        # which failed or was asked for. At first that is 1 .. num_steps - 1; of a right solution
        # none, since its last step makes all others good.
        settled = correct and rule.schedule != "full"
        self._low = 0
        self._high = 1 if settled else num_steps
        self._running: set[int] = set()
        self._outcomes: dict[int, tuple[int, int]] = {}  # cut -> (hits, tries)

    def next_cut(self) -> int | None:
        """A cut in 1 .. num_steps - 1 to run rollouts for, each once; None if none is due now."""
        nothing_left = self._high - self._low <= 1
        # All but `full` decide what to try next by the outcome of the cut before.
        must_wait = self._running and self._rule.schedule != "full"
        if nothing_left or must_wait:
            return None
        if self._rule.schedule == "bisect":
            cut = (self._low + self._high) // 2
        else:  # from the last cut backwards
            cut = self._high - 1
            self._high = cut
        self._running.add(cut)
        return cut

    def record(self, cut: int, hits: int, tries: int) -> None:
        """Takes the outcome of a cut from `next_cut`: `hits` verified of `tries` rollouts.

        Rollouts may stop after the first hit, so tries may be less than k; but only k failures make
        a step bad.

        Raises:
          ValueError: the cut is not running, or the counts cannot be.
        """
        if cut not in self._running:
            raise ValueError(f"cut {cut} is not running")
        too_few_failures = hits == 0 and tries < self._rule.k
        if not 0 <= hits <= tries <= self._rule.k or too_few_failures:
            raise ValueError(f"cut {cut}: {hits} hits of {tries} tries with k = {self._rule.k}")
        self._running.remove(cut)
        self._outcomes[cut] = (hits, tries)
        if self._rule.schedule == "full":  # goes on to cut 1, whatever comes
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
        labels = self._propagated() if self._rule.propagate else self._own()
        hits_of: list[int] = []
        tries_of: list[int] = []
        source: list[str] = []
        for cut in range(1, self._num_steps):
            hits, tries = self._outcomes.get(cut, (0, 0))
            hits_of.append(hits)
            tries_of.append(tries)
            # A good step without a hit of its own owes its label to a later one, a bad step
            # without rollouts to an earlier one.
            decided_here = hits > 0 or (tries > 0 and not labels[cut - 1])
            source.append("rollout" if decided_here else "propagated")
        return StepLabels(
            labels=labels,
            hits=[*hits_of, 0],
            tries=[*tries_of, 0],
            source=[*source, "graded"],
            first_error=labels.index(0) if 0 in labels else -1,
        )

    def _propagated(self) -> list[int]:
        """Labels by the paper's first rule: whatever comes before a hit is good."""
        last_hit = max((cut for cut, (hits, _) in self._outcomes.items() if hits), default=0)
        # As an index, this is the first bad step: cut c keeps the steps 0 .. c - 1.
        good = self._num_steps if self._correct else last_hit
        return [int(index < good) for index in range(self._num_steps)]

    def _own(self) -> list[int]:
        """Labels by each prefix's own rollouts."""
        cuts = range(1, self._num_steps)
        return [*(int(self._outcomes[cut][0] > 0) for cut in cuts), int(self._correct)]
