"""Draws the story of a problem: named amounts, given outright or by their relation to earlier ones.

The order in which numbers are drawn decides which problems a seed stands for: do not change it.
"""

import random
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from glore_jax.tasks.chains import arithmetic, world
from glore_jax.tasks.chains.chain import Operand, Step, operands
from glore_jax.tasks.chains.difficulty import Difficulty


class Reject(Exception):
    """The draw broke a bound; draw again."""


class Relation(NamedTuple):
    """How a new amount follows from a known one and an operand n: new = known `op` n."""

    sentence: str  # with {new}, {known}, {verb}, {units} and {n}
    op: str
    n: str  # what n is: an "operand" or a "factor" of the knobs, "two", or another "amount"
    turned: str = ""  # an inverse relation tells the known amount by the new one: what that means


RELATIONS = {
    "more": Relation("{new} {verb} {n} more {units} than {known}", "+", "operand"),
    "fewer": Relation("{new} {verb} {n} fewer {units} than {known}", "-", "operand"),
    "inverse_more": Relation(
        "{known} {verb} {n} more {units} than {new}", "-", "operand", "{n} fewer"
    ),
    "inverse_fewer": Relation(
        "{known} {verb} {n} fewer {units} than {new}", "+", "operand", "{n} more"
    ),
    "times": Relation("{new} {verb} {n} times as many {units} as {known}", "*", "factor"),
    "inverse_times": Relation(
        "{known} {verb} {n} times as many {units} as {new}", "/", "factor", "one of {n} parts"
    ),
    "half": Relation("{new} {verb} half as many {units} as {known}", "/", "two"),
    "sum": Relation("{new} {verb} as many {units} as {known} and {n} together", "+", "amount"),
}
# What stands here twice comes twice as often.
_DRAWN = (
    *("more", "more", "fewer", "fewer", "inverse_more", "inverse_fewer"),
    *("times", "inverse_times", "half", "sum"),
)


class Story:
    """The amounts of one problem while they are drawn; words come last, since most draws fail.

    Attributes:
      rng, difficulty, family: what it is drawn from.
      unit, units: what is counted, singular and plural.
      amounts: entity -> value, in the order in which they are told.
    """

    def __init__(self, rng: random.Random, difficulty: Difficulty, family: world.Family):
        self.rng = rng
        self.difficulty = difficulty
        self.family = family
        self.unit, self.units = rng.choice(family.units)
        self._names = rng.sample(family.entities, len(family.entities))
        self.amounts: dict[str, int] = {}
        # entity -> (relation, (known, n)) of its amount, if it is not given outright.
        self._origins: dict[str, tuple[Relation, tuple[Operand, Operand]]] = {}

    # Drawing

    def give(self) -> None:
        """A new amount that is given outright."""
        entity = self._new_name()
        self.amounts[entity] = self._bounded(self.rng.randint(*self.difficulty.operand))

    def relate(self, known: str) -> None:
        """A new amount that follows from that of `known` (and maybe from one more)."""
        new = self._new_name()
        # Both are drawn, whichever the relation uses.
        operand = self.rng.randint(*self.difficulty.operand)
        factor = self.rng.randint(*self.difficulty.factor)
        relation = RELATIONS[self.rng.choice(_DRAWN)]
        n: Operand
        if relation.n == "amount":
            n = self._another_than(known)
        else:
            n = {"operand": operand, "factor": factor, "two": 2}[relation.n]
        self.amounts[new] = self.compute(relation.op, (known, n), self.amounts)
        self._origins[new] = relation, (known, n)

    def compute(self, op: str, args: tuple[Operand, Operand], values: Mapping[str, int]) -> int:
        """`args[0] op args[1]`; Reject if it is no whole number from 2 to the largest allowed."""
        value = arithmetic.exact(op, *operands(args, values))
        if value is None:
            raise Reject
        return self._bounded(value)

    # Reading

    @property
    def told(self) -> list[str]:
        """The entities so far, in order."""
        return list(self.amounts)

    @property
    def given(self) -> dict[str, int]:
        """The amounts that are given outright."""
        return {e: value for e, value in self.amounts.items() if e not in self._origins}

    @property
    def related(self) -> list[str]:
        """The entities whose amounts follow from others, in order."""
        return list(self._origins)

    def related_to(self, wanted: Iterable[str]) -> list[str]:
        """Those of `related` whose amounts the `wanted` ones need, themselves among them."""
        needed: set[str] = set()
        queue = list(wanted)
        while queue:
            entity = queue.pop()
            if entity in needed:
                continue
            needed.add(entity)
            if entity in self._origins:
                _, args = self._origins[entity]
                queue.extend(arg for arg in args if isinstance(arg, str))
        return [entity for entity in self._origins if entity in needed]

    # Words

    def says(self, entity: str) -> str:
        """The claim of an entity's amount: "Ben has"."""
        return f"{entity} {self.family.verb}"

    def sentence(self, entity: str) -> str:
        """What tells the amount of `entity`."""
        if entity not in self._origins:
            return f"{self.says(entity)} {self.amounts[entity]} {self.units}"
        relation, (known, n) = self._origins[entity]
        return relation.sentence.format(
            new=entity, known=known, n=n, verb=self.family.verb, units=self.units
        )

    def step(self, entity: str) -> Step:
        """The step that computes the amount of `entity`, which is one of `related`."""
        relation, args = self._origins[entity]
        return Step(
            lead=self.sentence(entity),
            claim=self.says(entity),
            op=relation.op,
            args=args,
            tail="",
            key=entity,
            turned=relation.turned.format(n=args[1]),
        )

    def _bounded(self, value: int) -> int:
        if not 2 <= value <= self.difficulty.max_value:
            raise Reject
        return value

    def _new_name(self) -> str:
        if not self._names:
            raise Reject
        return self._names.pop()

    def _another_than(self, known: str) -> str:
        others = [entity for entity in self.amounts if entity != known]
        if not others:
            raise Reject
        return self.rng.choice(others)
