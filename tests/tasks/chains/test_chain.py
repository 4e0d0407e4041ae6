"""A problem in structured form: the text of its solution, and what it becomes for a run."""

import pytest

from glore_jax.tasks.chains.chain import Chain, Step, render, to_problem

ROSA = Step("Rosa has 10 more pies than Ben", "Rosa has", "+", ("Ben", 10), "", "Rosa")
TOM = Step(
    "Rosa has 2 times as many pies as Tom",
    "Tom has",
    "/",
    ("Rosa", 2),
    "",
    "Tom",
    turned="one of 2 parts",
)
TOGETHER = Step(
    "Ben has {0} and Tom has {1}", "together Ben and Tom have", "+", ("Ben", "Tom"), "", "both"
)
CHAIN = Chain(
    story="Ben has 22 pies. Rosa has 10 more pies than Ben. Rosa has 2 times as many pies as Tom.",
    ask="How many pies do Ben and Tom have together?",
    steps=(ROSA, TOM, TOGETHER),
    relations=(ROSA, TOM),
    given={"Ben": 22},
    facts={"Ben has": 22, "Rosa has": 32, "Tom has": 16, "together Ben and Tom have": 38},
    gold=38,
    family="people",
    kind="total",
)


def test_solution():
    assert CHAIN.solution() == (
        "Rosa has 10 more pies than Ben: <<22+10=32>>32, so Rosa has 32.",
        "Rosa has 2 times as many pies as Tom, so Tom has one of 2 parts: "
        "<<32/2=16>>16, so Tom has 16.",
        "Ben has 22 and Tom has 16: <<22+16=38>>38, so together Ben and Tom have 38.",
        "#### 38",
    )


def test_a_problem_has_all_that_its_truth_needs():
    problem = to_problem(CHAIN, "dev", 7)
    assert problem.id == "chains-dev-00007" and problem.gold == "38"
    assert problem.question == f"{CHAIN.story} {CHAIN.ask}"
    assert problem.solution == CHAIN.solution()
    assert problem.facts["template"] == "people/total"
    assert problem.facts["claims"]["together ben and tom have"] == 38


def test_a_division_with_a_rest_is_refused():
    with pytest.raises(ValueError, match="Tom: a division that is not exact"):
        render([TOM], {"Rosa": 33})
