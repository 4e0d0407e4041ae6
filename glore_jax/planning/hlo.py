"""The compiler's text of a program, as objects: a module of computations of instructions.

`compiled.as_text()` is the optimized HLO of one chip's program. This much of its grammar is read:

    %scan (p: (s32[], f32[8,8])) -> f32[8,8] {
      %p = (s32[], f32[8,8]{1,0}) parameter(0)
      %x = f32[8,8]{1,0:T(8,128)S(1)} get-tuple-element(%p), index=1
      ROOT %y = f32[8,8]{1,0} dot(%x, %x), lhs_contracting_dims={1}
    }
    ENTRY %main (...) -> ... { ... }

A computation, here %scan, is a list of instructions: name, type, opcode, operands in parentheses,
and attributes behind them. Its root is its result. The program begins at ENTRY.

A layout `{1,0:T(8,128)S(1)}` ends with the memory space: `S(1)` and above is memory on the chip.
Without it, or with `S(0)`, the array lies in HBM.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import math
import re
from collections.abc import Sequence

COLLECTIVES = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")
VIEWS = ("bitcast", "reshape", "copy", "transpose", "convert")  # what a slice may be taken through

# Bytes of an element, where the name of its type does not end in its bits.
_ITEM_BYTES = {"pred": 1, "c64": 8, "c128": 16, "token": 0, "opaque": 0}
_ARRAY = re.compile(r"\b([a-z]+\d*\w*)\[([\d,<= ]*)\](\{[^{}]*\})?")
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) (?:\(.*)?\{$")
_INSTRUCTION = re.compile(r"^\s+(ROOT )?%?([\w.\-]+) = ")
_CALLED = re.compile(r"\b(?:calls|to_apply|body|true_computation|false_computation)=%?([\w.\-]+)")
_PARENTHESIS = re.compile(r"[()]")
# XLA:TPU spreads a collective over fusions; their roots are custom calls of these names.
_ASYNC = 'custom_call_target="AsyncCollective'


@dataclasses.dataclass(frozen=True)
class Array:
    """One array of a type: `shape`, `bytes` and whether it lies in HBM."""

    shape: tuple[int, ...]
    bytes: int
    in_memory: bool


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One line of a computation.

    Attributes:
      type: of its result, as text: an array or a tuple of arrays.
      operands: names of instructions of the same computation.
      attributes: the text behind the operands; of a parameter its number, of a constant its value.
      root: whether it is the result of its computation.
    """

    name: str
    type: str
    opcode: str
    operands: tuple[str, ...]
    attributes: str
    root: bool

    @functools.cached_property
    def arrays(self) -> tuple[Array, ...]:
        """The arrays of its type."""
        return arrays(self.type)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of its first array."""
        return self.arrays[0].shape

    @property
    def bytes(self) -> int:
        """Bytes of its result, wherever it lies."""
        return sum(array.bytes for array in self.arrays)

    @property
    def memory(self) -> int:
        """Bytes of its result that lie in HBM."""
        return sum(array.bytes for array in self.arrays if array.in_memory)

    @property
    def kind(self) -> str:
        """Its opcode; of the first half of a pair (`all-gather-start`) what the pair does."""
        return self.opcode.removesuffix("-start")

    @property
    def called(self) -> list[str]:
        """Names of the computations that it runs."""
        return _CALLED.findall(self.attributes)

    @property
    def spread(self) -> bool:
        """Whether it is a piece of a collective that XLA:TPU spreads over fusions."""
        return _ASYNC in self.attributes

    @property
    def starts_spread(self) -> bool:
        """Whether it is the first of those pieces."""
        return f'{_ASYNC}Start"' in self.attributes

    @property
    def channel(self) -> str:
        """What the pieces of one collective have in common; "" if it names none."""
        found = re.search(r"channel_id=(\d+)", self.attributes)
        return found[1] if found else ""

    def computation_of(self, role: str) -> str:
        """Name of the computation in the attribute `role`: `body`, `condition`."""
        return self.matched(rf"\b{role}=%?([\w.\-]+)")

    def matched(self, pattern: str) -> str:
        """The first group of `pattern` in the attributes. ValueError if it is not there."""
        found = re.search(pattern, self.attributes)
        if not found:
            raise ValueError(f"%{self.name} has no {pattern}: {self.attributes[:200]}")
        return found[1]


@dataclasses.dataclass
class Computation:
    """A function of the program: its instructions by name, in their order."""

    instructions: dict[str, Instruction] = dataclasses.field(default_factory=dict)

    def __getitem__(self, name: str) -> Instruction:
        return self.instructions[name]

    @functools.cached_property
    def root(self) -> Instruction:
        """The instruction whose result is the computation's."""
        return next(i for i in self.instructions.values() if i.root)

    def operands(self, instruction: Instruction) -> list[Instruction]:
        """The instructions whose results `instruction` takes."""
        return [self.instructions[name] for name in instruction.operands]

    def parameter(self, number: int) -> Instruction | None:
        """The instruction that stands for operand `number` of the caller."""
        for instruction in self.instructions.values():
            if instruction.opcode == "parameter" and instruction.attributes.strip() == str(number):
                return instruction
        return None

    def users(self, instruction: Instruction) -> Sequence[Instruction]:
        """The instructions that take the result of `instruction`, each once."""
        return self._users.get(instruction.name, ())

    @functools.cached_property
    def _users(self) -> dict[str, list[Instruction]]:
        users = collections.defaultdict(list)
        for instruction in self.instructions.values():
            for name in dict.fromkeys(instruction.operands):
                users[name].append(instruction)
        return users


