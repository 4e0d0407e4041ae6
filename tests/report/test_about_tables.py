"""How the figures came about: verdicts, counts of what was left out, settings."""

from glore_jax.report import about_tables, headline


def test_each_pattern_has_a_verdict_and_its_figures(results):
    table = about_tables.patterns(results)
    assert len(table.rows) == 9 and table.prose
    assert table.rows[0][1] == "holds" and "+0.093 (+0.062 to +0.124)" in table.rows[0][2]
    assert "no `patterns`" in about_tables.patterns({}).note.replace("hold ", "")


def test_what_was_left_out_is_counted(cell, results):
    table = about_tables.left_out_items(results)
    assert cell(table, "orm: solutions (plain), longer than a row", "this run") == "92"
    assert cell(table, "orm: solutions (plain), longer than a row", "of") == "4,000"
    assert cell(table, "rollout: questions that no sample solves", "of") == "–"


def test_a_model_that_learned_nothing_says_why(cell, results):
    table = about_tables.looks(results)
    assert cell(table, "ORM", "learned") == "yes"
    assert cell(table, "SORM", "learned") == "no: its scores spread by 0.0042, less than 0.02"
    assert cell(table, "ORM", "within pair") == "0.761 (0.734 to 0.786)"
    assert cell(table, "ORM", "steps: accuracy") == "–"
    assert about_tables.looks({}).rows == ()


def test_a_look_at_steps_stands_beside_the_majority_class(cell, results):
    why = "its steps are called no better than the majority class"
    results["looks"]["sorm"] |= {"learned": True, "why": ""}
    results["looks"]["sorm"]["steps"] = {
        "n": 641,
        "acc": 0.733,
        "majority": 0.741,
        "over_majority": {"value": -0.008, "low": -0.029, "high": 0.013, "n": 88},
        "why": why,
    }
    results["looks"]["orm"]["over_loglik"] = {"value": 0.1, "low": 0.05, "high": 0.15, "n": 90}
    table = about_tables.looks(results)
    assert cell(table, "SORM", "learned") == f"yes: {why}"
    assert cell(table, "SORM", "steps: accuracy") == "0.733"
    assert cell(table, "SORM", "steps over it") == "-0.008 (-0.029 to +0.013)"
    assert cell(table, "ORM", "over it") == "+0.100 (+0.050 to +0.150)"
    assert f"SORM: {why}." in headline.sentences(results)


def test_conditions_and_config(cell, results):
    table = about_tables.conditions(results)
    assert cell(table, "commit of glore_jax", "this run") == "0123abcd"
    assert cell(table, "in force: mark.sorm", "this run") == "0.287 (of 84 dev items)"
    assert cell(table, "in force: choose", "this run") == "combination"
    assert cell(table, "in force: combination.orm", "this run") == "1.25 (of 77 dev items)"
    assert cell(table, "K: sample.k", "this run") == "3"
    assert cell(table, "ran on: student", "this run") == "8 x cpu"
    assert cell(about_tables.config(results), "`student.worked`", "value") == "400"
    results["about"]["commit"] = None
    assert cell(about_tables.conditions(results), "commit of glore_jax", "this run") == "not known"


def test_no_warnings_are_no_table(results):
    assert about_tables.warnings(results).rows == (("orm: 92 of 4000 solutions are cut",),)
    assert about_tables.warnings({}).rows == () and not about_tables.warnings({}).note
