"""A look at a reward model after its training: has it learned anything?

It is judged on solutions of questions that it was not trained on, by its score of their last step:

    spread       of the scores: a model that says the same of every solution has none
    pairs        of a right and a wrong solution of one question: which one scores higher
    accuracy     at .5, beside the share of the commoner kind, which a constant guess reaches

Beside the pairs stands what needs no reward model: the student's log-likelihood of the solutions.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from glore_jax.labels import metrics
from glore_jax.labels.identity import identity_rank

LEAST_SPREAD = 0.02  # standard deviation of probabilities
LEAST_QUESTIONS = 5  # with pairs: of fewer, no interval says anything
_RESAMPLES = 1000  # of the questions, for an interval
_THRESHOLD = 0.5


@dataclasses.dataclass(frozen=True)
class Judged:
    """The solutions of one question, one entry each.

    Attributes:
      scores: probabilities of their last steps.
      logprobs: natural logarithms of the student's probabilities of their texts.
      correct: whether they are right.
    """

    scores: Sequence[float]
    logprobs: Sequence[float]
    correct: Sequence[bool]


def is_held_out(seed: int, question_id: str, share: float) -> bool:
    """Whether the question is among the `share` that reward models do not learn from."""
    return identity_rank(seed, "held out", question_id) < share


def look(questions: Sequence[Judged], seed: int) -> dict[str, Any]:
    """What the scores of held-out solutions say of a reward model.

    Returns, with None for what the solutions cannot tell:
      `questions`, `n` (solutions) and `pairs`; `spread`; `acc` at .5 and `majority`; `within_pair`
      with the ends `low`, `high` of its 95 % interval (over resampled questions), and
      `within_pair_loglik`; `learned` and, where that is not True, the reason `why`.
    """
    scores = np.array([score for q in questions for score in q.scores], float)
    correct = np.array([right for q in questions for right in q.correct], bool)
    within, pairs = metrics.within_pair_accuracy((q.scores, q.correct) for q in questions)
    of_text, _ = metrics.within_pair_accuracy((q.logprobs, q.correct) for q in questions)
    low, high = _interval(questions, seed)
    found = {
        "questions": len(questions),
        "n": len(scores),
        "spread": float(scores.std()) if len(scores) else None,
        **accuracy(scores, correct),
        "within_pair": within,
        "low": low,
        "high": high,
        "pairs": pairs,
        "within_pair_loglik": of_text,
    }
    learned, why = _verdict(found)
    return found | {"learned": learned, "why": why}


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


def _verdict(found: dict[str, Any]) -> tuple[bool | None, str]:
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
            f"fewer than {LEAST_QUESTIONS} held-out questions have both a right and a wrong "
            "solution"
        )
    if found["low"] <= 0.5:
        return False, (
            f"of a right and a wrong solution it prefers the right one in "
            f"{found['within_pair']:.2f} of {found['pairs']} pairs ({found['low']:.2f} to "
            f"{found['high']:.2f}): no better than chance"
        )
    return True, ""


def _interval(questions: Iterable[Judged], seed: int) -> tuple[float | None, float | None]:
    """95 % interval of the pairs' share. Questions are drawn, not pairs: those of one question
    share their solutions."""
    found = [metrics.pair_wins(q.scores, q.correct) for q in questions]
    counts = np.array([count for _, count in found if count])
    wins = np.array([won for won, count in found if count])
    if len(counts) < LEAST_QUESTIONS:
        return None, None
    draws = np.random.default_rng(seed).integers(0, len(counts), (_RESAMPLES, len(counts)))
    shares = wins[draws].sum(axis=1) / counts[draws].sum(axis=1)
    low, high = np.quantile(shares, (0.025, 0.975))
    return float(low), float(high)
