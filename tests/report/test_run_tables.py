"""What the paper does not report lands in the right cells."""

from glore_jax.report import run_tables


def test_step_scores_stand_against_labels_and_against_the_truth(cell, results):
    steps = run_tables.step_scores(results)
    assert cell(steps, "SORM, against rollout labels", "first error found") == "0.586"
    assert cell(steps, "SORM, against truth", "first error found") == "0.555"
    assert cell(steps, "ORM, against truth", "steps") == "2,049"


def test_pairs_of_a_right_and_a_wrong_solution(cell, results):
    pairs = run_tables.within_pair(results)
    assert cell(pairs, "log-likelihood", "within pair") == "0.634"
    assert cell(pairs, "ORM", "solutions") == "4,000"


def test_labels_against_the_truth(cell, results):
    labels = run_tables.label_truth(results)
    assert cell(labels, "Labels that agree", "paper") == "0.94"
    assert cell(labels, "Wrong prefixes labelled good", "training") == "0.037"
    assert cell(labels, "Right prefixes labelled bad", "training") == "0.061"
    assert cell(labels, "Labels that agree", "test") == "0.912"


def test_right_drafts_broken_are_counted_over_right_drafts(cell, results):
    breaks = run_tables.breaks(results)
    assert cell(breaks, "Local, E from SORM", "this run") == "0.059"
    assert cell(breaks, "Local, E from SORM", "n") == "276"


def test_unseen_templates_stand_beside_the_test_set(cell, results):
    unseen = run_tables.templates(results)
    assert cell(unseen, "Draft", "unseen templates") == "0.475"
    assert cell(unseen, "Draft", "test set") == "0.552"


def test_rounds_and_cost(cell, results):
    assert cell(run_tables.rounds(results), "round 2", "training solutions") == "9,377"
    cost = dict(run_tables.cost(results).rows)
    assert cost["Rollouts for step labels"] == "15,234"
    assert cost["All stages, seconds"] == "867.1"


def test_truth_that_a_task_does_not_know_is_left_out_with_that_reason(results):
    results["step_truth"] = results["label_truth"] = None
    assert not any("truth" in row[0] for row in run_tables.step_scores(results).rows)
    assert "the task does not know which steps are right" in run_tables.step_scores(results).note
    assert run_tables.label_truth(results).rows == ()
    assert "the task does not know which steps are right" in run_tables.label_truth(results).note
