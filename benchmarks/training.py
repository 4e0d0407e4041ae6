"""Tokens a second of a student's training step, here and in PyTorch, taken in turns; prints one line of JSON.

    python -m benchmarks.training --config=configs/tiny.py [--rounds=5] [--steps=4] [--microbatches=8]

Both start from the weights of `config.model.base` and take the same steps on the same packed batches of `config.student.sft`, in
float32, with AdamW, clipping and the same learning rates: the losses that the line holds show it. Each round times `steps` steps of
one, then as many of the other, after a round that is not counted (XLA compiles in it); `ratio` is the median over the rounds, and
`cpu_ratio` that of the processor time of a step, which says more on a shared machine.

In PyTorch it is `LlamaForCausalLM` of transformers, run eagerly, with `scaled_dot_product_attention` and the fused AdamW; its
batches are made before the clock starts. Here they are made as the training loop makes them.
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
    """Takes the steps of a range with this package's training step and gives back their losses."""
    from glore_jax.parallel import mesh as meshes
    from glore_jax.training import loop, losses
    from glore_jax.training.batches import ahead

    setup = loop.setup(base.graphdef, base.params, losses.language_loss, section, len(batches), mesh)
    state = [base.params, setup.init(base.params)]

    def run(steps: range) -> list[float]:
        found = []
        with contextlib.closing(ahead(lambda n: meshes.feed(batches[n], mesh), steps)) as fed:
            for batch in fed:
                *state[:], metrics = setup.step(*state, batch)
                found.append(metrics["loss"])
        return [float(loss) for loss in found]

    return run


def pytorch(folder, vocab_size: int, batches, section, rates: np.ndarray) -> Callable[[range], list[float]]:
    """Takes the same steps with transformers and gives back their losses."""
    import torch
    import transformers

    torch.set_num_threads(os.cpu_count())
    transformers.utils.logging.set_verbosity_error()
    model = transformers.LlamaForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="sdpa"
    )
    old = model.config.vocab_size
    model.resize_token_embeddings(vocab_size, mean_resizing=False)
    with torch.no_grad():
        weight = model.get_input_embeddings().weight
        weight[old:] = weight[:old].mean(0)
    model.train()
    optimizer = torch.optim.AdamW(
        model.parameters(), betas=(0.9, 0.95), weight_decay=section.weight_decay, fused=True
    )
    made = [{k: torch.from_numpy(v) for k, v in batches[n].items()} for n in range(len(batches))]
    for batch in made:
        batch.update({k: batch[k].long() for k in ("tokens", "positions", "targets")})

    def step(n: int) -> float:
        batch = made[n]
        segments, length = batch["segments"], batch["segments"].shape[1]
        visible = (segments[:, None, :] == segments[:, :, None]) & torch.ones(
            length, length, dtype=torch.bool
        ).tril()
        logits = model(
            batch["tokens"], position_ids=batch["positions"], attention_mask=visible[:, None], use_cache=False
        ).logits
        each = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), batch["targets"].flatten(), reduction="none"
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


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=4, help="of a round")
    parser.add_argument(
        "--microbatches", type=int, help="instead of config.student.sft.microbatches; here alone"
    )
    flags = parser.parse_args()

    # Before anything loads OpenMP: PyTorch's idle threads would spin, and on a machine with other work take the time of those that
    # have something to do.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    from glore_jax.stages import common, student
    from glore_jax.stages.context import Context
    from glore_jax.training.batches import language_example
    from glore_jax.training.optimizer import make_optimizer

    config = read_config(flags.config)
    section = config.student.sft
    section.optimizer, config.model.dtype = "adamw", "float32"
    section.microbatches = flags.microbatches or section.microbatches
    ctx = Context(config, "")
    base = common.load_base(ctx)
    examples = [
        language_example(base.prompts.question(d["question"]), base.prompts.solution(d["steps"])[0])
        for d in student.first_set(ctx, ctx.task.load("train"))
    ]
    section.epochs = 1
    batches, _ = common.make_batches(ctx, examples, section, base.config)
    plan = batches.plan
    if len(batches) < (flags.rounds + 1) * flags.steps:
        parser.error(f"an epoch has {len(batches)} steps: take fewer rounds or steps")
    rates = np.asarray(make_optimizer(section, len(batches))[1](np.arange(len(batches))))
    runs = {
        "pytorch": pytorch(common.base_folder(config), base.config.vocab_size, batches, section, rates),
        "glore": glore(base, batches, section, ctx.mesh),
    }
    tokens = plan.rows * plan.row_length * plan.fill * flags.steps
    speed, cpu, loss = ({name: [] for name in runs} for _ in range(3))
    for number in range(flags.rounds + 1):
        for name, run in runs.items():
            start, start_cpu = time.perf_counter(), time.process_time()
            loss[name] += run(range(number * flags.steps, (number + 1) * flags.steps))
            if number:
                speed[name].append(tokens / (time.perf_counter() - start))
                cpu[name].append(time.process_time() - start_cpu)
    ratios = [a / b for a, b in zip(speed["glore"], speed["pytorch"], strict=True)]
    line = {
        "ratio": round(statistics.median(ratios), 3), "ratios": [round(r, 2) for r in ratios],
        "cpu_ratio": round(statistics.median(b / a for a, b in zip(cpu["glore"], cpu["pytorch"], strict=True)), 3),
        "tokens_per_second": {name: round(statistics.median(v)) for name, v in speed.items()},
        "first_loss": {name: round(v[0], 5) for name, v in loss.items()},
        "last_loss": {name: round(v[-1], 5) for name, v in loss.items()},
        "rows": plan.rows, "row_length": plan.row_length, "fill": round(plan.fill, 3), "steps": flags.steps,
        "threads": os.cpu_count(),
    }  # fmt: skip
    print(json.dumps(line))


if __name__ == "__main__":
    main()
