"""What a compiled program does, read off its optimized HLO text: matrix FLOPs, bytes of memory, collectives.

XLA's own `cost_analysis` counts the body of a loop once, however often it runs. Here the program is walked from its entry, and what
lies in a loop counts as often as the loop turns (`known_trip_count`, which XLA writes down for every scan). A loop that ends by
its data (the decode loop) counts as often as the caller says.

    flops        2 x multiply-adds of `dot` and `convolution` (what XLA:TPU makes of a dot), also inside fusions. Elementwise work is
                 not seen, and of custom kernels only splash attention (`kernel_cost.py`).
    bytes        each instruction reads its operands and writes its result; a fusion is one instruction. A slice of a larger array
                 counts as the slice, an update in place as the update, and what lies in on-chip memory (`S(1)`) not at all.
    collectives  by kind: how many run, and the bytes of the larger of operand and result. One that XLA:TPU spreads over
                 fusions, to run beside their products, counts where it starts: all of its pieces repeat the instruction.

Everything is per chip: the text is that of one chip's program.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import math
import re

from glore_jax.planning import kernel_cost

_ITEM = {"pred": 1, "c64": 8, "c128": 16, "token": 0, "opaque": 0}
_ARRAY = re.compile(r"\b([a-z]+\d*\w*)\[([\d,<= ]*)\](\{[^{}]*\})?")
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) (?:\(.*)?\{$")
_INSTRUCTION = re.compile(r"^\s+(ROOT )?%?([\w.\-]+) = ")
_CALLED = re.compile(r"\b(?:calls|to_apply|body|true_computation|false_computation)=%?([\w.\-]+)")
COLLECTIVES = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")
_FREE = {
    "parameter",
    "tuple",
    "get-tuple-element",
    "bitcast",
    "constant",
    "after-all",
    "partition-id",
    "replica-id",
    "iota",
    "opt-barrier",
    "optimization-barrier",
    "domain",
    "add-dependency",
    "async-done",
    "async-update",
}
_ASYNC = 'custom_call_target="AsyncCollective'
_VIEWS = ("bitcast", "reshape", "copy", "transpose", "convert")  # what a slice may be taken through


@dataclasses.dataclass(frozen=True)
class Array:
    """One array of a type: `shape`, `bytes` and whether it lies in HBM."""

    shape: tuple[int, ...]
    bytes: int
    in_memory: bool


@dataclasses.dataclass(frozen=True)
class Instruction:
    name: str
    type: str
    opcode: str
    operands: tuple[str, ...]
    attributes: str
    root: bool

    @functools.cached_property
    def arrays(self) -> tuple[Array, ...]:
        return arrays(self.type)

    @property
    def bytes(self) -> int:
        return sum(a.bytes for a in self.arrays)

    @property
    def memory(self) -> int:
        """Bytes that lie in HBM."""
        return sum(a.bytes for a in self.arrays if a.in_memory)

    @property
    def called(self) -> list[str]:
        return _CALLED.findall(self.attributes)


@dataclasses.dataclass
class Cost:
    """FLOPs and bytes of one chip. collectives: {kind: [count, bytes]}; `gathers_as_all_reduce` among them are weights or tokens
    gathered by summing zero-padded pieces, twice the bytes of a gather. open_loops: loops that end by their data."""

    flops: float = 0.0
    bytes: float = 0.0
    collectives: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    open_loops: int = 0

    def add(self, other: Cost, times: float = 1) -> None:
        self.flops += other.flops * times
        self.bytes += other.bytes * times
        self.open_loops += other.open_loops
        for kind, (count, size) in other.collectives.items():
            mine = self.collectives.setdefault(kind, [0, 0])
            mine[0] += count * times
            mine[1] += size * times


def needed(reason: str) -> int | None:
    """Bytes that a program would take, from the compiler's refusal; None if it does not say."""
    said = re.search(r"total memory required[^(]*\(([\d.]+)([KMGT])\)", reason) or re.search(
        r"Used ([\d.]+)([KMGT]) of", reason
    )
    return int(float(said[1]) * 2 ** (10 * ("KMGT".index(said[2]) + 1))) if said else None


def _channel(i: Instruction) -> str:
    found = re.search(r"channel_id=(\d+)", i.attributes)
    return found[1] if found else ""


def _starts(computation: dict[str, Instruction]) -> bool:
    """Whether a fused computation starts a collective that others go on with."""
    return any(i.root and f'{_ASYNC}Start"' in i.attributes for i in computation.values())


def _named(i: Instruction, role: str) -> str:
    return re.search(rf"\b{role}=%?([\w.\-]+)", i.attributes)[1]


