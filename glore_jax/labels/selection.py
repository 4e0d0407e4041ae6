"""Choosing one of several solutions to a question: any right one, the majority's answer, the best score.

Answers are texts as `task.answer` gives them. They are compared by `canonical`, which maps an answer to what
it means; an answer that is None or means None (by default: is not a number) casts no vote.
"""

import math
from collections.abc import Callable, Hashable, Sequence

import numpy as np

from glore_jax.tasks.grading import parse_number

Canonical = Callable[[str], Hashable | None]


def pass_at_k(n: int, c: int, k: int) -> float:
    """Probability that k of n samples, drawn without replacement, hold a right one if c are right.

    The unbiased estimate of pass@k from n samples. ValueError unless 0 <= c <= n and 1 <= k <= n.
    """
    if not 0 <= c <= n or not 1 <= k <= n:
        raise ValueError(f"pass@{k} of {n} samples with {c} right is not defined")
    return 1 - math.comb(n - c, k) / math.comb(n, k)


def weighted_vote(
    answers: Sequence[str | None], weights: Sequence[float], canonical: Canonical = parse_number
) -> str | None:
    """The answer with the largest sum of weights, as first written; of equal sums the one seen first.

    None if nobody votes. ValueError for unequal lengths or a weight that is not finite.
    """
    votes: dict[Hashable, tuple[str, list[float]]] = {}
    for answer, weight in zip(answers, weights, strict=True):
        if not math.isfinite(weight):
            raise ValueError(f"weight {weight} of answer {answer}: must be finite")
        meaning = None if answer is None else canonical(answer)
        if meaning is not None:
            votes.setdefault(meaning, (answer, []))[1].append(weight)
    if not votes:
        return None
    return max(votes.values(), key=lambda vote: math.fsum(vote[1]))[0]


def majority_vote(answers: Sequence[str | None], canonical: Canonical = parse_number) -> str | None:
    """The most frequent answer, as first written; of several the one seen first; None if nobody votes."""
    return weighted_vote(answers, [1] * len(answers), canonical)


def _ballots(answers: Sequence[str | None], canonical: Canonical) -> np.ndarray:
    """int [n]: equal answers share a number counted from 0, abstentions are -1."""
    number: dict[Hashable, int] = {}
    meanings = [None if answer is None else canonical(answer) for answer in answers]
    return np.array(
        [-1 if m is None else number.setdefault(m, len(number)) for m in meanings], np.int64
    )


def rerank_curves(
    scores: Sequence[Sequence[float]],
    correct: Sequence[Sequence[bool]],
    answers: Sequence[Sequence[str | None]],
    ks: Sequence[int],
    resamples: int,
    seed: int,
    canonical: Canonical = parse_number,
) -> dict:
    """Accuracy against the number k of samples per question, for three ways to use them.

    Each resample draws k of a question's samples without replacement, in random order (a draw for k continues
    the one for a smaller k). `pass`: one of them is right; `majority`: their most frequent answer is;
    `rerank`: the one with the highest score is. Ties go to what the draw has first. An accuracy is a mean
    over questions.

    Args:
      scores, correct, answers: for each question, one entry per sample, at least max(ks) of them.
      ks: numbers of samples, each at least 1.
      resamples: at least 1.
      seed: of the draws.

    Returns:
      `{k: ks, n: number of questions, pass|majority|rerank: {mean, low, high}}`: mean, 10% and 90% quantile
      over the resamples, a list along ks each; the entries are None without questions.

    Raises:
      ValueError: lengths differ, a score is NaN, a question has too few samples, or ks or resamples are below
      1.
    """
    ks = [int(k) for k in ks]
    if resamples < 1 or any(k < 1 for k in ks):
        raise ValueError(f"ks = {ks}, resamples = {resamples}: all must be at least 1")
    rng = np.random.default_rng(seed)
    totals = {name: np.zeros((len(ks), resamples)) for name in ("pass", "majority", "rerank")}
    for score, right, answer in zip(scores, correct, answers, strict=True):
        score, right = np.asarray(score, np.float64), np.asarray(right, bool)
        ballot = _ballots(answer, canonical)
        n = score.size
        if not right.size == ballot.size == n or n < max(ks, default=0) or np.isnan(score).any():
            raise ValueError(
                f"a question has {n} scores, {right.size} grades and {ballot.size} answers: must be equal, "
                f"at least {max(ks, default=0)}, and no score NaN"
            )
        order = rng.permuted(np.tile(np.arange(n), (resamples, 1)), axis=1)  # [resamples, n]
        score, right_drawn = score[order], right[order]
        # Column a of a vote is answer a; [resamples, n, answers].
        votes = ballot[order][:, :, None] == np.arange(ballot.max(initial=-1) + 1)
        answer_right = np.array([right[ballot == a].any() for a in range(votes.shape[2])], bool)
        for row, k in enumerate(ks):
            totals["pass"][row] += right_drawn[:, :k].any(axis=1)
            best = score[:, :k].argmax(axis=1)
            totals["rerank"][row] += np.take_along_axis(right_drawn, best[:, None], axis=1)[:, 0]
            if answer_right.size:
                counts = votes[:, :k].sum(axis=1)
                # More votes win; among equals the earliest first vote. An answer without votes has key <= 0.
                key = counts * (n + 1) - votes[:, :k].argmax(axis=1)
                totals["majority"][row] += answer_right[key.argmax(axis=1)] & (
                    counts.max(axis=1) > 0
                )
    questions = len(scores)
    curves: dict = {"k": ks, "n": questions}
    for name, total in totals.items():
        accuracy = total / max(questions, 1)
        low, high = np.quantile(accuracy, (0.1, 0.9), axis=1)
        points = {"mean": accuracy.mean(axis=1), "low": low, "high": high}
        curves[name] = {
            key: p.tolist() if questions else [None] * len(ks) for key, p in points.items()
        }
    return curves
