"""The arithmetic of a line: computed, misread, and drawn by itself.

exact         47+38 is 85, 48/2 is 24, and 47/2 is nothing
rounded_down  47/2 is 23, as a careless hand has it
misread       85 becomes 75
draw_facts    <<47+38=85>>85, in the ranges that solutions use
"""

import random
from collections.abc import Iterator
from typing import NamedTuple

from glore_jax.tasks.chains.difficulty import Difficulty


def exact(op: str, a: int, b: int) -> int | None:
    """`a op b`; None for a division that leaves a rest or is by 0."""
    if op == "+":
        return a + b
    if op == "-":
        return a - b
    if op == "*":
        return a * b
    return None if b == 0 or a % b else a // b


def rounded_down(op: str, a: int, b: int) -> int | None:
    """`a op b`, a division without its rest; None for one by 0."""
    if op == "/":
        return a // b if b else None
    return exact(op, a, b)


def misread(n: int, rng: random.Random) -> int:
    """A neighbour that a slipped carry or a wrong digit would give."""
    sign = rng.choice((-1, 1))
    hundreds = 100 if n > 100 else 10
    return n + sign * rng.choice((1, 1, 2, 3, 10, 10, 10, 20, hundreds, 9, 11))


class Fact(NamedTuple):
    """`<<a op b=value>>value`, in two parts: what is asked, and what is answered."""

    a: int
    op: str
    b: int
    value: int

    @property
    def asked(self) -> str:
        return f"<<{self.a}{self.op}{self.b}="

    @property
    def answered(self) -> str:
        return answered(self.value)


def answered(value: int) -> str:
    """What follows `<<a op b=`, be it right or wrong."""
    return f"{value}>>{value}"


def draw_facts(rng: random.Random, difficulty: Difficulty) -> Iterator[Fact]:
    """Endless facts of all four operations; what follows from one comes after it now and then.

    Whoever takes them may draw from `rng` in between.
    """
    while True:
        op = rng.choice("++--**//")
        if op in "+-" and rng.random() < 0.5:
            yield _of_any_amounts(op, rng, difficulty)
        else:
            fact, inverse = _as_in_a_relation(op, rng, difficulty)
            yield from (fact, inverse)[: rng.choice((1, 1, 2))]


def _of_any_amounts(op: str, rng: random.Random, difficulty: Difficulty) -> Fact:
    """A sum or a difference of any two amounts, as totals and differences ask for them."""
    top = difficulty.max_value if rng.random() < 0.5 else difficulty.max_value // 3
    total = rng.randint(4, top)
    part = rng.randint(2, total - 2)
    rest = total - part
    return Fact(part, "+", rest, total) if op == "+" else Fact(total, "-", rest, part)


def _as_in_a_relation(op: str, rng: random.Random, difficulty: Difficulty) -> tuple[Fact, Fact]:
    """(an amount and a number of a relation, such as "k more than", and the way back)."""
    limit = difficulty.max_value
    k = rng.randint(*(difficulty.factor if op in "*/" else difficulty.operand))
    top = {"+": limit - k, "-": limit, "*": limit // k, "/": limit // k}[op]
    if rng.random() >= 0.6:  # small ones more often than chance has them
        top = min(top, difficulty.operand[1])
    a = rng.randint(2, max(2, top))
    if op == "+":
        return Fact(a, "+", k, a + k), Fact(a + k, "-", k, a)
    if op == "-":
        a = max(a, k)
        return Fact(a, "-", k, a - k), Fact(a - k, "+", k, a)
    if op == "*":
        return Fact(a, "*", k, a * k), Fact(a * k, "/", k, a)
    return Fact(a * k, "/", k, a), Fact(a, "*", k, a * k)
