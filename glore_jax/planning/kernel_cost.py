"""What a call of the splash attention kernel costs, read off its operands.

The compiler sees no FLOPs in a custom kernel, and of its memory traffic only that there are
operands. The kernel cuts the square of T x T scores into blocks and goes through those that the
mask leaves; x runs, o does not:

               keys 0  1  2  3
    queries 0       x  o  o  o        fwd, dq: for each head, row by row; the queries of a row stay
            1       x  x  o  o                 on the chip, the keys of each x are read
            2       x  x  x  o        dkv:     column by column, for each head; the keys of a column
            3       x  x  x  x                 stay, the queries of each x are read

So a block on the diagonal costs all of its products, and what is not held is read again for every
x, and by every head that shares it.
"""

from __future__ import annotations

import dataclasses
import re

from glore_jax.planning.hlo import Instruction

# Products of a block: scores and output; scores, their gradient, and those of keys and values;
# the first two and that of queries.
PRODUCTS = {"fwd": 2, "dkv": 4, "dq": 3}
# By whose blocks each operand is cut, queries or keys: q, k, v, segments of both, [log-sum-exp,
# gradient, its product with the output], and, for a causal mask, the places of the queries.
SIDES = {"fwd": "qkkqkq", "dkv": "qkkqkqqqq", "dq": "qkkqkqqqq"}
_HELD = {"fwd": "q", "dq": "q", "dkv": "k"}
_CALL = re.compile(r"splash_mha_(fwd|dkv|dq)_segmented")


@dataclasses.dataclass(frozen=True)
class _Blocks:
    """How a call cuts its square: for the side of queries "q" and of keys "k".

    Attributes:
      size: tokens of a block.
      count: blocks of a row of T tokens.
      run: blocks of the square that the mask leaves.
    """

    size: dict[str, int]
    count: dict[str, int]
    run: int


def splash(call: Instruction, operands: list[Instruction]) -> tuple[float, float] | None:
    """(FLOPs, bytes of HBM) of `call` with its operands; None if it is no splash attention."""
    if call.opcode != "custom-call":
        return None
    kind = _CALL.search(call.name) or _CALL.search(call.attributes)
    if not kind:
        return None
    phase = kind[1]
    # Before the queries stands the schedule of blocks, in integers.
    first = next(n for n, operand in enumerate(operands) if re.match("b?f", operand.type))
    operands = operands[first:]
    queries = operands[0].shape  # [rows, heads, T, head_dim], or without rows where there is one
    *some_rows, heads, length, width = queries
    rows = some_rows[0] if some_rows else 1

    causal = len(operands) == len(SIDES[phase])
    blocks = _cut(call, phase, length, causal)
    area = blocks.run * blocks.size["q"] * blocks.size["k"]
    flops = 2.0 * PRODUCTS[phase] * rows * heads * area * width

    moved = float(call.memory)
    # Without a causal mask the places of the queries, the last operand, are not there.
    for operand, side in zip(operands, SIDES[phase], strict=False):
        sharers = _sharers(operand.shape, len(queries), rows, heads)
        per_head = len(operand.shape) == len(queries)
        moved += operand.memory * _times_read(phase, side, blocks, per_head, sharers)
    return flops, moved


def _cut(call: Instruction, phase: str, length: int, causal: bool) -> _Blocks:
    """The blocks of a call over rows of `length` tokens."""
    size = {"q": _block(call, "block_q", phase), "k": _block(call, "block_kv", phase)}
    count = {side: length // size[side] for side in size}
    run = count["q"] * count["k"]
    if causal:
        # Row n of blocks ends with query (n + 1) * size - 1: it sees the keys up to there.
        ends = [(n + 1) * size["q"] for n in range(count["q"])]
        run = sum(min(-(-end // size["k"]), count["k"]) for end in ends)
    return _Blocks(size, count, run)


def _sharers(shape: tuple[int, ...], axes: int, rows: int, heads: int) -> float:
    """How many heads, of all rows, read the same piece of an operand.

    With the `axes` of the queries it has heads of its own, each shared by some of theirs. Without
    an axis of heads all share it; with two axes (places of queries) all rows do too.
    """
    if len(shape) == axes:
        return heads / shape[-3]
    return heads * (rows if len(shape) == 2 else 1)


def _times_read(phase: str, side: str, blocks: _Blocks, per_head: bool, sharers: float) -> float:
    """How often an operand is read whole."""
    held = side == _HELD[phase]
    if max(blocks.count.values()) == 1:
        return 1.0  # it stays on the chip from head to head
    if held and (per_head or phase == "dkv"):
        return 1.0
    if held:
        return sharers
    return sharers * blocks.run / blocks.count[side]


def _block(call: Instruction, name: str, phase: str) -> int:
    """A block size of the kernel, which it writes down for profilers."""
    field = name if phase == "fwd" else f"{name}_{phase}"
    found = re.search(rf'{field}\\?": (\d+)', call.attributes)
    if not found:
        raise ValueError(f"a splash attention call without its {name}: {call.attributes[:200]}")
    return int(found[1])