@dataclasses.dataclass(frozen=True)
class Module:
    """A whole program: its computations by name, and the one with which it begins."""

    computations: dict[str, Computation]
    entry: str

    def __getitem__(self, name: str) -> Computation:
        return self.computations[name]

    def called_by(self, instruction: Instruction) -> Computation:
        """The one computation that a fusion runs."""
        return self.computations[instruction.called[0]]


def arrays(text: str) -> tuple[Array, ...]:
    """The arrays of a type such as `(bf16[8,128]{1,0:T(8,128)S(1)}, s32[])`."""
    found = []
    for kind, sizes, layout in _ARRAY.findall(text):
        item = _item_bytes(kind)
        if item is None:
            continue
        # A dimension of variable size is written `<=8`.
        shape = tuple(int(re.sub(r"\D", "", size)) for size in sizes.split(",") if size.strip())
        place = re.search(r"S\((\d+)\)", layout)
        in_memory = place is None or place[1] == "0"
        found.append(Array(shape, int(math.prod(shape) * item), in_memory))
    return tuple(found)


def _item_bytes(kind: str) -> float | None:
    """Bytes of an element (half a byte for s4); None if `kind` is no type of elements."""
    if kind in _ITEM_BYTES:
        return _ITEM_BYTES[kind]
    bits = re.match(r"[a-z]+(\d+)", kind)
    return int(bits[1]) / 8 if bits else None


def parse(text: str) -> Module:
    """The module in `text`. ValueError if it has no ENTRY computation."""
    computations: dict[str, Computation] = {}
    entry = ""
    current: Computation | None = None
    # What kernels write down for profilers stands on lines of its own amid an instruction.
    for line in re.sub(r'\n(?="|\}\})', " ", text).splitlines():
        if current is None or not line.startswith(" "):
            header = _COMPUTATION.match(line)
            if header:
                current = computations.setdefault(header[2], Computation())
                entry = header[2] if header[1] else entry
            continue
        start = _INSTRUCTION.match(line)
        if start:
            instruction = _instruction(line[start.end() :], start[2], bool(start[1]))
            current.instructions[instruction.name] = instruction
    if not entry:
        raise ValueError("the text is no HLO module: it has no ENTRY computation")
    return Module(computations, entry)


def _instruction(text: str, name: str, root: bool) -> Instruction:
    """What stands behind `%name = `: TYPE opcode(OPERANDS)ATTRIBUTES."""
    # Only the type of a tuple holds spaces, and it stands in parentheses.
    end = _closing(text, 0) + 1 if text.startswith("(") else text.index(" ")
    kind = text[:end]
    call = text[end:].lstrip()
    opcode, _, _ = call.partition("(")
    close = _closing(call, len(opcode))
    inside = call[len(opcode) + 1 : close]
    operands = re.findall(r"%([\w.\-]+)", inside)
    attributes = inside if opcode in ("parameter", "constant") else call[close + 1 :]
    return Instruction(name, kind, opcode, tuple(operands), attributes, root)


def _closing(text: str, start: int) -> int:
    """Index of the parenthesis that closes the one at `start`."""
    depth = 0
    for match in _PARENTHESIS.finditer(text, start):
        depth += 1 if match[0] == "(" else -1
        if depth == 0:
            return match.start()
    raise ValueError(f"unbalanced: {text[:80]}")
