"""Which steps of a solution are right: every claim of a `chains` problem has one known value.

Two readings. By *value*: the arithmetic holds and the result is an amount of the problem; a step
that computes Nina's amount and calls it Maya's is a slip of the pen from which the solution can
still be right, so the prefix is still solvable, which is what the SORM estimates (V*, section 4 of
the paper). *Strict*: the named claim must have that value, too.
"""

import re
from collections.abc import Mapping, Sequence

from glore_jax.tasks.chains import arithmetic

# The parts of a line that `chain.render_step` writes, as a model may write them, too.
_MARK = re.compile(r"<<([0-9+\-*/ ]+)=(-?[0-9]+)>>\s*(-?[0-9]+)")
_CONCLUSION = re.compile(r"^, so (.+?) (-?[0-9]+)(?: [a-z]+)?\.$")
_ANSWER = re.compile(r"####\s*(-?[0-9]+)$")


def step_truth(
    steps: Sequence[str], facts: Mapping[str, int], gold: int, strict: bool = False
) -> list[bool]:
    """Per step: it and all steps before it are right (the prefix is still on a right path)."""
    truth = []
    good = True
    for step in steps:
        good = good and step_is_right(step, facts, gold, strict)
        truth.append(good)
    return truth


def step_is_right(step: str, facts: Mapping[str, int], gold: int, strict: bool = False) -> bool:
    """Whether the line's arithmetic holds and its value is an amount of the problem.

    Args:
      step: one line. The answer line `#### n` is right if n is `gold`.
      facts: claims in lower case with their values.
      gold: the problem's answer.
      strict: the value must be that of the claim that the line names.
    """
    answer = _ANSWER.match(step)
    if answer:
        return int(answer.group(1)) == gold
    mark = _MARK.search(step)
    if not mark or len(_MARK.findall(step)) != 1:
        return False
    expression, value, shown = mark.groups()
    conclusion = _CONCLUSION.match(step[mark.end() :])
    claim, concluded = conclusion.groups() if conclusion else ("", shown)
    # The three places of a line that show the result agree: "<<a op b=c>>c, so CLAIM c."
    agree = value == shown == concluded
    if strict:
        known = facts.get(claim.lower()) == int(value)
    else:
        known = int(value) in facts.values()
    return known and agree and _evaluate(expression) == int(value)


def _evaluate(expression: str) -> int | None:
    """`a op b op c ...` from left to right; None if it is of another form or does not divide."""
    parts = re.split(r"\s*([+\-*/])\s*", expression.strip())
    numbers = parts[::2]
    operators = parts[1::2]
    if len(numbers) < 2 or not all(number.isdigit() for number in numbers):
        return None
    result: int | None = int(numbers[0])
    for op, number in zip(operators, numbers[1:], strict=True):
        if result is None:
            return None
        result = arithmetic.exact(op, result, int(number))
    return result
