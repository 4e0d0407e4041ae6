"""What is chosen on `dev` before test questions are touched, and how one of several solutions is.

    cutoff        at or below which score is something called wrong: thresholds and marks
    temperature   at which samples serve best beside a greedy draft
    combination   of several scores into one value of a solution
    vote, best    which of the candidates stands, given what they answer and how they score

Pure functions of scores and grades: what they return depends on nothing else.
"""

import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from glore_jax.labels.metrics import first_error
from glore_jax.labels.selection import Canonical, weighted_vote
from glore_jax.tasks.grading import parse_number

MIDDLE = 0.5  # of probabilities: where nothing speaks for another value

_POINTS = 41  # quantiles of the scores that are tried as a cutoff
_WINDOW = 1  # neighbours on either side over which a curve is smoothed

# Weight of the squares of a combination's weights: they stay finite where scores divide right from
# wrong without a mistake.
_RIDGE = 1.0
_NEWTON_STEPS = 50


@dataclasses.dataclass(frozen=True)
class Chosen:
    """A value, and what it was chosen by.

    Attributes:
      value: the one chosen.
      how: the measure that it is best in, in a few words.
      n: of how many items that measure is a mean; 0: nothing to go by.
      curve: (value tried, its measure), in the order of the values.
    """

    value: float
    how: str
    n: int
    curve: tuple[tuple[float, float], ...] = ()


# Cutoffs: something is called wrong if its score is no higher.


def cutoffs(scores: ArrayLike) -> list[float]:
    """Cutoffs worth a try, ascending: quantiles of `scores` (probabilities), and one half.

    Quantiles, since the scores of a model may all lie close together.
    """
    x = np.asarray(scores, np.float64)
    found = np.quantile(x, np.linspace(0, 1, _POINTS)) if x.size else np.zeros(0)
    return sorted({MIDDLE, *found.tolist()})


def peak(tried: Sequence[float], measures: Sequence[float]) -> float:
    """The one of `tried` (ascending) at the highest point of the smoothed curve.

    Each point is the mean of itself and its neighbours: a single high one is luck. Of equal ones
    that which is closest to one half, and of these the lower. ValueError without any.
    """
    heights = np.asarray(measures, np.float64)
    if heights.size != len(tried) or not heights.size:
        raise ValueError(f"{len(tried)} values and {heights.size} measures: must be equal, not 0")
    smooth = [
        float(heights[max(0, i - _WINDOW) : i + _WINDOW + 1].mean()) for i in range(len(tried))
    ]
    # Means of the same numbers in other windows differ in their last bits.
    best = max(smooth) - 1e-9
    return min(
        (value for value, height in zip(tried, smooth, strict=True) if height >= best),
        key=lambda value: (abs(value - MIDDLE), value),
    )


def mark(scores: Sequence[Sequence[float]], errors: Sequence[int]) -> Chosen:
    """The mark at which the first flagged step is most often the first wrong one.

    Of drafts that go wrong behind their first step. Where the first step is wrong, a local
    refinement is the global one, which is there anyway; and were these drafts counted, a poor
    locator would do best to flag every first step.

    Args:
      scores: a probability for each step of each wrong draft.
      errors: index of the first wrong step of each.
    """
    how = "share of drafts wrong behind their first step whose first step marked is the wrong one"
    later = [(steps, error) for steps, error in zip(scores, errors, strict=True) if error > 0]
    if not later:
        return Chosen(MIDDLE, how, 0)
    tried = cutoffs([score for steps, _ in later for score in steps])
    measures = [float(np.mean([first_error(s, at) == e for s, e in later])) for at in tried]
    return Chosen(peak(tried, measures), how, len(later), tuple(zip(tried, measures, strict=True)))


def threshold(scores: Sequence[float], right: Sequence[int | bool]) -> Chosen:
    """The threshold at which most items are called what they are, wrong at or below it.

    scores, right: a probability and the grade of each item.
    """
    how = "share of items called what they are"
    if not len(scores):
        return Chosen(MIDDLE, how, 0)
    x = np.asarray(scores, np.float64)
    good = np.asarray(right, bool)
    tried = cutoffs(x)
    measures = [float(((x > at) == good).mean()) for at in tried]
    return Chosen(peak(tried, measures), how, len(x), tuple(zip(tried, measures, strict=True)))


# Temperatures.


def best_of_some(
    draft: tuple[float, bool], samples: Sequence[tuple[float, bool]], count: int
) -> float:
    """How often the highest score is a right solution, among a draft and `count` of its samples.

    draft, samples: (score, is it right). The mean over all choices of `count` samples; the draft
    wins a tie, then the earlier sample. ValueError if there are fewer than `count`.
    """
    if len(samples) < count:
        raise ValueError(f"{len(samples)} samples of a question: must be at least {count}")
    drawn = itertools.combinations(samples, count)
    rights = [max([draft, *some], key=lambda pair: pair[0])[1] for some in drawn]
    return sum(rights) / len(rights)


