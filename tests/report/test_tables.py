"""Numbers land in the right cells, and what is missing is left out and said to be."""

import re

import pytest

from glore_jax.report import document, tables


def cell(table: tables.Table, row: str, column: str) -> str:
    found = [cells for cells in table.rows if cells[0] == row]
    assert len(found) == 1, f"{row!r} in {[cells[0] for cells in table.rows]}"
    return found[0][table.header.index(column)]


def test_table_1_has_our_number_its_count_and_the_papers(results):
    table = tables.table_1(results)
    assert [row[0] for row in table.rows] == ["ORM", "Balanced ORM", "SORM"]
    assert cell(table, "SORM", "this run") == "0.824"
    assert cell(table, "SORM", "n") == "2,051"
    assert cell(table, "SORM", "GSM8K 13B") == "0.81"
    assert cell(table, "ORM", "SVAMP 13B") == "0.85"
    assert "95% interval" not in table.header  # steps of one solution are not independent


def test_table_2_and_3(results):
    final = tables.table_2(results)
    assert (cell(final, "ORM", "this run"), cell(final, "ORM", "GSM8K 7B")) == ("0.846", "0.82")
    fix = tables.table_3(results)
    assert cell(fix, "Global ∪ Local (SORM)", "this run") == "0.366"
    assert cell(fix, "Global ∪ Local (SORM)", "GSM8K 13B") == "0.412"
    assert cell(fix, "Local, E from ORM", "SVAMP 7B") == "0.09"
    assert cell(fix, "Global", "n") == "224"  # over wrong drafts, not all
    assert cell(fix, "Global", "95% interval") == "0.204 to 0.318"


def test_table_5_has_one_student_a_row(results):
    table = tables.table_5(results)
    assert table.rows[0][1:5] == ("0.552", "0.594", "0.657", "0.843")
    assert cell(table, "this run", "K") == "8" and cell(table, "GSM8K 7B, EI", "K") == "96"
    assert cell(table, "GSM8K 13B, SFT", "rerank@K") == "0.68"
    assert cell(table, "SVAMP 13B, EI", "pass@K") == "0.93"
    assert cell(table, "SVAMP 13B, EI", "one sample") == "–"


def test_figure_4_has_our_k_and_then_the_papers(results):
    table = tables.figure_4(results)
    assert cell(table, "ORM", "K=8") == "0.657" and cell(table, "ORM", "K=1") == "0.471"
    assert cell(table, "SORM", "paper K=96") == "≈0.539"
    assert cell(table, "majority", "paper K=8") == "–"
    assert (
        cell(table, "SORM, raw labels", "K=8") == "–"
        and cell(table, "SORM, raw labels", "paper K=8") == "≈0.485"
    )


def test_figures_5_and_6(results):
    five = tables.figure_5(results)
    assert cell(five, "Draft", "this run") == "0.552"
    assert cell(five, "Local, E from SORM: every draft refined", "this run") == "0.573"
    assert cell(five, "Local, E from SORM: only wrong drafts refined", "this run") == "0.655"
    assert cell(five, "Local, E from SORM: only wrong drafts refined", "GSM8K 13B") == "≈0.646"
    six = tables.figure_6(results)
    assert cell(six, "Draft, global, local: ORM chooses", "this run") == "0.638"
    assert cell(six, "Draft, global, local: ORM chooses", "GSM8K 7B") == "≈0.582"
    assert cell(six, "Best of 3 samples, oracle", "this run") == "0.694"
    assert cell(six, "Draft, global, local: log-likelihood", "GSM8K 7B") == "–"


def test_what_the_paper_does_not_report(results):
    steps = tables.step_scores(results)
    assert cell(steps, "SORM, against rollout labels", "first error found") == "0.586"
    assert cell(steps, "SORM, against truth", "first error found") == "0.555"
    assert cell(steps, "ORM, against truth", "steps") == "2,049"
    pairs = tables.within_pair(results)
    assert (
        cell(pairs, "log-likelihood", "within pair") == "0.634"
        and cell(pairs, "ORM", "solutions") == "4,000"
    )
    labels = tables.label_truth(results)
    assert cell(labels, "Labels that agree", "paper") == "0.94"
    assert cell(labels, "Wrong prefixes labelled good", "training") == "0.037"
    assert cell(labels, "Right prefixes labelled bad", "training") == "0.061"
    assert cell(labels, "Labels that agree", "test") == "0.912"
    assert cell(tables.breaks(results), "Local, E from SORM", "this run") == "0.059"
    assert cell(tables.breaks(results), "Local, E from SORM", "n") == "276"
    unseen = tables.templates(results)
    assert (
        cell(unseen, "Draft", "unseen templates") == "0.475"
        and cell(unseen, "Draft", "test set") == "0.552"
    )
    assert cell(tables.rounds(results), "round 2", "training solutions") == "9,377"
    cost = dict(tables.cost(results).rows)
    assert cost["Rollouts for step labels"] == "15,234" and cost["All stages, seconds"] == "867.1"


