"""Solutions with one slip, for the pretraining corpus: what a careless hand would write.

A slip is a wrong result, a wrong amount or number taken up (the latest result more often than chance would), or a wrong operator
in one step, from which the steps after it go on; or an answer given before its time.
"""

import dataclasses
import random

from glore_jax.tasks.chains.generate import Chain, Step, render_step

_FLIP = {"+": "-", "-": "+", "*": "/", "/": "*"}
_KINDS = {"amount": 0.4, "result": 0.25, "operator": 0.15, "early": 0.12, "number": 0.08}


def slip(chain: Chain, rng: random.Random) -> tuple[tuple[str, ...], int]:
    """(lines, index of the first wrong line). The last line is `#### n` with the wrong n that follows."""
    right = chain.solution()
    for _ in range(50):
        at, kind = (
            rng.randrange(len(chain.steps)),
            rng.choices(list(_KINDS), list(_KINDS.values()))[0],
        )
        lines = _early(chain, at) if kind == "early" else _render_with_slip(chain, at, kind, rng)
        if lines and lines[at] != right[at] and lines[-1] != right[-1]:
            return lines, at
    raise ValueError("no slip found")  # every step admits a wrong result: the generator is broken


def _early(chain: Chain, at: int) -> tuple[str, ...] | None:
    """The result of the step before `at` as the answer."""
    if at == 0:
        return None
    return (*chain.solution()[:at], f"#### {chain.facts[chain.steps[at - 1].claim]}")


def _render_with_slip(
    chain: Chain, at: int, kind: str, rng: random.Random
) -> tuple[str, ...] | None:
    values, lines = dict(chain.given), []
    for i, step in enumerate(chain.steps):
        if i == at:
            step, result = _wrong(step, values, kind, rng)
        else:
            result = _apply(step, values)
        if result is None or result < 0:
            return None
        lines.append(render_step(step, values, result))
        values[step.key] = result
    return (*lines, f"#### {values[chain.steps[-1].key]}")


def _apply(step: Step, values: dict[str, int]) -> int | None:
    """Like `generate.apply`, but a wrong amount need not divide evenly: round down, as a careless hand does."""
    result, *rest = (values[a] if isinstance(a, str) else a for a in step.args)
    for v in rest:
        if step.op == "/" and v == 0:
            return None
        result = {"+": result + v, "-": result - v, "*": result * v, "/": result // max(v, 1)}[
            step.op
        ]
    return result


def _wrong(
    step: Step, values: dict[str, int], kind: str, rng: random.Random
) -> tuple[Step, int | None]:
    """A step with a slip in it, and the result that it shows (None: this slip cannot be made here)."""
    args = list(step.args)
    if kind == "result":
        right = _apply(step, values)
        return step, None if right is None else misread(right, rng)
    if kind == "operator":
        step = dataclasses.replace(step, op=_FLIP[step.op], turned=_turned_wrongly(step, rng))
    else:
        places = [i for i, a in enumerate(args) if isinstance(a, str) == (kind == "amount")]
        if not places:
            return step, None
        i = rng.choice(places)
        amounts = list(values)
        near = amounts[-1] if rng.random() < 0.4 else rng.choice(amounts)
        args[i] = near if kind == "amount" else abs(misread(args[i], rng))
        step = dataclasses.replace(step, args=tuple(args))
    return step, _apply(step, values)


def _turned_wrongly(step: Step, rng: random.Random) -> str:
    """The words before the wrong operator: as they were, or those of somebody who took the relation the wrong way round."""
    if rng.random() < 0.3:
        return step.turned
    if step.turned or not step.lead or not isinstance(step.args[1], int):
        return ""
    return {
        "+": f"{step.args[1]} fewer",
        "-": f"{step.args[1]} more",
        "*": f"one of {step.args[1]} parts",
    }.get(step.op, "")


def misread(n: int, rng: random.Random) -> int:
    """A neighbour that a slipped carry or a wrong digit would give."""
    return n + rng.choice((-1, 1)) * rng.choice(
        (1, 1, 2, 3, 10, 10, 10, 20, 100 if n > 100 else 10, 9, 11)
    )