def arrays(text: str) -> tuple[Array, ...]:
    """The arrays of a type such as `(bf16[8,128]{1,0:T(8,128)S(1)}, s32[])`."""
    found = []
    for kind, sizes, layout in _ARRAY.findall(text):
        shape = tuple(int(re.sub(r"\D", "", n)) for n in sizes.split(",") if n.strip())
        if kind in _ITEM:
            item = _ITEM[kind]
        elif bits := re.match(r"[a-z]+(\d+)", kind):
            item = int(bits[1]) / 8
        else:
            continue
        place = re.search(r"S\((\d+)\)", layout)
        found.append(Array(shape, int(math.prod(shape) * item), place is None or place[1] == "0"))
    return tuple(found)


def parse(text: str) -> tuple[dict[str, dict[str, Instruction]], str]:
    """({computation: {name: instruction}}, name of the entry) of an HLO module's text."""
    computations: dict[str, dict[str, Instruction]] = {}
    entry, current = "", None
    # What kernels write down for profilers stands on lines of its own amid an instruction.
    for line in re.sub(r'\n(?="|\}\})', " ", text).splitlines():
        if current is None or not line.startswith(" "):
            header = _COMPUTATION.match(line)
            if header:
                current = computations.setdefault(header[2], {})
                entry = header[2] if header[1] else entry
            continue
        start = _INSTRUCTION.match(line)
        if start:
            instruction = _instruction(line[start.end() :], start[2], bool(start[1]))
            current[instruction.name] = instruction
    if not entry:
        raise ValueError("the text is no HLO module: it has no ENTRY computation")
    return computations, entry


def _instruction(rest: str, name: str, root: bool) -> Instruction:
    end = _closing(rest, 0) + 1 if rest.startswith("(") else rest.index(" ")
    kind, rest = rest[:end], rest[end:].lstrip()
    opcode, _, _ = rest.partition("(")
    close = _closing(rest, len(opcode))
    inside, attributes = rest[len(opcode) + 1 : close], rest[close + 1 :]
    operands = re.findall(r"%([\w.\-]+)", inside)
    if opcode in ("parameter", "constant"):
        attributes = inside  # its number, its value
    return Instruction(name, kind, opcode, tuple(operands), attributes, root)


def _closing(text: str, start: int) -> int:
    """Index of the parenthesis that closes the one at `start`."""
    depth = 0
    for match in re.compile(r"[()]").finditer(text, start):
        depth += 1 if match[0] == "(" else -1
        if depth == 0:
            return match.start()
    raise ValueError(f"unbalanced: {text[:80]}")


def analyse(text: str, turns: int = 1) -> Cost:
    """The cost of an optimized module, `compiled.as_text()`. `turns`: how often a loop goes round that ends by its data."""
    return _Walk(*parse(text), turns).total()


