"""Choices made from curves, and choices among candidates."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glore_jax.labels import choosing
from glore_jax.labels.metrics import first_error

PROBABILITY = st.floats(0, 1, allow_subnormal=False)
DRAFTS = st.lists(st.lists(PROBABILITY, min_size=1, max_size=5), min_size=1, max_size=8)


# Cutoffs.


@given(st.lists(PROBABILITY, max_size=30))
def test_cutoffs_ascend_within_the_scores(scores):
    found = choosing.cutoffs(scores)
    assert found == sorted(set(found)) and choosing.MIDDLE in found
    assert min(found) >= min([*scores, 0.5]) and max(found) <= max([*scores, 0.5])


def test_scores_that_lie_close_together_are_told_apart():
    """As those of a reward model that has hardly learned."""
    scores = [[0.501, 0.502, 0.4991, 0.4992]] * 3 + [[0.501, 0.4991, 0.4992, 0.4992]] * 2
    found = choosing.mark(scores, [2, 2, 2, 1, 1])
    assert 0.4991 <= found.value < 0.501 and found.n == 5


@given(st.lists(PROBABILITY, min_size=1, max_size=40))
def test_a_lone_peak_does_not_win_against_a_plateau(measures):
    tried = [i / len(measures) for i in range(len(measures))]
    found = choosing.peak(tried, measures)
    at = tried.index(found)

    def smooth(i):
        return np.mean(measures[max(0, i - 1) : i + 2])

    assert smooth(at) >= max(map(smooth, range(len(tried)))) - 1e-9


def test_of_equal_cutoffs_the_one_closest_to_one_half():
    assert choosing.peak([0.1, 0.4, 0.7, 0.9], [1, 1, 1, 1]) == 0.4
    assert choosing.peak([0.4, 0.6], [1, 1]) == 0.4
    # One high point, or three that are nearly as high.
    assert choosing.peak([0.1, 0.2, 0.3, 0.6, 0.7, 0.8], [0.1, 0.9, 0.1, 0.7, 0.7, 0.7]) == 0.7
    with pytest.raises(ValueError):
        choosing.peak([], [])


@given(DRAFTS, st.randoms(use_true_random=False))
def test_a_mark_is_measured_as_it_is_used(scores, random):
    errors = [random.randrange(len(steps)) for steps in scores]
    found = choosing.mark(scores, errors)
    later = [(s, e) for s, e in zip(scores, errors, strict=True) if e > 0]
    assert found.n == len(later)
    for value, measure in found.curve:
        assert measure == pytest.approx(np.mean([first_error(s, value) == e for s, e in later]))
    assert found.value in dict(found.curve) or not later


def test_a_poor_locator_does_not_get_the_mark_that_flags_every_first_step():
    """Though most drafts go wrong there, and it finds a later error in one of three."""
    scores = [[0.8, 0.7, 0.6]] * 6 + [[0.8, 0.4, 0.3], [0.8, 0.4, 0.3], [0.8, 0.6, 0.3]]
    errors = [0] * 6 + [1, 2, 2]
    assert 0.3 <= choosing.mark(scores, errors).value < 0.8


def test_each_locator_gets_its_own_mark():
    """An ORM is too pessimistic: at the SORM's mark it would flag every first step."""
    errors = [1, 2, 1, 2]
    sorm = [[0.9, 0.2, 0.2], [0.9, 0.8, 0.1], [0.95, 0.3, 0.2], [0.9, 0.9, 0.3]]
    orm = [[p / 4 for p in steps] for steps in sorm]
    of_sorm, of_orm = choosing.mark(sorm, errors), choosing.mark(orm, errors)
    assert 0.3 <= of_sorm.value < 0.8 and 0.075 <= of_orm.value < 0.2
    assert [first_error(s, of_orm.value) for s in orm] == errors


def test_nothing_to_go_by_is_one_half():
    assert choosing.mark([], []).value == choosing.threshold([], []).value == 0.5
    assert choosing.mark([], []).n == 0


@given(st.lists(st.tuples(PROBABILITY, st.booleans()), min_size=1, max_size=40))
def test_a_threshold_is_measured_as_it_is_used(items):
    scores, right = map(list, zip(*items, strict=True))
    found = choosing.threshold(scores, right)
    curve = dict(found.curve)
    for value, measure in curve.items():
        assert measure == pytest.approx(
            np.mean([(p > value) == r for p, r in zip(scores, right, strict=True)])
        )


def test_a_threshold_parts_right_from_wrong():
    found = choosing.threshold([0.1, 0.15, 0.2, 0.6, 0.7, 0.8] * 5, [0, 0, 0, 1, 1, 1] * 5)
    assert 0.2 <= found.value < 0.6


# Temperatures.


