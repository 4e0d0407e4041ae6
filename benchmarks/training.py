r"""Tokens a second of a student's training step, here and in PyTorch; prints one line of JSON.

    python -m benchmarks.training --config=configs/tiny.py \
        [--rounds=5] [--steps=4] [--microbatches=8]
    python -m benchmarks.training --config=configs/gsm8k_llama2_7b.py --model=b1 --rows=8 \
        --row_length=2048 [--remat=none] [--kernel=xla]

Both start from the weights of `config.model.base` and take the same steps on the same packed
batches of `config.student.sft`, with AdamW, clipping and the same learning rates: the losses that
the line holds show it. They take turns: each round times `steps` steps of one, then as many of the
other, after a round that is not counted (XLA compiles in it). `ratio` is the median over the
rounds, and `cpu_ratio` that of the processor time of a step, which says more on a shared machine.

The first command is the quickstart's student in float32. The second is for one accelerator: a model
of `benchmarks.jobs` and rows of random texts of it, three a row, of which the second half is the
target; parameters are float32 and products bfloat16, by autocast in PyTorch. `utilisation` is the
share of the chip's published bfloat16 FLOP/s that the model's FLOPs take, what is computed again
not counted.

In PyTorch it is `LlamaForCausalLM` of transformers, run eagerly, with
`scaled_dot_product_attention` and the fused AdamW; its batches are made before the clock starts.
Here they are made as the training loop makes them.
"""

import argparse
import contextlib
import json
import os
import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from benchmarks import harness

Run = Callable[[range], list[float]]  # takes the steps of a range; their losses


def glore(start, batches, section: ConfigDict, mesh) -> Run:
    """Takes the steps with this package's training update."""
    from glore_jax.parallel import mesh as meshes
    from glore_jax.training import fitting, losses
    from glore_jax.training.prefetch import prefetch

    batch = fitting.largest_batch(batches, mesh)
    updates = len(batches)
    limit = fitting.room(mesh)
    fitted = fitting.fit(start.model, losses.language_loss, section, updates, mesh, batch, limit)
    update = fitting.Updates(fitted)
    state = fitted.setup.init(start.load())

    def run(steps: range) -> list[float]:
        nonlocal state  # the one before is donated
        found = []
        fed = prefetch(lambda n: meshes.shard_batch(batches[n], mesh), steps)
        with contextlib.closing(fed):
            for batch in fed:
                state, metrics = update(state, batch)
                found.append(metrics["loss"])
        return [float(loss) for loss in found]

    return run


def pytorch(folder, vocab_size: int, batches, section, rates: np.ndarray, dtype: str) -> Run:
    """Takes the same steps with transformers."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(os.cpu_count())
    model = read_llama(folder, vocab_size).to(device).train()
    optimizer = torch.optim.AdamW(
        model.parameters(), betas=(0.9, 0.95), weight_decay=section.weight_decay, fused=True
    )
    made = [to_torch(batches[n], device) for n in range(len(batches))]
    half = dtype == "bfloat16"

    def step(n: int) -> float:
        with torch.autocast(device, torch.bfloat16, enabled=half):
            logits = predict(model, made[n])
        loss = mean_loss(logits, made[n])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), section.clip)
        optimizer.param_groups[0]["lr"] = float(rates[n])
        optimizer.step()
        return loss.item()

    return lambda steps: [step(n) for n in steps]


def read_llama(folder, vocab_size: int):
    """The base in PyTorch, its embeddings grown to `vocab_size` by the mean, as here."""
    import torch
    import transformers

    transformers.utils.logging.set_verbosity_error()
    model = transformers.LlamaForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="sdpa"
    )
    old = model.config.vocab_size
    model.resize_token_embeddings(vocab_size, mean_resizing=False)
    with torch.no_grad():
        for layer in (model.get_input_embeddings(), model.get_output_embeddings()):
            layer.weight[old:] = layer.weight[:old].mean(0)
    return model


def to_torch(batch, device: str) -> dict[str, Any]:
    """The arrays of a batch as tensors; what is an index becomes 64 bits wide."""
    import torch

    arrays = {name: array for name, array in vars(batch).items() if array is not None}
    tensors = {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}
    return tensors | {k: tensors[k].long() for k in ("tokens", "positions", "targets")}


def predict(model, batch: dict[str, Any]):
    """Logits [B, T, vocab]; a token sees those before it in its own text."""
    import torch

    segments = batch["segments"]  # [B, T]: number of the text in its row
    length = segments.shape[1]
    earlier = torch.ones(length, length, dtype=torch.bool, device=segments.device).tril()
    visible = (segments[:, None, :] == segments[:, :, None]) & earlier
    return model(
        batch["tokens"],
        position_ids=batch["positions"],
        attention_mask=visible[:, None],
        use_cache=False,
    ).logits


def mean_loss(logits, batch: dict[str, Any]):
    """The weighted mean of the losses of all tokens."""
    import torch

    each = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1).float(), batch["targets"].flatten(), reduction="none"
    )
    weights = batch["weights"].flatten()
    return (each * weights).sum() / weights.sum()


def random_examples(rows: int, row_length: int, vocab: int, steps: int) -> list:
    """Three texts a row of each step, second halves as targets."""
    from glore_jax.training.examples import language_example

    draw = np.random.default_rng(0).integers
    return [
        language_example(*(draw(3, vocab, row_length // 6).tolist() for _ in range(2)))
        for _ in range(3 * rows * steps)
    ]


def examples_for(ctx, base, flags: argparse.Namespace, steps: int) -> list:
    """What the student's first training reads, or random texts for `flags.model`."""
    from glore_jax.stages import student
    from glore_jax.training.examples import language_example

    if flags.model:
        return random_examples(flags.rows, flags.row_length, base.tokenizer.vocab_size - 1, steps)
    prompts = ctx.prompts(base)
    return [
        language_example(prompts.question(d["question"]), prompts.solution(d["steps"])[0])
        for d in student.first_solutions(ctx, ctx.task.load("train"))
    ]


