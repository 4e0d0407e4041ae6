"""Compiles a described program for chips that are not there, and says what the compiler made of it."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax

from glore_jax.parallel import chips
from glore_jax.planning import hlo

# A parameter above both, bytes and share of all weights, must not lie whole on every chip; the scales of norms do.
LARGE, SHARE = 2**20, 1e-3


@dataclasses.dataclass(frozen=True)
class Program:
    """A jitted `function` and its `arguments` (trees of `ShapeDtypeStruct` with shardings on `mesh`, and static values).

    donated: positions of the arguments whose memory the results must reuse. weights: the parameters among the arguments.
    turns: of the loop that ends by its data, if there is one; all figures are then those of one turn, its share of the rest included.
    model_flops: matrix FLOPs that the mathematics asks for, over all chips. least_bytes: what a chip has to read at least
    (parameters and cache), 0 where other traffic outweighs it. layout: for a person.
    """

    function: Callable
    arguments: tuple
    donated: tuple[int, ...]
    weights: Any
    model_flops: float
    mesh: jax.sharding.Mesh
    layout: str
    least_bytes: int = 0
    turns: int = 1


def chip_bytes(tree) -> int:
    """Bytes that a chip holds of a tree of shapes with shardings."""
    return sum(
        math.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize for x in jax.tree.leaves(tree)
    )


def whole(weights) -> list[str]:
    """Names of the large parameters of which every chip holds all."""
    found, total = [], sum(x.size for x in jax.tree.leaves(weights))
    for path, x in jax.tree_util.tree_flatten_with_path(weights)[0]:
        if (
            x.sharding.is_fully_replicated
            and x.size * x.dtype.itemsize > LARGE
            and x.size > SHARE * total
        ):
            found.append(".".join(str(k.key) for k in path if hasattr(k, "key")))
    return found


def measure(program: Program, chip: chips.Chip) -> dict:
    """What the compiler says of `program`, all bytes and FLOPs per chip; see docs/pods.md for how they are counted.

    `fits`; if it does not, `says` is the compiler's reason and `needed_bytes`, where it names them, what it would take. Otherwise
    `argument_bytes`, `temp_bytes`, `total_bytes` (arguments, results that reuse none of them, temporaries, code), `peak_bytes` (most
    that is alive at once), `unaliased_bytes` (donated but not reused: 0), `flops`, `flops_ratio` (to the model's), `bytes_accessed`,
    `bytes_ratio` (to the least, or None), `collectives` {kind: {count, bytes}}, `open_loops`, and `seconds` {compute, memory, links}: what
    each would take alone at the chip's published peak. No run takes less than the longest of them; none has been timed.
    """
    about = {
        "mesh": {k: v for k, v in program.mesh.shape.items()},
        "layout": program.layout,
        "unsharded": whole(program.weights) if program.mesh.size > 1 else [],
        "model_flops": program.model_flops / program.mesh.size,
    }
    try:
        compiled = program.function.trace(*program.arguments).lower().compile()
    except jax.errors.JaxRuntimeError as e:
        if "RESOURCE_EXHAUSTED" not in str(e) and "Oom" not in str(e):
            raise
        return about | refused(str(e))
    memory, cost = compiled.memory_analysis(), hlo.Cost()
    cost.add(hlo.analyse(compiled.as_text(), program.turns), 1 / program.turns)
    donated = sum(chip_bytes(program.arguments[i]) for i in program.donated)
    collectives = {
        k: {"count": round(n, 2), "bytes": round(b)}
        for k, (n, b) in sorted(cost.collectives.items())
    }
    return about | {
        "fits": True,
        "argument_bytes": memory.argument_size_in_bytes,
        "temp_bytes": memory.temp_size_in_bytes,
        "total_bytes": memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        - memory.alias_size_in_bytes
        + memory.temp_size_in_bytes
        + memory.generated_code_size_in_bytes,
        "peak_bytes": memory.peak_memory_in_bytes,
        "unaliased_bytes": max(0, donated - memory.alias_size_in_bytes),
        "flops": cost.flops,
        "flops_ratio": cost.flops * program.mesh.size / program.model_flops,
        "bytes_accessed": cost.bytes,
        "bytes_ratio": cost.bytes / program.least_bytes if program.least_bytes else None,
        "collectives": collectives,
        "open_loops": cost.open_loops,
        "seconds": {
            "compute": cost.flops / chip.flops,
            "memory": cost.bytes / chip.bandwidth,
            "links": sum(
                c["bytes"] * (1 + (k == "all-reduce"))
                for k, c in collectives.items()
                if k in hlo.COLLECTIVES
            )
            / chip.links,
        },
    }


def refused(reason: str) -> dict:
    """`fits: False` from what the compiler said when the memory did not suffice."""
    line = next((n for n in reason.splitlines() if "RESOURCE_EXHAUSTED" in n or "Oom" in n), reason)
    line = " ".join(line.split())
    found = hlo.needed(line)
    return {"fits": False, "says": line[:400]} | ({"needed_bytes": found} if found else {})
