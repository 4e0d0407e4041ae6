"""Rollout labels against the known truth: on all drafts, on wrong ones, and had K been smaller.

Labels of right drafts are right for nothing: their grade makes all steps good. What the labels are
worth shows in the wrong drafts:

    truth        1       1       0       0
    labels       1       0       0       0       the last one is the grade, not a rollout's
                 +       -       +               agreement of the steps before it
                         ^ labelled first error, a step before the true one: offset -1
"""

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from glore_jax.labels.metrics import mean
from glore_jax.labels.selection import axis
from glore_jax.records import LabelledDraft


class Judged(NamedTuple):
    """A labelled draft and the truth of each of its steps, None where nobody knows it."""

    draft: LabelledDraft
    truth: Sequence[bool] | None
    strict: Sequence[bool] | None


def agreement(drafts: Iterable[Judged], k: int) -> dict | None:
    """How well rollout labels agree with the truth, per step before the last.

    Args:
      drafts: gone through once.
      k: rollouts of a prefix.

    Returns:
      Over all `n` labels: `acc`, the share that is true; `strict_acc`, the same by the strict
      truth; `false_positive`, the share of bad steps labelled good; `false_negative`, of good ones
      labelled bad. Over the `wrong_n` labels of drafts graded wrong: `wrong_acc`, and `by_step`,
      `{step, acc, n}` each. Over the `errors` drafts graded wrong that have a wrong step:
      `first_error_acc`, the share whose labels turn exactly there; `offset`, the mean of labelled
      minus true first error in steps; `by_k`, see `_Fewer`. None without a label, or if the truth
      of some draft is unknown.

    Raises:
      ValueError: a draft has not one label and one truth for each step.
    """
    steps = _Steps()
    fewer = _Fewer(k)
    offsets: list[int] = []
    for draft, truth, strict in drafts:
        if truth is None or strict is None:
            return None
        steps.add(draft, truth, strict)
        if not draft["correct"] and False in truth:
            first = list(truth).index(False)
            offsets.append(draft["first_error"] - first)
            fewer.add(draft, first)
    if not steps.label:
        return None
    offset = np.array(offsets, np.int64)
    return steps.figures() | {
        "errors": len(offsets),
        "first_error_acc": mean(offset == 0),
        "offset": mean(offset),
        "by_k": fewer.figures(),
    }


@dataclasses.dataclass
class _Steps:
    """Every label that rollouts decided, in columns."""

    label: list[int] = dataclasses.field(default_factory=list)
    truth: list[bool] = dataclasses.field(default_factory=list)
    strict: list[bool] = dataclasses.field(default_factory=list)
    wrong: list[bool] = dataclasses.field(default_factory=list)  # the draft's grade
    step: list[int] = dataclasses.field(default_factory=list)  # from 1

    def add(self, draft: LabelledDraft, truth: Sequence[bool], strict: Sequence[bool]) -> None:
        labels = draft["labels"]
        if not len(labels) == len(truth) == len(strict):
            raise ValueError(f"{len(labels)} labels, but the truth of {len(truth)} steps")
        count = max(len(labels) - 1, 0)
        self.label += labels[:count]
        self.truth += truth[:count]
        self.strict += strict[:count]
        self.wrong += [not draft["correct"]] * count
        self.step += range(1, count + 1)

    def figures(self) -> dict:
        label = np.array(self.label, bool)
        truth = np.array(self.truth, bool)
        wrong = np.array(self.wrong, bool)
        step = np.array(self.step, np.int64)
        agrees = label == truth
        by_step = []
        for place in np.unique(step[wrong]).tolist():
            here = agrees[wrong & (step == place)]
            by_step.append({"step": place, "acc": mean(here), "n": here.size})
        return {
            "acc": mean(agrees),
            "n": label.size,
            "strict_acc": mean(label == np.array(self.strict, bool)),
            "false_positive": mean(label[~truth]),
            "false_negative": mean(~label[truth]),
            "wrong_acc": mean(agrees[wrong]),
            "wrong_n": int(wrong.sum()),
            "by_step": by_step,
        }


# What fewer rollouts would have found.


class _Fewer:
    """First errors as 1, 2, 4, … of the k rollouts of each prefix would label them.

    Means over all choices of so many of the k. A schedule that goes backwards stops at the first
    prefix with a hit; had fewer rollouts missed it, earlier prefixes would have been tried, whose
    outcome nobody knows. Hence two bounds.
    """

    def __init__(self, k: int):
        self._k = k
        self._fewer = axis(k)
        self._sums = np.zeros((len(self._fewer), 3))
        self._n = 0
        self._known = True

    def add(self, draft: LabelledDraft, first: int) -> None:
        """`first`: index of the draft's truly first wrong step."""
        self._known = self._known and _is_scan(draft, self._k)
        if self._known:
            self._sums += [_outcome(draft, first, fewer, self._k) for fewer in self._fewer]
            self._n += 1

    def figures(self) -> list[dict]:
        """`{k, settled, first_error_low, first_error_high, n}` each: the share of drafts whose
        labels stay as they are, and the least and the most share whose labels turn at the true
        first error. Empty where some record does not tell: it skipped prefixes, or has other
        labels than those that turn behind its last prefix with a hit.
        """
        if not self._known or not self._n:
            return []
        keys = ("settled", "first_error_low", "first_error_high")
        # Sums of shares may exceed 1 by a rounding.
        rows = np.minimum(self._sums / self._n, 1.0).tolist()
        return [
            {"k": fewer, **dict(zip(keys, row, strict=True)), "n": self._n}
            for fewer, row in zip(self._fewer, rows, strict=True)
        ]


def _is_scan(draft: LabelledDraft, k: int) -> bool:
    """Whether prefixes were tried from the last one on without gaps, `k` times each, down to the
    first or to one with a hit, and the labels turn behind the last one with a hit."""
    size = len(draft["labels"])
    tries = draft["tries"][:-1]
    hit = [cut for cut, hits in enumerate(draft["hits"][:-1], start=1) if hits]
    turn = max(hit, default=0)
    untried = tries.count(0)  # they come first, and before a hit
    as_scanned = tries == [0] * untried + [k] * (len(tries) - untried)
    stopped = untried == 0 or untried == turn - 1
    return as_scanned and stopped and draft["labels"] == [1] * turn + [0] * (size - turn)


def _outcome(draft: LabelledDraft, first: int, k: int, most: int) -> tuple[float, float, float]:
    """(chance that k rollouts label the draft as all did; that they find its true first error,
    index `first`, at least and at most)."""
    left = 1.0  # chance that no prefix so far was hit
    settled = 0.0
    exact = 0.0
    lowest = len(draft["labels"])
    for cut in range(len(draft["labels"]) - 1, 0, -1):
        if not draft["tries"][cut - 1]:
            break
        lowest = cut
        misses = most - draft["hits"][cut - 1]
        missed = math.comb(misses, k) / math.comb(most, k)
        found = left * (1 - missed)
        left -= found
        settled += found * (cut == draft["first_error"])
        exact += found * (cut == first)
    if lowest > 1 and len(draft["labels"]) > 1:  # what would have come next was not tried
        return settled, exact, exact + left * (first < lowest)
    settled += left * (draft["first_error"] == 0)
    exact += left * (first == 0)
    return settled, exact, exact
