"""Bytes of HBM that an instruction of a compiled program reads and writes.

An instruction reads its operands and writes its result, and a fusion is one instruction: what lies
between its instructions stays on the chip. Three things make that less than whole arrays:

    %part = dynamic-slice(%stack, %i)            of %stack only the slice is read
    %out  = dynamic-update-slice(%stack, %new)   in place: %new is read, as much of %out written
    f32[8,128]{1,0:T(8,128)S(1)}                 lies on the chip and moves nothing

The same holds inside a fusion: its operands are followed to where they are sliced, and its results
back to the update that they are made of.
"""

from __future__ import annotations

import dataclasses
import re

from glore_jax.planning.hlo import COLLECTIVES, VIEWS, Computation, Instruction, Module

_SLICES = ("dynamic-slice", "slice", "gather")


def moved(module: Module, scope: Computation, i: Instruction) -> float:
    """Bytes that instruction `i` of `scope` moves, which is no collective."""
    operands = scope.operands(i)
    if i.opcode == "fusion":
        inner = module.called_by(i)
        read = sum(
            _read(module, inner, number) if operand.memory else 0
            for number, operand in enumerate(operands)
        )
        return read + _written(module, inner, i)
    if i.opcode in _SLICES:
        read = i.memory if operands[0].memory else 0
        return read + i.memory
    if i.opcode == "dynamic-update-slice":
        update = operands[1]
        return update.memory + (update.bytes if i.memory else 0)
    if i.opcode == "custom-call" and not operands:
        return 0  # room for later instructions
    if i.opcode == "broadcast":
        return i.memory
    if i.opcode == "slice-start":
        # Its result is (operand, slice, context): the slice is read, and written where to HBM.
        made = i.arrays[1:]
        return made[0].bytes + sum(array.bytes for array in made if array.in_memory)
    if i.opcode.endswith("-start"):
        return i.memory  # its result lists the operands too
    return sum(operand.memory for operand in operands) + i.memory


def _read(module: Module, fused: Computation, number: int) -> float:
    """Bytes that a fused computation reads of its parameter `number`."""
    parameter = fused.parameter(number)
    if parameter is None:
        return 0
    return min(parameter.bytes, _taken(module, fused, parameter))


def _taken(module: Module, fused: Computation, source: Instruction) -> float:
    """Bytes that the users of `source` take of it, of a slice only the slice."""
    total = 0.0
    for user in fused.users(source):
        updated_in_place = (
            user.opcode == "dynamic-update-slice" and source.name not in user.operands[1:]
        )
        # Into the results it goes on as it is; a collective counts by itself.
        handed_on = user.opcode == "tuple" or user.opcode in COLLECTIVES or user.spread

        if user.opcode in _SLICES and user.operands[0] == source.name:
            total += user.bytes
        elif updated_in_place or handed_on:
            continue
        elif user.opcode == "fusion":
            inner = module.called_by(user)
            numbers = [n for n, name in enumerate(user.operands) if name == source.name]
            total += sum(_read(module, inner, number) for number in numbers)
        elif user.opcode in VIEWS and not user.root:
            total += min(source.bytes, _taken(module, fused, user))
        else:
            return source.bytes
    return total


def _written(module: Module, fused: Computation, fusion: Instruction) -> float:
    """Bytes that `fusion` writes: of an array updated in place only the update."""
    root = fused.root
    if root.spread:
        return 0
    parts = fused.operands(root) if root.opcode == "tuple" else [root]
    if len(parts) != len(fusion.arrays):
        return fusion.memory
    return sum(
        _made(module, fused, part)
        for part, array in zip(parts, fusion.arrays, strict=True)
        if array.in_memory
    )


def _made(module: Module, fused: Computation, part: Instruction) -> float:
    """Bytes that a fusion writes for one of its results."""
    if part.opcode == "parameter" or part.opcode in COLLECTIVES:
        return 0  # handed on
    last = part
    while last.opcode in VIEWS:
        last = fused.operands(last)[0]
    if last.opcode == "dynamic-update-slice":
        return fused.operands(last)[1].bytes
    if last.opcode == "fusion" and len(last.arrays) == 1:
        # Inside a fusion its result is on the chip; what counts is where the outer fusion puts it.
        in_memory = dataclasses.replace(last, type=re.sub(r"S\(\d+\)", "", last.type))
        return _written(module, module.called_by(last), in_memory)
    return part.bytes
