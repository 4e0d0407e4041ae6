"""The Markdown report is whole, well formed, and says what is missing."""

import re

import pytest

from glore_jax.report import document
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
    assert len(summary({}).splitlines()) == 1


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
