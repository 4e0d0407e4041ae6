"""Intervals of paired differences: what they cover, what they share, what they do not depend on."""

import numpy as np
import pytest

from glore_jax.labels.bootstrap import Ratio, paired_intervals


def names(n):
    return [f"q{i:04d}" for i in range(n)]


def share(outcomes):
    return Ratio.share(outcomes)


def test_value_and_count_are_those_of_the_questions_as_they_are():
    fixed = Ratio.make([1, 0, 0, 1, 0], [1, 1, 0, 1, 0])  # 2 of 3 wrong drafts put right
    other = Ratio.make([0, 0, 0, 1, 0], [1, 1, 0, 1, 0])
    found = paired_intervals(names(5), {"fix": (fixed, other)}, seed=0)["fix"]
    assert found.value == pytest.approx(1 / 3) and found.n == 3
    assert found.low <= found.value <= found.high


def test_the_same_outcomes_may_still_differ_on_other_questions():
    outcomes = share(np.arange(50) % 3 == 0)
    found = paired_intervals(names(50), {"none": (outcomes, outcomes)}, seed=0)["none"]
    assert (found.value, found.low, found.high) == (0.0, -3 / 50, 3 / 50)


def test_pairing_makes_the_interval_narrow():
    rng = np.random.default_rng(1)
    hard = rng.random(400)
    a = rng.random(400) * 0.2 + 0.8 > hard
    b = a & (rng.random(400) > 0.05)  # right where a is, but for some
    alone = a[rng.permutation(400)]  # as often right as a, on other questions
    pairs = {"paired": (share(a), share(b)), "unpaired": (share(alone), share(b))}
    found = paired_intervals(names(400), pairs, seed=0)
    width = {name: interval.high - interval.low for name, interval in found.items()}
    assert found["paired"].value == pytest.approx(found["unpaired"].value)
    assert width["paired"] < 0.7 * width["unpaired"]


def test_the_width_is_that_of_the_normal_approximation():
    rng = np.random.default_rng(2)
    a = rng.random(1000) < 0.5
    b = rng.random(1000) < 0.4
    found = paired_intervals(names(1000), {"d": (share(a), share(b))}, seed=3)["d"]
    difference = a.astype(float) - b
    half = 1.96 * difference.std() / np.sqrt(1000)
    assert found.high - found.value == pytest.approx(half, rel=0.08)
    assert found.value - found.low == pytest.approx(half, rel=0.08)


def test_steps_of_one_question_go_together():
    # Ten steps a question, all right or all wrong: as sure as 100 questions are, not 1,000 steps.
    right = np.arange(100) % 2
    steps = Ratio.make(10 * right, np.full(100, 10))
    nothing = Ratio.constant(0.0, steps)
    found = paired_intervals(names(100), {"steps": (steps, nothing)}, seed=0)["steps"]
    assert found.high - found.low == pytest.approx(2 * 1.96 * 0.05, rel=0.1)


# Of 40 questions, as a bootstrap that draws single questions has them.
OF_QUESTIONS = {
    "share": (0.15000000000000002, -0.050000000000000044, 0.37499999999999994, 40),
    "steps": (0.16666666666666663, 0.0487096774193549, 0.27721646516983295, 36),
}


def test_questions_by_themselves_are_what_is_drawn():
    """To the last bit, whatever order they come in: a cluster of one is its question."""
    rng = np.random.default_rng(7)
    ids = [f"q{i:02d}" for i in rng.permutation(40)]
    a, b = rng.random(40) < 0.6, rng.random(40) < 0.5
    steps = rng.integers(0, 9, 40)
    right = Ratio.make(np.minimum(steps, rng.integers(0, 9, 40)), steps)
    pairs = {"share": (share(a), share(b)), "steps": (right, Ratio.constant(0.5, right))}
    found = paired_intervals(ids, pairs, seed=3, resamples=2000)
    for name, interval in found.items():
        assert (interval.value, interval.low, interval.high, interval.n) == OF_QUESTIONS[name]
        assert interval.clusters == interval.n


