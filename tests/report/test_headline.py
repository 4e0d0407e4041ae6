"""What a reader has to know first: the gain with its interval, beside the best rival."""

import pytest

from glore_jax.report import headline


def said(results) -> str:
    return " ".join(headline.sentences(results))


def test_the_gain_stands_with_its_interval(results):
    text = said(results)
    assert "Of 500 test questions, the student's greedy draft solves 55.2%" in text
    assert "63.8%: +8.6 points (95% interval +5.5 to +11.7)" in text
    assert "An oracle choice among the candidates would solve 71.6%" in text
    assert "closes 52% of that gap (95% interval 40% to 65%)" in text


def test_the_best_rival_is_named_and_what_is_not_shown_is_said(results):
    assert headline.best_rival(results) == "greedy2_orm"
    text = said(results)
    assert "Best rival: draft and 2 samples, ORM, with 61.4%; system against it: +2.4" in text
    assert "the interval includes 0, so it is not shown to be better" in text


@pytest.mark.parametrize(
    ("value", "words"), [(0.05, "is ahead of it"), (-0.05, "is behind it"), (0.0, "includes 0")]
)
def test_the_interval_decides_who_is_ahead(results, value, words):
    gain = {"value": value, "low": value - 0.03, "high": value + 0.03, "n": 500}
    results["gains"]["rerank_over_greedy2_orm"] = gain
    assert words in said(results)


def test_a_rival_below_the_draft_is_said_to_be(results):
    del results["pipeline"]["greedy2_orm"]
    results["pipeline"]["bo3"]["acc"] = 0.5
    assert "best of 3 samples, ORM, with 50.0% (less than the draft alone)" in said(results)


def test_without_rivals_nothing_is_claimed(results):
    for name in ("greedy2_orm", "bo3"):
        del results["pipeline"][name]
    assert headline.best_rival(results) is None
    assert "No rival was measured" in said(results)


def test_few_questions_have_no_interval(results):
    results["gains"]["rerank_over_draft"]["n"] = 9
    assert "(too few different questions for an interval)" in said(results)


def test_many_questions_of_few_stories_have_no_interval_either(results):
    results["gains"]["rerank_over_draft"]["stories"] = 9
    assert "(too few different questions for an interval)" in said(results)
    results["gains"]["rerank_over_draft"]["stories"] = 10
    assert "(95% interval +5.5 to +11.7)" in said(results)


def test_variations_are_said_to_be(results):
    results["draft"]["stories"] = 500
    assert "Of 500 test questions, the student's" in said(results)
    results["draft"]["stories"] = 51
    assert "Of 500 test questions, variations of 51 stories, the student's" in said(results)


def test_patterns_that_do_not_hold_are_named(results):
    text = said(results)
    assert "Of the paper's 9 patterns 4 hold (1, 2, 3, 7), 0 do not, 5 cannot be judged" in text
    assert "Not so here" not in text
    results["patterns"][0]["verdict"] = "does not hold"
    assert "Not so here: 1, SORM step accuracy is above ORM step accuracy." in said(results)


def test_a_model_that_learned_nothing_is_said(results):
    assert "SORM learned nothing: its scores spread by 0.0042" in said(results)
    assert "ORM learned nothing" not in said(results).replace("SORM learned", "")
