"""Reading single figures, and the interval."""

import math

import pytest

from glore_jax.report.reading import at, interval, number, stage_seconds


def test_a_figure_is_found_by_its_path(results):
    assert number(results, "step.sorm.acc") == 0.824
    assert at(results, "curves.rerank.k") == [1, 2, 4, 8]


@pytest.mark.parametrize(
    "path", ["step.prm.acc", "nothing.at.all", "draft.acc.deeper", "name", "draft"]
)
def test_what_is_not_there_or_no_number_is_none(results, path):
    assert number(results, path) is None


@pytest.mark.parametrize("value", [None, math.nan, math.inf, True, "0.5", [0.5]])
def test_what_cannot_be_shown_is_none(value):
    assert number({"x": {"acc": value}}, "x.acc") is None


def test_the_interval_is_wilsons():
    low, high = interval(0.5, 10)  # tabulated: 0.2366 to 0.7634
    assert (round(low, 4), round(high, 4)) == (0.2366, 0.7634)
    assert interval(0.0, 10)[0] == 0.0 and interval(1.0, 10)[1] == pytest.approx(1.0)
    assert 0.2 < interval(0.0, 10)[1] < 0.35  # nothing in ten tries does not mean never
    assert interval(0.5, 0) == (0.0, 1.0)


def test_stages_that_were_not_timed_have_no_seconds():
    timed = {"student": 2.0, "sample": None, "rollout": math.nan, "orm": 1}
    assert stage_seconds({"seconds": timed}) == {"student": 2.0, "orm": 1}
    assert stage_seconds({"seconds": None}) == stage_seconds({}) == {}
