"""The plan of a run, printed before its first stage: tokens, time and memory of each piece of work.

    stage     work                       texts     tokens   GiB a device   about
    student   round 0                      7.5 k     6.4 M       4.7 of 15.7   22 min
    ...

Times are those of the matrix products at the rate that this hardware was just measured to have
(`calibration.py`), times what all else takes beside them. Memory is what each device holds at
least: what a stage takes beyond it, the engine's room and what is kept for the backward pass, is
fitted to the rest once its shapes are known. A run whose least does not fit is refused here.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from glore_jax.errors import UserError
from glore_jax.models import llama
from glore_jax.models.config import LlamaConfig
from glore_jax.parallel import coordinator
from glore_jax.parallel import mesh as meshes
from glore_jax.parallel.chips import GIB, memory_limit
from glore_jax.pipeline import calibration
from glore_jax.pipeline.calibration import Rates
from glore_jax.pipeline.workload import (
    SCORE,
    TRAIN,
    WRITE,
    Lengths,
    Work,
    find_section,
    workload,
)
from glore_jax.progress.estimate import Planned
from glore_jax.progress.words import about
from glore_jax.sampling import budget
from glore_jax.stages import models, training
from glore_jax.stages.context import Context
from glore_jax.stages.questions import Reader

# Of a run's time that is not matrix products at their best rate: attention, norms, softmax, empty
# slots, padding, the host.
OVERHEAD = 2.0
_REMAT = {"full": 4 / 3, "attention": 4 / 3}  # the forward pass is computed again
_PROBLEMS = 200  # whose lengths are measured
_TRAINED_COPIES = 4  # of the parameters in float32: weights, two moments, gradients


@dataclasses.dataclass(frozen=True)
class Line:
    """The forecast of one piece of work.

    Attributes:
      work: what is done.
      seconds: that it takes, about.
      bytes: of a device, at least.
    """

    work: Work
    seconds: float
    bytes: int


def announce(ctx: Context, todo: Sequence[str], reader: Reader) -> None:
    """Prints the plan of the stages `todo`. UserError if one of them cannot fit the devices.

    Process 0 measures and decides for all.
    """

    def plan() -> dict[str, Any]:
        lengths = _lengths(reader, ctx.config.sample.max_new)
        counts = _Counts(reader)
        works = workload(ctx.config, todo, counts, lengths)
        found = lines(ctx, works, reader.config, lengths)
        limit = memory_limit(jax.local_devices()[0])
        text = [assumptions(lengths, jax.devices()), table(found, limit)]
        text += short_trainings(ctx.config, works)
        ctx.progress.plan(pieces(found))  # process 0 alone shows how long it takes
        return {"text": "\n".join(text), "refusal": refusal(found, limit)}

    made = coordinator.from_main("plan of the run", plan)
    ctx.say(made["text"])
    if made["refusal"]:
        raise UserError(made["refusal"])


class _Counts(dict[str, int]):
    """Split -> its questions, counted when they are asked for."""

    def __init__(self, reader: Reader):
        self._reader = reader

    def __missing__(self, split: str) -> int:
        return len(self._reader.problems(split))


def _lengths(reader: Reader, most: int) -> Lengths:
    """Of the first training problems; `most`: tokens of a solution, at most."""
    some = reader.problems("train")[:_PROBLEMS]
    solved = [problem.solution for problem in some if problem.solution]
    return Lengths.of(
        [len(reader.prompts.question(problem.question)) for problem in some],
        [len(reader.prompts.solution(steps)[0]) for steps in solved],
        [len(steps) for steps in solved],
        most,
    )


def short_trainings(config: ConfigDict, works: Sequence[Work]) -> list[str]:
    """A line for each training that will have few updates, though counts are upper ones."""
    said = []
    for work in works:
        if work.kind == TRAIN:
            section = find_section(config, work.section)
            few = training.few_updates(work.stage, work.updates, section.batch_size, section.epochs)
            said += [f"warning: {work.stage} ({work.what}): at most {few}"] if few else []
    return said


def lines(ctx: Context, works: Sequence[Work], config: LlamaConfig, lengths: Lengths) -> list[Line]:
    """The forecast of each of `works`, for a model of `config` on the devices of this run.

    Measures how fast these are, which takes a second.
    """
    section = ctx.config.engine
    forks = section.groups * section.siblings
    rates = calibration.measure(config, ctx.config.model.dtype, forks)
    trained = _bytes(ctx, config, training=True)
    held = _bytes(ctx, config, training=False)
    store = _least_store(ctx, config, lengths)
    least = {TRAIN: _TRAINED_COPIES * trained, WRITE: held + store, SCORE: held}
    params = _parameters(config)
    devices = jax.device_count()
    return [
        Line(work, seconds(work, params, rates, devices, ctx.config.model.remat), least[work.kind])
        for work in works
    ]


def seconds(work: Work, params: int, rates: Rates, devices: int, remat: str) -> float:
    """Seconds that `work` takes, about, for a model of so many parameters.

    rates: of one device; all `devices` share the work. remat: as `config.model.remat`.
    """
    product = 2.0 * params  # FLOPs of a token, forward
    if work.kind == TRAIN:
        at_best = 3 * product * work.tokens * _REMAT.get(remat, 1.0) / rates.many_rows
    elif work.kind == SCORE:
        at_best = product * work.tokens / rates.many_rows
    else:
        drawn = product * work.tokens / rates.few_rows
        at_best = drawn + product * work.trunk_tokens / rates.many_rows
    return OVERHEAD * at_best / devices


def refusal(lines: Sequence[Line], limit: int | None) -> str:
    """What to say of the first line that needs more than the `limit` bytes of a device; or ""."""
    for line in lines:
        if limit is not None and line.bytes > limit:
            work = line.work
            return (
                f"{work.stage} ({work.what}) takes at least {line.bytes / GIB:.1f} GiB a device, "
                f"which has {limit / GIB:.1f}: {_CURES[work.kind]}"
            )
    return ""


_CURES = {
    TRAIN: "use more devices, or a larger mesh.fsdp x mesh.tensor",
    WRITE: "raise engine.tensor, or lower max_new",
    SCORE: "raise engine.tensor",
}


def pieces(lines: Sequence[Line]) -> list[Planned]:
    """The pieces of work of the lines, each with its share of the time."""
    return [
        Planned(line.work.stage, name, line.work.kind, line.seconds / len(line.work.pieces))
        for line in lines
        for name in line.work.pieces
    ]


def table(lines: Sequence[Line], limit: int | None) -> str:
    """The lines for a person, with their sum."""
    rows = [("stage", "work", "texts", "tokens", "GiB a device", "about")]
    of = f" of {limit / GIB:.1f}" if limit else ""
    for line in lines:
        work = line.work
        size = f"{line.bytes / GIB:.2f}{of}"
        tokens = _short(work.tokens + work.trunk_tokens)
        rows.append((work.stage, work.what, _short(work.texts), tokens, size, about(line.seconds)))
    rows.append(("all", "", "", "", "", about(sum(line.seconds for line in lines))))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i < 2 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def assumptions(lengths: Lengths, devices: Sequence[jax.Device]) -> str:
    """What the numbers of the plan rest on, in a line."""
    source = "as the task's own" if lengths.known else "assumed"
    return (
        f"plan for {len(devices)} x {devices[0].device_kind}: questions of {lengths.question:.0f} "
        f"tokens, solutions of {lengths.solution:.0f} ({source}); half of what is written is right"
    )


def _bytes(ctx: Context, config: LlamaConfig, training: bool) -> int:
    """Bytes of one copy of the parameters on a device, float32 to train."""
    options = models.options(ctx, config, training)
    _, shapes = llama.abstract(config, **options)
    dtype = jnp.dtype("float32" if training else ctx.config.model.dtype)
    shardings = meshes.param_shardings(shapes, models.mesh_of(ctx, training))
    held = jax.tree.map(lambda x, s: math.prod(s.shard_shape(x.shape)), shapes, shardings)
    return sum(jax.tree.leaves(held)) * dtype.itemsize


def _least_store(ctx: Context, config: LlamaConfig, lengths: Lengths) -> int:
    """Bytes of keys and values of one fork of one trunk a device."""
    c = ctx.config
    max_new = max(s.max_new for s in (c.sample, c.rollout, c.refiner, c.evaluate))
    trunk = math.ceil(lengths.question + lengths.solution)
    one = budget.Capacity(1, 1, 1, max_trunk=trunk, max_new=max_new).on(ctx.local_mesh)
    return one.cache_bytes(config, c.model.dtype)


def _parameters(config: LlamaConfig) -> int:
    _, shapes = llama.abstract(config)
    leaves: Any = jax.tree.leaves(shapes)
    return sum(math.prod(x.shape) for x in leaves)


def _short(count: float) -> str:
    """A count in at most three digits."""
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if count >= size:
            return f"{count / size:.3g}{unit}"
    return f"{count:.0f}"
