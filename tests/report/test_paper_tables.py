"""Our numbers and the paper's land in the right cells; what is missing is left out with a word."""

from glore_jax.report import document, paper_tables


def test_table_1_has_our_number_its_count_and_the_papers(cell, results):
    table = paper_tables.table_1(results)
    assert [row[0] for row in table.rows] == ["ORM", "Balanced ORM", "SORM"]
    assert cell(table, "SORM", "this run") == "0.824"
    assert cell(table, "SORM", "n") == "2,051"
    assert cell(table, "SORM", "majority class") == "0.731"
    assert cell(table, "SORM", "GSM8K 13B") == "0.81"
    assert cell(table, "ORM", "SVAMP 13B") == "0.85"
    assert "95% interval" not in table.header  # steps of one solution are not independent


def test_table_2_and_3(cell, results):
    final = paper_tables.table_2(results)
    assert (cell(final, "ORM", "this run"), cell(final, "ORM", "GSM8K 7B")) == ("0.846", "0.82")
    fix = paper_tables.table_3(results)
    assert cell(fix, "Global ∪ Local (SORM)", "this run") == "0.366"
    assert cell(fix, "Global ∪ Local (SORM)", "GSM8K 13B") == "0.412"
    assert cell(fix, "Local, E from ORM", "SVAMP 7B") == "0.09"
    assert cell(fix, "Untrained base, global", "this run") == "0.071"
    assert cell(fix, "Untrained base, from E (SORM)", "GSM8K 7B") == "–"
    assert cell(fix, "Global", "n") == "224"  # over wrong drafts, not all
    assert cell(fix, "Global", "95% interval") == "0.204 to 0.318"


def test_table_5_has_one_student_a_row(cell, results):
    table = paper_tables.table_5(results)
    assert table.rows[0][1:5] == ("0.552", "0.594", "0.657", "0.843")
    assert cell(table, "this run", "K") == "8" and cell(table, "GSM8K 7B, EI", "K") == "96"
    assert cell(table, "GSM8K 13B, SFT", "rerank@K") == "0.68"
    assert cell(table, "SVAMP 13B, EI", "pass@K") == "0.93"
    assert cell(table, "SVAMP 13B, EI", "one sample") == "–"


def test_figure_4_has_our_k_and_then_the_papers(cell, results):
    table = paper_tables.figure_4(results)
    assert cell(table, "ORM", "K=8") == "0.657" and cell(table, "ORM", "K=1") == "0.471"
    assert cell(table, "SORM", "paper K=96") == "≈0.539"
    assert cell(table, "majority", "paper K=8") == "–"
    assert cell(table, "SORM, raw labels", "K=8") == "–"
    assert cell(table, "SORM, raw labels", "paper K=8") == "≈0.485"


def test_the_temperature_of_the_samples_is_said_and_what_it_was_chosen_for(results):
    said = "at temperature 0.65, chosen on dev for a draft and two samples, not for K."
    for table in (paper_tables.table_5, paper_tables.figure_4):
        assert said in table(results).note
    results["marks"]["dev_items"]["temperature"] = 0
    assert "at temperature 0.65." in paper_tables.figure_4(results).note
    del results["marks"]
    assert "temperature" not in paper_tables.table_5(results).note


def test_figures_5_and_6(cell, results):
    five = paper_tables.figure_5(results)
    assert cell(five, "Draft", "this run") == "0.552"
    assert cell(five, "Local, E from SORM: every draft refined", "this run") == "0.573"
    assert cell(five, "Local, E from SORM: only wrong drafts refined", "this run") == "0.655"
    assert cell(five, "Untrained base, global: every draft refined", "this run") == "0.353"
    assert cell(five, "Local, E from SORM: only wrong drafts refined", "GSM8K 13B") == "≈0.646"
    six = paper_tables.figure_6(results)
    ours = "Draft, global, local: combination of scores chooses"
    assert cell(six, ours, "this run") == "0.638"
    assert cell(six, ours, "GSM8K 7B") == "≈0.582"
    assert cell(six, "Best of 3 samples, oracle", "this run") == "0.694"


def test_the_chosen_column_of_the_paper_is_marked(results):
    for name in ("GSM8K 7B", "SVAMP 13B"):
        results["paper_column"] = name
        table = paper_tables.table_3(results)
        assert table.header[table.beside] == name
        assert f"**{name}**" in document.markdown(results)


def test_a_missing_row_is_left_out_with_a_reason(results):
    del results["step"]["balanced_orm"]
    table = paper_tables.table_1(results)
    assert [row[0] for row in table.rows] == ["ORM", "SORM"]
    assert "Left out: Balanced ORM (the results hold no `step.balanced_orm.acc`)." in table.note
