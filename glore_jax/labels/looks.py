"""A look at a reward model after its training: has it learned anything?

It is judged on solutions of questions that it was not trained on, by its score of their last step:

    spread       of the scores: a model that says the same of every solution has none
    pairs        of a right and a wrong solution of one question: which one scores higher
    accuracy     at .5, beside the share of the commoner kind, which a constant guess reaches

Beside the pairs stands what needs no reward model: the student's log-likelihood of the solutions.
A model that counts the likelihood begins with it (`models/reward.py`), so that it has learned
something only if it does better than that; any other begins with the same score for all.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from glore_jax.labels import metrics
from glore_jax.labels.bootstrap import Interval, Ratio, paired_intervals
from glore_jax.labels.identity import identity_rank

LEAST_SPREAD = 0.02  # standard deviation of probabilities
LEAST_STORIES = 7  # with pairs: of fewer, even all of them right is no better than chance
_THRESHOLD = 0.5


@dataclasses.dataclass(frozen=True)
class Judged:
    """The solutions of one question, one entry each.

    Attributes:
      story: its name, the same for questions that are variations of each other.
      scores: probabilities of their last steps.
      logprobs: natural logarithms of the student's probabilities of their texts.
      correct: whether they are right.
    """

    story: str
    scores: Sequence[float]
    logprobs: Sequence[float]
    correct: Sequence[bool]


def is_held_out(seed: int, question_id: str, share: float) -> bool:
    """Whether the question is among the `share` that reward models do not learn from."""
    return identity_rank(seed, "held out", question_id) < share


def look(questions: Sequence[Judged], seed: int, likelihood: bool = False) -> dict[str, Any]:
    """What the scores of held-out solutions say of a reward model.

    `likelihood`: the model counts the log-likelihood of a solution.

    Returns, with None for what the solutions cannot tell:
      `questions`, `n` (solutions) and `pairs`; `spread`; `acc` at .5 and `majority`; `within_pair`
      with the ends `low`, `high` of its 95 % interval (over resampled stories), and
      `within_pair_loglik`; `over_loglik`, the first less the second, as `value`, `low`, `high` and
      `n` of an `Interval`; `learned` and, where that is not True, the reason `why`.
    """
    scores = np.array([score for q in questions for score in q.scores], float)
    correct = np.array([right for q in questions for right in q.correct], bool)
    ours = _wins(questions, lambda question: question.scores)
    of_text = _wins(questions, lambda question: question.logprobs)
    share, over = _intervals([q.story for q in questions], ours, of_text, seed)
    found = {
        "questions": len(questions),
        "n": len(scores),
        "spread": float(scores.std()) if len(scores) else None,
        **accuracy(scores, correct),
        "within_pair": _share(ours),
        "low": max(share.low, 0.0) if share else None,
        "high": min(share.high, 1.0) if share else None,
        "pairs": int(ours.of.sum()),
        "within_pair_loglik": _share(of_text),
        "over_loglik": _ends(over),
    }
    learned, why = _verdict(found, likelihood)
    return found | {"learned": learned, "why": why}


@dataclasses.dataclass(frozen=True)
class JudgedSteps:
    """The steps of drafts of one question, one entry each.

    Attributes:
      scores: probabilities.
      good: their labels.
    """

    scores: Sequence[float] | np.ndarray
    good: Sequence[bool] | np.ndarray


def look_at_steps(questions: Sequence[JudgedSteps], seed: int) -> dict[str, Any]:
    """What the scores of held-out steps say of a reward model, beside a constant guess.

    Returns:
      `n` (steps); `acc` at .5 and `majority`, as of `accuracy`; `over_majority`, the first less the
      second, as `value`, `low`, `high` and `n` of an `Interval`, None for fewer questions than
      `LEAST_STORIES`; `why`, empty unless the steps are called no better than by the guess.
    """
    scores = np.concatenate([np.zeros(0), *(np.asarray(q.scores, float) for q in questions)])
    good = np.concatenate([np.zeros(0, bool), *(np.asarray(q.good, bool) for q in questions)])
    mostly_good = 2 * good.sum() >= len(good)
    rows = []
    for question in questions:
        label = np.asarray(question.good, bool)
        called = np.asarray(question.scores, float) > _THRESHOLD
        rows.append(((called == label).sum(), (label == mostly_good).sum(), len(label)))
    right, guessed, steps = np.array(rows, float).reshape(-1, 3).T
    names = [str(number) for number in range(len(questions))]
    over = _paired(names, Ratio.make(right, steps), Ratio.make(guessed, steps), seed)
    found = {"n": len(good), **accuracy(scores, good), "over_majority": _ends(over)}
    why = ""
    if over is not None and over.low <= 0:
        why = (
            f"its steps are called no better than the majority class ({found['acc']:.3f} against "
            f"{found['majority']:.3f}, {over.low:+.3f} to {over.high:+.3f})"
        )
    return found | {"why": why}


def accuracy(scores: np.ndarray, good: np.ndarray) -> dict[str, float | None]:
    """`acc` of probabilities at .5, and `majority`, the share of the commoner class."""
    found = metrics.binary_scores(scores, good, _THRESHOLD)
    return {"acc": found["acc"], "majority": found["majority"]}


def in_words(found: dict[str, Any]) -> str:
    """The figures of `look` in a line."""

    def text(name: str) -> str:
        return "-" if found[name] is None else f"{found[name]:.3f}"

    return (
        f"{found['n']} solutions of {found['questions']} held-out questions: spread "
        f"{text('spread')}, accuracy {text('acc')} (majority {text('majority')}), "
        f"{found['pairs']} pairs {text('within_pair')} (log-likelihood "
        f"{text('within_pair_loglik')})"
    )


def _verdict(found: dict[str, Any], likelihood: bool) -> tuple[bool | None, str]:
    """(has it learned anything, why not); None if the solutions do not tell."""
    if not found["n"]:
        return None, "no solution was held out"
    if found["spread"] < LEAST_SPREAD:
        return False, (
            f"its scores spread by {found['spread']:.4f}, less than {LEAST_SPREAD}: "
            "it says the same of every solution"
        )
    if found["low"] is None:
        return None, (
            f"held-out questions with both a right and a wrong solution tell fewer than "
            f"{LEAST_STORIES} stories"
        )
    pairs = f"in {found['within_pair']:.2f} of {found['pairs']} pairs"
    if found["low"] <= 0.5:
        return False, (
            f"of a right and a wrong solution it prefers the right one {pairs} "
            f"({found['low']:.2f} to {found['high']:.2f}): no better than chance"
        )
    over = found["over_loglik"]
    if likelihood and over["low"] <= 0:
        return False, (
            f"it tells right from wrong no better than the log-likelihood it began with ({pairs}, "
            f"against {found['within_pair_loglik']:.2f}: {over['low']:+.3f} to {over['high']:+.3f})"
        )
    return True, ""


# Pairs of a right and a wrong solution of one question.


def _wins(questions: Sequence[Judged], scores_of: Callable[[Judged], Sequence[float]]) -> Ratio:
    """Pairs in which the right one scores higher, over pairs."""
    found = [metrics.pair_wins(scores_of(q), q.correct) for q in questions]
    return Ratio.make([won for won, _ in found], [count for _, count in found])


def _share(ratio: Ratio) -> float | None:
    pairs = ratio.of.sum()
    return float(ratio.hits.sum() / pairs) if pairs else None


def _intervals(
    stories: Sequence[str], ours: Ratio, of_text: Ratio, seed: int
) -> tuple[Interval | None, Interval | None]:
    """95 % intervals of the pairs' share, and of it less the log-likelihood's."""
    nothing = Ratio.constant(0.0, ours)
    return _paired(stories, ours, nothing, seed), _paired(stories, ours, of_text, seed)


def _paired(stories: Sequence[str], first: Ratio, second: Ratio, seed: int) -> Interval | None:
    """The first less the second, with its 95 % interval; None if too few stories tell of it."""
    telling = {story for story, count in zip(stories, first.of, strict=True) if count}
    if len(telling) < LEAST_STORIES:
        return None
    return paired_intervals(stories, {"": (first, second)}, seed)[""]


def _ends(interval: Interval | None) -> dict[str, float] | None:
    if interval is None:
        return None
    return {"value": interval.value, "low": interval.low, "high": interval.high, "n": interval.n}
