"""What several stages share: models in and out, training, generation in parts."""

import dataclasses
import importlib.resources
import os
from collections.abc import Callable, Sequence

import jax
from flax import nnx
from tqdm import tqdm

from glore_jax import storage
from glore_jax.errors import UserError
from glore_jax.models import hf, kernels, llama, reward
from glore_jax.models.config import LlamaConfig
from glore_jax.models.tokenizer import BAD, Tokenizer
from glore_jax.parallel import mesh as meshes
from glore_jax.parallel import processes
from glore_jax.sampling import keys, room
from glore_jax.sampling.engine import Engine, Fork, Job
from glore_jax.sampling.lanes import Lanes
from glore_jax.sampling.tokens import Sampling
from glore_jax.tasks.prompts import Prompts
from glore_jax.training import batches as batching
from glore_jax.training import loop


@dataclasses.dataclass
class Model:
    """A policy or reward model in memory with all that it takes to use it."""

    graphdef: nnx.GraphDef
    params: nnx.State
    config: LlamaConfig
    tokenizer: Tokenizer
    prompts: Prompts


def on_main(function: Callable, *args):
    """Calls `function` on process 0 only."""
    return function(*args) if processes.is_main() else None


def base_folder(config):
    """Where the run's base checkpoint lies; "tiny" is the packaged one."""
    if not config.model.base:
        raise UserError("config.model.base is empty: give the folder of a Hugging Face LLaMA checkpoint")
    if config.model.base == "tiny":
        return storage.path(str(importlib.resources.files("glore_jax") / "assets" / "tiny_base"))
    return storage.path(config.model.base)


def mesh_of(ctx, training: bool):
    """All devices to train, this process's own for inference."""
    return ctx.mesh if training else ctx.local_mesh


def options(ctx, config: LlamaConfig, training: bool) -> dict:
    """Keyword arguments of a model of `config` for training or for inference."""
    m = ctx.config.model
    return {
        "dtype": m.dtype,
        "remat": m.remat if training else "none",
        "unroll": m.unroll_layers,
        "kernel": kernels.choose(m.kernel, config, mesh_of(ctx, training), m.dtype),
    }


