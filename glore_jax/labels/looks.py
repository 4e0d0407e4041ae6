"""A look at a reward model after its training: has it learned anything?

It is judged on solutions of questions that it was not trained on, by its score of their last step:

    spread       of the scores: a model that says the same of every solution has none
    pairs        of a right and a wrong solution of one question: which one scores higher
    accuracy     at .5, beside the share of the commoner kind, which a constant guess reaches

Beside the pairs stands what needs no reward model: the student's log-likelihood of the solutions.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from glore_jax.labels import metrics
from glore_jax.labels.bootstrap import Ratio, paired_intervals
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


def look(questions: Sequence[Judged], seed: int) -> dict[str, Any]:
    """What the scores of held-out solutions say of a reward model.

    Returns, with None for what the solutions cannot tell:
      `questions`, `n` (solutions) and `pairs`; `spread`; `acc` at .5 and `majority`; `within_pair`
      with the ends `low`, `high` of its 95 % interval (over resampled stories), and
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
            f"held-out questions with both a right and a wrong solution tell fewer than "
            f"{LEAST_STORIES} stories"
        )
    if found["low"] <= 0.5:
        return False, (
            f"of a right and a wrong solution it prefers the right one in "
            f"{found['within_pair']:.2f} of {found['pairs']} pairs ({found['low']:.2f} to "
            f"{found['high']:.2f}): no better than chance"
        )
    return True, ""


def _interval(questions: Sequence[Judged], seed: int) -> tuple[float | None, float | None]:
    """95 % interval of the pairs' share."""
    found = [metrics.pair_wins(q.scores, q.correct) for q in questions]
    stories = [q.story for q in questions]
    telling = {story for story, (_, count) in zip(stories, found, strict=True) if count}
    if len(telling) < LEAST_STORIES:
        return None, None
    share = Ratio.make([won for won, _ in found], [count for _, count in found])
    against_nothing = {"pairs": (share, Ratio.constant(0.0, share))}
    interval = paired_intervals(stories, against_nothing, seed)["pairs"]
    return (max(interval.low, 0.0), min(interval.high, 1.0)) if interval else (None, None)
