"""The Markdown report is whole, well formed, and says what is missing."""

import re

import pytest

from glore_jax.report import document, names
from glore_jax.report.summary import summary


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
    assert len(summary(results).splitlines()) >= 8


def test_nothing_at_all_is_still_a_report():
    text = document.markdown({})
    assert "Left out: result (the results hold no `draft`)." in text
    assert "|" not in text  # no table, not even an empty one
    assert summary({}).startswith("Left out: result")


def test_the_markdown_tables_are_well_formed(results):
    lines = document.markdown(results).splitlines()
    blocks = []
    block = []
    for line in [*lines, ""]:
        if line.startswith("|"):
            block.append(line)
        elif block:
            blocks.append(block)
            block = []
    assert len(blocks) == 27
    for block in blocks:
        assert set(block[1]) <= set("|-: ")
        assert len({line.count("|") for line in block}) == 1
        assert len({len(line) for line in block}) == 1  # aligned for whoever reads the raw text


# What only plots show.
DRAWN = {"curves", "draft.first_error_histogram"}


def leaves(value, path=""):
    """(path, number or text) of everything in the results that documents have to show."""
    if path in DRAWN:
        return
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, f"{path}.{key}".lstrip("."))
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner, path)
    elif value is not None and not isinstance(value, bool):
        yield path, value


def forms(path, value) -> set[str]:
    """How a document may write a value."""
    if isinstance(value, str):
        return {value, names.gain(value)}
    if isinstance(value, int):
        return {f"{value:,}"}
    if path == "draft.steps_mean" or "seconds" in path:
        return {f"{value:,.1f}"}
    if path.endswith("tokens"):
        return {f"{value:,.0f}"}
    return (
        {f"{value:.4g}"}
        if path.startswith(("about", "marks"))
        else {f"{value:.3f}", f"{value:+.3f}"}
    )


def is_shown(path, value, text: str) -> bool:
    """Whether the text has the value, and not as a part of another number."""
    some = "|".join(map(re.escape, forms(path, value)))
    return re.search(rf"(?<![\d.,])(?:{some})(?![\d])", text) is not None


def test_nothing_is_computed_and_hidden(results):
    text = document.markdown(results)
    assert {path for path, value in leaves(results) if not is_shown(path, value, text)} == set()


def test_a_figure_that_no_table_shows_is_found_by_that_test(results):
    results["draft"]["forgotten"] = 0.8887
    results["student"]["forgotten"] = 7654321
    text = document.markdown(results)
    hidden = {path for path, value in leaves(results) if not is_shown(path, value, text)}
    assert hidden == {"draft.forgotten", "student.forgotten"}


def test_a_local_refinement_is_told_as_this_run_does_it(results):
    assert "keeps the steps before E" in document.markdown(results)
    results["about"]["settings"]["evaluate.keep_prefix"] = "false"
    text = document.markdown(results)
    assert "is written anew" in text and "keeps the steps before E" not in text
    del results["about"]
    text = document.markdown(results)
    assert "is written anew" not in text and "keeps the steps before E" not in text


def test_thresholds_are_those_in_force(results):
    text = document.markdown(results)
    assert "on the label's side of ORM 0.55, SORM 0.45;" in text
    assert "(threshold 0.5)" in text and "than the mark (ORM 0.412, SORM 0.287)" in text
    del results["marks"]
    assert "on the label's side of the threshold in force;" in document.markdown(results)
