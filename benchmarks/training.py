"""Tokens a second of a student's training step, here and in PyTorch, taken in turns.

    python -m benchmarks.training --config=configs/tiny.py [--rounds=5] [--steps=4]
        [--microbatches=8]
    python -m benchmarks.training --config=configs/gsm8k_llama2_7b.py --model=b1 --rows=8
        --row_length=2048 [--remat=none] [--kernel=xla]

Prints one line of JSON. Both start from the weights of `config.model.base` and take the same steps
on the same packed batches of `config.student.sft`, with AdamW, clipping and the same learning
rates: the losses that the line holds show it. Each round times `steps` steps of one, then as many
of the other, after a round that is not counted (XLA compiles in it); `ratio` is the median over the
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
import time
from collections.abc import Callable

import numpy as np

from benchmarks.pods import read_config


def glore(base, batches, section, mesh) -> Callable[[range], list[float]]:
    """Takes the steps of a range with this package's training update; gives back their losses."""
    from glore_jax.parallel import mesh as meshes
    from glore_jax.training import losses, update
    from glore_jax.training.prefetch import prefetch

    setup = update.setup(base, losses.language_loss, section, len(batches), mesh)
    state = setup.init(base.params)

    def run(steps: range) -> list[float]:
        nonlocal state  # the one before is donated
        found = []
        fed = prefetch(lambda n: meshes.shard_batch(batches[n], mesh), steps)
        with contextlib.closing(fed):
            for batch in fed:
                state, metrics = setup.update(state, batch)
                found.append(metrics["loss"])
        return [float(loss) for loss in found]

    return run


def pytorch(
    folder, vocab_size: int, batches, section, rates: np.ndarray, dtype: str
) -> Callable[[range], list[float]]:
    """Takes the same steps with transformers and gives back their losses."""
    import torch
    import transformers

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(os.cpu_count())
    transformers.utils.logging.set_verbosity_error()
    model = transformers.LlamaForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="sdpa"
    ).to(device)
    old = model.config.vocab_size
    model.resize_token_embeddings(vocab_size, mean_resizing=False)
    with torch.no_grad():
        for weight in model.get_input_embeddings().weight, model.get_output_embeddings().weight:
            weight[old:] = weight[:old].mean(0)
    model.train()
    optimizer = torch.optim.AdamW(
        model.parameters(), betas=(0.9, 0.95), weight_decay=section.weight_decay, fused=True
    )

    def on_device(batch) -> dict[str, torch.Tensor]:
        arrays = {name: array for name, array in vars(batch).items() if array is not None}
        tensors = {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}
        return tensors | {k: tensors[k].long() for k in ("tokens", "positions", "targets")}

    made = [on_device(batches[n]) for n in range(len(batches))]

    def step(n: int) -> float:
        batch = made[n]
        segments, length = batch["segments"], batch["segments"].shape[1]
        visible = (segments[:, None, :] == segments[:, :, None]) & torch.ones(
            length, length, dtype=torch.bool, device=device
        ).tril()
        with (
            torch.autocast(device, torch.bfloat16)
            if dtype == "bfloat16"
            else contextlib.nullcontext()
        ):
            logits = model(
                batch["tokens"],
                position_ids=batch["positions"],
                attention_mask=visible[:, None],
                use_cache=False,
            ).logits
        each = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1).float(), batch["targets"].flatten(), reduction="none"
        )
        weights = batch["weights"].flatten()
        loss = (each * weights).sum() / weights.sum()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), section.clip)
        optimizer.param_groups[0]["lr"] = float(rates[n])
        optimizer.step()
        return loss.item()

    return lambda steps: [step(n) for n in steps]


