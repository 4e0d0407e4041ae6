"""The training loop of every model: one compiled step, deterministic batches, checkpoints, TensorBoard, a progress bar."""

import contextlib
import dataclasses
import signal
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from tqdm import tqdm

from glore_jax.models.model import Model
from glore_jax.parallel import mesh as meshes
from glore_jax.parallel import processes
from glore_jax.training import metrics as measures
from glore_jax.training.batches import Batches, ahead
from glore_jax.training.checkpoints import Checkpoints
from glore_jax.training.optimizer import make_optimizer

_SAVE, _STOP = 1, 2  # what a process may want after a step; the largest wish is granted to all


@dataclasses.dataclass
class Trained:
    """The result of a run: parameters, and the means of the last tenth of its steps."""

    model: Model
    steps: int
    seconds: float  # of this call, after a restart only the rest
    tokens_per_second: float
    metrics: dict[str, float]


def make_step(
    graphdef, loss_fn: Callable, tx, shardings=None, opt_shardings=None, microbatches: int = 1
):
    """The jitted step (params, opt_state, batch) -> (params, opt_state, metrics); the first two are donated.

    With `microbatches` the rows are taken in so many equal parts, one after the other, and their gradients are added: the gradient
    of the batch, with room for the activations of one part.
    """
    mesh = None if shardings is None else jax.tree.leaves(shardings)[0].mesh.abstract_mesh

    def step(params, opt_state, batch):
        def gradient(part):
            def loss(params):
                with jax.sharding.use_abstract_mesh(mesh) if mesh else contextlib.nullcontext():
                    return loss_fn(nnx.merge(graphdef, params), part, batch)

            (_, metrics), grads = jax.value_and_grad(loss, has_aux=True)(params)
            return grads, metrics

        def placed(part):
            grads, metrics = gradient(part)
            return jax.lax.with_sharding_constraint(grads, shardings) if mesh else grads, metrics

        grads, metrics = (
            gradient(batch) if microbatches == 1 else _sum(placed, _parts(batch, microbatches))
        )
        updates, opt_state = tx.update(grads, opt_state, params)
        norm = jax.tree.reduce(lambda s, g: s + (g.astype("float32") ** 2).sum(), grads, 0.0) ** 0.5
        params = jax.tree.map(lambda p, u: (p + u).astype(p.dtype), params, updates)
        return params, opt_state, metrics | {"gradient_norm": norm}

    out = None if shardings is None else (shardings, opt_shardings, None)
    return jax.jit(step, donate_argnums=(0, 1), out_shardings=out)


def _parts(batch: dict, count: int) -> dict:
    """[rows, ...] -> [count, rows / count, ...]. A device's rows stay with it: every part takes each `count`-th of them."""
    return {k: x.reshape(-1, count, *x.shape[1:]).swapaxes(0, 1) for k, x in batch.items()}


def _sum(function: Callable, parts: dict):
    """The sum of `function(part)`, a tree, over the leading axis of `parts`."""
    first = jax.tree.map(lambda x: x[0], parts)
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(function, first))

    def add(total, part):
        return jax.tree.map(jnp.add, total, function(part)), None

    return jax.lax.scan(add, zeros, parts)[0]


@dataclasses.dataclass(frozen=True)
class Setup:
    """A training run before its first step: the jitted `step` of `make_step`, the jitted `init` (params) -> opt_state, the shapes and
    shardings of that state, and the learning-rate schedule."""

    step: Callable
    init: Callable
    opt_state: optax.OptState
    schedule: optax.Schedule


def setup(model: Model, loss_fn: Callable, config, steps: int, mesh) -> Setup:
    """Everything that `train` compiles, for a `model` whose parameters are arrays or `ShapeDtypeStruct`s, with shardings; nothing is computed.

    `config`: a training section (see `make_optimizer`). The optimizer state lies beside its parameters.
    """
    tx, schedule = make_optimizer(config, steps)
    shardings = jax.tree.map(lambda p: p.sharding, model.params)
    abstract = jax.eval_shape(tx.init, model.params)
    opt_shardings = meshes.like_params(abstract, shardings, mesh)
    return Setup(
        make_step(model.graphdef, loss_fn, tx, shardings, opt_shardings, config.microbatches),
        jax.jit(tx.init, out_shardings=opt_shardings),
        meshes.placed(abstract, opt_shardings),
        schedule,
    )


