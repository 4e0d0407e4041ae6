"""How good are scores and probabilities? Measures against labels.

A label is 1 for a right solution or a good step, 0 for a wrong or bad one. A measure that is not
defined on its input (empty, or without one of the classes) is None, never NaN. All take sequences
or numpy arrays of one dimension; ValueError for unequal lengths, NaN, or labels other than 0 and 1.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike

# Measures by name, with the numbers of items that they were taken over.
Measures = dict[str, float | int | None]


def last_score(steps: Sequence[float] | np.ndarray) -> float:
    """The score of a solution: that of its last step, 0 for one without steps."""
    return float(steps[-1]) if len(steps) else 0.0


def within_pair_accuracy(
    groups: Iterable[tuple[ArrayLike, ArrayLike]],
) -> tuple[float | None, int]:
    """(share, n): how often a right solution scores higher than a wrong one of the same question.

    Args:
      groups: (scores, correct) of each question's solutions.

    Returns:
      The share over all n pairs of all questions, ties count half; (None, 0) without pairs.
    """
    wins = 0.0
    pairs = 0
    for scores, correct in groups:
        won, count = pair_wins(scores, correct)
        wins += won
        pairs += count
    return (wins / pairs if pairs else None), pairs


def pair_wins(scores: ArrayLike, labels: ArrayLike) -> tuple[float, int]:
    """Over all pairs of a good and a bad item: (wins of the good one, a tie is half; pairs)."""
    x, good = _arrays(scores, labels)
    losers = np.sort(x[~good])
    below = np.searchsorted(losers, x[good], side="left")
    not_above = np.searchsorted(losers, x[good], side="right")
    # Ties are in `not_above` alone, so half of both together counts them half.
    return float((below + not_above).sum()) / 2, int(good.sum()) * losers.size


def auc(scores: ArrayLike, labels: ArrayLike) -> tuple[float | None, int]:
    """(area under the ROC curve, number of items); None unless both classes occur."""
    x, y = _arrays(scores, labels)
    # The area is the share of pairs of a good and a bad item in which the good one scores higher.
    wins, pairs = pair_wins(x, y)
    return (wins / pairs if pairs else None), x.size


def log_loss(prob: ArrayLike, label: ArrayLike) -> tuple[float | None, int]:
    """(mean negative log-likelihood of the labels in nats, n).

    Probabilities are kept in 1e-7..1 - 1e-7.
    """
    p, y = _probabilities(prob, label)
    p = np.clip(p, 1e-7, 1 - 1e-7)
    return mean(-np.log(np.where(y, p, 1 - p))), p.size


def binary_scores(prob: ArrayLike, label: ArrayLike, threshold: float) -> Measures:
    """Decisions of a reward model against labels; an item is called bad if p <= threshold.

    So the paper calls a step (section 4.1 step 3).

    Returns:
      `acc`; `majority`, the accuracy of calling all items what most are; `f1` of finding the bad
      items; `false_alarm`, the share of good items called bad; `missed`, the share of bad items
      called good; `n`.
    """
    p, good = _probabilities(prob, label)
    called_bad = p <= threshold
    false_alarm = mean(called_bad[good])
    missed = mean(~called_bad[~good])
    found = int((called_bad & ~good).sum())
    called_or_bad = int(called_bad.sum()) + int((~good).sum())  # found ones count in both
    return {
        "acc": mean(called_bad == ~good),
        "majority": float(max(good.mean(), 1 - good.mean())) if p.size else None,
        "f1": 2 * found / called_or_bad if called_or_bad else None,
        "false_alarm": false_alarm,
        "missed": missed,
        "n": p.size,
    }


def first_error(probs: ArrayLike, threshold: float) -> int:
    """Index of the first step with p <= threshold, -1 if there is none. ValueError for NaN."""
    p = np.asarray(probs, np.float64)
    if np.isnan(p).any():
        raise ValueError("a probability is NaN")
    below = np.flatnonzero(p <= threshold)
    return int(below[0]) if below.size else -1


def first_error_accuracy(predicted: ArrayLike, truth: ArrayLike) -> Measures:
    """How exactly the first error of each solution is found; -1 stands for no error on both sides.

    Returns:
      `acc` over all `n` solutions; `wrong_acc` over the `wrong_n` that have an error, `right_acc`
      over the `right_n` that have none, `f1`, the harmonic mean of these two (the score of
      ProcessBench); `offset`, the mean of predicted minus true index where both exist (in steps;
      negative: called too early).
    """
    p = np.asarray(predicted, np.int64)
    t = np.asarray(truth, np.int64)
    if p.ndim != 1 or p.shape != t.shape:
        raise ValueError(
            f"predicted of shape {p.shape} and truth of shape {t.shape}: must be equal, [N]"
        )
    hit = p == t
    wrong = t >= 0
    wrong_acc = mean(hit[wrong])
    right_acc = mean(hit[~wrong])
    return {
        "acc": mean(hit),
        "n": p.size,
        "wrong_acc": wrong_acc,
        "wrong_n": int(wrong.sum()),
        "right_acc": right_acc,
        "right_n": int((~wrong).sum()),
        "f1": _harmonic_mean(wrong_acc, right_acc),
        "offset": mean((p - t)[wrong & (p >= 0)]),
    }


def reliability(prob: ArrayLike, label: ArrayLike, bins: int = 10) -> dict:
    """Calibration in equal bins of the probability.

    Returns:
      `bins`: `{low, high, n, prob, rate}` each (mean probability and share of good labels; None if
      empty); `ece`: expected calibration error, the mean of |prob - rate| over items; `n`.
    """
    p, y = _probabilities(prob, label)
    index = _bin_of(p, bins)
    rows = []
    gaps = []
    for b in range(bins):
        inside = index == b
        n = int(inside.sum())
        mean_prob = mean(p[inside])
        rate = mean(y[inside])
        if mean_prob is not None and rate is not None:
            gaps.append(n * abs(mean_prob - rate))
        edges = {"low": b / bins, "high": (b + 1) / bins}
        rows.append({**edges, "n": n, "prob": mean_prob, "rate": rate})
    return {"bins": rows, "ece": sum(gaps) / p.size if p.size else None, "n": p.size}


def histogram01(values: ArrayLike, bins: int = 20) -> dict:
    """Counts of values of 0..1 in equal bins: `{edges [bins + 1], counts [bins], n}`.

    ValueError for a value outside.
    """
    x, _ = _probabilities(values, np.zeros_like(values, np.float64))
    counts = np.bincount(_bin_of(x, bins), minlength=bins)
    edges = [b / bins for b in range(bins + 1)]
    return {"edges": edges, "counts": counts.tolist(), "n": x.size}


def _arrays(values: ArrayLike, labels: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """(float64 [N], bool [N]) after the checks."""
    x = np.asarray(values, np.float64)
    y = np.asarray(labels)
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(
            f"values of shape {x.shape} and labels of shape {y.shape}: must be equal, [N]"
        )
    if np.isnan(x).any():
        raise ValueError("a value is NaN")
    # Before the cast: as booleans, -100 ("ignore") and NaN would be right.
    if not np.isin(y, (0, 1)).all():
        raise ValueError("labels must be 0 or 1")
    return x, y.astype(bool)


def _probabilities(prob: ArrayLike, label: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    p, y = _arrays(prob, label)
    if ((p < 0) | (p > 1)).any():
        raise ValueError("a probability is not in 0..1")
    return p, y


def mean(values: np.ndarray) -> float | None:
    """The mean; None of nothing."""
    return float(values.mean()) if values.size else None


def _harmonic_mean(a: float | None, b: float | None) -> float | None:
    if a is None or b is None:
        return None
    return 2 * a * b / (a + b) if a + b else 0.0


def _bin_of(values: np.ndarray, bins: int) -> np.ndarray:
    """Index of the equal bin of 0..1 that holds each value; an edge belongs to the bin it opens.

    1.0 belongs to the last one.
    """
    if bins < 1:
        raise ValueError(f"bins = {bins}: must be at least 1")
    # Compared with the edges, not `values * bins` rounded down: 0.29 * 100 is below 29.
    inner_edges = np.arange(1, bins) / bins
    return np.searchsorted(inner_edges, values, side="right")
