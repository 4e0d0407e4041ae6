"""Questions: as many steps as promised, from the story's amounts to the answer."""

import random

import pytest

from glore_jax.tasks.chains import world
from glore_jax.tasks.chains.difficulty import Difficulty
from glore_jax.tasks.chains.questions import added_steps, draw_question
from glore_jax.tasks.chains.story import Reject, Story


def a_story(amounts, seed=0):
    story = Story(random.Random(seed), Difficulty(), world.FAMILIES["people"])
    for _ in range(amounts):
        story.give()
    return story


@pytest.mark.parametrize("addends", [2, 3])
@pytest.mark.parametrize("kind", world.KINDS)
def test_steps_of_a_question(kind, addends):
    story = a_story(4)
    target = story.told[-1]
    question = draw_question(story, kind, target, addends)
    assert len(question.steps) == added_steps(kind, addends)
    assert question.ask.startswith("How many ") and question.ask.endswith("?")
    known, used = set(story.told), set()
    for step in question.steps:
        assert set(step.needs) <= known
        known.add(step.key)
        used |= set(step.needs)
    assert not question.steps or target in used
    if kind.startswith("total"):
        assert len(used & set(story.told)) == addends


@pytest.mark.parametrize("kind, addends", [("total", 2), ("total_cost", 2), ("total", 3)])
def test_a_total_needs_enough_amounts(kind, addends):
    story = a_story(addends - 1)
    with pytest.raises(Reject):
        draw_question(story, kind, story.told[-1], addends)


def test_no_difference_of_equal_amounts():
    story = a_story(2)
    a, b = story.told
    story.amounts[a] = story.amounts[b]
    with pytest.raises(Reject):
        draw_question(story, "difference", b, 2)
