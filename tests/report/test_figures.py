"""The contract of report.json: what it may hold, and how a breach is named."""

import math

import pytest

from glore_jax.report.figures import SplitFigures
from glore_jax.report.reading import at
from glore_jax.report.run_figures import Report


def check(results: dict) -> None:
    Report.from_json(results)


def test_whole_and_empty_results_pass(results):
    check(results)
    check({})


def test_report_json_is_what_it_was_read_from(results):
    assert Report.from_json(results).to_json() == results


def test_the_file_begins_with_what_was_run(results):
    assert list(Report.from_json(results).to_json())[:4] == [
        "name",
        "task",
        "model",
        "paper_column",
    ]


def test_what_a_split_did_not_measure_is_left_out():
    assert SplitFigures().to_json() == {}
    # The report says of three parts that they are missing, since a task may not have them.
    missing = {key for key, value in Report().to_json().items() if value is None}
    assert {"label_truth", "label_truth_test", "templates"} <= missing


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


def test_a_figure_that_nobody_declared_is_named(results):
    results["step"]["orm"]["accuracy"] = 0.5
    with pytest.raises(ValueError, match=r"step\.orm\.accuracy is not declared in StepDecisions"):
        check(results)
