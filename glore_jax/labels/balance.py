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

from collections.abc import Sequence

from glore_jax.labels.identity import identity_rank
from glore_jax.records import LabelledDraft


def balance(records: Sequence[LabelledDraft], seed: int) -> list[list[float]]:
    """Weights of the labels of each record, 1.0 keep and 0.0 drop, in the shape of `labels`.

    At each prefix length as many good as bad labels are kept; where one class is missing, none are.

    Args:
      records: each with `question_id`, `sample_id` and `labels` (0 or 1 per step); any order.
      seed: of the random choice within the larger class.

    Raises:
      ValueError: a label is neither 0 nor 1.
    """

    def rank(index: int, step: int) -> float:
        # The step is an id too, so that no record is favoured at all lengths.
        record = records[index]
        return identity_rank(seed, record["question_id"], record["sample_id"], step)

    weights = [[0.0] * len(record["labels"]) for record in records]
    for step, (bad, good) in enumerate(_by_length(records)):
        size = min(len(bad), len(good))
        for members in (bad, good):
            for index in sorted(members, key=lambda index: rank(index, step))[:size]:
                weights[index][step] = 1.0
    return weights


def balance_counts(
    records: Sequence[LabelledDraft], weights: Sequence[Sequence[float]]
) -> list[dict[str, int]]:
    """How many labels `weights` keep: `{length, kept, dropped}` for each prefix length, from 1."""
    rows = []
    for step, (bad, good) in enumerate(_by_length(records)):
        kept = sum(weights[index][step] > 0 for index in bad + good)
        dropped = len(bad) + len(good) - kept
        rows.append({"length": step + 1, "kept": kept, "dropped": dropped})
    return rows


def label_rates(records: Sequence[LabelledDraft]) -> list[dict[str, float | int]]:
    """For each prefix length, from 1: `{length, n, rate}`, the share of good labels, unweighted."""
    rows: list[dict[str, float | int]] = []
    for step, (bad, good) in enumerate(_by_length(records)):
        n = len(bad) + len(good)
        rows.append({"length": step + 1, "n": n, "rate": len(good) / n})
    return rows


def _by_length(records: Sequence[LabelledDraft]) -> list[tuple[list[int], list[int]]]:
    """At index l - 1, of the records that have a step l: (those where it is bad, where good).

    Records are named by their index in `records`. No length is without any: the longest has one.
    """
    longest = max((len(record["labels"]) for record in records), default=0)
    lengths: list[tuple[list[int], list[int]]] = [([], []) for _ in range(longest)]
    for index, record in enumerate(records):
        for step, label in enumerate(record["labels"]):
            # A mark for "ignore", such as -100 or NaN, must not count as a good step.
            if label not in (0, 1):
                raise ValueError(f"label {label} of step {step + 1}: must be 0 or 1")
            bad, good = lengths[step]
            (good if label else bad).append(index)
    return lengths