class _Walk:
    def __init__(self, computations, entry: str, open_turns: int):
        self.computations, self.entry, self.open_turns = computations, entry, open_turns
        starts = [i for c in computations.values() if _starts(c) for i in c.values()]
        self.started = {_channel(i) for i in starts if i.opcode in COLLECTIVES}
        self.known: dict[str, Cost] = {}
        self.users: dict[str, dict[str, list[Instruction]]] = {}

    def total(self) -> Cost:
        return self.computation(self.entry)

    def computation(self, name: str) -> Cost:
        if name not in self.known:
            cost = Cost()
            for i in self.computations[name].values():
                self.instruction(name, i, cost)
            self.known[name] = cost
        return self.known[name]

    def instruction(self, where: str, i: Instruction, cost: Cost) -> None:
        kind = i.opcode.removesuffix("-start")
        if i.opcode in _FREE or i.opcode.endswith("-done"):
            return
        if i.opcode == "while":
            turns = self.turns(where, i)
            cost.open_loops += turns is None
            cost.add(
                self.computation(_named(i, "body")), self.open_turns if turns is None else turns
            )
        elif i.opcode == "conditional":
            listed = re.search(r"branch_computations=\{([^}]*)\}", i.attributes)
            names = re.findall(r"[\w.\-]+", listed[1]) if listed else i.called
            cost.add(max(map(self.computation, names), key=lambda c: (c.bytes, c.flops)))
        elif i.opcode in ("call", "async-start"):
            for name in i.called:
                cost.add(self.computation(name))
        else:
            if kind in COLLECTIVES:
                self.collective(where, i, kind, cost)
                return
            kernel = kernel_cost.splash(i, [self.computations[where][o] for o in i.operands])
            if kernel:
                cost.add(Cost(*kernel))
                return
            if i.opcode == "fusion":
                self.inside(i.called[0], cost)
            elif i.opcode in ("dot", "convolution"):
                cost.flops += self.flops(where, i)
            cost.bytes += self.bytes(where, i)

    def turns(self, where: str, loop: Instruction) -> int | None:
        """How often a loop turns: as XLA says, or from its counter's start, step and limit; None if it ends by its data."""
        said = re.search(r'known_trip_count"?[:=]\{"?n"?[:=]"?(\d+)', loop.attributes)
        if said:
            return int(said[1])
        condition = self.computations[_named(loop, "condition")]
        test = next(i for i in condition.values() if i.root)
        if test.opcode != "compare" or "direction=LT" not in test.attributes:
            return None
        counter, limit = (condition[o] for o in test.operands)
        if counter.opcode != "get-tuple-element" or limit.opcode != "constant":
            return None
        at = int(re.search(r"index=(\d+)", counter.attributes)[1])
        body = self.computations[_named(loop, "body")]
        after = body[next(i for i in body.values() if i.root).operands[at]]
        first = self.constant(where, self.computations[where][loop.operands[0]].operands[at])
        steps = [self.constant(_named(loop, "body"), o) for o in after.operands]
        step = next((s for s in steps if s is not None), None)
        if first is None or not step or after.opcode != "add":
            return None
        return -(-(int(limit.attributes) - first) // step)

    def constant(self, where: str, name: str) -> int | None:
        """The whole number that an instruction stands for, if it is one."""
        i = self.computations[where][name]
        if i.opcode == "copy":
            return self.constant(where, i.operands[0])
        return (
            int(i.attributes)
            if i.opcode == "constant" and i.attributes.lstrip("-").isdigit()
            else None
        )

    def inside(self, name: str, cost: Cost) -> None:
        """What runs in a fused computation, without its bytes: they stay on the chip."""
        for i in self.computations[name].values():
            kind = i.opcode.removesuffix("-start")
            if i.opcode in ("dot", "convolution"):
                cost.flops += self.flops(name, i)
            elif kind in COLLECTIVES:
                self.collective(name, i, kind, cost)
            elif i.opcode == "fusion":
                self.inside(i.called[0], cost)

    def collective(self, where: str, i: Instruction, kind: str, cost: Cost) -> None:
        if _channel(i) in self.started and not _starts(self.computations[where]):
            return
        operands = [self.computations[where][o] for o in i.operands]
        taken, memory = sum(o.bytes for o in operands), sum(o.memory for o in operands)
        repeated = i.opcode.endswith("-start") and len(i.arrays) > len(
            operands
        )  # lists its operands too
        given = i.bytes - (taken if repeated else 0)
        cost.add(Cost(bytes=i.memory if repeated else memory + i.memory))
        cost.add(Cost(collectives={kind: [1, max(taken, given)]}))
        if kind == "all-reduce" and any(self.pieces(where, o) for o in i.operands):
            cost.add(Cost(collectives={"gathers_as_all_reduce": [1, taken]}))

    def pieces(self, where: str, name: str) -> bool:
        """Whether an array is one chip's piece in a field of zeros."""
        i = self.computations[where].get(name)
        if i is None or i.opcode not in ("fusion", "dynamic-update-slice", *_VIEWS):
            return False
        if i.opcode == "dynamic-update-slice":
            return True
        if i.opcode == "fusion":
            inner = self.computations[i.called[0]]
            return self.pieces(i.called[0], next(n for n, j in inner.items() if j.root))
        return self.pieces(where, i.operands[0])

    def flops(self, where: str, i: Instruction) -> float:
        left, right = (self.computations[where][o].arrays[0].shape for o in i.operands[:2])
        out = i.arrays[0].shape
        if i.opcode == "dot":
            axes = re.search(r"lhs_contracting_dims=\{([\d,]*)\}", i.attributes)
            return 2.0 * math.prod(out) * math.prod(left[int(n)] for n in axes[1].split(",") if n)
        return 2.0 * _convolved(left, right, out, i.attributes)

    def bytes(self, where: str, i: Instruction) -> float:
        scope = self.computations[where]
        if i.opcode == "fusion":
            read = sum(
                self.read(i.called[0], n) if scope[o].memory else 0
                for n, o in enumerate(i.operands)
            )
            return read + self.written(i.called[0], i)
        if i.opcode in ("dynamic-slice", "slice", "gather"):
            return (i.memory if scope[i.operands[0]].memory else 0) + i.memory
        if i.opcode == "dynamic-update-slice":
            update = scope[i.operands[1]]
            return update.memory + (update.bytes if i.memory else 0)
        if i.opcode == "custom-call" and not i.operands:
            return 0  # room for later instructions
        if i.opcode == "broadcast":
            return i.memory
        if i.opcode == "slice-start":
            return i.arrays[1].bytes + sum(a.bytes for a in i.arrays[1:] if a.in_memory)
        if i.opcode.endswith("-start"):  # the result lists the operands too
            return i.memory
        return sum(scope[o].memory for o in i.operands) + i.memory

    def used_by(self, where: str, name: str) -> list[Instruction]:
        if where not in self.users:
            users = collections.defaultdict(list)
            for i in self.computations[where].values():
                for o in dict.fromkeys(i.operands):
                    users[o].append(i)
            self.users[where] = users
        return self.users[where].get(name, [])

    def read(self, where: str, number: int) -> float:
        """Bytes that a fused computation reads of its parameter `number`."""
        for i in self.computations[where].values():
            if i.opcode == "parameter" and i.attributes.strip() == str(number):
                return min(i.bytes, self.taken(where, i))
        return 0

    def taken(self, where: str, source: Instruction) -> float:
        total = 0.0
        for i in self.used_by(where, source.name):
            if i.opcode in ("dynamic-slice", "slice", "gather") and i.operands[0] == source.name:
                total += i.bytes
            elif i.opcode == "dynamic-update-slice" and source.name not in i.operands[1:]:
                continue
            elif i.opcode == "tuple" or i.opcode in COLLECTIVES or _ASYNC in i.attributes:
                continue  # handed on; a collective counts by itself
            elif i.opcode == "fusion":
                total += sum(
                    self.read(i.called[0], n) for n, o in enumerate(i.operands) if o == source.name
                )
            elif i.opcode in _VIEWS and not i.root:
                total += min(source.bytes, self.taken(where, i))
            else:
                return source.bytes
        return total

    def written(self, where: str, fusion: Instruction) -> float:
        """Bytes that a fusion writes: of an array updated in place only the update."""
        scope = self.computations[where]
        root = next(i for i in scope.values() if i.root)
        if _ASYNC in root.attributes:
            return 0
        parts = [scope[o] for o in root.operands] if root.opcode == "tuple" else [root]
        if len(parts) != len(fusion.arrays):
            return fusion.memory
        return sum(
            self.update(where, p) for p, a in zip(parts, fusion.arrays, strict=True) if a.in_memory
        )

    def update(self, where: str, i: Instruction) -> float:
        scope, last = self.computations[where], i
        if i.opcode == "parameter" or i.opcode in COLLECTIVES:
            return 0  # handed on
        while last.opcode in _VIEWS:
            last = scope[last.operands[0]]
        if last.opcode == "dynamic-update-slice":
            return scope[last.operands[1]].bytes
        if last.opcode == "fusion" and len(last.arrays) == 1:
            return self.written(
                last.called[0], dataclasses.replace(last, type=re.sub(r"S\(\d+\)", "", last.type))
            )
        return i.bytes


def _convolved(left, right, out, attributes: str) -> float:
    """Multiply-adds of a convolution whose padded and dilated positions cost nothing, as XLA counts them. A dot with batch axes
    is written as one: the axis becomes a spatial one, of which each output position sees a single input."""
    lhs, rhs, result = re.search(r"dim_labels=(\w+)_(\w+)->(\w+)", attributes).groups()
    window = re.search(r"window=\{([^}]*)\}", attributes)
    window = dict(w.split("=") for w in window[1].split()) if window else {}
    groups = [int(n) for n in re.findall(r"(?:feature|batch)_group_count=(\d+)", attributes)]
    count = left[lhs.index("f")] * right[rhs.index("o")] * left[lhs.index("b")] / math.prod(groups)
    spatial = len(result) - 2

    def per_axis(key: str, default: str) -> list[str]:
        return window[key].split("x") if key in window else [default] * spatial

    sizes, strides, pads = per_axis("size", "1"), per_axis("stride", "1"), per_axis("pad", "0_0")
    stretched, spread = per_axis("lhs_dilate", "1"), per_axis("rhs_dilate", "1")
    for n in range(spatial):
        low = int(pads[n].split("_")[0])
        count *= _positions(
            left[lhs.index(str(n))],
            int(sizes[n]),
            out[result.index(str(n))],
            int(strides[n]),
            low,
            int(stretched[n]),
            int(spread[n]),
        )
    return count


@functools.cache
def _positions(
    length: int, size: int, out: int, stride: int, low: int, stretch: int, spread: int
) -> int:
    """Pairs of output and kernel position that meet an element of the input, along one axis."""
    if size == 1 and low == 0 and stretch == 1 and stride * (out - 1) < length:
        return out
    found = 0
    for k in range(size):
        for o in range(out):
            at = o * stride - low + k * spread
            found += 0 <= at < (length - 1) * stretch + 1 and at % stretch == 0
    return found
