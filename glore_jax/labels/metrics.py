"""How good are scores and probabilities? Measures against labels: 1 is right or good, 0 wrong or bad.

A measure that is not defined on its input (empty, or without one of the classes) is None, never NaN. All take
sequences or numpy arrays of one dimension; ValueError for unequal lengths, NaN, or labels other than 0 and 1.
"""

from collections.abc import Iterable, Sequence

import numpy as np


def _arrays(values: Sequence[float], labels: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """(float64 [N], bool [N]) after the checks."""
    x, y = np.asarray(values, np.float64), np.asarray(labels)
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(
            f"values of shape {x.shape} and labels of shape {y.shape}: must be equal, [N]"
        )
    if np.isnan(x).any():
        raise ValueError("a value is NaN")
    if not np.isin(y, (0, 1)).all():
        raise ValueError("labels must be 0 or 1")
    return x, y.astype(bool)


def _probabilities(prob: Sequence[float], label: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    p, y = _arrays(prob, label)
    if ((p < 0) | (p > 1)).any():
        raise ValueError("a probability is not in 0..1")
    return p, y


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if values.size else None


def _pair_wins(scores: np.ndarray, right: np.ndarray) -> tuple[float, int]:
    """Over all pairs of a right and a wrong item: (wins of the right one, a tie is half; pairs)."""
    losers = np.sort(scores[~right])
    below = np.searchsorted(losers, scores[right], side="left")
    not_above = np.searchsorted(losers, scores[right], side="right")
    return float((below + not_above).sum()) / 2, int(right.sum()) * losers.size


def within_pair_accuracy(
    groups: Iterable[tuple[Sequence[float], Sequence[bool]]],
) -> tuple[float | None, int]:
    """(share, n): how often a right solution scores higher than a wrong one of the same question.

    Args:
      groups: (scores, correct) of each question's solutions.

    Returns:
      The share over all n pairs of all questions, ties count half; (None, 0) without pairs.
    """
    wins, pairs = 0.0, 0
    for scores, correct in groups:
        won, count = _pair_wins(*_arrays(scores, correct))
        wins, pairs = wins + won, pairs + count
    return (wins / pairs if pairs else None), pairs


def auc(scores: Sequence[float], labels: Sequence[float]) -> tuple[float | None, int]:
    """(area under the ROC curve, number of items); None unless both classes occur."""
    x, y = _arrays(scores, labels)
    wins, pairs = _pair_wins(x, y)
    return (wins / pairs if pairs else None), x.size


def log_loss(prob: Sequence[float], label: Sequence[float]) -> tuple[float | None, int]:
    """(mean negative log-likelihood of the labels in nats, n); probabilities are kept in 1e-7..1 - 1e-7."""
    p, y = _probabilities(prob, label)
    p = np.clip(p, 1e-7, 1 - 1e-7)
    return _mean(-np.log(np.where(y, p, 1 - p))), p.size


def binary_scores(
    prob: Sequence[float], label: Sequence[float], threshold: float
) -> dict[str, float | int | None]:
    """Decisions of a reward model against labels; an item is called bad if p <= threshold, as in the paper.

    Returns:
      `acc`; `f1` of finding the bad items; `balanced_acc`, the mean of the two classes' accuracies;
      `false_alarm`, the share of good items called bad; `missed`, the share of bad items called good; `n`.
    """
    p, y = _probabilities(prob, label)
    called_bad = p <= threshold
    found, flagged, bad = int((called_bad & ~y).sum()), int(called_bad.sum()), int((~y).sum())
    false_alarm, missed = _mean(called_bad[y]), _mean(~called_bad[~y])
    return {
        "acc": _mean(called_bad == ~y),
        "f1": 2 * found / (flagged + bad) if flagged + bad else None,
        "balanced_acc": None
        if false_alarm is None or missed is None
        else 1 - (false_alarm + missed) / 2,
        "false_alarm": false_alarm,
        "missed": missed,
        "n": p.size,
    }


def first_error(probs: Sequence[float], threshold: float) -> int:
    """Index of the first step with p <= threshold, -1 if there is none. ValueError for NaN."""
    p = np.asarray(probs, np.float64)
    if np.isnan(p).any():
        raise ValueError("a probability is NaN")
    below = np.flatnonzero(p <= threshold)
    return int(below[0]) if below.size else -1


def first_error_accuracy(
    predicted: Sequence[int], truth: Sequence[int]
) -> dict[str, float | int | None]:
    """How exactly the first error of each solution is found; -1 stands for no error, on both sides.

    Returns:
      `acc` over all `n` solutions; `wrong_acc` over the `wrong_n` that have an error, `right_acc` over the
      `right_n` that have none, `f1`, the harmonic mean of these two (the score of ProcessBench); `offset`,
      the mean of predicted minus true index where both exist (in steps; negative: called too early).
    """
    p, t = np.asarray(predicted, np.int64), np.asarray(truth, np.int64)
    if p.ndim != 1 or p.shape != t.shape:
        raise ValueError(
            f"predicted of shape {p.shape} and truth of shape {t.shape}: must be equal, [N]"
        )
    hit, wrong = p == t, t >= 0
    wrong_acc, right_acc = _mean(hit[wrong]), _mean(hit[~wrong])
    if wrong_acc is None or right_acc is None:
        f1 = None
    else:
        f1 = 2 * wrong_acc * right_acc / (wrong_acc + right_acc) if wrong_acc + right_acc else 0.0
    return {
        "acc": _mean(hit),
        "n": p.size,
        "wrong_acc": wrong_acc,
        "wrong_n": int(wrong.sum()),
        "right_acc": right_acc,
        "right_n": int((~wrong).sum()),
        "f1": f1,
        "offset": _mean((p - t)[wrong & (p >= 0)]),
    }


def _bin_of(values: np.ndarray, bins: int) -> np.ndarray:
    """Index of the equal bin of 0..1 that holds each value; 1.0 belongs to the last one."""
    if bins < 1:
        raise ValueError(f"bins = {bins}: must be at least 1")
    edges = np.arange(1, bins) / bins
    return np.searchsorted(edges, values, side="right")


def reliability(prob: Sequence[float], label: Sequence[float], bins: int = 10) -> dict:
    """Calibration in equal bins of the probability.

    Returns:
      `bins`: `{low, high, n, prob, rate}` each (mean probability and share of good labels; None if empty);
      `ece`: expected calibration error, the mean of |prob - rate| over items; `n`.
    """
    p, y = _probabilities(prob, label)
    index = _bin_of(p, bins)
    rows = [
        {
            "low": b / bins,
            "high": (b + 1) / bins,
            "n": int((index == b).sum()),
            "prob": _mean(p[index == b]),
            "rate": _mean(y[index == b]),
        }
        for b in range(bins)
    ]
    gap = sum(row["n"] * abs(row["prob"] - row["rate"]) for row in rows if row["n"])
    return {"bins": rows, "ece": gap / p.size if p.size else None, "n": p.size}


def histogram01(values: Sequence[float], bins: int = 20) -> dict:
    """Counts of values of 0..1 in equal bins: `{edges [bins + 1], counts [bins], n}`; ValueError outside."""
    x, _ = _probabilities(values, np.zeros(len(values)))
    counts = np.bincount(_bin_of(x, bins), minlength=bins)
    return {"edges": [b / bins for b in range(bins + 1)], "counts": counts.tolist(), "n": x.size}
