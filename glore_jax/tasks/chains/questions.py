"""Draws what a problem asks about the amounts of its story, and the steps that answer it.

The order in which numbers are drawn decides which problems a seed stands for: do not change it.
"""

from typing import NamedTuple

from glore_jax.tasks.chains.chain import Step
from glore_jax.tasks.chains.story import Reject, Story

# Steps that a question of each kind (`world.KINDS`) adds to those of the story, at least.
_LEAST_STEPS = {
    "value": 0,
    "total": 1,
    "difference": 1,
    "left": 1,
    "bags": 1,
    "cost": 1,
    "total_cost": 2,
}


class Question(NamedTuple):
    events: list[str]  # sentences that come after the story's own
    ask: str
    steps: list[Step]


def added_steps(kind: str, addends: int = 2) -> int:
    """How many steps a question of `kind` adds; a total has `addends` amounts, 2 or 3."""
    return _LEAST_STEPS[kind] + (addends - 2 if kind.startswith("total") else 0)


def draw_question(story: Story, kind: str, target: str, addends: int) -> Question:
    """A question of `kind` about `target`, and about others up to `addends` in a total.

    Reject if the story has too few amounts, or no difference to ask for.
    """
    # Both are drawn, whichever the kind uses.
    operand = story.rng.randint(*story.difficulty.operand)
    factor = story.rng.randint(*story.difficulty.factor)
    if kind == "value":
        return _value(story, target)
    if kind == "difference":
        return _difference(story, target)
    if kind == "left":
        return _left(story, target, operand)
    if kind == "bags":
        return _bags(story, target, factor)
    if kind == "cost":
        return _cost(story, target, factor)
    if kind == "total":
        return _total(story, target, addends)
    return _total_cost(story, target, addends, factor)


def _value(story: Story, target: str) -> Question:
    family = story.family
    return Question([], f"How many {story.units} {family.aux} {target} {family.infinitive}?", [])


def _difference(story: Story, target: str) -> Question:
    other = story.rng.choice(_others(story, target))
    if story.amounts[target] == story.amounts[other]:
        raise Reject
    more, fewer = target, other
    if story.amounts[other] > story.amounts[target]:
        more, fewer = other, target
    family = story.family
    ask = f"How many more {story.units} {family.aux} {more} {family.infinitive} than {fewer}?"
    step = Step(
        lead=_recall(story, more, fewer),
        claim="the difference is",
        op="-",
        args=(more, fewer),
        tail="",
        key="difference",
    )
    return Question([], ask, [step])


def _left(story: Story, target: str, lost: int) -> Question:
    event = story.family.lose.format(e=target, k=lost, u=story.units)
    step = Step(
        lead=event,
        claim="there are",
        op="-",
        args=(target, lost),
        tail=" left",
        key="left",
    )
    return Question([event], f"How many {story.units} are left?", [step])


def _bags(story: Story, target: str, size: int) -> Question:
    event = f"the {story.units} of {target} go into bags of {size}"
    step = Step(
        lead=event,
        claim="there are",
        op="/",
        args=(target, size),
        tail=" bags",
        key="bags",
    )
    return Question([event], "How many bags are there?", [step])


def _cost(story: Story, target: str, price: int) -> Question:
    event = story.family.price.format(u1=story.unit, k=price)
    step = Step(
        lead=f"{story.says(target)} {{0}} and {event}",
        claim="they come to",
        op="*",
        args=(target, price),
        tail=" dollars",
        key="cost",
    )
    ask = f"How many dollars do the {story.units} of {target} come to?"
    return Question([event], ask, [step])


def _total(story: Story, target: str, addends: int) -> Question:
    everyone, steps = _add_up(story, target, addends)
    family = story.family
    ask = f"How many {story.units} {family.aux_plural} {everyone} {family.infinitive} together?"
    return Question([], ask, steps)


def _total_cost(story: Story, target: str, addends: int, price: int) -> Question:
    everyone, steps = _add_up(story, target, addends)
    event = story.family.price.format(u1=story.unit, k=price)
    cost = Step(
        lead=event,
        claim="they come to",
        op="*",
        args=(steps[-1].key, price),
        tail=" dollars",
        key="cost",
    )
    ask = f"How many dollars do the {story.units} of {everyone} come to?"
    return Question([event], ask, [*steps, cost])


def _add_up(story: Story, target: str, addends: int) -> tuple[str, list[Step]]:
    """("Ben, Rosa and Tom", the steps to their sum), of 2 or 3 amounts, `target` among them."""
    others = _others(story, target)
    if len(others) < addends - 1:
        raise Reject
    plural = story.family.plural
    who = sorted([target, *story.rng.sample(others, addends - 1)], key=story.told.index)
    everyone = ", ".join(who[:-1]) + " and " + who[-1]
    first, second = who[:2]
    steps = [
        Step(
            lead=_recall(story, first, second),
            claim=f"together {first} and {second} {plural}",
            op="+",
            args=(first, second),
            tail="",
            key="both",
        )
    ]
    if addends == 3:
        third = who[2]
        step = Step(
            lead=f"{story.says(third)} {{1}} too",
            claim=f"together {everyone} {plural}",
            op="+",
            args=("both", third),
            tail="",
            key="all",
        )
        steps.append(step)
    return everyone, steps


def _others(story: Story, target: str) -> list[str]:
    return [entity for entity in story.told if entity != target]


def _recall(story: Story, a: str, b: str) -> str:
    """Two amounts by name; a step puts their values in."""
    return f"{story.says(a)} {{0}} and {story.says(b)} {{1}}"
