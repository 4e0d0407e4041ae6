"""What the paper does not report lands in the right cells."""

from glore_jax.report import names, paper_tables, plots, run_tables


def test_the_system_stands_beside_its_rivals(cell, results):
    table = run_tables.answers(results)
    names = [row[0] for row in table.rows]
    assert names[:2] == ["System", "Draft"] and "Untrained base as the judge" not in names
    rival = "Draft and 2 samples, ORM"
    assert cell(table, rival, "accuracy") == "0.614" and cell(table, rival, "tokens") == "239"
    assert cell(table, rival, "system against it") == "+0.024"
    assert cell(table, rival, "95% interval") == "-0.007 to +0.055"
    oracle = "Oracle choice among the candidates"
    assert cell(table, oracle, "system against it") == "-0.078"
    assert cell(table, oracle, "95% interval") == "-0.109 to -0.047"
    assert run_tables.answers({}).rows == ()


def test_gains_say_on_which_side_of_0_they_lie(cell, results):
    table = run_tables.gains(results, "Refinements compared", names.REFINEMENT_GAINS)
    fix = "Fix rate: local by SORM − local by ORM"
    assert cell(table, fix, "interval is") == "above 0" and cell(table, fix, "questions") == "224"
    base = "Fix rate: global − untrained base, global"
    assert cell(table, base, "difference") == "+0.186"
    assert cell(table, "Fix rate: global − local by SORM", "interval is") == "includes 0"
    assert run_tables.gains({}, "Gains", names.GAINS).rows == ()


def test_the_system_by_number_of_steps(results):
    table = run_tables.by_steps(results)
    assert table.rows[1][:3] == ("5", "313", "0.399") and table.rows[1][-1] == "0.601"
    results["by_steps"] = None
    assert "the task has no worked solutions" in run_tables.by_steps(results).note


def test_right_drafts_broken_are_counted_over_right_drafts(cell, results):
    breaks = run_tables.breaks(results)
    assert cell(breaks, "Local, E from SORM", "this run") == "0.059"
    assert cell(breaks, "Local, E from SORM", "n") == "276"
    assert cell(breaks, "Untrained base, global", "this run") == "0.431"


def test_intervals_of_single_shares_are_said_to_be_too_narrow(results):
    """Where questions are variations of each other, in each table and under each plot that has
    such intervals."""
    warning = "variations of only 51 stories, so the intervals are too narrow."
    tables = (run_tables.by_steps, run_tables.rounds, run_tables.breaks)
    tables += (paper_tables.table_2, paper_tables.table_3, paper_tables.figure_6)
    intervals = [name for name, plot in plots.PLOTS.items() if "95% interval" in plot.caption]
    assert len(intervals) == 4

    def said():
        notes = [make(results).note for make in tables]
        return notes + [plots.caption(name, results) for name in intervals]

    assert not any("stories" in text for text in said())
    for entry in (results["draft"], *results["student"]["rounds"]):
        entry["stories"] = entry["n"]
    assert not any("stories" in text for text in said())
    for entry in (results["draft"], *results["student"]["rounds"]):
        entry["stories"] = 51
    assert all(warning in text for text in said())
    assert warning not in paper_tables.table_1(results).note  # of steps, without intervals
    assert "all those of a story together (51 stories)" in run_tables.answers(results).note


def test_unseen_templates_stand_beside_the_test_set(cell, results):
    unseen = run_tables.templates(results)
    assert cell(unseen, "Draft", "unseen templates") == "0.475"
    assert cell(unseen, "Draft", "test set") == "0.552"
    assert "system − draft is +0.090 (+0.043 to +0.137), paired" in unseen.note


def test_rounds_and_cost(cell, results):
    rounds = run_tables.rounds(results)
    assert cell(rounds, "round 2", "training solutions") == "9,377"
    assert cell(rounds, "round 2", "cut off") == "5" and cell(rounds, "round 2", "loss") == "0.052"
    cost = dict(run_tables.cost(results).rows)
    assert cost["Rollouts for step labels"] == "15,234"
    assert cost["All stages, seconds"] == "867.1"
