"""Texts of a model as records on disk: items become jobs of the rollout engine, jobs rows.

    item ──make_job──► Job ──► engine ──► ended job ──to_rows──► rows ──► part, once it is whole

Which parts there are, and who makes them, is in `parts`.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic

from tqdm import tqdm

from glore_jax import records
from glore_jax.config import AnyConfig
from glore_jax.models.model import Model
from glore_jax.parallel import processes
from glore_jax.records import Record, Sample
from glore_jax.sampling import budget, keys
from glore_jax.sampling.cpu.lanes import Lanes, lanes_of
from glore_jax.sampling.engine import Completion, Engine, Fork, Job, Stats
from glore_jax.sampling.tokens import Sampling
from glore_jax.stages import parts
from glore_jax.stages.context import Context
from glore_jax.stages.parts import Item, Share
from glore_jax.tasks.base import Problem


def make_engine(
    ctx: Context,
    model: Model,
    longest: int,
    count: int,
    max_new: int,
    per_trunk: int,
    lanes: int = 0,
    **options,
) -> Engine | Lanes:
    """An engine for `count` trunks, or on a CPU several that share the groups.

    Args:
      ctx: its `engine` section says how much is decoded at a time, and in how much memory.
      model: the policy.
      longest: tokens of the longest trunk that it will see.
      count: how many trunks it will see, at most.
      max_new: most tokens that a fork adds.
      per_trunk: forks of a trunk.
      lanes: engines side by side; 0 is what the config says.
      options: of `Engine`.

    UserError if `engine.cache_bytes` is too small for a single fork.
    """
    config = ctx.config.engine
    mesh = ctx.local_mesh
    capacity = _wanted_capacity(config, model, longest, max_new, per_trunk).on(mesh)
    if config.cache_bytes:
        dtype = ctx.config.model.dtype
        capacity = budget.derive(
            config.cache_bytes, capacity, model.config, dtype, most_groups=count
        )
    side_by_side = min(lanes or lanes_of(config.lanes, mesh), capacity.groups)
    # Together the lanes hold no more than the budget, or if there is none, no less than was asked.
    rounded_up = 0 if config.cache_bytes else side_by_side - 1
    groups = (capacity.groups + rounded_up) // side_by_side
    options = {"seed": ctx.config.seed, "round_steps": config.round_steps, "mesh": mesh} | options
    each = dataclasses.replace(capacity, groups=groups)
    engines = [Engine(model, each, **options) for _ in range(side_by_side)]
    return engines[0] if side_by_side == 1 else Lanes(engines)


def _wanted_capacity(
    config, model: Model, longest: int, max_new: int, per_trunk: int
) -> budget.Capacity:
    """Sizes as the `engine` section asks for them, whatever they take.

    A group has as many slots as a trunk has forks, up to `siblings`; with fewer, there are more
    groups.
    """
    slots = min(per_trunk, config.siblings)
    # Few shapes, so few programs, but only what the context holds.
    rounded = min(-(-longest // 32) * 32, model.config.max_positions - max_new)
    return budget.Capacity(
        groups=max(1, config.groups * config.siblings // slots),
        slots=slots,
        shelves=config.shelves if per_trunk > 1 else 1,
        max_trunk=max(longest, rounded),
        max_new=max_new,
    )


def generate(
    ctx: Context,
    name: str,
    kind: type[Record],
    items: Sequence[Item],
    engine: Engine | Lanes,
    sampling: Sampling,
    make_job: Callable[[Item], Job],
    to_rows: Callable[[Item, Any], list[Record]],
) -> list[Record]:
    """Runs one job an item and keeps its records, of type `kind`, in parts under the folder `name`.

    make_job(item) -> its job; to_rows(item, that job, ended) -> its records. A restart goes on
    after the last whole part. Parts are shared out over the processes; returns all records, in the
    order of the items.
    """
    share = parts.share(ctx, name, items)
    unfinished = _UnfinishedParts(share, kind)
    places: dict[Job, tuple[int, int]] = {}  # of the jobs that run: (part, place within it)

    def jobs() -> Iterator[Job]:
        for part in share.todo:
            for place, item in enumerate(share.parts[part]):
                job = make_job(item)
                places[job] = part, place
                yield job

    with _progress_bar(name, share) as bar:
        for job in engine.run(jobs(), sampling):
            part, place = places.pop(job)
            item = share.parts[part][place]
            unfinished.add(part, place, to_rows(item, job))
            _show_progress(bar, engine.stats)
    if share.todo:
        processes.on_main(parts.add_work, ctx, name, engine.stats, len(share.items))
    processes.barrier(name)
    return records.read(share.folder, kind)


class _UnfinishedParts(Generic[Record]):
    """Rows of jobs that have ended, held until their part is whole and can be written.

    Jobs end in any order; the rows of a part stand in the order of its items.
    """

    def __init__(self, share: Share, kind: type[Record]):
        self.share = share
        self.kind = kind
        # part -> place within it -> rows of the job that has this place
        self.rows: dict[int, dict[int, list[Record]]] = {part: {} for part in share.todo}

    def add(self, part: int, place: int, rows: list[Record]) -> None:
        held = self.rows[part]
        held[place] = rows
        size = len(self.share.parts[part])
        if len(held) == size:
            whole = [row for place in range(size) for row in held[place]]
            records.write_part(self.share.folder, part, whole, self.kind)
            del self.rows[part]


def _progress_bar(name: str, share: Share) -> tqdm:
    return tqdm(
        total=len(share.items),
        desc=name,
        unit="question",
        mininterval=2.0,
        dynamic_ncols=True,
        disable=not share.todo,
    )


def _show_progress(bar: tqdm, stats: Stats) -> None:
    speed = stats.tokens / max(stats.seconds, 1e-9)
    bar.update()
    # Drawn with the bar, every two seconds, not at once.
    bar.set_postfix_str(f"{speed:.0f} tok/s, slots {stats.occupancy:.0%} busy", refresh=False)


def sample(
    ctx: Context,
    name: str,
    model: Model,
    problems: Sequence[Problem],
    sampling: Sampling,
    k: int,
    trunk_of: Callable[[Problem], list[int]] | None = None,
) -> list[Sample]:
    """k samples a problem (greedy: temperature 0, k 1), kept under the folder `name`.

    trunk_of(problem) -> tokens that its samples continue; the question if it is left out.
    """
    prompts = ctx.prompts(model)
    trunk_of = trunk_of or (lambda problem: prompts.question(problem.question))
    longest = longest_of(problems, trunk_of)
    engine = make_engine(
        ctx, model, longest, len(problems), sampling.max_new, k, seed=seed_of(ctx, name)
    )

    def make_job(problem: Problem) -> Job:
        trunk = trunk_of(problem)
        return Job(problem.id, trunk, [Fork(len(trunk), sample=i) for i in range(k)])

    def to_rows(problem: Problem, job: Job) -> list[Sample]:
        forks = sorted(job.completions, key=lambda fork: fork.sample)
        return [_graded(ctx, name, problem, fork, job.completions[fork]) for fork in forks]

    return generate(ctx, name, Sample, problems, engine, sampling, make_job, to_rows)


def longest_of(items: Sequence[Item], trunk_of: Callable[[Item], Sequence[int]]) -> int:
    """Tokens of the longest trunk of `items`, 1 if there is none; the same in every process.

    Each process reads some of them. No trunk is kept: an item's job makes it when its turn comes.
    """
    mine = items[processes.index() :: processes.count()]
    return processes.maximum(max((len(trunk_of(item)) for item in mine), default=1))


def _graded(
    ctx: Context, policy: str, problem: Problem, fork: Fork, completion: Completion
) -> Sample:
    steps = ctx.task.split_steps(completion.text)
    return {
        "question_id": problem.id,
        "sample_id": fork.sample,
        "question": problem.question,
        "gold": problem.gold,
        "steps": steps,
        "answer": ctx.task.answer(steps),
        "correct": ctx.task.grade(steps, problem.gold),
        "ended": completion.ended,
        "tokens": len(completion.tokens),
        "logprob": completion.logprob,
        "seed": ctx.config.seed,
        "policy": policy,
    }


def greedy(ctx: Context, name: str, model: Model, problems: Sequence[Problem]) -> list[Sample]:
    """One greedy draft a problem."""
    sampling = Sampling(0.0, max_new=ctx.config.sample.max_new)
    return sample(ctx, name, model, problems, sampling, 1)


def seed_of(ctx: Context, purpose: str) -> int:
    """A seed of its own for each set of samples.

    Two rounds of samples of one question must not share their randomness.
    """
    return keys.question_word(f"{ctx.config.seed} {purpose}")


def sampling_of(section: AnyConfig, **changes: Any) -> Sampling:
    """How a config section says that tokens are drawn; `changes` are further fields."""
    names = ("temperature", "top_k", "top_p", "max_new")
    fields = {name: section[name] for name in names if name in section}
    return Sampling(**fields | changes)


def first(items: Sequence[Item], count: int) -> Sequence[Item]:
    """The first `count` of `items`; 0: all."""
    return items[:count] if count else items


def accuracy(samples: Sequence[Sample]) -> float:
    """Share of right solutions."""
    return sum(row["correct"] for row in samples) / len(samples)


def truncated(samples: Sequence[Sample]) -> int:
    """Solutions that ran out of length: counted and reported, never dropped."""
    return sum(not row["ended"] for row in samples)
