"""What a compiled program does, read off its optimized HLO text: FLOPs, bytes, collectives.

XLA's own `cost_analysis` counts the body of a loop once, however often it runs. Here the program
is walked from its entry, and what lies in a loop counts as often as the loop turns (`loops.py`). A
loop that ends by its data, the decode loop, counts as often as the caller says.

    flops        2 x multiply-adds of matrix products, also inside fusions (`products.py`), and of
                 splash attention (`kernel_cost.py`). Elementwise work and other kernels are not
                 seen.
    bytes        of HBM, read and written (`traffic.py`).
    collectives  by kind: how many run, and their bytes (`collectives.py`).

Everything is per chip: the text is that of one chip's program.
"""

from __future__ import annotations

import dataclasses
import re

from glore_jax.planning import collectives, hlo, kernel_cost, loops, products, traffic
from glore_jax.planning.collectives import GATHERS_AS_ALL_REDUCE, Transfers
from glore_jax.planning.hlo import Computation, Instruction, Module

# What costs nothing by itself. The second halves of pairs, `...-done`, cost nothing either.
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
    "async-update",
}


@dataclasses.dataclass
class Cost:
    """What a program, or a part of it, costs one chip.

    Attributes:
      flops: of matrix products.
      bytes: of HBM, read and written.
      collectives: transfers by kind; `GATHERS_AS_ALL_REDUCE` counts some of the all-reduces again.
      open_loops: loops that end by their data.
    """

    flops: float = 0.0
    bytes: float = 0.0
    collectives: dict[str, Transfers] = dataclasses.field(default_factory=dict)
    open_loops: int = 0

    def add(self, other: Cost, times: float = 1) -> None:
        """Adds `other`, which runs `times` times; its loops are the same ones each time."""
        self.flops += other.flops * times
        self.bytes += other.bytes * times
        self.open_loops += other.open_loops
        for kind, transfers in other.collectives.items():
            self.send(kind, transfers.bytes * times, transfers.count * times)

    def send(self, kind: str, size: float, count: float = 1) -> None:
        """Adds `count` collectives of `size` bytes together."""
        transfers = self.collectives.setdefault(kind, Transfers(0, 0))
        transfers.count += count
        transfers.bytes += size


def analyse(text: str, turns: int = 1) -> Cost:
    """The cost of an optimized module, `compiled.as_text()`.

    `turns`: how often a loop goes round that ends by its data.
    """
    module = hlo.parse(text)
    return _Walk(module, turns).computation(module.entry)


class _Walk:
    """Goes through a module from its entry. Each computation is added up once, whoever calls it."""

    def __init__(self, module: Module, open_turns: int):
        self.module = module
        self.open_turns = open_turns
        self.spread = collectives.spread_channels(module)
        self.known: dict[str, Cost] = {}

    def computation(self, name: str) -> Cost:
        """The cost of one run of a computation."""
        if name not in self.known:
            scope = self.module[name]
            cost = Cost()
            for instruction in scope.instructions.values():
                self.instruction(scope, instruction, cost)
            self.known[name] = cost
        return self.known[name]

    def instruction(self, scope: Computation, i: Instruction, cost: Cost) -> None:
        """Adds what instruction `i` of `scope` costs."""
        if i.opcode in _FREE or i.opcode.endswith("-done"):
            return
        if i.opcode == "while":
            self.loop(scope, i, cost)
        elif i.opcode == "conditional":
            self.branches(i, cost)
        elif i.opcode in ("call", "async-start"):
            for name in i.called:
                cost.add(self.computation(name))
        elif i.kind in hlo.COLLECTIVES:
            self.collective(scope, i, cost)
        elif kernel := kernel_cost.splash(i, scope.operands(i)):
            flops, moved = kernel
            cost.flops += flops
            cost.bytes += moved
        else:
            self.compute(scope, i, cost)

    def loop(self, scope: Computation, i: Instruction, cost: Cost) -> None:
        """Adds a loop: its body as often as it turns."""
        turns = loops.turns(self.module, scope, i)
        if turns is None:
            turns = self.open_turns
            cost.open_loops += 1
        cost.add(self.computation(i.computation_of("body")), turns)

    def branches(self, i: Instruction, cost: Cost) -> None:
        """Adds the most costly branch of a conditional."""
        listed = re.search(r"branch_computations=\{([^}]*)\}", i.attributes)
        names = re.findall(r"[\w.\-]+", listed[1]) if listed else i.called
        cost.add(max(map(self.computation, names), key=lambda c: (c.bytes, c.flops)))

    def compute(self, scope: Computation, i: Instruction, cost: Cost) -> None:
        """Adds a fusion, a product, or an instruction that only moves bytes."""
        if i.opcode == "fusion":
            self.fused(self.module.called_by(i), cost)
        elif i.opcode in products.OPCODES:
            cost.flops += products.flops(scope, i)
        cost.bytes += traffic.moved(self.module, scope, i)

    def fused(self, scope: Computation, cost: Cost) -> None:
        """Adds what runs in a fused computation, without its bytes: they stay on the chip."""
        for i in scope.instructions.values():
            if i.opcode in products.OPCODES:
                cost.flops += products.flops(scope, i)
            elif i.kind in hlo.COLLECTIVES:
                self.collective(scope, i, cost)
            elif i.opcode == "fusion":
                self.fused(self.module.called_by(i), cost)

    def collective(self, scope: Computation, i: Instruction, cost: Cost) -> None:
        """Adds a collective, where it starts."""
        found = collectives.read(self.module, scope, i, self.spread)
        if found is None:
            return
        cost.bytes += found.moved
        cost.send(found.kind, found.sent)
        if found.summed:
            cost.send(GATHERS_AS_ALL_REDUCE, found.summed)