def measure(runs: dict[str, Run], rounds: int, steps: int) -> tuple[dict, dict, dict]:
    """(wall seconds, processor seconds of each round, losses of all steps), each by name of run."""
    wall: dict[str, list[float]] = {name: [] for name in runs}
    cpu: dict[str, list[float]] = {name: [] for name in runs}
    loss: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name, run in runs.items():
            with harness.Clock() as clock:
                loss[name] += run(range(number * steps, (number + 1) * steps))
            if number:
                wall[name].append(clock.wall)
                cpu[name].append(clock.cpu)
    return wall, cpu, loss


def ratios(seconds: dict[str, list[float]]) -> list[float]:
    """How many times as long PyTorch took, round by round."""
    return [a / b for a, b in zip(seconds["pytorch"], seconds["glore"], strict=True)]


def describe(ctx, base, plan, flags: argparse.Namespace) -> dict[str, Any]:
    """What was measured on what."""
    import jax

    from glore_jax.stages import models

    kernel = models.options(ctx, base.config, True)["kernel"]
    return {
        "rows": plan.rows,
        "row_length": plan.row_length,
        "fill": round(plan.fill, 3),
        "steps": flags.steps,
        "device": jax.devices()[0].device_kind,
        "jax": jax.__version__,
        "threads": os.cpu_count(),
        "microbatches": ctx.config.student.sft.microbatches,
        "remat": ctx.config.model.remat,
        "kernel": "xla" if kernel is None else type(kernel).__name__.lower(),
    }


def share_of_peak(base, plan) -> float:
    """Share of the device's peak FLOP/s that one token a second takes; padding is no work."""
    from glore_jax.training import metrics

    flops = metrics.training_flops(base.num_params, base.config, 1, plan.row_length)
    return flops / metrics.peak_flops()


def read_flags() -> argparse.Namespace:
    parser = harness.parser(__doc__)
    add = parser.add_argument
    add("--config", required=True)
    add("--rounds", type=int, default=5)
    add("--steps", type=int, default=4, help="of a round")
    add(
        "--microbatches",
        type=int,
        help="instead of config.student.sft.microbatches; here alone",
    )
    add("--model", help="folder of a LLaMA whose tokens are numbers, on an accelerator")
    add("--rows", type=int, default=8, help="of a batch, with --model")
    add("--row_length", type=int, default=2048, help="with --model")
    add("--remat", help="instead of config.model.remat; here alone")
    add("--kernel", help="instead of config.model.kernel; here alone")
    add("--alone", action="store_true", help="without PyTorch")
    return parser.parse_args()


def configure(flags: argparse.Namespace) -> ConfigDict:
    """The config of `flags.config` with what the flags say."""
    config = harness.read_config(flags.config)
    section = config.student.sft
    section.optimizer = "adamw"
    section.epochs = 1
    section.microbatches = flags.microbatches or section.microbatches
    config.model.remat = flags.remat or config.model.remat
    config.model.kernel = flags.kernel or config.model.kernel
    if flags.model:
        config.model.base = flags.model
        section.batch_size = 3 * flags.rows
        section.row_length = flags.row_length
    else:
        config.model.dtype = "float32"
    return config


def set_environment() -> None:
    """Before anything loads OpenMP or JAX.

    PyTorch's idle threads would spin, and on a machine with other work take the time of those that
    have something to do. On a GPU both need room.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")


def main() -> None:
    set_environment()
    from glore_jax.stages import models, training
    from glore_jax.stages.context import Context
    from glore_jax.training.optimizer import make_optimizer

    flags = read_flags()
    config = configure(flags)
    section = config.student.sft
    steps = (flags.rounds + 1) * flags.steps
    ctx = Context(config, "")
    start = models.base_start(ctx)
    base = start.model
    examples = examples_for(ctx, base, flags, steps)
    batches, _ = training.make_batches(ctx, examples, section, base.config)
    if len(batches) < steps:
        raise SystemExit(f"an epoch has {len(batches)} steps: take fewer rounds or steps")
    _, schedule = make_optimizer(section, len(batches))
    rates = np.asarray(schedule(np.arange(len(batches))))

    runs = {}
    if not flags.alone:
        folder = models.base_folder(config)
        vocab_size = base.config.vocab_size
        runs["pytorch"] = pytorch(folder, vocab_size, batches, section, rates, config.model.dtype)
    runs["glore"] = glore(start, batches, section, ctx.mesh)
    wall, cpu, loss = measure(runs, flags.rounds, flags.steps)

    plan = batches.plan
    tokens = plan.rows * plan.row_length * flags.steps * plan.fill
    speed = {name: tokens / statistics.median(seconds) for name, seconds in wall.items()}
    line = {
        "tokens_per_second": {name: round(v) for name, v in speed.items()},
        "first_loss": {name: round(v[0], 5) for name, v in loss.items()},
        "last_loss": {name: round(v[-1], 5) for name, v in loss.items()},
        **describe(ctx, base, plan, flags),
    }
    if flags.model:
        share = share_of_peak(base, plan)
        line["utilisation"] = {name: round(v * share, 3) for name, v in speed.items()}
    if not flags.alone:
        line["ratio"] = round(statistics.median(ratios(wall)), 3)
        line["ratios"] = [round(r, 2) for r in ratios(wall)]
        line["cpu_ratio"] = round(statistics.median(ratios(cpu)), 3)
    print(json.dumps(line))


if __name__ == "__main__":
    main()
