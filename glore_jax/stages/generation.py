"""Texts of a model as records on disk: items become jobs of the rollout engine, jobs rows.

    item ──make_job──► Job ──► engine ──► ended job ──to_rows──► rows ──► part, once it is whole

Which parts there are, and who makes them, is in `parts`.
"""

import collections
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from glore_jax.config import AnyConfig
from glore_jax.models.model import Model
from glore_jax.parallel import processes
from glore_jax.parallel.chips import GIB
from glore_jax.progress import WRITE, Piece
from glore_jax.records import Record, Sample, StoredRecords
from glore_jax.sampling import budget, keys
from glore_jax.sampling.budget import AUTO, Capacity
from glore_jax.sampling.cpu.lanes import Lanes, lanes_of
from glore_jax.sampling.engine import Completion, Engine, Fork, Job, Stats
from glore_jax.sampling.tokens import Sampling
from glore_jax.stages import parts
from glore_jax.stages.context import Context
from glore_jax.stages.parts import Claims, Item
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

    It takes the memory that `engine.cache_bytes` gives it, by default what the devices have left.
    What it writes does not depend on its sizes, so each process may choose its own.

    Args:
      ctx: its `engine` section says how much memory there is, or how much is decoded at a time.
      model: the policy.
      longest: tokens of the longest trunk that it will see.
      count: how many trunks it will see, at most.
      max_new: most tokens that a fork adds.
      per_trunk: forks of a trunk.
      lanes: engines side by side; 0 is what the config says.
      options: of `Engine`.

    UserError if there is no room for a single fork.
    """
    config = ctx.config.engine
    mesh = ctx.local_mesh
    wanted = _wanted_capacity(config, model, longest, max_new, per_trunk).on(mesh)
    found = _fitting_capacity(ctx, model, wanted, count)
    capacity = found or wanted
    side_by_side = min(lanes or lanes_of(config.lanes, mesh), capacity.groups)
    # Together the lanes hold no more than fits, or if that is not known, no less than was asked.
    rounded_up = 0 if found else side_by_side - 1
    groups = (capacity.groups + rounded_up) // side_by_side
    options = {"seed": ctx.config.seed, "round_steps": config.round_steps, "mesh": mesh} | options
    engine = Engine(model, dataclasses.replace(capacity, groups=groups), **options)
    return engine if side_by_side == 1 else Lanes([engine, *engine.twins(side_by_side - 1)])


def _fitting_capacity(ctx: Context, model: Model, wanted: Capacity, count: int) -> Capacity | None:
    """`wanted` with as many groups as there is room for; None if nothing says how much that is.

    `count`: of the trunks of all processes. A process has its share of them, and no more groups
    than that fills the shelves of.
    """
    asked = ctx.config.engine.cache_bytes
    dtype = ctx.config.model.dtype
    most = max(1, -(-count // (processes.count() * wanted.shelves)))
    if asked != AUTO:
        budgeted = int(asked)
        return budget.derive(budgeted, wanted, model.config, dtype, most) if budgeted else None
    room = budget.room(model, ctx.local_mesh)
    if room is None:
        return None
    found = budget.fill(room, wanted, model.config, dtype, most)
    held = found.cache_bytes(model.config, dtype)
    ctx.say(
        f"engine: {found.groups * found.slots} forks at a time of "
        f"{found.groups * found.shelves} trunks; keys and values take {held / GIB:.2f} of the "
        f"{room / GIB:.2f} GiB that a device has left"
    )
    return found


def _wanted_capacity(config, model: Model, longest: int, max_new: int, per_trunk: int) -> Capacity:
    """Sizes as the `engine` section asks for them, whatever they take.

    A group has as many slots as a trunk has forks, up to `siblings`; with fewer, there are more
    groups.
    """
    slots = min(per_trunk, config.siblings)
    # Few shapes, so few programs, but only what the context holds.
    rounded = min(-(-longest // 32) * 32, model.config.max_positions - max_new)
    return Capacity(
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
) -> StoredRecords[Record]:
    """Runs one job an item and keeps its records, of type `kind`, in parts under the folder `name`.

    make_job(item) -> its job, made once its turn comes; to_rows(item, that job, ended) -> its
    records. A restart goes on with the parts that are not whole. Parts are shared by the processes;
    returns all records, in the order of the items.
    """
    claims = Claims(ctx, name, kind, items, at_once=engine.trunks_at_once)
    if claims.missing:
        with ctx.piece(name, WRITE, "jobs", len(items)) as piece:
            _make_parts(claims, engine, sampling, make_job, to_rows, piece)
    return claims.finish()


def _make_parts(
    claims: Claims,
    engine: Engine | Lanes,
    sampling: Sampling,
    make_job: Callable[[Item], Job],
    to_rows: Callable[[Item, Any], list[Record]],
    piece: Piece,
) -> None:
    """Runs the jobs of the parts that this process claims, and writes each part once it is whole.

    The engine asks for a job when it has a shelf free, and for the next part when it has taken all
    jobs of the one before.
    """
    unfinished: dict[int, _Part] = {}
    places: dict[Job, tuple[int, int, Any]] = {}  # of jobs that run: part, place within it, item

    def jobs() -> Iterator[Job]:
        for part, some in claims:
            unfinished[part] = _Part(len(some))
            for place, item in enumerate(some):
                job = make_job(item)
                places[job] = part, place, item
                yield job

    before = dataclasses.replace(engine.stats)
    quality = Quality()
    piece.begin(claims.done)
    for job in engine.run(jobs(), sampling):
        part, place, item = places.pop(job)
        held = unfinished[part]
        rows = to_rows(item, job)
        held.put(place, job, rows)
        quality.add(job, rows)
        if held.whole:
            now = engine.stats
            claims.write(part, held.rows, held.work | _effort(before, now))
            before = dataclasses.replace(now)
            del unfinished[part]
        ended = sum(some.work["items"] for some in unfinished.values())
        piece.reach(claims.done + ended, **_speed(engine.stats), **quality.figures)


class _Part:
    """What the ended jobs of a part gave, held until all have ended: they do so in any order.

    work: of these jobs, see `parts.work`.
    """

    def __init__(self, jobs: int):
        self._rows: list[list | None] = [None] * jobs  # by the place of a job within the part
        self.work = {"items": 0, "forks": 0, "tokens": 0, "prefill_tokens": 0}

    def put(self, place: int, job: Job, rows: list) -> None:
        self._rows[place] = rows
        completions = job.completions.values()
        self.work["items"] += 1
        self.work["forks"] += len(completions)
        self.work["tokens"] += sum(len(c.tokens) + c.ended for c in completions)
        self.work["prefill_tokens"] += len(job.trunk) if completions else 0

    @property
    def whole(self) -> bool:
        return self.work["items"] == len(self._rows)

    @property
    def rows(self) -> list:
        """In the order of the items."""
        return [row for rows in self._rows if rows is not None for row in rows]


def _effort(before: Stats, now: Stats) -> dict[str, float]:
    """What an engine spent between two of its statistics, on whatever jobs it had."""
    return {
        "slot_steps": now.slot_steps - before.slot_steps,
        "seconds": now.seconds - before.seconds,
    }


def _speed(stats: Stats) -> dict[str, float]:
    """Figures of this process's engine, since it was made."""
    return {
        "tokens_per_second": stats.tokens / max(stats.seconds, 1e-9),
        "occupancy": stats.occupancy,
    }


