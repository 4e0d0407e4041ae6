"""Balance of step labels by prefix length (section 4.1 step 2 of the paper, third rule).

Early steps are almost all good and late ones almost all bad. Without balance a reward model learns
the position instead of the step (figure 4 of the paper). How the paper balances is not stated; here
the larger class at each prefix length is subsampled:

                 labels of step          weights of step
                 1     2     3           1     2     3
    draft a      1     1     0           1     1     0
    draft b      1     0     -           0     1     -
    draft c      1     1     1           0     1     1
    draft d      0     0     0           1     1     1
                -----------------       -----------------
    good : bad  3:1   2:2   1:2         1:1   2:2   1:1
"""

import dataclasses
import itertools
from collections.abc import Iterable
from typing import Self

import numpy as np
from jaxtyping import Bool, Float64, Int32

from glore_jax.labels.identity import identity_rank
from glore_jax.records import LabelledDraft


@dataclasses.dataclass(frozen=True)
class StepLabelTable:
    """The labels of many records as columns, one row a step, record after record.

    Attributes:
      good: whether the step is good.
      step: its index in its record.
    """

    good: Bool[np.ndarray, " steps"]
    step: Int32[np.ndarray, " steps"]

    @classmethod
    def of(cls, records: Iterable[LabelledDraft]) -> Self:
        """ValueError if a label is neither 0 nor 1."""
        labels = (label for record in records for label in _numbered(record))
        table = np.fromiter(labels, np.dtype([("good", bool), ("step", np.int32)]))
        return cls(table["good"].copy(), table["step"].copy())

    def select(self, chosen: Bool[np.ndarray, " steps"]) -> Self:
        """The labels that are `chosen`."""
        return dataclasses.replace(self, good=self.good[chosen], step=self.step[chosen])

    @property
    def counts(self) -> tuple[np.ndarray, np.ndarray]:
        """(bad, good) labels of each step; no step is without any: the longest record has it."""
        longest = int(self.step.max(initial=-1)) + 1
        bad = np.bincount(self.step[~self.good], minlength=longest)
        good = np.bincount(self.step[self.good], minlength=longest)
        return bad, good


def _numbered(record: LabelledDraft) -> Iterable[tuple[bool, int]]:
    for step, label in enumerate(record["labels"]):
        # A mark for "ignore", such as -100 or NaN, must not count as a good step.
        if label not in (0, 1):
            raise ValueError(f"label {label} of step {step + 1}: must be 0 or 1")
        yield bool(label), step


def ranks_of(records: Iterable[LabelledDraft], seed: int) -> Float64[np.ndarray, " steps"]:
    """The random rank of each label, in the order of a `StepLabelTable`."""
    # The step is an id too, so that no record is favoured at all lengths.
    ranks = (
        identity_rank(seed, record["question_id"], record["sample_id"], step)
        for record in records
        for step in range(len(record["labels"]))
    )
    return np.fromiter(ranks, np.float64)


def balance(
    table: StepLabelTable, ranks: Float64[np.ndarray, " steps"]
) -> Bool[np.ndarray, " steps"]:
    """Which labels of `table` are kept.

    At each prefix length as many good as bad labels are; where one class is missing, none. Of the
    larger class those with the smallest `ranks` are kept.
    """
    kept = np.zeros(len(table.good), bool)
    # All labels by step, class and rank: the first `size` of each step and class are kept.
    order = np.lexsort((ranks, table.good, table.step))
    bad, good = table.counts
    start = 0
    for of_step in np.stack([bad, good], axis=1).tolist():
        for count in of_step:
            kept[order[start : start + min(of_step)]] = True
            start += count
    return kept


def balance_counts(table: StepLabelTable, kept: Bool[np.ndarray, " steps"]) -> list[dict[str, int]]:
    """How many labels are `kept`: `{length, kept, dropped}` for each prefix length, from 1."""
    bad, good = table.counts
    left = np.bincount(table.step[kept], minlength=len(bad))
    rows = itertools.count(1), left.tolist(), (bad + good - left).tolist()
    return [
        {"length": length, "kept": kept, "dropped": dropped}
        for length, kept, dropped in zip(*rows, strict=False)
    ]


def label_rates(records: Iterable[LabelledDraft]) -> list[dict[str, float | int]]:
    """For each prefix length, from 1: `{length, n, rate}`, the share of good labels, unweighted."""
    bad, good = StepLabelTable.of(records).counts
    rows: list[dict[str, float | int]] = []
    for step, (wrong, right) in enumerate(zip(bad.tolist(), good.tolist(), strict=True)):
        n = wrong + right
        rows.append({"length": step + 1, "n": n, "rate": right / n})
    return rows
