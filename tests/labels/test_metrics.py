"""Measures, each against its definition written as plain loops."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glore_jax.labels import metrics

grid = st.sampled_from([i / 8 for i in range(9)])  # exact binary fractions, many ties
items = st.lists(st.tuples(grid, st.booleans()), max_size=25)


def split(rows):
    return [p for p, _ in rows], [y for _, y in rows]


@given(st.lists(items, max_size=4))
def test_within_pair_accuracy_and_auc(groups):
    def outcomes(rows):
        right, wrong = ([p for p, y in rows if y is side] for side in (True, False))
        return [1.0 if a > b else 0.5 if a == b else 0.0 for a in right for b in wrong]

    results = [o for rows in groups for o in outcomes(rows)]
    value, n = metrics.within_pair_accuracy(map(split, groups))
    assert n == len(results) and value == (pytest.approx(np.mean(results)) if results else None)
    for rows in groups:
        single = outcomes(rows)
        assert metrics.auc(*split(rows)) == (
            pytest.approx(np.mean(single)) if single else None,
            len(rows),
        )


@given(items, grid)
def test_binary_scores(rows, threshold):
    result = metrics.binary_scores(*split(rows), threshold)
    called = [(p <= threshold, y) for p, y in rows]  # (called bad, is good)
    tp, fp = called.count((True, False)), called.count((True, True))
    fn, tn = called.count((False, False)), called.count((False, True))

    def ratio(a, b):
        return pytest.approx(a / b) if b else None

    assert result["n"] == len(rows) and result["acc"] == ratio(tp + tn, len(rows))
    assert result["f1"] == ratio(2 * tp, 2 * tp + fp + fn)
    assert result["false_alarm"] == ratio(fp, fp + tn) and result["missed"] == ratio(fn, fn + tp)
    # Calling all items good, or all bad: the better of the two.
    assert result["majority"] == ratio(max(fp + tn, fn + tp), len(rows))


def test_threshold_itself_is_called_bad():
    assert metrics.binary_scores([0.5], [0], 0.5)["acc"] == 1.0
    assert metrics.first_error([0.9, 0.5, 0.1], 0.5) == 1
    assert metrics.first_error([0.9, 0.51], 0.5) == metrics.first_error([], 0.5) == -1


@given(st.lists(st.tuples(st.integers(-1, 3), st.integers(-1, 3)), max_size=20))
def test_first_error_accuracy(rows):
    result = metrics.first_error_accuracy([p for p, _ in rows], [t for _, t in rows])
    wrong, right = [r for r in rows if r[1] >= 0], [r for r in rows if r[1] < 0]
    for name, group in [("", rows), ("wrong_", wrong), ("right_", right)]:
        assert result[name + "n"] == len(group)
        share = pytest.approx(sum(p == t for p, t in group) / len(group)) if group else None
        assert result[name + "acc"] == share
    if wrong and right:
        a, b = result["wrong_acc"], result["right_acc"]
        assert result["f1"] == (pytest.approx(2 / (1 / a + 1 / b)) if a and b else 0.0)
    else:
        assert result["f1"] is None
    shifts = [p - t for p, t in wrong if p >= 0]
    assert result["offset"] == (pytest.approx(sum(shifts) / len(shifts)) if shifts else None)


@given(items, st.integers(1, 12))
def test_reliability_and_histogram(rows, bins):
    result = metrics.reliability(*split(rows), bins)
    counts = metrics.histogram01(split(rows)[0], bins)
    assert len(result["bins"]) == len(counts["counts"]) == len(counts["edges"]) - 1 == bins
    assert result["n"] == counts["n"] == sum(counts["counts"]) == len(rows)
    ece = 0.0
    for b, row in enumerate(result["bins"]):
        low, high = counts["edges"][b : b + 2]
        assert (row["low"], row["high"]) == (low, high)
        mine = [(p, y) for p, y in rows if low <= p < high or (p == 1.0 and b == bins - 1)]
        assert row["n"] == counts["counts"][b] == len(mine)
        if mine:
            assert row["prob"] == pytest.approx(np.mean([p for p, _ in mine]))
            assert row["rate"] == pytest.approx(np.mean([y for _, y in mine]))
            ece += len(mine) / len(rows) * abs(row["prob"] - row["rate"])
        else:
            assert row["prob"] is row["rate"] is None
    assert result["ece"] == (pytest.approx(ece) if rows else None)


def test_values_on_bin_edges_belong_to_the_bin_they_open():
    edges = [i / 100 for i in range(100)]  # 0.29 * 100 is below 29 in floating point
    assert metrics.histogram01(edges, 100)["counts"] == [1] * 100


def test_log_loss():
    value, n = metrics.log_loss([0.8, 0.4], [1, 0])
    assert n == 2 and value == pytest.approx(-(math.log(0.8) + math.log(0.6)) / 2)
    assert metrics.log_loss([0.0], [1])[0] == pytest.approx(-math.log(1e-7))


def test_empty_input_is_none_and_json():
    results = [
        metrics.within_pair_accuracy([]),
        metrics.auc([], []),
        metrics.log_loss([], []),
        metrics.binary_scores([], [], 0.5),
        metrics.first_error_accuracy([], []),
        metrics.reliability([], [], 4),
        metrics.histogram01([], 4),
    ]
    json.dumps(results, allow_nan=False)
    assert [r[0] for r in results[:3]] == [None] * 3
    assert results[3]["acc"] is results[4]["acc"] is results[5]["ece"] is None


@pytest.mark.parametrize(
    "prob, label",
    [
        ([0.5], [1, 0]),
        ([math.nan], [1]),
        ([1.5], [1]),
        ([0.5], [-100]),
        ([0.5], [math.nan]),
        ([[0.5]], [[1]]),
    ],
)
def test_bad_input_is_refused(prob, label):
    with pytest.raises(ValueError):
        metrics.binary_scores(prob, label, 0.5)
    with pytest.raises(ValueError):
        metrics.first_error([math.nan], 0.5)
    with pytest.raises(ValueError):
        metrics.first_error_accuracy([1], [1, 2])
