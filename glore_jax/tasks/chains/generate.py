"""Draws whole problems: a template, a story, a question, and what follows from them.

The order in which numbers are drawn decides which problems a seed stands for: do not change it.
"""

import random

from glore_jax.errors import UserError
from glore_jax.tasks.chains import questions, world
from glore_jax.tasks.chains.chain import Chain
from glore_jax.tasks.chains.difficulty import Difficulty
from glore_jax.tasks.chains.story import Reject, Story

_ATTEMPTS = 10_000  # draws of a template; most are rejected where bounds are narrow


def draw_chain(rng: random.Random, difficulty: Difficulty, held_out: bool = False) -> Chain:
    """One problem, of the templates kept out of training (`held_out`) or of all the others.

    UserError if no template has the number of steps that was drawn, or nothing keeps the bounds.
    """
    want = rng.randint(*difficulty.steps)
    # At least one step is left for the story.
    kinds = [kind for kind in world.KINDS if questions.added_steps(kind) < want]
    templates = [
        (family, kind)
        for family in world.FAMILIES
        for kind in kinds
        if ((family, kind) in world.HELD_OUT) == held_out
    ]
    if not templates:
        raise UserError(f"no template has {want} steps: raise task.steps")
    family, kind = rng.choice(templates)
    for _ in range(_ATTEMPTS):
        try:
            return _attempt(rng, difficulty, family, kind, want)
        except Reject:
            continue
    raise UserError(
        f"no problem of the family {family} fits {difficulty}: "
        "widen task.operand or task.max_value, or lower task.steps"
    )


def _attempt(
    rng: random.Random, difficulty: Difficulty, family: str, kind: str, want: int
) -> Chain:
    """A problem of `want` steps; Reject if the draw does not come to one."""
    story = Story(rng, difficulty, world.FAMILIES[family])
    addends = 3 if rng.random() < 0.3 else 2
    _tell(story, want - questions.added_steps(kind, addends))
    target = story.told[-1]
    for _ in range(2):  # distractors: nothing needs them, unless the question happens to
        if rng.random() < difficulty.distractors:
            story.relate(rng.choice(story.told))
    question = questions.draw_question(story, kind, target, addends)

    asked = [key for step in question.steps for key in step.needs if key in story.amounts]
    needed = story.related_to(asked or [target])
    if len(needed) + len(question.steps) != want:
        raise Reject

    values = dict(story.amounts)
    facts = {story.says(entity): value for entity, value in story.amounts.items()}
    for step in question.steps:
        values[step.key] = story.compute(step.op, step.args, values)
        facts[step.claim] = values[step.key]

    steps = [story.step(entity) for entity in needed] + question.steps
    sentences = [story.sentence(entity) for entity in story.told]
    if rng.random() < difficulty.shuffle:
        rng.shuffle(sentences)
    sentences += question.events
    return Chain(
        story=" ".join(world.sentence(text) for text in sentences),
        ask=question.ask,
        steps=tuple(steps),
        relations=tuple(story.step(entity) for entity in story.related),
        given=story.given,
        facts=facts,
        gold=values[steps[-1].key],
        family=family,
        kind=kind,
    )


def _tell(story: Story, relations: int) -> None:
    """A given amount and `relations` that follow, now and then with a given one in between."""
    rng = story.rng
    story.give()
    for _ in range(relations):
        if len(story.amounts) > 1 and rng.random() < 0.15:
            story.give()
        branches = rng.random() < story.difficulty.branch
        story.relate(rng.choice(story.told) if branches else story.told[-1])