def random_examples(rows: int, row_length: int, vocab: int, steps: int) -> list:
    """Three texts a row of each step, second halves as targets."""
    from glore_jax.training.batches import language_example

    draw = np.random.default_rng(0).integers
    return [
        language_example(*(draw(3, vocab, row_length // 6).tolist() for _ in range(2)))
        for _ in range(3 * rows * steps)
    ]


def read_flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=4, help="of a round")
    parser.add_argument(
        "--microbatches", type=int, help="instead of config.student.sft.microbatches; here alone"
    )
    parser.add_argument(
        "--model", help="folder of a LLaMA whose tokens are numbers, on an accelerator"
    )
    parser.add_argument("--rows", type=int, default=8, help="of a batch, with --model")
    parser.add_argument("--row_length", type=int, default=2048, help="with --model")
    parser.add_argument("--remat", help="instead of config.model.remat; here alone")
    parser.add_argument("--kernel", help="instead of config.model.kernel; here alone")
    parser.add_argument("--alone", action="store_true", help="without PyTorch")
    return parser.parse_args()


def configure(flags):
    """The config of `flags.config` with what the flags say."""
    config = read_config(flags.config)
    section, model = config.student.sft, config.model
    section.optimizer, section.epochs = "adamw", 1
    section.microbatches = flags.microbatches or section.microbatches
    model.remat, model.kernel = flags.remat or model.remat, flags.kernel or model.kernel
    if flags.model:
        model.base = flags.model
        section.batch_size, section.row_length = 3 * flags.rows, flags.row_length
    else:
        model.dtype = "float32"
    return config


def examples_for(ctx, base, flags, steps: int) -> list:
    """What the student's first training reads, or random texts for `flags.model`."""
    from glore_jax.stages import student
    from glore_jax.training.batches import language_example

    if flags.model:
        return random_examples(flags.rows, flags.row_length, base.tokenizer.vocab_size - 1, steps)
    prompts = ctx.prompts(base)
    return [
        language_example(prompts.question(d["question"]), prompts.solution(d["steps"])[0])
        for d in student.first_solutions(ctx, ctx.task.load("train"))
    ]


def measure(runs: dict[str, Callable], rounds: int, steps: int) -> tuple[dict, dict, dict]:
    """Wall seconds and processor seconds of each round, and the losses of all steps.

    Each by the names of `runs`.
    """
    wall, cpu, loss = ({name: [] for name in runs} for _ in range(3))
    for number in range(rounds + 1):
        for name, run in runs.items():
            start, start_cpu = time.perf_counter(), time.process_time()
            loss[name] += run(range(number * steps, (number + 1) * steps))
            if number:
                wall[name].append(time.perf_counter() - start)
                cpu[name].append(time.process_time() - start_cpu)
    return wall, cpu, loss


def ratios(seconds: dict[str, list[float]]) -> list[float]:
    """How many times as long PyTorch took, round by round."""
    return [a / b for a, b in zip(seconds["pytorch"], seconds["glore"], strict=True)]


def main() -> None:
    flags = read_flags()
    # Before anything loads OpenMP: PyTorch's idle threads would spin, and on a machine with other
    # work take the time of those that have something to do.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # on a GPU both need room
    import jax

    from glore_jax.stages import models, training
    from glore_jax.stages.context import Context
    from glore_jax.training import metrics
    from glore_jax.training.optimizer import make_optimizer

    config, steps = configure(flags), (flags.rounds + 1) * flags.steps
    ctx, section, dtype = Context(config, ""), config.student.sft, config.model.dtype
    base = models.load_base(ctx)
    batches, _ = training.make_batches(
        ctx, examples_for(ctx, base, flags, steps), section, base.config
    )
    plan = batches.plan
    if len(batches) < steps:
        raise SystemExit(f"an epoch has {len(batches)} steps: take fewer rounds or steps")
    count = sum(x.size for x in jax.tree.leaves(base.params))
    rates = np.asarray(make_optimizer(section, len(batches))[1](np.arange(len(batches))))
    runs = {}
    if not flags.alone:
        folder = models.base_folder(config)
        runs["pytorch"] = pytorch(folder, base.config.vocab_size, batches, section, rates, dtype)
    runs["glore"] = glore(base, batches, section, ctx.mesh)
    wall, cpu, loss = measure(runs, flags.rounds, flags.steps)

    positions = plan.rows * plan.row_length * flags.steps
    speed = {name: positions * plan.fill / statistics.median(v) for name, v in wall.items()}
    kernel = models.options(ctx, base.config, True)["kernel"]
    line = {
        "tokens_per_second": {name: round(v) for name, v in speed.items()},
        "first_loss": {name: round(v[0], 5) for name, v in loss.items()},
        "last_loss": {name: round(v[-1], 5) for name, v in loss.items()},
        "rows": plan.rows,
        "row_length": plan.row_length,
        "fill": round(plan.fill, 3),
        "steps": flags.steps,
        "device": jax.devices()[0].device_kind,
        "jax": jax.__version__,
        "threads": os.cpu_count(),
        "microbatches": section.microbatches,
        "remat": config.model.remat,
        "kernel": "xla" if kernel is None else type(kernel).__name__.lower(),
    }
    if flags.model:
        flops = metrics.training_flops(count, base.config, 1, plan.row_length) / plan.fill
        line["utilisation"] = {
            name: round(v * flops / metrics.peak_flops(), 3) for name, v in speed.items()
        }
    if not flags.alone:
        line["ratio"] = round(statistics.median(ratios(wall)), 3)
        line["ratios"] = [round(r, 2) for r in ratios(wall)]
        line["cpu_ratio"] = round(statistics.median(ratios(cpu)), 3)
    print(json.dumps(line))


if __name__ == "__main__":
    main()
