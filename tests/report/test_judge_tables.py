"""Judgements of reward models and labels land in the right cells."""

from glore_jax.report import judge_tables


def test_judgements_stand_against_labels_truth_and_grades(cell, results):
    table = judge_tables.decisions(results)
    labels = "SORM, steps against rollout labels"
    assert cell(table, labels, "first error, all drafts") == "0.586"
    assert cell(table, labels, "majority class") == "0.731"
    assert cell(table, "SORM, steps against truth", "first error, all drafts") == "0.555"
    assert cell(table, "ORM, steps against truth", "n") == "2,049"
    assert cell(table, "ORM, final answers", "false alarms") == "0.143"
    assert cell(table, "ORM, final answers", "AUC") == "–"


def test_places_of_marks_on_wrong_drafts_and_on_right_ones(cell, results):
    table = judge_tables.located(results)
    assert cell(table, "SORM, against truth", "at the first error") == "0.475"
    assert cell(table, "SORM, against truth", "no mark") == "0.175"
    assert cell(table, "ORM, against rollout labels", "offset") == "-0.384"
    assert cell(table, "ORM, against truth", "false alarms") == "0.083"
    assert cell(table, "ORM, against truth", "right drafts") == "269"
    assert judge_tables.located({}).rows == ()


def test_pairs_of_a_right_and_a_wrong_solution(cell, results):
    pairs = judge_tables.within_pair(results)
    assert cell(pairs, "log-likelihood", "within pair") == "0.634"
    assert cell(pairs, "ORM", "solutions") == "4,000"


def test_labels_against_the_truth(cell, results):
    labels = judge_tables.label_truth(results)
    assert cell(labels, "Labels that agree", "paper") == "0.94"
    assert cell(labels, "Wrong prefixes labelled good", "training") == "0.037"
    assert cell(labels, "Labels that agree", "test") == "0.912"
    assert cell(labels, "Wrong drafts: labels that agree", "training") == "0.908"
    assert cell(labels, "Wrong drafts: first error exact", "test") == "0.617"
    assert cell(labels, "Wrong drafts: first error exact", "n") == "229"
    assert "of questions that some sample solves" in labels.note
    results["about"]["settings"]["rollout.solved_only"] = "false"
    assert "of all questions sampled" in judge_tables.label_truth(results).note


def test_labels_of_wrong_drafts_by_step_and_by_k(results):
    by_step = judge_tables.labels_by_step(results)
    assert by_step.rows[1] == ("2", "0.851", "316", "0.810", "316")
    by_k = judge_tables.labels_by_k(results)
    assert by_k.rows[0][:4] == ("1", "0.442", "0.542 to 0.555", "229")
    assert by_k.rows[1][1:3] == ("1.000", "0.658")  # two equal bounds are one figure


def test_one_side_may_have_longer_drafts_than_the_other(results):
    results["label_truth_test"]["by_step"].pop()
    assert judge_tables.labels_by_step(results).rows[1] == ("2", "0.851", "316", "–", "–")


def test_truth_that_a_task_does_not_know_is_left_out_with_that_reason(results):
    results["step_truth"] = results["label_truth"] = results["label_truth_test"] = None
    unknown = "the task does not know which steps are right"
    table = judge_tables.decisions(results)
    assert not any("truth" in row[0] for row in table.rows) and unknown in table.note
    for make in (
        judge_tables.label_truth,
        judge_tables.labels_by_step,
        judge_tables.labels_by_k,
    ):
        assert make(results).rows == () and unknown in make(results).note