def test_clusters_of_identical_questions_are_as_sure_as_one_question_each():
    rng = np.random.default_rng(5)
    a, b = rng.random(60) < 0.6, rng.random(60) < 0.5
    once = paired_intervals(names(60), {"d": (share(a), share(b))}, seed=0)["d"]
    six = (share(np.tile(a, 6)), share(np.tile(b, 6)))
    found = paired_intervals(names(60) * 6, {"d": six}, seed=0)["d"]
    assert (found.n, found.clusters) == (360, 60)
    assert found.value == pytest.approx(once.value)
    assert (found.low, found.high) == pytest.approx((once.low, once.high))
    as_single = paired_intervals(names(360), {"d": six}, seed=0)["d"]
    assert as_single.high - as_single.low < 0.5 * (found.high - found.low)


def test_identical_outcomes_are_as_sure_as_there_are_clusters():
    outcomes = share(np.ones(60))
    found = paired_intervals(names(20) * 3, {"none": (outcomes, outcomes)}, seed=0)["none"]
    assert (found.low, found.high) == (-3 / 20, 3 / 20)


def test_an_interval_covers_the_truth_where_stories_go_together():
    """The difference of two systems is 0; their outcomes share something within a story."""
    rng = np.random.default_rng(6)
    stories = np.repeat(np.arange(50), 6)
    clusters = [f"story-{i}" for i in stories]
    covered = {"clusters": 0, "questions": 0}
    for seed in range(100):
        a, b = (
            rng.normal(size=50)[stories] + rng.normal(size=300) > 0 for _ in range(2)
        )  # half of the variance is the story's
        pairs = {"d": (share(a), share(b))}
        for name, of in (("clusters", clusters), ("questions", names(300))):
            found = paired_intervals(of, pairs, seed, resamples=200)["d"]
            covered[name] += found.low <= 0 <= found.high
    assert covered["clusters"] > 88 > 80 > covered["questions"]


def test_the_order_of_the_questions_and_other_pairs_change_nothing():
    rng = np.random.default_rng(4)
    a = rng.random(60) < 0.6
    b = rng.random(60) < 0.5
    ids = names(60)
    alone = paired_intervals(ids, {"d": (share(a), share(b))}, seed=0, resamples=300)
    order = rng.permutation(60)
    pairs = {"other": (share(~a[order]), share(b[order])), "d": (share(a[order]), share(b[order]))}
    moved = paired_intervals([ids[i] for i in order], pairs, seed=0, resamples=300)
    assert moved["d"] == alone["d"]
    another = paired_intervals(ids, {"d": (share(a), share(b))}, seed=1, resamples=300)
    assert another["d"] != alone["d"]


def test_what_is_taken_over_nothing_is_not_defined():
    nothing = Ratio.make([0, 0], [0, 0])
    one = share([1, 0])
    found = paired_intervals(names(2), {"a": (nothing, one), "b": (one, one)}, seed=0)
    assert found["a"] is None and found["b"].n == 2
    assert paired_intervals([], {"a": (share([]), share([]))}, seed=0) == {"a": None}
    assert paired_intervals(names(2), {}, seed=0) == {}


def test_a_constant_is_over_what_it_stands_beside():
    alarms = Ratio.make([2, 0, 1, 0], [3, 0, 1, 0])
    pairs = {"half": (alarms, Ratio.constant(0.5, alarms))}
    found = paired_intervals(names(4), pairs, seed=0)["half"]
    assert found.value == pytest.approx(3 / 4 - 1 / 2) and found.n == 2


def test_resamples_without_a_wrong_draft_are_left_out():
    # One wrong draft among three: a third of the resamples have none.
    fixed = Ratio.make([1, 0, 0], [1, 0, 0])
    other = Ratio.make([0, 0, 0], [1, 0, 0])
    found = paired_intervals(names(3), {"fix": (fixed, other)}, seed=0)["fix"]
    assert (found.value, found.low, found.high, found.n) == (1.0, 1.0 - 3, 1.0 + 3, 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Ratio.make([1, 2], [1]), "must be equal"),
        (lambda: Ratio.make([np.nan], [1]), "not finite"),
        (lambda: paired_intervals(["a"], {"d": (share([1]), share([1, 0]))}, seed=0), "entries"),
    ],
)
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
