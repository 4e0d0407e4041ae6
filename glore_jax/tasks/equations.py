"""Worked solutions from published equations, for data sets that have no others (SVAMP)."""

import re
from fractions import Fraction

from glore_jax.tasks import grading

_VALUE = r"-?[0-9]+(?:[./][0-9]+)?"  # `8.0`, or `1/3`, as a replaced operation may come out
_OPERATION = re.compile(rf"\(\s*({_VALUE})\s*([-+*/])\s*({_VALUE})\s*\)")  # an innermost one


def solution_of(equation: str, gold: str) -> tuple[str, ...]:
    """A worked solution from an equation: one line an operation, innermost first, `#### n` last.

    `( ( 8.0 - 2.0 ) * 3.0 )` becomes

        8 - 2 = <<8-2=6>>6
        6 * 3 = <<6*3=18>>18
        #### 18

    Empty if the equation is of another form or does not come to `gold`.
    """
    lines = []
    rest = equation
    while match := _OPERATION.search(rest):
        left, op, right = match.groups()
        result = _apply(op, Fraction(left), Fraction(right))
        if result is None:
            return ()
        a, b, c = (_shown(value) for value in (Fraction(left), Fraction(right), result))
        lines.append(f"{a} {op} {b} = <<{a}{op}{b}={c}>>{c}")
        # The exact result takes the place of its operation, whatever a line shows of it.
        rest = f"{rest[: match.start()]}{result}{rest[match.end() :]}"
    rest = rest.strip()
    if not lines or not re.fullmatch(_VALUE, rest):
        return ()
    if not grading.equal(_shown(Fraction(rest)), gold):
        return ()
    return (*lines, f"#### {gold}")


def _apply(op: str, a: Fraction, b: Fraction) -> Fraction | None:
    """`a op b`; None for a division by 0."""
    if op == "/":
        return a / b if b else None
    return {"+": a + b, "-": a - b, "*": a * b}[op]


def _shown(x: Fraction) -> str:
    """As a person writes it: whole, or as a decimal of at most four places."""
    return str(x.numerator) if x.denominator == 1 else repr(round(float(x), 4))
