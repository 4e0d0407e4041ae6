"""What a call of the splash attention kernel costs, read off its operands: the compiler sees no FLOPs in a custom kernel, and of
its memory traffic only that there are operands.

The kernel cuts the square of T x T scores into blocks and goes through those that the mask leaves; x runs, o does not:

               keys 0  1  2  3
    queries 0       x  o  o  o        fwd, dq: for each head, row by row; the queries of a row stay on the chip, the keys of each x
            1       x  x  o  o                 are read
            2       x  x  x  o        dkv:     column by column, for each head; the keys of a column stay, the queries of each x are read
            3       x  x  x  x

So a block on the diagonal costs all of its products, and what is not held is read again for every x, and by every head that shares it.
"""

from __future__ import annotations

import re

# Products of a block: scores and output; scores, their gradient, and those of keys and values; the first two and that of queries.
PRODUCTS = {"fwd": 2, "dkv": 4, "dq": 3}
# By whose blocks each operand is cut, queries or keys: q, k, v, segments of both, [log-sum-exp, gradient, its product with the
# output], and, for a causal mask, the places of the queries.
SIDES = {"fwd": "qkkqkq", "dkv": "qkkqkqqqq", "dq": "qkkqkqqqq"}
_HELD = {"fwd": "q", "dq": "q", "dkv": "k"}
_CALL = re.compile(r"splash_mha_(fwd|dkv|dq)_segmented")


def splash(call, operands: list) -> tuple[float, float] | None:
    """(FLOPs, bytes of memory) of `call`, an `hlo.Instruction` with its operands; None if it is no splash attention over rows."""
    kind = _CALL.search(call.name) or _CALL.search(call.attributes)
    if call.opcode != "custom-call" or not kind:
        return None
    phase = kind[1]
    # Before the queries stands the schedule of blocks, in integers.
    operands = operands[next(n for n, o in enumerate(operands) if re.match("b?f", o.type)) :]
    axes = len(operands[0].arrays[0].shape)
    *rows, heads, length, width = operands[0].arrays[0].shape  # no axis where there is one row
    rows = rows[0] if rows else 1
    causal = len(operands) == len(SIDES[phase])
    size = {
        side: _block(call.attributes, f"block_{name}", phase)
        for side, name in (("q", "q"), ("k", "kv"))
    }
    count = {side: length // size[side] for side in size}
    run = count["q"] * count["k"]
    if causal:
        run = sum(min(-(-(n + 1) * size["q"] // size["k"]), count["k"]) for n in range(count["q"]))
    flops = 2.0 * PRODUCTS[phase] * rows * heads * run * size["q"] * size["k"] * width

    moved = float(call.memory)
    for operand, side in zip(operands, SIDES[phase], strict=False):
        shape = operand.arrays[0].shape
        sharers = (
            heads / shape[-3] if len(shape) == axes else heads * (rows if len(shape) == 2 else 1)
        )
        if max(count.values()) == 1 or (
            side == _HELD[phase] and (len(shape) == axes or phase == "dkv")
        ):
            times = 1.0
        elif side == _HELD[phase]:
            times = sharers
        else:
            times = sharers * run / count[side]
        moved += operand.memory * times
    return flops, moved


def _block(attributes: str, name: str, phase: str) -> int:
    """A block size of the kernel, which it writes down for profilers."""
    found = re.search(rf'{name}{"" if phase == "fwd" else "_" + phase}\\?": (\d+)', attributes)
    if not found:
        raise ValueError(f"a splash attention call without its {name}: {attributes[:200]}")
    return int(found[1])
