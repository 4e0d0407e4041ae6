"""What the page says of a worked example."""

import pytest

from glore_jax.report.examples import card, filter_counts, outcome


@pytest.mark.parametrize(
    ("draft", "refined", "choice", "kinds", "word"),
    [
        (True, True, True, "", "Kept"),
        (False, True, True, "fixed", "Fixed"),
        (True, False, False, "broken wrong", "Broken"),
        (False, True, False, "wrong", "Missed"),
        (False, False, False, "wrong", "Unsolved"),
    ],
)
def test_outcomes(draft, refined, choice, kinds, word):
    example = {
        "draft_correct": draft,
        "others": {
            "global": {"steps": [], "correct": False},
            "backtrack_2": {"steps": [], "correct": refined},
        },
        "choice_correct": choice,
    }
    assert outcome(example)[0] == kinds and outcome(example)[1].startswith(word)


def test_a_card_marks_what_a_refinement_shares_with_the_draft():
    steps = ["a", "x", "b", "c"]
    others = {"backtrack_2": {"steps": steps, "correct": None}}
    example = {"draft": ["a", "b", "c"], "others": others}
    (refined,) = card(example, 1).refined
    # At the same place, that is: a step that moved is new.
    assert refined.steps == (("a", True), ("x", False), ("b", False), ("c", False))
    assert refined.solution.name == "Backtrack 2" and refined.solution.verdict == ""


def test_a_score_of_one_half_has_no_tint_and_the_ends_have_the_strongest():
    example = {"draft": ["a", "b", "c", "d"], "sorm": [0.5, 0.0, 1.0]}
    half, low, high, none = card(example, 1).steps
    assert "--tint:rgba(0,114,178,0.000)" in half.style
    assert "--tint:rgba(213,94,0,0.340)" in low.style
    assert "--edge:rgba(0,114,178,1.000)" in high.style
    assert none.style == "" and none.sorm == "–"


def test_filters_of_nothing_are_zero():
    assert filter_counts([]) == {"all": 0, "fixed": 0, "broken": 0, "wrong": 0}
