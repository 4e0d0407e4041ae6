"""What is compared with what, on outcomes and calls that are known beforehand."""

import numpy as np
import pytest

from glore_jax.stages.evaluation import gain_figures

AT_HALF = {"orm": 0.5, "sorm": 0.5}


def value(pairs, name) -> float:
    a, b = pairs[name]
    return a.hits.sum() / a.of.sum() - b.hits.sum() / b.of.sum()


def test_the_system_against_each_rival_and_its_share_of_the_gap():
    right = {
        "draft": [0, 0, 0, 1],
        "rerank": [1, 0, 0, 1],
        "oracle": [1, 1, 0, 1],
        "bo3": [0.5, 0.5, 0, 1],
    }
    pairs = gain_figures.of_answers(right)
    assert set(pairs) == {
        "rerank_over_draft",
        "rerank_over_bo3",
        "oracle_over_rerank",
        "gap_closed",
    }
    assert value(pairs, "rerank_over_bo3") == 0.0
    assert value(pairs, "gap_closed") == 1 / 2
    assert pairs["gap_closed"][1].of.sum() == 2  # two questions make the gap


def test_fix_rates_are_over_wrong_drafts_alone():
    def refined(whole, by_orm, by_sorm):
        kinds = {"global": whole, "local_orm": by_orm, "local_sorm": by_sorm}
        return {kind: {"correct": bool(right)} for kind, right in kinds.items()}

    drafts = [0, 0, 1]
    records = [refined(1, 0, 1), refined(0, 0, 1), refined(0, 1, 1)]
    pairs = gain_figures.of_refinements(drafts, records)
    assert value(pairs, "fix_local_sorm_over_local_orm") == 1.0
    assert value(pairs, "fix_global_over_local_sorm") == pytest.approx(-1 / 2)
    assert value(pairs, "fix_union_sorm_over_global") == pytest.approx(1 / 2)
    assert value(pairs, "every_global_over_draft") == 0.0
    assert value(pairs, "only_wrong_global_over_draft") == pytest.approx(1 / 3)


def test_the_untrained_base_stands_beside_the_refiner_where_it_was_asked():
    right = {"global": True, "local_orm": True, "local_sorm": True, "base_global": True}
    records = [
        {kind: {"correct": fixed} for kind, fixed in (right | {"base_local": False}).items()},
        {kind: {"correct": fixed} for kind, fixed in (right | {"base_global": False}).items()}
        | {"base_local": {"correct": False}},
    ]
    pairs = gain_figures.of_refinements([0, 0], records)
    assert value(pairs, "fix_global_over_base_global") == 1 / 2
    assert value(pairs, "fix_local_sorm_over_base_local") == 1.0
    for record in records:
        del record["base_global"], record["base_local"]
    assert not [name for name in gain_figures.of_refinements([0, 0], records) if "base" in name]


def test_calls_against_each_other_against_the_majority_and_their_errors():
    labels = [[1, 1, 0], None, [1, 0]]
    scores = {
        "orm": [[0.1, 0.2, 0.3], [0.9], [0.9, 0.1]],  # two false alarms
        "sorm": [[0.9, 0.9, 0.9], [0.1], [0.9, 0.1]],  # one miss
    }
    pairs = gain_figures.of_steps("steps", scores, labels, AT_HALF)
    assert value(pairs, "steps_sorm_over_orm") == pytest.approx(4 / 5 - 3 / 5)
    assert value(pairs, "steps_orm_over_majority") == pytest.approx(0)
    assert value(pairs, "steps_orm_alarms_over_half") == 1 / 2
    assert value(pairs, "steps_sorm_alarms_over_half") == -1 / 2
    assert value(pairs, "steps_orm_alarms_over_sorm") == 1.0


def test_errors_are_told_apart_at_one_half_whatever_the_thresholds_are():
    """A threshold that is chosen for its accuracy leaves the ORM no false alarm."""
    labels = [[1, 1, 0], [1, 0]]
    scores = {model: [[0.4, 0.3, 0.2], [0.3, 0.1]] for model in AT_HALF}
    pairs = gain_figures.of_steps("truth", scores, labels, {"orm": 0.25, "sorm": 0.25})
    assert value(pairs, "truth_orm_over_majority") == pytest.approx(2 / 5)
    assert value(pairs, "truth_orm_alarms_over_half") == 1 / 2
    assert pairs["truth_orm_alarms_over_half"][0].of.sum() == 3  # wrong calls at one half


def test_mostly_wrong_steps_have_wrong_for_their_majority():
    pairs = gain_figures.of_steps("steps", {m: [[0.1, 0.1]] for m in AT_HALF}, [[1, 0]], AT_HALF)
    assert value(pairs, "steps_orm_over_majority") == 0.0
    pairs = gain_figures.of_steps("steps", {m: [[0.1] * 3] for m in AT_HALF}, [[1, 0, 0]], AT_HALF)
    assert value(pairs, "steps_orm_over_majority") == 0.0


def test_marks_on_wrong_drafts_alone():
    labels = [[1, 0], [0, 0], [1, 1], None]
    marked = {"orm": [1, 1, None, 0], "sorm": [1, 0, 0, 0]}
    pairs = gain_figures.of_marks("truth", marked, labels)
    assert value(pairs, "truth_found_sorm_over_orm") == pytest.approx(1 - 1 / 2)


def test_each_model_is_called_at_its_own_threshold():
    finals = {"orm": [0.4, 0.6], "sorm": [0.4, 0.6]}
    pairs = gain_figures.of_finals(finals, [True, True], {"orm": 0.3, "sorm": 0.5})
    assert value(pairs, "final_orm_over_sorm") == pytest.approx(1 / 2)
    assert value(pairs, "final_orm_over_majority") == 0.0


def test_what_is_not_defined_is_no_gain():
    right = {name: [1, 1] for name in ("draft", "rerank", "oracle")}
    found = gain_figures.gains(["a", "b"], gain_figures.of_answers(right), seed=0)
    assert "gap_closed" not in found and found["rerank_over_draft"].value == 0.0
    assert np.isfinite(found["rerank_over_draft"].low)
