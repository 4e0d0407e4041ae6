"""Jobs of the rollout engine to records on disk."""

import dataclasses
from collections.abc import Callable, Sequence

from tqdm import tqdm

from glore_jax import storage
from glore_jax.models.model import Model
from glore_jax.parallel import processes
from glore_jax.sampling import budget, keys
from glore_jax.sampling.cpu.lanes import Lanes, lanes_of
from glore_jax.sampling.engine import Engine, Fork, Job
from glore_jax.sampling.tokens import Sampling
from glore_jax.stages import parts as sharing
from glore_jax.stages.context import Context


def make_engine(
    ctx: Context,
    model: Model,
    trunks: Sequence[Sequence[int]],
    max_new: int,
    per_trunk: int,
    lanes: int = 0,
    **options,
) -> Engine | Lanes:
    """An engine with room for `trunks`, or on a CPU several that share the groups.

    Args:
      ctx: its `engine` section says how much is decoded at a time, and in how much memory.
      model: the policy.
      trunks: all that the engine will see; only their lengths and their number are read.
      max_new: most tokens that a fork adds.
      per_trunk: forks of a trunk.
      lanes: engines side by side; 0 is what the config says.
      options: of `Engine`.

    UserError if `engine.cache_bytes` is too small for a single fork.
    """
    config = ctx.config.engine
    mesh = ctx.local_mesh
    capacity = _wanted_capacity(config, model, trunks, max_new, per_trunk).on(mesh)
    if config.cache_bytes:
        dtype = ctx.config.model.dtype
        capacity = budget.derive(
            config.cache_bytes, capacity, model.config, dtype, most_groups=len(trunks)
        )
    count = min(lanes or lanes_of(config.lanes, mesh), capacity.groups)
    # Together the lanes hold no more than the budget, or if there is none, no less than was asked.
    groups = capacity.groups // count if config.cache_bytes else -(-capacity.groups // count)
    options = {"seed": ctx.config.seed, "round_steps": config.round_steps, "mesh": mesh} | options
    each = dataclasses.replace(capacity, groups=groups)
    engines = [Engine(model, each, **options) for _ in range(count)]
    return engines[0] if count == 1 else Lanes(engines)


def _wanted_capacity(
    config, model: Model, trunks: Sequence[Sequence[int]], max_new: int, per_trunk: int
) -> budget.Capacity:
    """Sizes as the `engine` section asks for them, whatever they take.

    A group has as many slots as a trunk has forks, up to `siblings`; with fewer, there are more
    groups.
    """
    slots = min(per_trunk, config.siblings)
    longest = max((len(trunk) for trunk in trunks), default=1)
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
    items: list,
    engine: Engine | Lanes,
    sampling: Sampling,
    make_job: Callable,
    to_rows: Callable,
) -> list[dict]:
    """Runs one job an item and keeps its rows in parts under the folder `name`.

    make_job(item) -> Job; to_rows(item, job) -> list of records. A restart goes on after the last
    whole part. Parts are shared out over the processes; returns all records.
    """
    folder, parts, mine = sharing.share(ctx, name, items)
    rows: dict[int, dict[int, list[dict]]] = {i: {} for i in mine}
    total = sum(len(parts[i]) for i in mine)

    def jobs():
        for i in mine:
            for j, item in enumerate(parts[i]):
                job = make_job(item)
                job.place = (i, j)
                yield job

    bar = tqdm(
        total=total,
        desc=name,
        unit="question",
        mininterval=2.0,
        dynamic_ncols=True,
        disable=not mine,
    )
    with bar:
        for job in engine.run(jobs(), sampling):
            i, j = job.place
            rows[i][j] = to_rows(parts[i][j], job)
            stats = engine.stats
            speed = stats.tokens / max(stats.seconds, 1e-9)
            bar.update()
            bar.set_postfix_str(
                f"{speed:.0f} tok/s, slots {stats.occupancy:.0%} busy", refresh=False
            )
            if len(rows[i]) == len(parts[i]):
                whole = [row for k in range(len(parts[i])) for row in rows[i][k]]
                storage.write_part(folder, i, whole)
                rows[i] = {}
    if mine:
        processes.on_main(sharing.add_work, folder, engine.stats, total)
    processes.barrier(name)
    return storage.read_records(folder)


def sample(
    ctx: Context,
    name: str,
    model: Model,
    problems: Sequence,
    sampling: Sampling,
    k: int,
    trunk_of: Callable | None = None,
) -> list[dict]:
    """k samples a problem (greedy: temperature 0, k 1) as sample records.

    trunk_of(problem) -> tokens that its samples continue; the question if it is left out.
    """
    task, prompts = ctx.task, ctx.prompts(model)
    trunk_of = trunk_of or (lambda problem: prompts.question(problem.question))
    trunks = [trunk_of(p) for p in problems]
    engine = make_engine(ctx, model, trunks, sampling.max_new, k, seed=seed_of(ctx, name))

    def make_job(problem) -> Job:
        trunk = trunk_of(problem)
        return Job(problem.id, trunk, [Fork(len(trunk), sample=i) for i in range(k)])

    def to_rows(problem, job: Job) -> list[dict]:
        rows = []
        for fork in sorted(job.completions, key=lambda f: f.sample):
            done = job.completions[fork]
            steps = task.split_steps(done.text)
            rows.append(
                {
                    "question_id": problem.id,
                    "sample_id": fork.sample,
                    "question": problem.question,
                    "gold": problem.gold,
                    "steps": steps,
                    "answer": task.answer(steps),
                    "correct": task.grade(steps, problem.gold),
                    "ended": done.ended,
                    "tokens": len(done.tokens),
                    "logprob": done.logprob,
                    "seed": ctx.config.seed,
                    "policy": name,
                }
            )
        return rows

    return generate(ctx, name, list(problems), engine, sampling, make_job, to_rows)


def greedy(ctx: Context, name: str, model: Model, problems: Sequence) -> list[dict]:
    """One greedy draft a problem."""
    sampling = Sampling(0.0, max_new=ctx.config.sample.max_new)
    return sample(ctx, name, model, problems, sampling, 1)


def seed_of(ctx: Context, purpose: str) -> int:
    """A seed of its own for each set of samples: two rounds of samples of one question must not
    share their randomness."""
    return keys.question_word(f"{ctx.config.seed} {purpose}")


def sampling_of(section, **changes) -> Sampling:
    """How a config section says that tokens are drawn."""
    names = ("temperature", "top_k", "top_p", "max_new")
    fields = {name: section[name] for name in names if name in section}
    return Sampling(**fields | changes)


def first(items: list, count: int) -> list:
    """The first `count` of `items`; 0: all."""
    return items[:count] if count else items


def accuracy(rows: Sequence[dict]) -> float:
    """Share of right solutions."""
    return sum(r["correct"] for r in rows) / len(rows)


def truncated(rows: Sequence[dict]) -> int:
    """Solutions that ran out of length: counted and reported, never dropped."""
    return sum(not r["ended"] for r in rows)
