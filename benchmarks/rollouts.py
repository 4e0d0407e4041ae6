r"""Times one Monte-Carlo rollout job on one engine and prints one line of JSON.

    python -m benchmarks.rollouts --engine=glore --model=m15 --job=job.npz \
        [--dtype=bfloat16] [--question_scale=2]
    python -m benchmarks.rollouts --engine=transformers --model=m15 --job=job.npz

and on one accelerator with `--lanes=1 --scanned --dtype=bfloat16`. Both files come from
`python -m benchmarks.jobs`.

`seconds` are those of the whole job after a warm-up; what XLA compiled during the warm-up is
`compile_seconds`. On a shared machine `cpu_seconds` says more: the processor time of the same job.
`least_gb_s` is what decoding cannot do without reading, weights and live keys and values once a
step, over the whole time of the job.
"""

import argparse
import dataclasses
import json
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import harness, jobs

Run = Callable[[np.ndarray], dict[str, Any]]  # rows of a job -> what it took


def glore(job: jobs.RolloutJob, flags: argparse.Namespace) -> Run:
    """Runs `job` with this package's engine: one trunk a row, its cuts as forks."""
    import jax

    from glore_jax.sampling.cpu.lanes import Lanes
    from glore_jax.sampling.tokens import Sampling

    compiled: list[float] = []

    def listen(name: str, seconds: float, **_: Any) -> None:
        if "compile" in name:
            compiled.append(seconds)

    jax.monitoring.register_event_duration_secs_listener(listen)
    model = jobs.read_policy(flags.model, flags.dtype, unroll=not flags.scanned)
    groups = -(-flags.groups // flags.lanes)
    engine = Lanes(
        jobs.make_engine(
            model, job, groups=groups, slots=flags.slots, round_steps=flags.round_steps
        )
        for _ in range(flags.lanes)
    )
    step_bytes = least_bytes(model, job, groups, flags)

    def run(rows: np.ndarray) -> dict[str, Any]:
        before = dataclasses.replace(engine.stats)
        sampling = Sampling(jobs.TEMPERATURE, max_new=job.new)
        for _ in engine.run(jobs.engine_jobs(job, rows), sampling):
            pass
        after = engine.stats
        tokens = after.tokens - before.tokens
        slot_steps = after.slot_steps - before.slot_steps
        return {
            "least_bytes": slot_steps / flags.slots * step_bytes,
            "tokens": tokens,
            "prefill_tokens": after.prefill_tokens - before.prefill_tokens,
            "occupancy": round(tokens / slot_steps, 4),
            "compile_seconds": round(sum(compiled), 2),
        }

    return run


def least_bytes(model, job: jobs.RolloutJob, groups: int, flags: argparse.Namespace) -> float:
    """Bytes that a step of one group cannot do without reading.

    Its share of the weights, its trunk, and half of what its slots may write.
    """
    import jax

    from glore_jax.sampling.budget import token_bytes

    weights = sum(x.nbytes for x in jax.tree.leaves(model.params))
    if not model.config.tie_embeddings:  # of the embedding a row a slot is read
        weights -= model.params["embedding"][...].nbytes
    columns = job.cuts[-1] + flags.slots * job.new / 2
    return weights / groups + token_bytes(model.config, flags.dtype) * columns


def transformers(job: jobs.RolloutJob, flags: argparse.Namespace) -> Run:
    """Runs `job` with `generate` of transformers.

    Batches of prefixes, left-padded, k continuations each.
    """
    import torch
    from transformers import LlamaForCausalLM

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(os.cpu_count())
    torch.manual_seed(0)
    dtype = getattr(torch, flags.dtype)
    policy = LlamaForCausalLM.from_pretrained(flags.model, dtype=dtype).to(device).eval()

    def generate(batch: list[list[int]]) -> tuple[int, int]:
        """(tokens made, tokens read, padding included)."""
        width = max(map(len, batch))
        ids = [[0] * (width - len(prefix)) + prefix for prefix in batch]
        mask = [[0] * (width - len(prefix)) + [1] * len(prefix) for prefix in batch]
        with torch.inference_mode():
            out = policy.generate(
                torch.tensor(ids, device=device),
                attention_mask=torch.tensor(mask, device=device),
                do_sample=True,
                temperature=jobs.TEMPERATURE,
                top_k=0,
                pad_token_id=0,
                num_return_sequences=job.k,
                max_new_tokens=job.new,
                min_new_tokens=job.new,
            )
        return out.shape[0] * (out.shape[1] - width), len(batch) * width

    def run(rows: np.ndarray) -> dict[str, Any]:
        prefixes = [row[:cut].tolist() for row in rows for cut in job.cuts]
        starts = range(0, len(prefixes), flags.batch_prefixes)
        done = [generate(prefixes[start : start + flags.batch_prefixes]) for start in starts]
        return {
            "tokens": sum(made for made, _ in done),
            "prefill_tokens": sum(read for _, read in done),
            "occupancy": 1.0,
            "compile_seconds": 0.0,
        }

    return run


ENGINES = {"glore": glore, "transformers": transformers}


def read_flags() -> argparse.Namespace:
    parser = harness.parser(__doc__)
    add = parser.add_argument
    add("--engine", choices=ENGINES, required=True)
    add("--model", required=True, help="folder of a LLaMA in Hugging Face form")
    add("--job", required=True, help="file made by benchmarks.jobs")
    add("--dtype", choices=("float32", "bfloat16"), default="float32")
    add("--question_scale", type=int, default=1, help="times the length of the questions")
    add("--times", type=int, default=1, help="measured runs; the fastest is printed")
    add("--groups", type=int, default=16)
    add("--lanes", type=int, default=2, help="engines side by side, one a core of a CPU")
    add("--scanned", action="store_true", help="layers not written out, as large models run")
    add("--slots", type=int, default=32)
    add("--round_steps", type=int, default=16)
    add("--batch_prefixes", type=int, default=16, help="of transformers")
    return parser.parse_args()


def main() -> None:
    flags = read_flags()
    job = jobs.read(flags.job, flags.question_scale)
    run = ENGINES[flags.engine](job, flags)
    run(job.rows[:4])
    timed = []
    for _ in range(flags.times):
        with harness.Clock() as clock:
            work = run(job.rows)
        timed.append((clock, work))
    clock, work = min(timed, key=lambda pair: pair[0].wall)
    least = work.pop("least_bytes", None)
    if least:
        work["least_gb_s"] = round(least / clock.wall / 1e9)
    line = {
        "engine": flags.engine,
        "model": os.path.basename(os.path.normpath(flags.model)),
        "dtype": flags.dtype,
        "prefix_tokens": sum(map(len, job.prefixes)) // len(job.prefixes),
        "rollouts": job.rollouts,
        **work,
        "seconds": round(clock.wall, 2),
        "cpu_seconds": round(clock.cpu, 2),
        "tok_s": round(work["tokens"] / clock.wall),
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()
