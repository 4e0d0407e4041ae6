"""Who chooses among what, in words."""

import pytest

from glore_jax.report import document, headline, paper_tables, patterns, run_tables, system


def choose(results, who):
    results["marks"] |= {"choose": who}


def test_a_run_that_does_not_tell_is_the_papers():
    assert system.row({}) == "Draft, global, local: ORM chooses"
    assert system.choice({}) == "The ORM's choice among draft, global and local"
    assert system.among({}) == "the draft and its refinements"
    assert "highest ORM score" in system.how({})


def test_candidates_are_those_of_the_config(results):
    settings = {"suspects": "2", "backtrack": "1", "extra_samples": "3"}
    results["about"]["settings"] = {f"evaluate.{name}": v for name, v in settings.items()}
    further = "local at the next suspect, 1 continuation from the mark"
    assert system.candidates(results) == f"Draft, global, local, {further}, 3 samples"
    assert system.oracle_row(results).endswith("3 samples: oracle chooses")
    assert system.among(results) == f"the draft, its refinements, {further} and 3 samples"
    assert f"chooses among {system.among(results)}" in " ".join(headline.sentences(results))
    assert f"chooses among {system.among(results)}" in run_tables.answers(results).note


@pytest.mark.parametrize("who", ["vote", "combination"])
def test_no_text_says_that_the_orm_chooses_where_it_does_not(results, who):
    choose(results, who)
    results["patterns"] = [pattern.to_json() for pattern in patterns.judge(results)]
    said = document.markdown(results)
    assert "ORM chooses" not in said and "The ORM's choice among" not in said
    assert system.row(results) in said and system.choice(results) in said
    assert system.how(results) in said


def test_the_orm_chooses_where_it_does(cell, results):
    choose(results, "orm")
    row = "Draft, global, local: ORM chooses"
    assert cell(paper_tables.figure_6(results), row, "this run") == "0.638"
    assert cell(run_tables.templates(results), row, "unseen templates") == "0.565"
    eighth = patterns.judge(results)[7]
    assert eighth.claim.startswith("The ORM's choice among draft, global and local is above")
