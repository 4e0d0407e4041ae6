"""What one collective of a compiled program sends over the links between chips.

XLA:TPU spreads a collective over fusions, so that it runs beside their products. Each of the pieces
repeats the instruction, with the same channel, and only the fusion where it starts counts:

    fusion A   all-gather(%w), channel_id=7   ROOT custom-call "AsyncCollectiveStart"   counts
    fusion B   all-gather(%w), channel_id=7   beside a product                          does not
    fusion C   all-gather(%w), channel_id=7   ROOT custom-call "AsyncCollectiveDone"    does not
"""

from __future__ import annotations

import dataclasses

from glore_jax.planning.hlo import COLLECTIVES, VIEWS, Computation, Instruction, Module

# Weights or tokens gathered by summing pieces padded with zeros: twice the bytes of a gather.
GATHERS_AS_ALL_REDUCE = "gathers_as_all_reduce"


@dataclasses.dataclass
class Transfers:
    """Collectives of one kind: how many run, and the bytes of one chip, summed over them."""

    count: float
    bytes: float


@dataclasses.dataclass(frozen=True)
class Collective:
    """One collective.

    Attributes:
      kind: of `hlo.COLLECTIVES`.
      sent: bytes of the larger of operand and result.
      moved: bytes of HBM that it reads and writes.
      summed: bytes that it gathers by summing pieces padded with zeros.
    """

    kind: str
    sent: int
    moved: int
    summed: int


def spread_channels(module: Module) -> set[str]:
    """Channels of the collectives that start in a fusion and go on in others."""
    instructions = [
        instruction
        for computation in module.computations.values()
        if _starts_spread(computation)
        for instruction in computation.instructions.values()
    ]
    return {i.channel for i in instructions if i.opcode in COLLECTIVES}


def _starts_spread(computation: Computation) -> bool:
    instructions = computation.instructions.values()
    return any(i.root and i.starts_spread for i in instructions)


def read(module: Module, scope: Computation, i: Instruction, spread: set[str]) -> Collective | None:
    """The collective that instruction `i` of `scope` runs; None for a later piece of a spread one.

    `spread`: what `spread_channels` says of the module.
    """
    if i.channel in spread and not _starts_spread(scope):
        return None
    operands = scope.operands(i)
    taken = sum(operand.bytes for operand in operands)
    # The result of the first half of a pair may list the operands before what is made of them.
    lists_operands = i.opcode.endswith("-start") and len(i.arrays) > len(operands)
    given = i.bytes - taken if lists_operands else i.bytes
    read_too = 0 if lists_operands else sum(operand.memory for operand in operands)
    padded = i.kind == "all-reduce" and any(_is_piece(module, scope, o) for o in operands)
    return Collective(
        kind=i.kind,
        sent=max(taken, given),
        moved=i.memory + read_too,
        summed=taken if padded else 0,
    )


def _is_piece(module: Module, scope: Computation, i: Instruction) -> bool:
    """Whether an array is one chip's piece in a field of zeros: made by writing a slice."""
    if i.opcode == "dynamic-update-slice":
        return True
    if i.opcode == "fusion":
        inner = module.called_by(i)
        return _is_piece(module, inner, inner.root)
    if i.opcode in VIEWS:
        return _is_piece(module, scope, scope.operands(i)[0])
    return False
