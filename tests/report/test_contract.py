"""What groups of figures promise, on a small group of their own."""

import dataclasses
import math

import pytest

from glore_jax.report.contract import (
    BrokenContract,
    Figures,
    count,
    counts,
    group,
    groups,
    number,
    rate,
    rates,
    rows,
    step_counts,
    text,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Judge(Figures):
    acc: float | None = rate("right calls")
    fixed: float | None = rate("fixed", over="n_wrong")
    n_wrong: int | None = count("wrong")
    n: int | None = count("all")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Curve(Figures):
    AXIS = "k"

    k: tuple[int, ...] | None = counts("axis")
    pass_: tuple[float | None, ...] | None = rates("accuracy", over="")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Whole(Figures):
    name: str | None = text("name")
    seconds: float | None = number("seconds")
    steps: tuple[tuple[int, int], ...] | None = step_counts("histogram")
    judge: Judge | None = group(Judge, "one")
    nobody: Judge | None = group(Judge, "one that is named even if missing", null=True)
    judges: dict[str, Judge] | None = groups(Judge, "by name")
    rounds: tuple[Judge, ...] | None = rows(Judge, "in order")
    curve: Curve | None = group(Curve, "curve")


WHOLE = {
    "name": "whole",
    "seconds": 1.5,
    "steps": [[1, 4], [3, 2]],
    "judge": {"acc": 0.5, "fixed": None, "n_wrong": 0, "n": 4},
    "nobody": None,
    "judges": {"b": {"acc": 1.0, "fixed": 0.25, "n_wrong": 4, "n": 9}},
    "rounds": [{"acc": 0, "fixed": None, "n_wrong": None, "n": 1}],
    "curve": {"k": [1, 2], "pass": [0.5, None]},
}


def test_json_comes_back_as_it_went():
    whole = Whole.from_json(WHOLE)
    assert whole.curve.pass_ == (0.5, None) and whole.judges["b"].n == 9
    assert whole.steps == ((1, 4), (3, 2))
    assert whole.to_json() == WHOLE
    assert list(whole.to_json()) == list(WHOLE)  # in the order of the fields


def test_missing_values_are_null_and_missing_groups_are_left_out():
    assert Whole().to_json() == {"name": None, "seconds": None, "steps": None, "nobody": None}
    assert Whole.from_json({}) == Whole()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"acc": 1.01, "n": 3}, "acc is 1.01, not a rate in 0..1"),
        ({"acc": -0.01, "n": 3}, "acc is -0.01, not a rate in 0..1"),
        ({"acc": True, "n": 3}, "acc is True, not a rate in 0..1"),
        ({"acc": "0.5", "n": 3}, "acc is '0.5', not a rate in 0..1"),
        ({"acc": math.inf, "n": 3}, "acc is inf, not a rate in 0..1"),
        ({"n": -1}, "n is -1, not a count"),
        ({"n": 2.5}, "n is 2.5, not a count"),
        ({"acc": 0.5}, "acc has no count `n` beside it"),
        ({"acc": 0.5, "n_wrong": 3}, "acc has no count `n` beside it"),
        ({"fixed": 0.5}, "fixed has no count `n_wrong` beside it"),
    ],
)
def test_what_breaks_the_contract_is_named(values, message):
    with pytest.raises(BrokenContract, match=f"report.json: {message}"):
        Judge(**values)


def test_either_count_will_do():
    assert Judge(fixed=0.5, n=3).n_wrong is None
    assert Judge(fixed=0.5, n_wrong=3).n is None


def test_nan_is_a_missing_figure():
    assert math.isnan(Judge(acc=math.nan).acc)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"judge": {"acc": 2, "n": 3}}, "judge.acc is 2"),
        ({"judges": {"b": {"acc": 2, "n": 3}}}, "judges.b.acc is 2"),
        ({"rounds": [{}, {"acc": 2, "n": 3}]}, r"rounds\[1\].acc is 2"),
        ({"curve": {"k": [1], "pass": [2.0]}}, "curve.pass is 2.0"),
        ({"curve": {"k": [1, 2], "pass": [0.5]}}, "curve.pass and .k differ in length"),
        ({"curve": {"pass": [0.5]}}, "curve.pass and .k differ in length"),
        ({"judge": 0.5}, "judge is 0.5, not a group of figures"),
        ({"judges": [0.5]}, r"judges is \[0.5\], not a mapping by name"),
        ({"rounds": 3}, "rounds is 3, not a list"),
        ({"steps": [[1, 2, 3]]}, "steps is .1, 2, 3., not a pair of a step and a count"),
        ({"name": 3}, "name is 3, not a text"),
        ({"seconds": math.inf}, "seconds is inf, not a number"),
        ({"judge": {"accuracy": 0.5}}, "judge.accuracy is not declared in Judge"),
    ],
)
def test_a_figure_inside_is_named_by_its_whole_path(values, message):
    with pytest.raises(BrokenContract, match=f"report.json: {message}"):
        Whole.from_json(values)