def test_the_chosen_column_of_the_paper_is_marked(results):
    for name in ("GSM8K 7B", "SVAMP 13B"):
        results["paper_column"] = name
        table = tables.table_3(results)
        assert table.header[table.beside] == name
        assert f"**{name}**" in document.markdown(results)


def test_a_missing_row_is_left_out_with_a_reason(results):
    del results["step"]["balanced_orm"]
    table = tables.table_1(results)
    assert [row[0] for row in table.rows] == ["ORM", "SORM"]
    assert "Left out: Balanced ORM (the results hold no `step.balanced_orm.acc`)." in table.note


def test_truth_that_a_task_does_not_know_is_left_out_with_that_reason(results):
    results["step_truth"] = results["label_truth"] = None
    assert not any("truth" in row[0] for row in tables.step_scores(results).rows)
    assert "the task does not know which steps are right" in tables.step_scores(results).note
    assert tables.label_truth(results).rows == ()
    assert "the task does not know which steps are right" in tables.label_truth(results).note


@pytest.mark.parametrize(
    "key", ["draft", "scorer", "student", "step", "step_truth", "label_truth", "final", "refine"]
)
@pytest.mark.parametrize("absent", [None, {}])
def test_a_missing_group_leaves_the_rest_standing(results, key, absent):
    whole = document.markdown(results)
    results[key] = absent
    text = document.markdown(results)
    assert text.count("Left out") > whole.count("Left out") == 0
    assert not re.search(r"\bNone\b(?! of them)|\bnan\b", text)
    assert len(tables.summary(results).splitlines()) >= 8


def test_nothing_at_all_is_still_a_report():
    text = document.markdown({})
    assert "Left out: result (the results hold no `draft`)." in text
    assert "|" not in text  # no table, not even an empty one
    assert len(tables.summary({}).splitlines()) == 1


def test_the_markdown_tables_are_well_formed(results):
    lines = document.markdown(results).splitlines()
    blocks, block = [], []
    for line in [*lines, ""]:
        if line.startswith("|"):
            block.append(line)
        elif block:
            blocks.append(block)
            block = []
    assert len(blocks) == 14
    for block in blocks:
        assert set(block[1]) <= set("|-: ")
        assert len({line.count("|") for line in block}) == 1
        assert len({len(line) for line in block}) == 1  # aligned for whoever reads the raw text


def test_the_headline_says_the_gain(results):
    text = document.headline(results)
    assert "Of 500 test questions" in text and "55.2%" in text and "63.8% (+8.6 points)" in text
    results["pipeline"]["rerank"]["acc"] = 0.502
    assert "(-5.0 points)" in document.headline(results)


def test_the_summary_is_a_dozen_aligned_lines(results):
    lines = tables.summary(results).splitlines()
    assert 12 <= len(lines) <= 15 and all(len(line) <= 100 for line in lines)
    by_name = {
        line[: line.index("  ")].strip() or line.split("  ")[1]: line for line in lines[1:-1]
    }
    assert "0.552" in by_name["Draft (greedy)"] and "500" in by_name["Draft (greedy)"]
    assert "0.257 / 0.231 / 0.366" in by_name["Fix rate: global / local / union"]
    assert "0.203 / 0.211 / 0.28" in by_name["Fix rate: global / local / union"]
    assert "0.731 / 0.824" in by_name["Step accuracy: ORM / SORM"]
    assert "0.783 / 0.768 / 0.634" in by_name["Within pair: ORM / SORM / log-lik."]
    ours = [line.index("0.552") + 5 for line in lines if line.startswith("Draft")]
    ours += [line.index("0.638") + 5 for line in lines if line.startswith("Reranked")]
    assert len(set(ours)) == 1  # numbers end in one column
    assert lines[-1].startswith("Seconds: student 313, sample 98") and lines[-1].endswith(
        "in all 867"
    )
