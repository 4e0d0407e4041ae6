"""Compiles a described program for chips that are not there, and says what came of it."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import re
from typing import Any

import jax

from glore_jax.parallel import chips
from glore_jax.planning import cost as costs
from glore_jax.planning.collectives import Transfers
from glore_jax.planning.hlo import COLLECTIVES

# A parameter above both, bytes and share of all weights, must not lie whole on every chip; the
# scales of norms do.
LARGE = 2**20
SHARE = 1e-3


@dataclasses.dataclass(frozen=True)
class Program:
    """A jitted function with descriptions of its arguments: what can be compiled without any array.

    Attributes:
      function: jitted.
      arguments: trees of `ShapeDtypeStruct` with shardings on `mesh`, and static values.
      donated: positions of the arguments whose memory the results must reuse.
      weights: the parameters among the arguments.
      model_flops: matrix FLOPs that the mathematics asks for, over all chips.
      layout: rows and lengths, for a person.
      least_bytes: what a chip has to read at least, parameters and the keys and values that are
        seen; 0 where other traffic outweighs it.
      working_bytes: what a chip was reckoned to need beside its arguments; 0 if nothing was.
      turns: of the loop that ends by its data, if there is one. All figures are then those of one
        turn, its share of what lies outside the loop included.
      compiled: the function, if it had to be compiled to know that it is the one.
    """

    function: jax.stages.Wrapped
    arguments: tuple[Any, ...]
    donated: tuple[int, ...]
    weights: Any
    model_flops: float
    mesh: jax.sharding.Mesh
    layout: str
    least_bytes: int = 0
    working_bytes: int = 0
    turns: int = 1
    compiled: jax.stages.Compiled | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Described:
    """What is known of a program before it is compiled.

    Attributes:
      mesh: sizes of the mesh by axis.
      layout: rows and lengths, for a person.
      unsharded: names of the large parameters of which every chip holds all.
      model_flops: matrix FLOPs that the mathematics asks for, of one chip.
      working_bytes: as of `Program`.
      digest: of what the compiler was given; empty before.
    """

    working_bytes: int = 0
    digest: str = ""
    mesh: dict[str, int]
    layout: str
    unsharded: list[str]
    model_flops: float

    def to_json(self) -> dict[str, Any]:
        """The figures as `--json` writes them."""
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Figures(Described):
    """What the compiler says of a program that fits, bytes and FLOPs of one chip.

    docs/pods.md says how they are counted.

    Attributes:
      argument_bytes, temp_bytes: of arguments and of temporaries.
      total_bytes: arguments, results that reuse none of them, temporaries, code.
      peak_bytes: most that is alive at once.
      unaliased_bytes: donated but not reused; 0 is right.
      flops: of matrix products; flops_ratio: to the model's, if it asks for any.
      bytes_accessed: of HBM; bytes_ratio: to the least, if that is known.
      collectives: transfers by kind, counted as in `Cost`.
      open_loops: loops that end by their data.
      seconds: what `compute`, `memory` and `links` would each take alone at the chip's published
        peak. No run takes less than the longest of them; none has been timed.
    """

    fits: bool = dataclasses.field(default=True, init=False)
    argument_bytes: int
    temp_bytes: int
    total_bytes: int
    peak_bytes: int
    unaliased_bytes: int
    flops: float
    flops_ratio: float | None
    bytes_accessed: float
    bytes_ratio: float | None
    collectives: dict[str, Transfers]
    open_loops: int
    seconds: dict[str, float]

    @property
    def longest(self) -> str:
        """Which of `seconds` bounds the program."""
        return max(self.seconds, key=self.seconds.__getitem__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Refusal(Described):
    """What the compiler says of a program that does not fit.

    Attributes:
      says: its reason.
      needed_bytes: what the program would take; None if the reason does not name it.
    """

    fits: bool = dataclasses.field(default=False, init=False)
    says: str
    needed_bytes: int | None = None

    def to_json(self) -> dict[str, Any]:
        """The figures as `--json` writes them, `needed_bytes` only where it is known."""
        found = super().to_json()
        if self.needed_bytes is None:
            del found["needed_bytes"]
        return found


Known = dict[str, Figures | Refusal]  # by `digest`


def measure(program: Program, chip: chips.Chip, known: Known | None = None) -> Figures | Refusal:
    """Compiles `program` and reads off what it takes of a `chip`, or why it does not fit.

    What is in `known` is not compiled again; what is found goes into it. Any other error of the
    compiler is raised as it is.
    """
    lowered = _lowered(program)
    digest = _digest(program, lowered)
    known = {} if known is None else known
    if digest not in known:
        known[digest] = _compile(program, lowered, chip)
    return _of_program(program, digest, known)


def recall(program: Program, known: Known) -> Figures | Refusal | None:
    """What `measure` answers without compiling; None if `program` is not in `known`."""
    digest = _digest(program, _lowered(program))
    return _of_program(program, digest, known) if digest in known else None


def _of_program(program: Program, digest: str, known: Known) -> Figures | Refusal:
    about = dataclasses.replace(describe(program), digest=digest)
    return dataclasses.replace(known[digest], **vars(about))


def _lowered(program: Program) -> jax.stages.Lowered:
    return program.function.trace(*program.arguments).lower()


def _digest(program: Program, lowered: jax.stages.Lowered) -> str:
    """Of all that the compiler is given: the program, and the kind and places of its devices."""
    devices = list(program.mesh.devices.flat)
    given = "\n".join([*map(str, devices), lowered.as_text()])
    # Chips of two kinds can have the same names and places.
    return f"{devices[0].device_kind} {hashlib.sha256(given.encode()).hexdigest()[:16]}"


def from_json(stored: dict[str, Any]) -> Figures | Refusal:
    """The figures that `to_json` wrote."""
    kind = Figures if stored["fits"] else Refusal
    taken = {
        f.name: stored[f.name] for f in dataclasses.fields(kind) if f.init and f.name in stored
    }
    if kind is Figures:
        sent = taken["collectives"].items()
        taken["collectives"] = {name: Transfers(**transfers) for name, transfers in sent}
    return kind(**taken)


def _compile(program: Program, lowered: jax.stages.Lowered, chip: chips.Chip) -> Figures | Refusal:
    """What the compiler says of a program."""
    about = describe(program)
    try:
        compiled = program.compiled or lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error) and "Oom" not in str(error):
            raise
        return refusal(about, str(error))
    return figures(about, program, compiled, chip)


def describe(program: Program) -> Described:
    """What is known of `program` before it is compiled."""
    return Described(
        mesh=dict(program.mesh.shape),
        layout=program.layout,
        unsharded=whole(program.weights) if program.mesh.size > 1 else [],
        model_flops=program.model_flops / program.mesh.size,
        working_bytes=program.working_bytes,
    )


def whole(weights: Any) -> list[str]:
    """Names of the large parameters of which every chip holds all."""
    total = sum(x.size for x in jax.tree.leaves(weights))
    found = []
    for path, x in jax.tree_util.tree_flatten_with_path(weights)[0]:
        large = x.size * x.dtype.itemsize > LARGE and x.size > SHARE * total
        if large and x.sharding.is_fully_replicated:
            found.append(".".join(str(key.key) for key in path if hasattr(key, "key")))
    return found


def chip_bytes(tree: Any) -> int:
    """Bytes that a chip holds of a tree of shapes with shardings."""
    return sum(
        math.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize for x in jax.tree.leaves(tree)
    )


def figures(
    about: Described, program: Program, compiled: jax.stages.Compiled, chip: chips.Chip
) -> Figures:
    """The figures of a compiled program, loops that end by their data counted as one turn."""
    memory: Any = compiled.memory_analysis()
    text = compiled.as_text()
    assert text is not None  # every XLA backend has it
    cost = costs.Cost()
    cost.add(costs.analyse(text, program.turns), 1 / program.turns)
    collectives = {
        kind: Transfers(round(sent.count, 2), round(sent.bytes))
        for kind, sent in sorted(cost.collectives.items())
    }
    donated = sum(chip_bytes(program.arguments[position]) for position in program.donated)
    fresh_results = memory.output_size_in_bytes - memory.alias_size_in_bytes
    return Figures(
        **vars(about),
        argument_bytes=memory.argument_size_in_bytes,
        temp_bytes=memory.temp_size_in_bytes,
        total_bytes=memory.argument_size_in_bytes
        + fresh_results
        + memory.temp_size_in_bytes
        + memory.generated_code_size_in_bytes,
        peak_bytes=memory.peak_memory_in_bytes,
        unaliased_bytes=max(0, donated - memory.alias_size_in_bytes),
        flops=cost.flops,
        flops_ratio=_ratio(cost.flops * program.mesh.size, program.model_flops),
        bytes_accessed=cost.bytes,
        bytes_ratio=_ratio(cost.bytes, program.least_bytes),
        collectives=collectives,
        open_loops=cost.open_loops,
        seconds={
            "compute": cost.flops / chip.flops,
            "memory": cost.bytes / chip.bandwidth,
            "links": link_bytes(collectives) / chip.links,
        },
    )


def _ratio(found: float, least: float) -> float | None:
    """`found` / `least`; None where nothing is asked for."""
    return found / least if least else None


def link_bytes(collectives: dict[str, Transfers]) -> float:
    """Bytes that go over the links of a chip: of an all-reduce twice its size, there and back."""
    return sum(
        sent.bytes * (2 if kind == "all-reduce" else 1)
        for kind, sent in collectives.items()
        if kind in COLLECTIVES
    )


def refusal(about: Described, reason: str) -> Refusal:
    """The refusal of a program, from what the compiler said when the memory did not suffice."""
    lines = reason.splitlines()
    told = (line for line in lines if "RESOURCE_EXHAUSTED" in line or "Oom" in line)
    line = " ".join(next(told, reason).split())
    return Refusal(**vars(about), says=line[:400], needed_bytes=needed_bytes(line))


def needed_bytes(reason: str) -> int | None:
    """Bytes that a program would take, from the compiler's refusal; None if it does not say."""
    said = re.search(r"total memory required[^(]*\(([\d.]+)([KMGT])\)", reason)
    said = said or re.search(r"Used ([\d.]+)([KMGT]) of", reason)
    if not said:
        return None
    power = "KMGT".index(said[2]) + 1
    return int(float(said[1]) * 2 ** (10 * power))
