"""The corpus of the tiny base: what its documents say, and what of them is learned and judged."""

import random

import pytest
from chain_config import make_config

from glore_jax.tasks.chains import corpus
from glore_jax.tasks.chains.difficulty import difficulty_of


def text_of(document, right=None):
    return "".join(p.text for p in document if right is None or p.right == right)


@pytest.mark.parametrize("kind", corpus.KINDS)
def test_documents_are_a_function_of_the_draw(kind):
    difficulty = difficulty_of(make_config())
    first, again, other = (corpus.document(kind, random.Random(i), difficulty) for i in (3, 3, 4))
    assert first == again != other
    assert all(0 < p.weight <= 1 and p.right in (None, 0.0, 1.0) for p in first)


def test_work_is_judged_right_up_to_the_very_token_of_a_slip():
    difficulty, seen = difficulty_of(make_config(steps=(1, 6))), 0
    for i in range(200):
        question, *work = corpus.document("slipped", random.Random(i), difficulty)
        assert question.right is None and [p.right for p in work] == [1.0, 0.0]
        same_draw = corpus.document("solved", random.Random(i), difficulty)
        right = text_of(same_draw[1:])
        good, bad = (text_of(work, value) for value in (1.0, 0.0))
        assert right.startswith(good) and not right.startswith(good + bad[0])
        assert work[0].weight == 1.0 > work[1].weight  # nobody shall learn to write a slip
        seen += good != ""
    assert seen > 150


def test_corrections_end_right_whatever_the_draft():
    difficulty, without = difficulty_of(make_config()), 0
    for i in range(100):
        document = corpus.document("corrected", random.Random(i), difficulty)
        draft, correction = text_of(document[1:]).split("\nCorrection:\n")
        assert document[-1].right is None and document[-1].weight == 1.0
        without += draft == correction
        assert (draft == correction) == (0.0 not in [p.right for p in document])
    assert 5 < without < 30


def test_a_reviewed_draft_is_judged_and_not_imitated(drafts):
    for i, draft in enumerate(drafts):
        question, *work = corpus.of_draft("reviewed", random.Random(i), draft)
        assert question.text == draft.chain.question + "\n" and question.right is None
        assert text_of(work) == "\n".join(draft.lines) + "\n" and all(p.weight < 0.1 for p in work)
        good = text_of(work, 1.0)
        if draft.first_wrong is None:
            assert i >= 100 and good == text_of(work)
        else:
            assert i < 100 and good.count("\n") == draft.first_wrong and work[-1].right == 0.0
            right = "\n".join(draft.chain.solution())
            assert right.startswith(good) and not right.startswith(good + text_of(work, 0.0)[0])


def test_a_draft_that_goes_on_for_too_long(drafts):
    chain = drafts[100].chain
    lines = (*chain.solution(), "#### 1")
    *_, end = corpus.of_draft("reviewed", random.Random(0), corpus.Draft(chain, lines))[:-1]
    assert (end.text, end.right) == ("#### 1", 0.0)


def test_a_redone_draft_is_marked_at_its_start_or_at_its_first_wrong_line(drafts):
    places = {"start": 0, "first wrong": 0}
    for i, draft in enumerate(drafts):
        parts = corpus.of_draft("redone", random.Random(i), draft)
        right = "\n".join(draft.chain.solution())
        assert text_of(p for p in parts if p.weight >= 1.0) == right
        assert text_of(parts).endswith(right)
        turns = [p for p in parts if p.weight > 1.0]
        assert len(turns) == (draft.first_wrong is not None)
        if turns:  # the first token that is not the draft's
            copied = text_of(parts[: parts.index(turns[0])]).split("Correction:\n")[1]
            assert "\n".join(draft.lines).startswith(copied)
            assert not "\n".join(draft.lines).startswith(copied + turns[0].text)
        shown, correction = text_of(parts[1:]).split("Correction:\n")
        before, after = shown.split("[BAD]")
        assert before + after == "\n".join(draft.lines) + "\n"
        lines = before.count("\n")
        assert lines in (0, draft.first_wrong or 0)
        if draft.first_wrong:
            places["first wrong" if lines else "start"] += 1
    assert min(places.values()) > 15


def test_bare_arithmetic_has_what_solutions_ask_for():
    """All facts are true and in bounds, sums and differences of two large amounts among them."""
    difficulty, large = difficulty_of(make_config()), {"+": 0, "-": 0}
    for i in range(100):
        for fact in text_of(corpus.document("facts", random.Random(i), difficulty)).split():
            expression, value = fact.removeprefix("<<").split(">>")
            asked, answer = expression.split("=")
            result = eval(asked)
            assert answer == value == f"{result:g}" and 0 <= result <= difficulty.max_value
            op = next(o for o in "+-*/" if o in asked)
            if op in large and int(asked.split(op)[1]) > difficulty.operand[1]:
                large[op] += 1
    assert min(large.values()) > 20


def test_bare_arithmetic_is_judged_fact_by_fact():
    judged = {0.0: 0, 1.0: 0}
    for i in range(50):
        shown, right = "", True
        for part in corpus.document("checked", random.Random(i), difficulty_of(make_config())):
            shown += part.text
            right = right and part.right != 0.0
            if part.text.endswith(" "):
                expression, value = shown.strip().removeprefix("<<").split(">>")
                asked, answer = expression.split("=")
                result = int(eval(asked))
                assert (answer == value == str(result)) == right
                judged[float(right)] += 1
                shown, right = "", True
    assert min(judged.values()) > 100


def test_told_works_out_all_amounts_of_the_story():
    def capitalized(text):
        return text[:1].upper() + text[1:]

    difficulty = difficulty_of(make_config())
    for i in range(100):
        story, work, *claims = corpus.document("told", random.Random(i), difficulty)
        claimed = text_of(claims).splitlines()
        assert "How" not in story.text and len(claimed) == len(set(claimed)) > 1
        for line in work.text.splitlines():  # what a line concludes is claimed in the end, too
            conclusion = line.rsplit(", so ", 1)[1]
            assert capitalized(conclusion) in map(capitalized, claimed)
