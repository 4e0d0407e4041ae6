"""Rollout labels against the truth, on wrong drafts apart, and what fewer rollouts would say."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glore_jax.labels.agreement import Judged, agreement
from glore_jax.labels.stepwise import LabelRule, StepLabeller

K = 4


def labelled(outcomes, correct=False, schedule="backward"):
    """A draft whose cut c has the rollouts `outcomes[c - 1]`, labelled by `schedule`."""
    labeller = StepLabeller(len(outcomes) + 1, correct, LabelRule(K, schedule))
    while (cut := labeller.next_cut()) is not None:
        labeller.record(cut, sum(outcomes[cut - 1]), K)
    found = labeller.result()
    return {
        "labels": found.labels,
        "hits": found.hits,
        "tries": found.tries,
        "first_error": found.first_error,
        "correct": correct,
    }


def judged(draft, first):
    """`draft` with its truly first wrong step at index `first`; -1: there is none."""
    truth = [first < 0 or i < first for i in range(len(draft["labels"]))]
    return Judged(draft, truth, truth)


NONE = [False] * K
ONE = [True] + [False] * (K - 1)
ALL = [True] * K

# Three drafts of three steps. The first is labelled 1 0 0, the second 1 1 0, the third 1 1 1.
EARLY = labelled([ONE, NONE])
LATE = labelled([ALL, ONE])
RIGHT = labelled([NONE, NONE], correct=True)


def test_wrong_drafts_stand_apart():
    found = agreement([judged(EARLY, 2), judged(LATE, 1), judged(RIGHT, -1)], K)
    # Labels before the last: EARLY 1 0 against 1 1, LATE 1 1 against 1 0, RIGHT 1 1 against 1 1.
    assert found["acc"] == pytest.approx(4 / 6) and found["n"] == 6
    assert found["false_positive"] == 1.0 and found["false_negative"] == pytest.approx(1 / 5)
    assert found["wrong_acc"] == pytest.approx(2 / 4) and found["wrong_n"] == 4
    assert found["by_step"] == [{"step": 1, "acc": 1.0, "n": 2}, {"step": 2, "acc": 0.0, "n": 2}]
    assert found["errors"] == 2 and found["first_error_acc"] == 0.0 and found["offset"] == 0.0


def test_a_draft_that_was_cut_off_has_no_first_error():
    found = agreement([judged(EARLY, -1)], K)  # wrong, yet none of its steps is
    assert found["errors"] == 0 and found["first_error_acc"] is None and found["by_k"] == []
    assert found["wrong_acc"] == 1 / 2


def test_strict_truth_is_counted_beside():
    found = agreement([Judged(EARLY, [True, True, False], [True, False, False])], K)
    assert (found["acc"], found["strict_acc"]) == (1 / 2, 1.0)


def test_no_label_and_no_truth_are_no_figures():
    single = labelled([])
    assert agreement([], K) is None and agreement([judged(single, 0)], K) is None
    assert agreement([judged(EARLY, 1), Judged(EARLY, None, None)], K) is None


def test_labels_and_truth_must_match():
    with pytest.raises(ValueError, match="3 labels"):
        agreement([Judged(EARLY, [True] * 4, [True] * 4)], K)


def test_fewer_rollouts_miss_a_rare_hit():
    rows = agreement([judged(EARLY, 1)], K)["by_k"]
    assert [row["k"] for row in rows] == [1, 2, 4]
    # One of four rollouts hits: one finds it with chance 1/4, two with 1/2.
    assert [row["settled"] for row in rows] == pytest.approx([1 / 4, 1 / 2, 1])
    # The true first error is index 1, so a miss, which means index 0, is never right.
    assert [row["first_error_high"] for row in rows] == pytest.approx([1 / 4, 1 / 2, 1])


def test_what_was_not_tried_is_between_two_bounds():
    rows = agreement([judged(LATE, 1)], K)["by_k"]
    # A miss of the second cut would have led to the first, whose rollouts were not made.
    assert [row["first_error_low"] for row in rows] == [0, 0, 0]
    assert [row["first_error_high"] for row in rows] == pytest.approx([3 / 4, 1 / 2, 0])


outcomes = st.lists(st.lists(st.booleans(), min_size=K, max_size=K), min_size=1, max_size=3)


def by_enumeration(rollouts, first, k):
    """(share of choices of k rollouts a cut with the labels of all; with the true first error)."""
    of_all = max((cut for cut, tried in enumerate(rollouts, 1) if any(tried)), default=0)
    turns = []
    for chosen in itertools.product(itertools.combinations(range(K), k), repeat=len(rollouts)):
        hit = [any(tried[i] for i in some) for tried, some in zip(rollouts, chosen, strict=True)]
        turns.append(max((cut for cut, found in enumerate(hit, 1) if found), default=0))
    return np.mean(np.array(turns) == of_all), np.mean(np.array(turns) == first)


@given(outcomes, st.integers(0, 3))
def test_all_prefixes_tried_tell_exactly_what_fewer_rollouts_find(rollouts, first):
    first = min(first, len(rollouts))
    whole = agreement([judged(labelled(rollouts, schedule="full"), first)], K)["by_k"]
    scanned = agreement([judged(labelled(rollouts), first)], K)["by_k"]
    for row, other in zip(whole, scanned, strict=True):
        settled, exact = by_enumeration(rollouts, first, row["k"])
        assert row["settled"] == pytest.approx(settled)
        assert row["first_error_low"] == row["first_error_high"] == pytest.approx(exact)
        assert other["settled"] == pytest.approx(settled)
        assert other["first_error_low"] - 1e-9 <= exact <= other["first_error_high"] + 1e-9


def test_labels_that_fewer_rollouts_say_nothing_about():
    skipped = labelled([ALL, NONE, NONE, NONE], schedule="bisect")
    assert 0 in skipped["tries"][1:-1]
    assert agreement([judged(EARLY, 1), judged(skipped, 1)], K)["by_k"] == []