def temperature(measures: Mapping[float, Sequence[float]], how: str) -> Chosen:
    """The temperature of the highest mean over questions; of equal ones the lowest.

    `measures`: temperature -> a number for each question, the same questions for all.
    """
    means = {t: float(np.mean(measures[t])) for t in sorted(measures)}
    n = len(next(iter(measures.values())))
    return Chosen(max(means, key=lambda t: means[t]), how, n, tuple(means.items()))


# One value of several scores.

FEATURES = ("orm", "sorm", "loglik")


def log_odds(probability: ArrayLike) -> np.ndarray:
    """Of probabilities, which are kept in 1e-6..1 - 1e-6."""
    p = np.clip(np.asarray(probability, np.float64), 1e-6, 1 - 1e-6)
    return np.log(p) - np.log1p(-p)


def features(scores: Mapping[str, float]) -> list[float]:
    """What a combination weighs of a solution, in the order of `FEATURES`.

    scores: `orm`, the ORM's probability at the last step; `sorm`, the SORM's lowest; `loglik`, the
    log-likelihood of the text under the student.
    """
    return [
        float(log_odds(scores["orm"])),
        float(log_odds(scores["sorm"])),
        float(scores["loglik"]),
    ]


def fit_combination(groups: Iterable[tuple[ArrayLike, ArrayLike]]) -> tuple[list[float], int]:
    """(weights, n): weights under which right solutions stand above wrong ones of their question.

    Logistic regression of pairs of a right and a wrong solution of one question, on the difference
    of their features: what makes a whole question hard falls out. Each question counts once,
    however many pairs it has. Features are brought to one scale for the fit, and the weights back.

    Args:
      groups: (features [solutions, F], right [solutions]) of each question.

    Returns:
      A weight for each feature, and the number n of questions that have a pair. Without any, all
      the weight is the first feature's.
    """
    differences = []
    shares = []
    for values, right in groups:
        x = np.asarray(values, np.float64)
        good = np.asarray(right, bool)
        # [right, wrong, F] -> [pairs, F]
        pairs = (x[good][:, None] - x[~good][None]).reshape(-1, x.shape[-1] if x.ndim > 1 else 0)
        if len(pairs):
            differences.append(pairs)
            shares.append(np.full(len(pairs), 1 / len(pairs)))
    if not differences:
        return [1.0] + [0.0] * (len(FEATURES) - 1), 0
    x = np.concatenate(differences)
    share = np.concatenate(shares)
    scale = np.sqrt(np.average(x**2, axis=0, weights=share))
    scale[scale == 0] = 1.0  # a feature without differences gets the weight 0
    return (_logistic(x / scale, share) / scale).tolist(), len(differences)


def _logistic(x: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Weights [F] of least sum(share * log(1 + exp(-x @ w))) + ridge, by Newton's method."""

    def loss(w: np.ndarray) -> float:
        return float(share @ np.logaddexp(0, -x @ w) + _RIDGE / 2 * w @ w)

    w = np.zeros(x.shape[1])
    for _ in range(_NEWTON_STEPS):
        miss = np.exp(-np.logaddexp(0, x @ w))  # probability of the wrong order
        gradient = _RIDGE * w - x.T @ (share * miss)
        curvature = _RIDGE * np.eye(len(w)) + (x.T * (share * miss * (1 - miss))) @ x
        step = np.linalg.solve(curvature, gradient)
        # Far from the minimum a whole step may overshoot.
        while np.abs(step).max() > 1e-10 and loss(w - step) > loss(w):
            step = step / 2
        w = w - step
        if np.abs(step).max() <= 1e-10:
            break
    return w


# One of several candidates.


def best(values: Sequence[float]) -> int:
    """Index of the highest value, of equal ones the first. ValueError without any."""
    return max(range(len(values)), key=lambda i: values[i])


def vote(
    answers: Sequence[str | None],
    weights: Sequence[float],
    values: Sequence[float],
    canonical: Canonical = parse_number,
) -> int:
    """Index of the candidate of highest value among those that give the answer of most weight.

    Where nobody votes, all candidates stand. Lengths as of `weighted_vote`; ties go to the first.
    """
    winner = weighted_vote(answers, weights, canonical)
    if winner is None:
        return best(values)
    meanings = [None if answer is None else canonical(answer) for answer in answers]
    standing = [i for i, meaning in enumerate(meanings) if meaning == canonical(winner)]
    return max(standing, key=lambda i: values[i])


# Suspects.


def suspects(scores: Sequence[float], mark: float, count: int) -> list[int | None]:
    """`count` steps at which a draft may have gone wrong, the likeliest first.

    First the step that the mark flags (None if it flags none), then those before which the score
    falls most (from 1 before the first step); of equal falls the earlier. None where there is no
    further step.
    """
    flagged = first_error(scores, mark)
    found: list[int | None] = [None if flagged < 0 else flagged]
    falls = np.diff(np.asarray([1.0, *scores], np.float64))  # negative where the score falls
    others = [int(i) for i in np.argsort(falls, kind="stable") if i != flagged]
    found += others[: count - 1]
    return found + [None] * (count - len(found))
