"""Stories: every amount in bounds, and computed from amounts that are told before it."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glore_jax.tasks.chains import world
from glore_jax.tasks.chains.chain import render
from glore_jax.tasks.chains.difficulty import Difficulty
from glore_jax.tasks.chains.story import RELATIONS, Reject, Story


def draw(seed, relations=5, family="people", difficulty=None):
    """The first story that is not rejected."""
    rng = random.Random(seed)
    while True:
        story = Story(rng, difficulty or Difficulty(), world.FAMILIES[family])
        try:
            story.give()
            for _ in range(relations):
                story.relate(rng.choice(story.told))
            return story
        except Reject:
            continue


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(sorted(world.FAMILIES)))
def test_what_an_amount_needs_is_told_before_it(seed, family):
    story = draw(seed, family=family)
    assert story.told == [*story.given, *story.related]  # here the given one comes first
    assert all(2 <= value <= story.difficulty.max_value for value in story.amounts.values())
    steps = [story.step(entity) for entity in story.related]
    for step, line in zip(steps, render(steps, story.given)):
        assert set(step.needs) <= set(story.told[: story.told.index(step.key)])
        assert line.endswith(f", so {story.says(step.key)} {story.amounts[step.key]}.")

    for target in story.related:
        needed = story.related_to([target])
        assert needed[-1] == target
        for entity in needed:  # all that they need, and nothing else
            named = set(story.step(entity).needs) & set(story.related)
            assert named <= set(needed)
            users = [other for other in needed if entity in story.step(other).needs]
            assert users or entity == target


def test_all_relations_are_drawn():
    drawn = set()
    for story in map(draw, range(40)):
        for entity in story.related:
            step = story.step(entity)
            drawn.add((step.op, len(step.needs), bool(step.turned)))
    assert drawn == {
        (relation.op, 2 if relation.n == "amount" else 1, bool(relation.turned))
        for relation in RELATIONS.values()
    }


def test_bounds_and_names_are_kept():
    story = draw(0, relations=0, difficulty=Difficulty(operand=(50, 60), max_value=60))
    with pytest.raises(Reject):
        story.compute("+", (50, 11), {})
    with pytest.raises(Reject):
        story.compute("/", (51, 2), {})
    with pytest.raises(Reject):
        story.compute("-", (51, 50), {})
    while len(story.told) < len(world.NAMES):
        story.give()
    with pytest.raises(Reject):
        story.give()