class Quality:
    """How good the texts of ended jobs are: shares of those that this process has seen."""

    def __init__(self) -> None:
        self._texts = self._cut_off = 0
        self._right: collections.Counter[str] = collections.Counter()
        self._judged: collections.Counter[str] = collections.Counter()

    def add(self, job: Job, rows: Sequence[Any]) -> None:
        """`rows`: the records that came of the ended `job`."""
        self._texts += len(job.completions)
        self._cut_off += sum(not text.ended for text in job.completions.values())
        for row in rows:
            if "tries" in row:  # step labels: a rollout verifies its prefix or does not
                self._right["verified"] += sum(row["hits"])
                self._judged["verified"] += sum(row["tries"])
            elif "correct" in row:
                self._right["right"] += row["correct"]
                self._judged["right"] += 1

    @property
    def figures(self) -> dict[str, float]:
        """`right` or `verified`, and `truncated`; none of what nothing is known of."""
        shares = {name: self._right[name] / n for name, n in self._judged.items() if n}
        return shares | ({"truncated": self._cut_off / self._texts} if self._texts else {})


def sample(
    ctx: Context,
    name: str,
    model: Model,
    problems: Sequence[Problem],
    sampling: Sampling,
    k: int,
    trunk_of: Callable[[Problem], list[int]] | None = None,
) -> StoredRecords[Sample]:
    """k samples a problem (greedy: temperature 0, k 1), kept under the folder `name`.

    trunk_of(problem) -> tokens that its samples continue; the question if it is left out.
    """
    prompts = ctx.prompts(model)
    trunk_of = trunk_of or (lambda problem: prompts.question(problem.question))
    longest = longest_of(problems, trunk_of)
    items = [(problem, samples) for problem in problems for samples in parts.by_samples(k)]
    per_trunk = len(parts.by_samples(k)[0])
    engine = make_engine(
        ctx, model, longest, len(items), sampling.max_new, per_trunk, seed=seed_of(ctx, name)
    )

    def make_job(item: tuple[Problem, range]) -> Job:
        problem, samples = item
        trunk = trunk_of(problem)
        return Job(problem.id, trunk, [Fork(len(trunk), sample=i) for i in samples])

    def to_rows(item: tuple[Problem, range], job: Job) -> list[Sample]:
        problem, _ = item
        forks = sorted(job.completions, key=lambda fork: fork.sample)
        return [_graded(ctx, name, problem, fork, job.completions[fork]) for fork in forks]

    return generate(ctx, name, Sample, items, engine, sampling, make_job, to_rows)


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


def greedy(
    ctx: Context, name: str, model: Model, problems: Sequence[Problem]
) -> StoredRecords[Sample]:
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


def accuracy(samples: Sequence[Sample] | StoredRecords[Sample]) -> float:
    """Share of right solutions."""
    return sum(row["correct"] for row in samples) / len(samples)


def truncated(samples: Iterable[Sample]) -> int:
    """Solutions that ran out of length: counted and reported, never dropped."""
    return sum(not row["ended"] for row in samples)