@given(
    st.tuples(PROBABILITY, st.booleans()),
    st.lists(st.tuples(PROBABILITY, st.booleans()), min_size=2, max_size=5),
)
def test_best_of_some_is_the_mean_over_all_choices(draft, samples):
    found = choosing.best_of_some(draft, samples, 2)
    rights = []
    for i, j in itertools.combinations(range(len(samples)), 2):
        group = [draft, samples[i], samples[j]]
        best = max(score for score, _ in group)
        rights.append(next(right for score, right in group if score == best))
    assert found == pytest.approx(np.mean(rights))


def test_too_few_samples():
    with pytest.raises(ValueError, match="1 samples of a question: must be at least 2"):
        choosing.best_of_some((0.5, True), [(0.1, False)], 2)


def test_the_lowest_of_equally_good_temperatures():
    found = choosing.temperature({1.0: [1, 0, 1], 0.4: [0, 1, 1], 0.7: [0, 0, 1]}, "how")
    assert (found.value, found.n) == (0.4, 3)
    assert found.curve == ((0.4, 2 / 3), (0.7, 1 / 3), (1.0, 2 / 3))


# Combinations.


def groups(draw: np.random.Generator, questions: int, weights: list[float]):
    """Questions of six solutions whose odds to be right follow `weights` within the question."""
    for _ in range(questions):
        x = draw.normal(size=(6, 3)) + 5 * draw.normal(size=3)  # how hard it is says nothing
        centred = x - x.mean(axis=0)
        yield x, draw.random(6) < 1 / (1 + np.exp(-centred @ weights))


def test_a_combination_finds_what_counts():
    weights, n = choosing.fit_combination(groups(np.random.default_rng(0), 2000, [2.0, 0.5, 0.0]))
    assert 1900 < n <= 2000
    assert weights == pytest.approx([2.0, 0.5, 0.0], abs=0.35)


def test_scales_of_features_do_not_matter():
    base = list(groups(np.random.default_rng(1), 200, [1.0, 1.0, 1.0]))
    scaled = [(x * [1, 100, 0.01], right) for x, right in base]
    plain, _ = choosing.fit_combination(base)
    other, _ = choosing.fit_combination(scaled)
    assert np.multiply(other, [1, 100, 0.01]) == pytest.approx(plain)


def test_a_question_counts_once_however_many_pairs_it_has():
    few = [([[1, 0, 0], [0, 0, 0]], [True, False])]
    many = [([[1, 0, 0]] * 4 + [[0, 0, 0]] * 4, [True] * 4 + [False] * 4)]
    assert choosing.fit_combination(few)[0] == pytest.approx(choosing.fit_combination(many)[0])


def test_without_a_pair_the_first_feature_decides():
    assert choosing.fit_combination([([[1, 2, 3]], [True])]) == ([1.0, 0.0, 0.0], 0)
    assert choosing.fit_combination([]) == ([1.0, 0.0, 0.0], 0)


def test_scores_that_part_right_from_wrong_keep_the_weights_finite():
    apart = [([[9, 9, 9], [-9, -9, -9]], [True, False])] * 50
    weights, _ = choosing.fit_combination(apart)
    assert all(0 < weight < 10 for weight in weights)


def test_features_are_finite_at_the_ends():
    found = choosing.features({"orm": 0.0, "sorm": 1.0, "loglik": -12.5})
    assert np.isfinite(found).all() and found[0] < 0 < found[1] and found[2] == -12.5


# Candidates.


@given(
    st.lists(
        st.tuples(st.sampled_from(["1", "2", "2.0", None]), PROBABILITY), min_size=1, max_size=8
    )
)
def test_a_vote_names_the_best_of_those_that_won_it(pairs):
    answers, weights = map(list, zip(*pairs, strict=True))
    found = choosing.vote(answers, weights, weights)
    if all(answer is None for answer in answers):
        assert found == choosing.best(weights)
        return
    means = [None if a is None else float(a) for a in answers]
    totals = {m: sum(w for n, w in zip(means, weights, strict=True) if n == m) for m in means}
    totals.pop(None, None)
    assert totals[means[found]] == pytest.approx(max(totals.values()))
    same = [w for m, w in zip(means, weights, strict=True) if m == means[found]]
    assert weights[found] == max(same)


def test_suspects():
    scores = [0.9, 0.8, 0.3, 0.25, 0.1]
    assert choosing.suspects(scores, 0.5, 1) == [2]
    assert choosing.suspects(scores, 0.5, 2) == [2, 4]  # from .25 to .1; from 1 to .9 is less
    assert choosing.suspects(scores, 0.05, 2) == [None, 2]  # nothing flagged: the largest fall
    assert choosing.suspects([0.2], 0.5, 2) == [0, None]
    assert choosing.suspects([], 0.5, 2) == [None, None]
