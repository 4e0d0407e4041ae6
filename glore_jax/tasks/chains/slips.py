"""Solutions with one slip, for the pretraining corpus: what a careless hand would write.

A slip is a wrong result, a wrong amount or number taken up (the latest result more often than
chance would), or a wrong operator in one step, from which the steps after it go on; or an answer
given before its time.
"""

import dataclasses
import random
from collections.abc import Mapping

from glore_jax.tasks.chains import arithmetic
from glore_jax.tasks.chains.chain import Chain, Step, render_step

_FLIP = {"+": "-", "-": "+", "*": "/", "/": "*"}
# Kind of slip -> its share.
_KINDS = {"amount": 0.4, "result": 0.25, "operator": 0.15, "early": 0.12, "number": 0.08}


def slip(chain: Chain, rng: random.Random) -> tuple[tuple[str, ...], int]:
    """(lines, index of the first wrong one). The last is `#### n` with the wrong n that follows."""
    right = chain.solution()
    for _ in range(50):
        at = rng.randrange(len(chain.steps))
        (kind,) = rng.choices(list(_KINDS), list(_KINDS.values()))
        lines = _early(chain, at) if kind == "early" else _with_slip(chain, at, kind, rng)
        # A slip that makes no difference, to its line or in the end, is none.
        if lines and lines[at] != right[at] and lines[-1] != right[-1]:
            return lines, at
    raise ValueError("no slip found")  # every step admits a wrong result: the generator is broken


def _early(chain: Chain, at: int) -> tuple[str, ...] | None:
    """The result of the step before `at` as the answer."""
    if at == 0:
        return None
    result = chain.facts[chain.steps[at - 1].claim]
    return (*chain.solution()[:at], f"#### {result}")


def _with_slip(chain: Chain, at: int, kind: str, rng: random.Random) -> tuple[str, ...] | None:
    """The solution with a slip of `kind` in step `at`; None if it leads to nothing."""
    values = dict(chain.given)
    lines = []
    for i, step in enumerate(chain.steps):
        if i == at:
            step, result = _wrong(step, values, kind, rng)
        else:
            # A wrong amount need not divide evenly.
            result = _rounded(step, values)
        if result is None or result < 0:
            return None
        lines.append(render_step(step, values, result))
        values[step.key] = result
    return (*lines, f"#### {values[chain.steps[-1].key]}")


def _rounded(step: Step, values: Mapping[str, int]) -> int | None:
    return arithmetic.rounded_down(step.op, *step.operands(values))


def _wrong(
    step: Step, values: Mapping[str, int], kind: str, rng: random.Random
) -> tuple[Step, int | None]:
    """A step with a slip in it, and the result that it shows (None: it cannot be made here)."""
    if kind == "result":
        right = _rounded(step, values)
        return step, None if right is None else arithmetic.misread(right, rng)
    if kind == "operator":
        turned = _turned_wrongly(step, rng)
        step = dataclasses.replace(step, op=_FLIP[step.op], turned=turned)
        return step, _rounded(step, values)
    # A wrong "amount", which has a name, or a wrong "number", which has none.
    places = [i for i, arg in enumerate(step.args) if isinstance(arg, str) == (kind == "amount")]
    if not places:
        return step, None
    place = rng.choice(places)
    # Drawn for a number, too.
    told = list(values)
    amount = told[-1] if rng.random() < 0.4 else rng.choice(told)
    arg = step.args[place]
    taken = amount if isinstance(arg, str) else abs(arithmetic.misread(arg, rng))
    other = step.args[1 - place]
    args = (taken, other) if place == 0 else (other, taken)
    step = dataclasses.replace(step, args=args)
    return step, _rounded(step, values)


def _turned_wrongly(step: Step, rng: random.Random) -> str:
    """The words before the wrong operator.

    As they were, or those of somebody who took the relation the wrong way round.
    """
    if rng.random() < 0.3:
        return step.turned
    number = step.args[1]
    if step.turned or not step.lead or not isinstance(number, int):
        return ""
    if step.op == "+":
        return f"{number} fewer"
    if step.op == "-":
        return f"{number} more"
    return f"one of {number} parts" if step.op == "*" else ""