def train(
    model: Model,
    batches: Batches,
    loss_fn: Callable,
    config,
    *,
    mesh,
    folder,
    name: str,
    writer: measures.Writer,
    on_step: Callable | None = None,
) -> Trained:
    """Trains on every batch of the plan and returns the result; goes on from the newest checkpoint under `folder`.

    The checkpoints stay: the caller drops them once it has exported the result, so that a kill in between loses little.

    `config`: a training section (see `make_optimizer`; also `microbatches`, `save_seconds`, `profile_steps`). SIGTERM and Ctrl-C save before they end
    the process; with several processes, one of them that is signalled makes all save the same step, and end.
    Raises FloatingPointError naming the step if the loss is not finite.
    """
    run = setup(model, loss_fn, config, len(batches), mesh)
    params = model.params
    opt_state = run.init(params)

    checkpoints = Checkpoints(folder)
    abstract = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding),
        {"params": params, "opt_state": opt_state},
    )
    *_, metrics = jax.eval_shape(run.step, params, opt_state, batches[0])
    tail = _Tail.of(metrics)
    first, saved = checkpoints.restore(abstract | {"tail": tail.state()})
    if saved is not None:
        params, opt_state, tail = saved["params"], saved["opt_state"], _Tail(**saved["tail"])

    tokens = batches.plan.rows * batches.plan.row_length
    flops = measures.training_flops(model.num_params, model.config, tokens, batches.plan.row_length)
    # All rates at once: a small computation between two steps would wait for the device to finish the first.
    rates = np.asarray(run.schedule(np.arange(len(batches))))
    log = _Log(writer, rates, flops, tokens * batches.plan.fill, tail)
    start = time.monotonic()
    pending, agreed, due = None, processes.Agreed(), _clock(config.save_seconds)
    fed = ahead(lambda step: meshes.feed(batches[step], mesh), range(first, len(batches)))
    with (
        _until_signalled() as stop,
        tqdm(
            total=len(batches),
            initial=first,
            desc=name,
            unit="step",
            mininterval=2.0,
            dynamic_ncols=True,
        ) as bar,
        _profiler(config, writer) as profile,
        contextlib.closing(fed),
    ):
        for step, batch in enumerate(fed, first):
            profile(step)
            params, opt_state, metrics = run.step(params, opt_state, batch)
            if pending is not None:  # one step late: the device is never waited for
                bar.set_postfix_str(log(*pending))
            pending = (step, metrics)
            bar.update()
            done = step + 1
            if on_step and done < len(batches):
                on_step(done, params)
            wish = _STOP if stop() else _SAVE if due() and done < len(batches) else 0
            wish = agreed(wish) if done < len(batches) else agreed.last(wish)
            if wish:
                bar.set_postfix_str(log(*pending))  # no checkpoint of a state that is not a number
                pending = None
                state = {"params": params, "opt_state": opt_state, "tail": tail.state()}
                checkpoints.save(done, state)
            if wish == _STOP:
                checkpoints.close()
                processes.part()
                raise KeyboardInterrupt
        if pending is not None:
            log(*pending)
    checkpoints.close()
    seconds = time.monotonic() - start
    return Trained(
        model.with_params(params),
        len(batches),
        seconds,
        tokens * batches.plan.fill * (len(batches) - first) / seconds,
        tail.means(),
    )


@dataclasses.dataclass
class _Tail:
    """Sums of the metrics of the last tenth of the steps. They are saved too, or a run stopped near its end would forget some."""

    count: np.ndarray
    sums: dict[str, np.ndarray]

    @classmethod
    def of(cls, names) -> "_Tail":
        return cls(np.zeros((), np.int64), {name: np.zeros((), np.float64) for name in names})

    def state(self) -> dict:
        return {
            "count": np.array(self.count),
            "sums": {name: np.array(x) for name, x in self.sums.items()},
        }

    def add(self, values: dict[str, float]) -> None:
        self.count = self.count + 1
        self.sums = {name: x + values[name] for name, x in self.sums.items()}

    def means(self) -> dict[str, float]:
        return {name: float(x / self.count) for name, x in self.sums.items()} if self.count else {}


class _Log:
    """Reads metrics of finished steps, raises on NaN, writes TensorBoard, adds those of the last tenth to `tail`."""

    def __init__(self, writer, rates: np.ndarray, flops: float, tokens: float, tail: _Tail):
        self.writer, self.rates, self.flops, self.tokens = writer, rates, flops, tokens
        self.peak = measures.peak_flops() * jax.device_count()
        self.last, self.tail = time.monotonic(), tail

    def __call__(self, step: int, metrics) -> str:
        values = {k: float(v) for k, v in jax.device_get(metrics).items()}
        if not np.isfinite(values["loss"]):
            raise FloatingPointError(
                f"the loss is {values['loss']} at step {step}: lower the learning rate or check the labels"
            )
        now = time.monotonic()
        seconds, self.last = now - self.last, now
        if step >= min(0.9 * len(self.rates), len(self.rates) - 1):
            self.tail.add(values)
        self.writer.scalars(
            values
            | {
                "learning_rate": float(self.rates[step]),
                "tokens_per_second": self.tokens / seconds,
                "model_flops_utilisation": self.flops / seconds / self.peak,
            },
            step,
        )
        return f"loss {values['loss']:.3f} {self.tokens / seconds:.0f} tok/s"


def _clock(seconds: float) -> Callable[[], bool]:
    """A function that is true once every `seconds`. Only process 0's clock counts: two that are a step apart would save twice."""
    last = time.monotonic()

    def due() -> bool:
        nonlocal last
        if not processes.is_main() or time.monotonic() - last <= seconds:
            return False
        last = time.monotonic()
        return True

    return due


@contextlib.contextmanager
def _until_signalled():
    """Yields a function that turns true once SIGTERM or SIGINT came; a second SIGINT interrupts at once."""
    seen: list[int] = []

    def handler(number, frame):
        if seen and number == signal.SIGINT:
            raise KeyboardInterrupt
        seen.append(number)

    try:
        old = {s: signal.signal(s, handler) for s in (signal.SIGTERM, signal.SIGINT)}
    except ValueError:  # not the main thread (a notebook's worker): leave signals alone
        old = {}
    try:
        yield lambda: bool(seen)
    finally:
        for number, previous in old.items():
            signal.signal(number, previous)
    if seen:  # after the last look
        raise KeyboardInterrupt


@contextlib.contextmanager
def _profiler(config, writer):
    """Yields a function to call before each step; traces `config.profile_steps = (first, last)` into the events folder."""
    first, last = config.profile_steps or (-1, -1)
    running = False

    def at(step: int):
        nonlocal running
        if step == first and writer.events:
            jax.profiler.start_trace(writer.events.logdir)
            running = True
        elif running and step == last + 1:
            jax.profiler.stop_trace()
            running = False

    try:
        yield at
    finally:
        if running:
            jax.profiler.stop_trace()