def padded_vocab(config, size: int) -> int:
    """Rows of the embedding for `size` ids: a multiple that the mesh can divide."""
    multiple = config.model.vocab_multiple
    return -(-size // multiple) * multiple


def load_base(ctx) -> Model:
    """The base for training, sharded over the mesh, with `[BAD]` in its vocabulary and the embedding padded."""
    folder, c = base_folder(ctx.config), ctx.config
    config, tokenizer = hf.read_config(folder), Tokenizer.load(folder)
    if tokenizer.bad_id is None:
        tokenizer = tokenizer.with_token(BAD)
    size = padded_vocab(c, max(tokenizer.vocab_size, config.vocab_size))
    shapes = llama.abstract(config, **options(ctx, config, True))[1]
    params = hf.load_policy_params(folder, config, shardings=meshes.param_shardings(shapes, ctx.mesh))
    if size != config.vocab_size:
        params, config = hf.grow_vocab(params, config, size)
    graphdef, shapes = llama.abstract(config, **options(ctx, config, True))
    params = jax.device_put(params, meshes.param_shardings(shapes, ctx.mesh))
    return Model(graphdef, params, config, tokenizer, Prompts(tokenizer, c.task.prompt))


def load_policy(ctx, *parts: str, training: bool = False) -> Model:
    """A policy that a stage exported under the work directory: float32 over the global mesh to train it, else in the compute
    dtype over this process's devices to generate with it."""
    return _load(ctx, llama, hf.load_policy_params, parts, training)


def publish(ctx, stage: str, name: str, dtype: str) -> Model:
    """Makes the policy `STAGE/NAME/hf` the result of its stage, `STAGE/hf`, with weights in `dtype`."""
    model = load_policy(ctx, stage, name, "hf", training=True)
    hf.save_policy(ctx.folder(stage, "hf"), model.config, model.params, model.tokenizer, dtype)
    return model


def load_reward(ctx, *parts: str) -> Model:
    """A reward model that a stage exported, over this process's devices."""
    asked = hf.read_reward_options(ctx.folder(*parts))
    return _load(ctx, reward, hf.load_reward_params, parts, False, **asked)


def _load(ctx, module, load, parts, training: bool, **asked) -> Model:
    folder, c = ctx.folder(*parts), ctx.config
    config, tokenizer = hf.read_config(folder), Tokenizer.load(folder)
    graphdef, shapes = module.abstract(config, **options(ctx, config, training), **asked)
    mesh = mesh_of(ctx, training)
    dtype = "float32" if training else c.model.dtype
    params = load(folder, config, dtype=dtype, shardings=meshes.param_shardings(shapes, mesh))
    return Model(graphdef, params, config, tokenizer, Prompts(tokenizer, c.task.prompt))


def init_sharded(init, model_config, seed: int, mesh, **options):
    """(graphdef, params) of a fresh model, each parameter made where it belongs."""
    graphdef, shapes = nnx.split(nnx.eval_shape(lambda: nnx.merge(*init(model_config, 0, **options))))
    shardings = meshes.param_shardings(shapes, mesh)
    params = jax.jit(lambda key: init(model_config, key, **options)[1], out_shardings=shardings)(
        jax.random.key(seed)
    )
    return graphdef, params


def row_length_of(section, model_config: LlamaConfig) -> int:
    """Tokens of a packed row: no more than the model's context."""
    return min(section.row_length, model_config.max_positions)


def row_multiple_of(ctx, section) -> int:
    """What the rows of a batch are a multiple of: each microbatch is divided over `data` and `fsdp`."""
    return ctx.mesh.shape["data"] * ctx.mesh.shape["fsdp"] * section.microbatches


def make_batches(
    ctx, examples: list[batching.Example], section, model_config: LlamaConfig
) -> tuple[batching.Batches, int]:
    """(batches, number of examples left out because they are longer than a row)."""
    row_length = row_length_of(section, model_config)
    fitting = [e for e in examples if len(e.tokens) <= row_length]
    batches = batching.Batches(
        fitting,
        batch_size=section.batch_size,
        row_length=row_length,
        epochs=section.epochs,
        seed=ctx.config.seed,
        row_multiple=row_multiple_of(ctx, section),
    )
    return batches, len(examples) - len(fitting)


def fit(ctx, name, graphdef, params, batches, loss_fn, section, model_config, on_step=None) -> loop.Trained:
    """Trains with checkpoints under the folder `name` and a TensorBoard run of its own."""
    writer = ctx.writer(name, section)
    try:
        return loop.train(
            graphdef, params, batches, loss_fn, section, model_config,
            mesh=ctx.mesh, folder=ctx.folder(*name.split("/"), "checkpoints"), name=name, writer=writer, on_step=on_step,
        )  # fmt: skip
    finally:
        writer.close()


def drop_checkpoints(ctx, name: str) -> None:
    """Once the result of a finished run is exported."""
    processes.barrier(f"{name} exported")
    on_main(lambda: ctx.folder(*name.split("/"), "checkpoints").rmtree(missing_ok=True))


def make_engine(
    ctx, model: Model, trunks: Sequence[list[int]], max_new: int, per_trunk: int, lanes: int = 0, **options
) -> Engine | Lanes:
    """An engine with room for `trunks`, or several that share the groups (`lanes_of`); each group has as many slots as a trunk has
    forks at a time. `options`: see `Engine`.

    UserError if `engine.cache_bytes` is too small for a single fork.
    """
    e, shape = ctx.config.engine, ctx.local_mesh.shape
    slots = min(per_trunk, e.siblings)
    longest = max((len(t) for t in trunks), default=1)
    rounded = min(
        -(-longest // 32) * 32, model.config.max_positions - max_new
    )  # few shapes, but only what the context holds
    wanted = room.Room(
        groups=max(1, e.groups * e.siblings // slots), slots=slots, shelves=e.shelves if per_trunk > 1 else 1,
        max_trunk=max(longest, rounded), max_new=max_new, rows=shape["data"] * shape["fsdp"],
        tensor=shape["tensor"],
    )  # fmt: skip
    if e.cache_bytes:
        wanted = room.derive(e.cache_bytes, wanted, model.config, ctx.config.model.dtype, len(trunks))
    count = min(lanes or lanes_of(e.lanes, ctx.local_mesh), wanted.groups)
    groups = wanted.groups // count if e.cache_bytes else -(-wanted.groups // count)
    engines = [
        Engine(
            model.graphdef, model.params, model.config, model.tokenizer,
            groups=groups, slots=wanted.slots, shelves=wanted.shelves, max_trunk=wanted.max_trunk,
            max_new=max_new, round_steps=e.round_steps, mesh=ctx.local_mesh, **{"seed": ctx.config.seed} | options,
        )
        for _ in range(count)
    ]  # fmt: skip
    return engines[0] if count == 1 else Lanes(engines)


def lanes_of(asked: int, mesh) -> int:
    """Engines side by side: as many as asked for; 0 is one a core of a CPU (at most 4), and one on any other device or on several,
    where two threads could start collectives in different orders."""
    if mesh.size > 1 or mesh.devices.flat[0].platform != "cpu":
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return asked or min(cores, 4)


def generate(
    ctx,
    name: str,
    items: list,
    engine: Engine | Lanes,
    sampling: Sampling,
    make_job: Callable,
    to_rows: Callable,
) -> list[dict]:
    """Runs one job an item and keeps its rows in parts under the folder `name`; a restart goes on after the last whole part.

    make_job(item) -> Job; to_rows(item, job) -> list of records. Parts are shared out over the processes; returns all records.
    """
    folder, parts, mine = _share(ctx, name, items)
    rows: dict[int, dict[int, list[dict]]] = {i: {} for i in mine}

    def jobs():
        for i in mine:
            for j, item in enumerate(parts[i]):
                job = make_job(item)
                job.place = (i, j)
                yield job

    bar = tqdm(
        total=sum(len(parts[i]) for i in mine),
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
            bar.update()
            s = engine.stats
            bar.set_postfix_str(
                f"{s.tokens / max(s.seconds, 1e-9):.0f} tok/s, slots {s.occupancy:.0%} busy", refresh=False
            )
            if len(rows[i]) == len(parts[i]):
                storage.write_part(folder, i, [row for k in range(len(parts[i])) for row in rows[i][k]])
                rows[i] = {}
    if mine:
        on_main(_add_work, folder, engine.stats, sum(len(parts[i]) for i in mine))
    processes.barrier(name)
    return storage.read_records(folder)


def in_parts(ctx, name: str, items: list, make: Callable[[list], list[dict]]) -> list[dict]:
    """Records of `items`, one each, kept as parts under the folder `name`: what is there already is not made again.

    make(some of the items) -> their records, called once. Parts are shared out over the processes; returns all records.
    """
    folder, parts, mine = _share(ctx, name, items)
    rows = iter(make([item for i in mine for item in parts[i]]) if mine else ())
    for i in mine:
        storage.write_part(folder, i, [next(rows) for _ in parts[i]])
    processes.barrier(name)
    return storage.read_records(folder)


def _share(ctx, name: str, items: list):
    """(folder, items of each part, the parts that this process has to make)."""
    folder, size = ctx.folder(*name.split("/")), ctx.config.engine.part_questions
    parts = [items[i : i + size] for i in range(0, len(items), size)]
    share = range(jax.process_index(), len(parts), jax.process_count())
    return folder, parts, [i for i in share if not storage.has_part(folder, i)]


def _add_work(folder, stats, items: int) -> None:
    """Keeps what the engine did in `work.json` beside the parts; a restart adds to it."""
    file = folder / "work.json"
    counts = {k: getattr(stats, k) for k in ("forks", "tokens", "prefill_tokens", "slot_steps", "seconds")}
    counts["items"] = items
    before = storage.read_json(file) if file.exists() else {}
    storage.write_json(file, {k: before.get(k, 0) + v for k, v in counts.items()})


def work(ctx, name: str) -> dict:
    """What the rollout engine did for the records under the folder `name`: forks, tokens drawn, tokens of trunks, seconds and
    occupancy (live slot-steps / slot-steps). Process 0's share; of a run that was cut off, only what was done since (`items`
    says of how many jobs)."""
    file = ctx.folder(*name.split("/"), "work.json")
    if not file.exists():
        return {}
    w = storage.read_json(file)
    return {k: v for k, v in w.items() if k != "slot_steps"} | {
        "occupancy": w["tokens"] / max(w["slot_steps"], 1)
    }


def sample(
    ctx, name: str, model: Model, problems, sampling: Sampling, k: int, trunk_of: Callable | None = None
) -> list[dict]:
    """k samples a problem (greedy: temperature 0, k 1) as sample records of section 4 of the design."""
    task = ctx.task
    trunk_of = trunk_of or (lambda problem: model.prompts.question(problem.question))
    engine = make_engine(
        ctx, model, [trunk_of(p) for p in problems], sampling.max_new, k, seed=seed_of(ctx, name)
    )

    def make_job(problem):
        trunk = trunk_of(problem)
        return Job(problem.id, trunk, [Fork(len(trunk), sample=i) for i in range(k)])

    def to_rows(problem, job):
        rows = []
        for fork in sorted(job.completions, key=lambda f: f.sample):
            done = job.completions[fork]
            steps = task.split_steps(done.text)
            rows.append(
                {
                    "question_id": problem.id, "sample_id": fork.sample, "question": problem.question, "gold": problem.gold,
                    "steps": steps, "answer": task.answer(steps), "correct": task.grade(steps, problem.gold),
                    "ended": done.ended, "tokens": len(done.tokens), "logprob": done.logprob, "seed": ctx.config.seed, "policy": name,
                }
            )  # fmt: skip
        return rows

    return generate(ctx, name, list(problems), engine, sampling, make_job, to_rows)


def seed_of(ctx, purpose: str) -> int:
    """A seed of its own for each set of samples: two rounds of samples of one question must not share their randomness."""
    return keys.question_word(f"{ctx.config.seed} {purpose}")


def sampling_of(section, **changes) -> Sampling:
    fields = {f: section[f] for f in ("temperature", "top_k", "top_p", "max_new") if f in section}
    return Sampling(**fields | changes)


def first(items: list, count: int) -> list:
    return items[:count] if count else items


def accuracy(rows: Sequence[dict]) -> float:
    return sum(r["correct"] for r in rows) / len(rows)


def truncated(rows: Sequence[dict]) -> int:
    """Solutions that ran out of length: counted and reported, never dropped."""
    return sum(not r["ended"] for r in rows)
