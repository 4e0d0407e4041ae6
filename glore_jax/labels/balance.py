"""Balancing step labels by prefix length (section 4.1 step 2 of the paper, third rule).

Early steps are almost all good and late ones almost all bad; without balance a reward model learns the
position instead of the step (figure 4 of the paper). How the paper balances is not stated; here the larger
class at each length is subsampled.
"""

from collections.abc import Iterator, Mapping, Sequence

from glore_jax.labels.identity import identity_rank


def _by_length(records: Sequence[Mapping]) -> Iterator[list[list[int]]]:
    """For each prefix length, from 1: (records with a bad step there, with a good one), as indices."""
    longest = max((len(record["labels"]) for record in records), default=0)
    lengths: list[list[list[int]]] = [[[], []] for _ in range(longest)]
    for index, record in enumerate(records):
        for step, label in enumerate(record["labels"]):
            if label not in (0, 1):
                raise ValueError(f"label {label} of step {step + 1}: must be 0 or 1")
            lengths[step][int(label)].append(index)
    yield from lengths


def balance(records: Sequence[Mapping], seed: int) -> list[list[float]]:
    """Weights of the labels of each record, 1.0 keep and 0.0 drop, in the shape of `labels`.

    At each prefix length as many good as bad labels are kept; where one class is missing, none are.

    Args:
      records: each with `question_id`, `sample_id` and `labels` (0 or 1 per step); any order.
      seed: of the random choice within the larger class.
    """

    def rank(record: Mapping, step: int) -> float:
        return identity_rank(seed, record["question_id"], record["sample_id"], step)

    weights = [[0.0] * len(record["labels"]) for record in records]
    for step, classes in enumerate(_by_length(records)):
        size = min(map(len, classes))
        for members in classes:
            drawn = (
                sorted(members, key=lambda i: rank(records[i], step))
                if len(members) > size
                else members
            )
            for index in drawn[:size]:
                weights[index][step] = 1.0
    return weights


def balance_counts(
    records: Sequence[Mapping], weights: Sequence[Sequence[float]]
) -> list[dict[str, int]]:
    """For each prefix length, from 1: `{length, kept, dropped}`, numbers of labels under `weights`."""
    rows = []
    for step, (bad, good) in enumerate(_by_length(records)):
        kept = sum(weights[index][step] > 0 for index in bad + good)
        rows.append({"length": step + 1, "kept": kept, "dropped": len(bad) + len(good) - kept})
    return rows


def label_rates(records: Sequence[Mapping]) -> list[dict[str, float | int]]:
    """For each prefix length, from 1: `{length, n, rate}`, the share of good labels, unweighted."""
    return [
        {"length": step + 1, "n": len(bad) + len(good), "rate": len(good) / (len(bad) + len(good))}
        for step, (bad, good) in enumerate(_by_length(records))
    ]
