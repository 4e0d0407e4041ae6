"""Reading single figures, the interval, and the contract of report.json."""

import math

import pytest

from glore_jax.report.figures import at, check, interval, number


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


def test_whole_and_empty_results_pass(results):
    check(results)
    check({})


def test_missing_figures_pass(results):
    results["step"]["orm"]["auc"] = None
    results["draft"]["acc"] = math.nan
    results["curves"]["reliability"]["orm"]["rate"][3] = None
    results["templates"] = results["label_truth"] = results["curves"]["scores"] = None
    check(results)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("draft.acc", 55.2),
        ("refine.global.fix_rate", -0.01),
        ("templates.draft", 1.5),
        ("student.passK", 1.0001),
        ("curves.label_rate.rate", [0.1, 0.2, 0.3, 0.4, 0.5, 6]),
        ("curves.rerank.orm.high", [0.5, 0.6, 0.7, 1.2]),
        ("step.sorm.f1", "0.8"),
    ],
)
def test_a_rate_outside_0_to_1_is_named(results, path, value):
    *groups, key = path.split(".")
    at(results, ".".join(groups))[key] = value
    with pytest.raises(ValueError, match=path.replace(".", r"\.")):
        check(results)


def test_a_bad_rate_in_a_list_of_rounds_is_named(results):
    results["student"]["rounds"][1]["acc"] = 52.5
    with pytest.raises(ValueError, match=r"student\.rounds\[1\]\.acc"):
        check(results)


@pytest.mark.parametrize(
    ("group", "count", "path"),
    [
        ("draft", "n", "draft.acc"),
        ("refine.local_sorm", "n_right", None),
        ("pipeline.oracle", "n", "pipeline.oracle.acc"),
        ("templates", "n", "templates.draft"),
        ("curves.label_rate", "n", "curves.label_rate.rate"),
    ],
)
def test_a_figure_without_its_count_is_named(results, group, count, path):
    del at(results, group)[count]
    if path is None:  # n stands in for n_right where a group has only one count
        check(results)
        del at(results, group)["n"]
        path = f"{group}.break_rate"
    with pytest.raises(ValueError, match=path.replace(".", r"\.")):
        check(results)


@pytest.mark.parametrize(
    "path", ["rerank.pass.mean", "rerank.sorm.low", "label_rate.n", "reliability.orm.rate"]
)
def test_a_curve_that_does_not_fit_its_axis_is_named(results, path):
    *groups, key = path.split(".")
    at(results["curves"], ".".join(groups))[key].pop()
    with pytest.raises(ValueError, match=rf"curves\.{path} and"):
        check(results)
