"""How often a loop of a compiled program turns.

XLA writes `known_trip_count` down for every scan. Where it does not, the count is read off the
loop's counter: its start, what the body adds, and the limit of the condition. A loop that ends by
its data, as the decode loop does, has no such counter.
"""

from __future__ import annotations

import re

from glore_jax.planning.hlo import Computation, Instruction, Module

_SAID = re.compile(r'known_trip_count"?[:=]\{"?n"?[:=]"?(\d+)')


def turns(module: Module, scope: Computation, loop: Instruction) -> int | None:
    """Turns of the `while` instruction `loop` of `scope`; None if it ends by its data."""
    said = _SAID.search(loop.attributes)
    if said:
        return int(said[1])

    # Of the form `counter < limit`, where the counter is an element of the tuple that goes round.
    condition = module[loop.computation_of("condition")]
    test = condition.root
    if test.opcode != "compare" or "direction=LT" not in test.attributes:
        return None
    counter, limit = condition.operands(test)
    if counter.opcode != "get-tuple-element" or limit.opcode != "constant":
        return None
    index = int(counter.matched(r"index=(\d+)"))

    body = module[loop.computation_of("body")]
    advanced = body.operands(body.root)[index]
    initial = scope.operands(loop)[0]
    first = whole_number(scope, scope.operands(initial)[index])
    added = (whole_number(body, operand) for operand in body.operands(advanced))
    step = next((number for number in added if number is not None), None)
    if first is None or not step or advanced.opcode != "add":
        return None
    return -(-(int(limit.attributes) - first) // step)


def whole_number(scope: Computation, instruction: Instruction) -> int | None:
    """The whole number that `instruction` stands for, if it is one."""
    if instruction.opcode == "copy":
        return whole_number(scope, scope.operands(instruction)[0])
    value = instruction.attributes
    if instruction.opcode == "constant" and value.lstrip("-").isdigit():
        return int(value)
    return None
