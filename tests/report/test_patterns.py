"""Verdicts on the paper's patterns rest on intervals, and say nothing that was not measured."""

import pytest

from glore_jax.report import patterns
from glore_jax.report.patterns import FAILS, HOLDS, OPEN, Claim, alike
from glore_jax.report.reading import Difference


def verdict(results, number: int) -> str:
    return patterns.judge(results)[number - 1].verdict


def shift(results, name: str, value: float, half: float = 0.01) -> None:
    results["gains"][name] = {
        "value": value,
        "low": value - half,
        "high": value + half,
        "n": 500,
    }


@pytest.mark.parametrize(
    ("low", "high", "above", "same"),
    [
        (0.01, 0.02, HOLDS, HOLDS),
        (0.01, 0.09, HOLDS, OPEN),
        (0.04, 0.09, HOLDS, FAILS),
        (-0.01, 0.02, OPEN, HOLDS),
        (0.0, 0.0, OPEN, HOLDS),
        (-0.09, -0.04, FAILS, FAILS),
        (-0.09, 0.09, OPEN, OPEN),
    ],
)
def test_an_interval_holds_fails_or_crosses_the_bound(low, high, above, same):
    found = Difference(value=(low + high) / 2, low=low, high=high, n=500)
    assert Claim("x").verdict(found) == above
    assert alike("x").verdict(found) == same


def test_nine_patterns_in_their_order(results):
    judged = patterns.judge(results)
    assert [pattern.number for pattern in judged] == list(range(1, 10))
    assert {pattern.verdict for pattern in judged} <= {HOLDS, FAILS, OPEN}
    assert "Steps, rollout labels: SORM − ORM +0.093 (+0.062 to +0.124)" in judged[0].why
    assert judged[0].rests_on == ("steps_sorm_over_orm", "truth_sorm_over_orm")


def test_one_claim_that_fails_decides(results):
    assert verdict(results, 1) == HOLDS
    shift(results, "truth_sorm_over_orm", -0.05)
    assert verdict(results, 1) == FAILS


def test_the_truth_is_asked_where_it_is_known(results):
    assert verdict(results, 3) == HOLDS
    shift(results, "truth_orm_alarms_over_half", -0.2)
    assert verdict(results, 3) == FAILS
    results["gains"] = {k: v for k, v in results["gains"].items() if not k.startswith("truth")}
    assert verdict(results, 3) == HOLDS and verdict(results, 1) == HOLDS


def test_what_one_run_cannot_show_is_never_said_to_hold(results):
    assert verdict(results, 4) == OPEN and verdict(results, 9) == OPEN
    shift(results, "best_of_k_orm_over_sorm", -0.05)
    assert verdict(results, 4) == FAILS
    assert patterns.judge(results)[8].rests_on == ()


def test_few_questions_and_none_say_nothing(results):
    results["gains"]["final_orm_over_sorm"]["n"] = 9
    assert verdict(results, 2) == OPEN
    results["gains"] = {}
    assert {pattern.verdict for pattern in patterns.judge(results)} == {OPEN}
    assert {pattern.verdict for pattern in patterns.judge({})} == {OPEN}


def test_on_the_easy_task_the_best_of_three_may_be_as_good(results):
    shift(results, "oracle_over_rerank", 0.08)
    shift(results, "rerank_over_bo3", 0.0)
    assert verdict(results, 8) == OPEN
    results["paper_column"] = "SVAMP 7B"
    assert verdict(results, 8) == HOLDS


def test_refining_every_draft_may_not_be_a_gain(results):
    for kind in ("global", "local_sorm"):
        shift(results, f"every_{kind}_over_draft", 0.0)
    assert verdict(results, 5) == HOLDS
    shift(results, "every_global_over_draft", 0.08)
    assert verdict(results, 5) == FAILS
