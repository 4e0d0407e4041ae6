"""How sure a difference is that was measured on some questions: paired bootstrap intervals.

Two things are compared on the same questions, and each is a ratio of sums over them: right answers
over questions, right calls over steps, drafts put right over wrong drafts. A resample draws as many
clusters of questions as there are, with replacement, and takes both ratios from the same ones: what
makes a question hard for one makes it hard for the other, and drops out of the difference.

What is drawn are wholes that go right or wrong together: not steps or pairs of samples of a
question, and not the questions either where some are variations of one story.

    steps, pairs          s s s   s s   s s s   s s       summed up by question
    questions             q       q     q       q         summed up by cluster
    clusters              c             c                 drawn
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from glore_jax.labels.identity import identity_rank

RESAMPLES = 10_000
LEVEL = 0.95

_AT_A_TIME = 256  # resamples whose counts are in memory together


@dataclasses.dataclass(frozen=True)
class Ratio:
    """A ratio of sums over questions: `hits` [questions] by `of` [questions], both float64.

    A question that does not count has 0 in both.
    """

    hits: np.ndarray
    of: np.ndarray

    @classmethod
    def make(cls, hits: ArrayLike, of: ArrayLike) -> Self:
        """ValueError for unequal shapes, more than one dimension, or a value that is not finite."""
        ratio = cls(np.asarray(hits, np.float64), np.asarray(of, np.float64))
        if ratio.hits.ndim != 1 or ratio.hits.shape != ratio.of.shape:
            raise ValueError(
                f"hits of shape {ratio.hits.shape} over shape {ratio.of.shape}: must be equal, [N]"
            )
        if not (np.isfinite(ratio.hits).all() and np.isfinite(ratio.of).all()):
            raise ValueError("a value is not finite")
        return ratio

    @classmethod
    def share(cls, outcomes: ArrayLike) -> Self:
        """One outcome in 0..1 for each question, the mean of which is meant."""
        hits = np.asarray(outcomes, np.float64)
        return cls.make(hits, np.ones_like(hits))

    @classmethod
    def constant(cls, value: float, beside: "Ratio") -> Self:
        """The number `value`, over what `beside` is over."""
        return cls.make(value * beside.of, beside.of)


@dataclasses.dataclass(frozen=True)
class Interval:
    """A difference with its interval over resamples of the clusters.

    Attributes:
      value: of the questions as they are.
      low, high: the middle 95 % of the resamples lie between them; where all resamples are the
        same, `value` ± 3 / clusters.
      n: questions that count in one of the two.
      clusters: that these questions are of.
    """

    value: float
    low: float
    high: float
    n: int
    clusters: int


def paired_intervals(
    clusters: Sequence[str],
    pairs: Mapping[str, tuple[Ratio, Ratio]],
    seed: int,
    resamples: int = RESAMPLES,
) -> dict[str, Interval | None]:
    """By name, the first ratio of a pair minus its second.

    All pairs see the same resamples. These depend on the seed and the set of clusters, not on the
    order in which the questions come.

    Args:
      clusters: for each question the name of its cluster: an id of its own if no other question
        goes right or wrong with it.
      pairs: the ratios have one entry for each question.

    Returns:
      None for a difference that is not defined (one of its sums is over nothing). Resamples where
      it is not defined are left out.

    Raises:
      ValueError: lengths differ.
    """
    n = len(clusters)
    names, place = np.unique(np.asarray(clusters, str), return_inverse=True)
    columns = []
    for name, (a, b) in pairs.items():
        for part in (a.hits, a.of, b.hits, b.of):
            if part.shape != (n,):
                raise ValueError(f"{name}: {part.shape} entries for {n} questions")
            columns.append(part)
    if not columns:
        return {}
    table = np.zeros((len(names), len(columns)))  # [clusters, 4 a pair]
    np.add.at(table, place, np.stack(columns, axis=1))
    values = _differences(table.sum(axis=0, keepdims=True))[0]
    drawn = np.concatenate(
        [_differences(counts @ table) for counts in _resampled(len(names), seed, resamples)]
    )
    found: dict[str, Interval | None] = {}
    for i, (name, (a, b)) in enumerate(pairs.items()):
        counting = (a.of != 0) | (b.of != 0)
        counts = int(counting.sum()), len(np.unique(place[counting]))
        found[name] = _interval(float(values[i]), drawn[:, i], *counts)
    return found


def _resampled(n: int, seed: int, resamples: int) -> Iterator[np.ndarray]:
    """How often each of n clusters is drawn, float64 [some of the resamples, n] at a time."""
    rng = np.random.default_rng(int(identity_rank("bootstrap", seed) * 2**53))
    for start in range(0, resamples, _AT_A_TIME):
        rows = min(_AT_A_TIME, resamples - start)
        drawn = rng.integers(max(n, 1), size=(rows, n))
        # Each row counts in a range of its own.
        drawn += np.arange(rows)[:, None] * n
        counts = np.bincount(drawn.ravel(), minlength=rows * n)
        yield counts.reshape(rows, n).astype(np.float64)


def _differences(sums: np.ndarray) -> np.ndarray:
    """[rows, 4 a pair] -> [rows, pairs]; NaN where something is divided by nothing."""
    rows = sums.reshape(len(sums), -1, 4)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = rows[..., 0] / rows[..., 1] - rows[..., 2] / rows[..., 3]
    return np.where(np.isfinite(found), found, np.nan)


def _interval(value: float, drawn: np.ndarray, n: int, clusters: int) -> Interval | None:
    defined = drawn[np.isfinite(drawn)]
    if not np.isfinite(value) or not defined.size:
        return None
    edge = (1 - LEVEL) / 2
    low, high = np.quantile(defined, (edge, 1 - edge))
    if defined.min() == defined.max():
        # No resample can differ where no cluster does. What was not seen in n clusters may still be
        # true of 3 in n, at 95 % confidence (the rule of three).
        low = value - 3 / clusters
        high = value + 3 / clusters
    return Interval(value, float(low), float(high), n, clusters)
