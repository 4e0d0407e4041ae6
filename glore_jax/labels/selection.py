"""Choosing one of several solutions to a question: any right one, the majority's, the best scored.

Answers are texts as `task.answer` gives them. They are compared by `canonical`, which maps an
answer to what it means; an answer that is None or means None (by default: is not a number) casts no
vote.
"""

import math
from collections.abc import Callable, Hashable, Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from glore_jax.tasks.grading import parse_number

Canonical = Callable[[str], Hashable | None]


def weighted_vote(
    answers: Sequence[str | None], weights: Sequence[float], canonical: Canonical = parse_number
) -> str | None:
    """The answer with the largest sum of weights, as first written; of equal sums the first seen.

    None if nobody votes. ValueError for unequal lengths or a weight that is not finite.
    """
    written: dict[Hashable, str] = {}  # what an answer means -> how it was first written
    votes: dict[Hashable, list[float]] = {}
    for answer, weight in zip(answers, weights, strict=True):
        if not math.isfinite(weight):
            raise ValueError(f"weight {weight} of answer {answer}: must be finite")
        meaning = None if answer is None else canonical(answer)
        if answer is not None and meaning is not None:
            written.setdefault(meaning, answer)
            votes.setdefault(meaning, []).append(weight)
    if not votes:
        return None
    # `fsum` rounds once, so that a sum does not depend on the order of the votes.
    return written[max(votes, key=lambda meaning: math.fsum(votes[meaning]))]


def majority_vote(answers: Sequence[str | None], canonical: Canonical = parse_number) -> str | None:
    """The most frequent answer, as first written; of several the first seen; None without votes."""
    return weighted_vote(answers, [1] * len(answers), canonical)


def rerank_curves(
    scores: Iterable[ArrayLike],
    correct: Iterable[ArrayLike],
    answers: Iterable[Sequence[str | None]],
    ks: Sequence[int],
    resamples: int,
    seed: int,
    canonical: Canonical = parse_number,
) -> dict:
    """Accuracy against the number k of samples per question, for three ways to use them.

    Each resample draws k of a question's samples without replacement, in random order (a draw for
    k continues the one for a smaller k). `pass`: one of them is right; `majority`: their most
    frequent answer is; `rerank`: the one with the highest score is. Ties go to what the draw has
    first. An accuracy is a mean over questions.

    Args:
      scores, correct, answers: for each question, one entry per sample, at least max(ks) of them;
        gone through once.
      ks: numbers of samples, each at least 1.
      resamples: at least 1.
      seed: of the draws.

    Returns:
      `{k: ks, n: number of questions, pass|majority|rerank: {mean, low, high}}`: mean, 10% and 90%
      quantile over the resamples, a list along ks each; the entries are None without questions.

    Raises:
      ValueError: lengths differ, a score is NaN, a question has too few samples, or ks or resamples
        are below 1.
    """
    ks = [int(k) for k in ks]
    if resamples < 1 or any(k < 1 for k in ks):
        raise ValueError(f"ks = {ks}, resamples = {resamples}: all must be at least 1")
    rng = np.random.default_rng(seed)
    # Of each way, [len(ks), resamples]: how many questions came out right.
    totals = {way: np.zeros((len(ks), resamples)) for way in ("pass", "majority", "rerank")}
    questions = 0
    for question in zip(scores, correct, answers, strict=True):
        questions += 1
        score, right, ballot = _samples_of(*question, max(ks, default=0), canonical)
        n = score.size
        order = rng.permuted(np.tile(np.arange(n), (resamples, 1)), axis=1)  # [resamples, n]
        answer_right = _right_answers(ballot, right)
        for row, k in enumerate(ks):
            drawn = order[:, :k]
            totals["pass"][row] += right[drawn].any(axis=1)
            totals["rerank"][row] += _best_is_right(score[drawn], right[drawn])
            totals["majority"][row] += _majority_is_right(ballot[drawn], answer_right)
    curves: dict = {"k": ks, "n": questions}
    for way, total in totals.items():
        curves[way] = _band(total, questions)
    return curves


def _samples_of(
    scores: ArrayLike,
    correct: ArrayLike,
    answers: Sequence[str | None],
    least: int,
    canonical: Canonical,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(score float64, right bool, ballot int), each [n], of one question; ValueError if unfit."""
    score = np.asarray(scores, np.float64)
    right = np.asarray(correct, bool)
    ballot = _ballots(answers, canonical)
    n = score.size
    equal = n == right.size == ballot.size
    if not equal or n < least or np.isnan(score).any():
        raise ValueError(
            f"a question has {n} scores, {right.size} grades and {ballot.size} answers: "
            f"must be equal, at least {least}, and no score NaN"
        )
    return score, right, ballot


def _ballots(answers: Sequence[str | None], canonical: Canonical) -> np.ndarray:
    """int [n]: equal answers share a number counted from 0, abstentions are -1."""
    number: dict[Hashable, int] = {}
    meanings = [None if answer is None else canonical(answer) for answer in answers]
    return np.array(
        [-1 if m is None else number.setdefault(m, len(number)) for m in meanings], np.int64
    )


def _right_answers(ballot: np.ndarray, right: np.ndarray) -> np.ndarray:
    """bool [different answers]: whether a sample [n] with this answer is right."""
    count = ballot.max(initial=-1) + 1
    return np.array([right[ballot == answer].any() for answer in range(count)], bool)


def _best_is_right(score: np.ndarray, right: np.ndarray) -> np.ndarray:
    """bool [resamples]: whether the sample of highest score is right, of each drawn [.., k]."""
    best = score.argmax(axis=1)  # of equal scores the first
    return np.take_along_axis(right, best[:, None], axis=1)[:, 0]


def _majority_is_right(ballot: np.ndarray, answer_right: np.ndarray) -> np.ndarray:
    """bool [resamples]: whether the most frequent answer is right, of each drawn ballots [.., k].

    Args:
      ballot: int [resamples, k], abstentions are -1.
      answer_right: bool [answers], indexed by ballots.
    """
    resamples, k = ballot.shape
    if not answer_right.size:  # nobody votes
        return np.zeros(resamples, bool)
    # Column a holds the votes of answer a: [resamples, k, answers]. An abstention is in no column.
    votes = ballot[:, :, None] == np.arange(answer_right.size)
    counts = votes.sum(axis=1)
    # Place of the first vote, 0 to k - 1, or 0 where there is none. More votes win; among equals
    # the earliest first vote, since the places together weigh less than one vote more.
    first = votes.argmax(axis=1)
    winner = (counts * (k + 1) - first).argmax(axis=1)
    return answer_right[winner] & (counts.max(axis=1) > 0)


def _band(right: np.ndarray, questions: int) -> dict[str, list]:
    """Mean and quantiles of the accuracy, along k, from counts [len(ks), resamples]."""
    if not questions:
        return {point: [None] * len(right) for point in ("mean", "low", "high")}
    accuracy = right / questions
    low, high = np.quantile(accuracy, (0.1, 0.9), axis=1)
    return {
        "mean": accuracy.mean(axis=1).tolist(),
        "low": low.tolist(),
        "high": high.tolist(),
    }


def axis(k: int) -> list[int]:
    """The powers of two up to `k`, and `k` itself."""
    powers = [1 << i for i in range(k.bit_length())]
    return powers if powers[-1] == k else [*powers, k]
