"""Refinement and choice, on drafts whose figures are known beforehand."""

import pytest
from known_records import RIGHT, make_records, solution

from glore_jax.stages.evaluation import draft_figures


@pytest.fixture
def records():
    return make_records()


@pytest.mark.parametrize(
    "kind, fixed, broken, every, only",
    [
        ("global", 1 / 3, 1 / 2, 2 / 5, 3 / 5),
        ("local_orm", 1 / 3, 1 / 2, 2 / 5, 3 / 5),
        ("local_sorm", 2 / 3, 0.0, 4 / 5, 4 / 5),
        ("union_orm", 2 / 3, 0.0, 4 / 5, 4 / 5),
        ("union_sorm", 2 / 3, 0.0, 4 / 5, 4 / 5),
    ],
)
def test_fix_and_break_rates(records, kind, fixed, broken, every, only):
    row = draft_figures.refinements(records.drafts, records.refined)[kind]
    assert (row.n_wrong, row.n_right, row.n) == (3, 2, 5)
    found = [row.fix_rate, row.break_rate, row.all_acc, row.oracle_when_acc]
    assert found == pytest.approx([fixed, broken, every, only])


def test_rates_without_a_side(records):
    kept = [i for i, draft in enumerate(records.drafts) if draft["correct"]]
    drafts = [records.drafts[i] for i in kept]
    refined = [records.refined[i] for i in kept]
    row = draft_figures.refinements(drafts, refined)["global"]
    assert row.fix_rate is None and row.n_wrong == 0 and row.break_rate == 1 / 2


def test_the_system_by_length_of_the_worked_solution():
    right = {"draft": [1, 0, 0, 1], "rerank": [1, 1, 0, 1], "oracle": [1, 1, 1, 1]}
    two, three = draft_figures.by_steps([2, 3, 3, -1], right)  # the last one has no solution
    assert (two.steps, two.n, two.draft, two.rerank, two.oracle) == (2, 1, 1.0, 1.0, 1.0)
    assert (three.steps, three.n, three.draft, three.rerank, three.oracle) == (3, 2, 0, 0.5, 1)


def test_places_of_marks():
    labels = [[1, 0, 0], [1, 0, 0], [0, 0, 0], [1, 1, 0], [1, 1, 1], [1, 1, 1], None, []]
    marked = [1, 0, 2, None, 2, None, 0, None]
    found = draft_figures.located(marked, labels)
    assert (found.n_wrong, found.n_right) == (4, 2)  # the last two tell nothing
    assert (found.found, found.early, found.late, found.missed) == (1 / 4, 1 / 4, 1 / 4, 1 / 4)
    assert found.offset == pytest.approx((0 - 1 + 2) / 3)
    assert found.false_alarm == 1 / 2
    nothing = draft_figures.located([None], [None])
    assert (nothing.found, nothing.offset, nothing.n_wrong) == (None, None, 0)


def test_a_draft_without_steps_has_no_score_no_length_and_no_first_error():
    drafts = [solution(True), {"correct": False, "steps": [], "ended": False}]
    found = draft_figures.draft(drafts, [[1, 1], []], ["a", "a"])
    assert found.steps_mean == (len(RIGHT) - 1 + 0) / 2
    assert found.first_error_histogram == () and found.truncated == 1
    assert draft_figures.last_scores([[0.3, 0.7], []]) == [0.7, 0.0]


def test_drafts_without_labels_are_not_counted_as_steps():
    found = draft_figures.steps([[0.9, 0.2], [0.9], []], [[1, 0], None, []], 0.5, 0.5)
    assert found.n == 2 and found.acc == 1.0 and found.first_error_acc == 1.0
    assert found.majority == 0.5


def test_scores_are_counted_by_side_and_empty_bins_left_out():
    scores = [[0.05, 0.95], [0.97, 0.02]]
    labels = [[0, 1], [1, 1]]
    histogram = draft_figures.score_histogram(scores, labels)
    assert (sum(histogram.right), sum(histogram.wrong)) == (3, 1)
    assert histogram.right[0] == 1 and histogram.wrong[1] == 1
    curve = draft_figures.reliability(scores, labels)
    assert curve.n == (2, 2)
    assert curve.rate == pytest.approx((0.5, 1.0)) and curve.p == pytest.approx((0.035, 0.96))
