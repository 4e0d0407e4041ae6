"""Votes, and curves over the number of samples."""

import collections
import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glore_jax.labels.selection import majority_vote, rerank_curves, weighted_vote


def test_votes():
    assert majority_vote(["3", "4", "4.0", "$4"]) == "4"
    assert majority_vote(["1/2", "3", "0.5"]) == "1/2"
    assert majority_vote(["3", "4", "4", "3"]) == "3"  # a tie: seen first
    assert majority_vote([None, None, "no idea", "no idea", "7"]) == "7"
    assert majority_vote([None, "no idea"]) is majority_vote([]) is None
    assert majority_vote(["b", "a", "a"], canonical=str) == "a"
    assert weighted_vote(["3", "4", "4"], [0.9, 0.4, 0.4]) == "3"
    assert weighted_vote(["3", "4", "4.0"], [0.7, 0.4, 0.4]) == "4"
    # 0.1 ten times is as much as 1.0: no rounding error depends on the order of the terms.
    assert weighted_vote([*["3"] * 10, "2"], [*[0.1] * 10, 1.0]) == "3"
    for weights in ([0.5], [0.5, float("nan")]):
        with pytest.raises(ValueError):
            weighted_vote(["1", "2"], weights)


@given(st.lists(st.sampled_from(["1", "2", "2.0", "3", "x", None]), max_size=12))
def test_majority_is_a_most_frequent_number(answers):
    numbers = [float(a) for a in answers if a not in ("x", None)]
    votes = collections.Counter(numbers)
    winner = majority_vote(answers)
    assert (winner is None) == (not votes)
    if votes:
        ties = [number for number in numbers if votes[number] == max(votes.values())]
        assert float(winner) == ties[0]


def curves(rows, ks, resamples=400, seed=0):
    scores, correct, answers = zip(*rows) if rows else ((), (), ())
    return rerank_curves(scores, correct, answers, ks, resamples, seed)


def test_curves_against_all_ordered_draws():
    rows = [
        ([0.9, 0.2, 0.6, 0.1], [False, True, True, False], ["5", "7", "7.0", None]),
        ([0.3, 0.8, 0.5, 0.4], [False, True, False, False], ["1", "2", "1", "3"]),
    ]
    ks = [1, 2, 3, 4]
    result = curves(rows, ks, resamples=4000)
    assert result["k"] == ks and result["n"] == 2
    for row, k in enumerate(ks):
        expected = collections.defaultdict(list)
        for scores, correct, answers in rows:
            right = {a for a, ok in zip(answers, correct) if ok}
            for draw in itertools.permutations(range(4), k):
                expected["pass"].append(any(correct[i] for i in draw))
                expected["rerank"].append(correct[max(draw, key=lambda i: scores[i])])
                expected["majority"].append(majority_vote([answers[i] for i in draw]) in right)
        for name, values in expected.items():
            assert result[name]["mean"][row] == pytest.approx(np.mean(values), abs=0.03), (name, k)


@st.composite
def questions(draw):
    row = st.tuples(st.sampled_from([0.1, 0.5, 0.9]), st.sampled_from(["1", "2", "3", "x", None]))
    groups = draw(st.lists(st.lists(row, min_size=4, max_size=7), max_size=4))
    return [([s for s, _ in g], [a == "1" for _, a in g], [a for _, a in g]) for g in groups]


@given(questions())
def test_curve_invariants(rows):
    result = curves(rows, [1, 2, 4], resamples=5)
    json.dumps(result, allow_nan=False)
    assert result["n"] == len(rows)
    for name in ("pass", "majority", "rerank"):
        curve = result[name]
        if not rows:
            assert curve["mean"] == curve["low"] == curve["high"] == [None] * 3
            continue
        for mean, low, high, most in zip(
            curve["mean"], curve["low"], curve["high"], result["pass"]["mean"]
        ):
            assert 0 <= low <= high <= 1 and mean <= most + 1e-9
        assert curve["mean"][0] == result["pass"]["mean"][0]  # one sample: nothing to choose
    if rows:
        assert result["pass"]["mean"] == sorted(result["pass"]["mean"])
    assert curves(rows, [1, 2, 4], resamples=5) == result


def test_curves_band_and_exact_end():
    rng = np.random.default_rng(0)
    scores = rng.random((30, 8))
    correct = scores > 0.7
    answers = [["1" if ok else "2" for ok in row] for row in correct]
    result = rerank_curves(scores, correct, answers, [1, 8], 50, 0)
    assert result["pass"]["low"][0] < result["pass"]["mean"][0] < result["pass"]["high"][0]
    # All samples are drawn: no spread, and the score, which knows the truth, finds a right one.
    best = pytest.approx(correct.any(axis=1).mean())
    for name in ("pass", "rerank"):
        assert result[name]["low"][1] == result[name]["mean"][1] == result[name]["high"][1] == best
    assert rerank_curves(scores, correct, answers, [1, 8], 50, 1) != result


def test_curves_refuse_bad_input():
    good = ([0.1, 0.2], [True, False], ["1", "2"])
    bad = [
        ([0.1], [True], ["1"]),
        ([0.1, np.nan], [True, False], ["1", "2"]),
        ([0.1, 0.2], [True], ["1", "2"]),
    ]
    for row in bad:
        with pytest.raises(ValueError):
            curves([good, row], [1, 2])
    with pytest.raises(ValueError):
        curves([good], [0])
    with pytest.raises(ValueError):
        curves([good], [1], resamples=0)
