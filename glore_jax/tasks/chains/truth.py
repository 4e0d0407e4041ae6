"""Which steps of a solution are right: possible here because every claim of a `chains` problem has one known value.

Two readings. By *value*: the arithmetic holds and the result is an amount of the problem; a step that computes Nina's amount and
calls it Maya's is a slip of the pen from which the solution can still be right, so the prefix is still solvable, which is what
the SORM estimates (V*, paper section 4). *Strict*: the named claim must have that value, too.
"""

import re

_MARK = re.compile(r"<<([0-9+\-*/ ]+)=(-?[0-9]+)>>\s*(-?[0-9]+)")
_CONCLUSION = re.compile(r"^, so (.+?) (-?[0-9]+)(?: [a-z]+)?\.$")  # see `generate.Step`
_ANSWER = re.compile(r"####\s*(-?[0-9]+)$")


def step_is_right(step: str, facts: dict[str, int], gold: int, strict: bool = False) -> bool:
    """True if the arithmetic of the line holds and its value is an amount of the problem; `strict`: of the claim it names.

    `facts` maps claim phrases in lower case to values. The answer line `#### n` is right if n is `gold`.
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
    known = facts.get(claim.lower()) == int(value) if strict else int(value) in facts.values()
    return known and value == shown == concluded and _evaluate(expression) == int(value)


def step_truth(
    steps: list[str], facts: dict[str, int], gold: int, strict: bool = False
) -> list[bool]:
    """Per step: it and all steps before it are right (the prefix is still on a right path)."""
    truth, good = [], True
    for step in steps:
        good = good and step_is_right(step, facts, gold, strict)
        truth.append(good)
    return truth


def _evaluate(expression: str) -> int | None:
    """`a op b op c` with one kind of operator, left to right; None if it is not of that form or a division is not exact."""
    parts = re.split(r"\s*([+\-*/])\s*", expression.strip())
    if len(parts) < 3 or not all(p.isdigit() for p in parts[::2]):
        return None
    result = int(parts[0])
    for op, text in zip(parts[1::2], parts[2::2], strict=True):
        n = int(text)
        if op == "/":
            if n == 0 or result % n:
                return None
            result //= n
        else:
            result = {"+": result + n, "-": result - n, "*": result * n}[op]
    return result
