"""Times one Monte-Carlo rollout job on one engine and prints one line of JSON.

    python -m benchmarks.rollouts --engine=glore --model=m15 --job=job.npz [--dtype=bfloat16] [--question_scale=2]
    python -m benchmarks.rollouts --engine=transformers --model=m15 --job=job.npz

and on one accelerator with `--lanes=1 --scanned --dtype=bfloat16`. Both files come from `python -m benchmarks.jobs`.

`seconds` are those of the whole job after a warm-up; what XLA compiled during the warm-up is `compile_seconds`. On a shared machine
`cpu_seconds` says more: the processor time of the same job. `least_gb_s` is what decoding cannot do without reading, weights and live
keys and values once a step, over the whole time of the job.
"""

import argparse
import dataclasses
import json
import os
import time
from collections.abc import Callable

from benchmarks import jobs


class NoTokenizer:
    """Stands in where texts do not matter: nothing ends a sequence, all ids may be drawn."""

    eos_id = -1

    def __init__(self, vocab_size: int):
        self.vocab_size = vocab_size

    def decode(self, ids) -> str:
        return ""


def glore(model: str, dtype: str, job: jobs.RolloutJob, flags) -> Callable:
    """Runs `job` with this package's engine: one trunk a row, its cuts as forks."""
    import jax

    from glore_jax.models import hf_import, llama
    from glore_jax.models.model import Model
    from glore_jax.sampling.budget import Capacity, token_bytes
    from glore_jax.sampling.cpu.lanes import Lanes
    from glore_jax.sampling.engine import Engine, Fork, Job
    from glore_jax.sampling.tokens import Sampling

    compiled = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda name, seconds, **_: compiled.append(seconds) if "compile" in name else None
    )
    config = hf_import.read_config(model)
    graphdef, shapes = llama.abstract(
        config, dtype=dtype, param_dtype=dtype, unroll=not flags.scanned
    )
    params = hf_import.read_weights(model, shapes)
    longest, groups = job.cuts[-1], -(-flags.groups // flags.lanes)
    policy = Model(graphdef, params, config, NoTokenizer(config.vocab_size))
    capacity = Capacity(groups, flags.slots, shelves=1, max_trunk=longest, max_new=job.new)
    engine = Lanes(
        Engine(policy, capacity, round_steps=flags.round_steps) for _ in range(flags.lanes)
    )
    sampling = Sampling(jobs.TEMPERATURE, max_new=job.new)

    def least_bytes(slot_steps: int) -> float:
        """Weights, and the trunk of each group and half of what its slots may write, once a step."""
        held = sum(x.nbytes for x in jax.tree.leaves(params))
        if not config.tie_embeddings:  # of the embedding a row a slot is read
            held -= params["embedding"][...].nbytes
        group = token_bytes(config, dtype) * (longest + flags.slots * job.new / 2)
        return slot_steps / flags.slots * (held / groups + group)

    def run(rows) -> dict:
        before = dataclasses.replace(engine.stats)
        work = [
            Job(
                f"row {i}",
                row[:longest].tolist(),
                [Fork(c, cut=c, rollout=j) for c in job.cuts for j in range(job.k)],
            )
            for i, row in enumerate(rows)
        ]
        for _ in engine.run(work, sampling):
            pass
        s = engine.stats
        slot_steps = s.slot_steps - before.slot_steps
        return {
            "least_bytes": least_bytes(slot_steps),
            "tokens": s.tokens - before.tokens,
            "prefill_tokens": s.prefill_tokens - before.prefill_tokens,
            "occupancy": round((s.tokens - before.tokens) / slot_steps, 4),
            "compile_seconds": round(sum(compiled), 2),
        }

    return run


def transformers(model: str, dtype: str, job: jobs.RolloutJob, flags) -> Callable:
    """Runs `job` with `generate` of transformers: batches of prefixes, left-padded, k continuations each."""
    import torch
    from transformers import LlamaForCausalLM

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(os.cpu_count())
    torch.manual_seed(0)
    policy = LlamaForCausalLM.from_pretrained(model, dtype=getattr(torch, dtype)).to(device).eval()

    def run(rows) -> dict:
        prefixes = [row[:cut].tolist() for row in rows for cut in job.cuts]
        made = read = 0
        for start in range(0, len(prefixes), flags.batch_prefixes):
            batch = prefixes[start : start + flags.batch_prefixes]
            width = max(map(len, batch))
            ids = torch.tensor([[0] * (width - len(p)) + p for p in batch], device=device)
            mask = torch.tensor(
                [[0] * (width - len(p)) + [1] * len(p) for p in batch], device=device
            )
            with torch.inference_mode():
                out = policy.generate(
                    ids,
                    attention_mask=mask,
                    do_sample=True,
                    temperature=jobs.TEMPERATURE,
                    top_k=0,
                    pad_token_id=0,
                    num_return_sequences=job.k,
                    max_new_tokens=job.new,
                    min_new_tokens=job.new,
                )
            made, read = made + out.shape[0] * (out.shape[1] - width), read + ids.numel()
        return {"tokens": made, "prefill_tokens": read, "occupancy": 1.0, "compile_seconds": 0.0}

    return run


ENGINES = {"glore": glore, "transformers": transformers}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--engine", choices=ENGINES, required=True)
    parser.add_argument("--model", required=True, help="folder of a LLaMA in Hugging Face form")
    parser.add_argument("--job", required=True, help="file made by benchmarks.jobs")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument(
        "--question_scale", type=int, default=1, help="times the length of the questions"
    )
    parser.add_argument(
        "--times", type=int, default=1, help="measured runs; the fastest is printed"
    )
    parser.add_argument("--groups", type=int, default=16)
    parser.add_argument(
        "--lanes", type=int, default=2, help="engines side by side, one a core of a CPU"
    )
    parser.add_argument(
        "--scanned", action="store_true", help="layers not written out, as large models run"
    )
    parser.add_argument("--slots", type=int, default=32)
    parser.add_argument("--round_steps", type=int, default=16)
    parser.add_argument("--batch_prefixes", type=int, default=16, help="of transformers")
    flags = parser.parse_args()

    job = jobs.read(flags.job, flags.question_scale)
    run = ENGINES[flags.engine](flags.model, flags.dtype, job, flags)
    run(job.rows[:4])
    timed = []
    for _ in range(flags.times):
        wall, cpu = time.perf_counter(), time.process_time()
        work = run(job.rows)
        timed.append((time.perf_counter() - wall, time.process_time() - cpu, work))
    wall, cpu, work = min(timed, key=lambda t: t[0])
    if least := work.pop("least_bytes", None):
        work["least_gb_s"] = round(least / wall / 1e9)
    line = {
        "engine": flags.engine,
        "model": os.path.basename(os.path.normpath(flags.model)),
        "dtype": flags.dtype,
        "prefix_tokens": sum(map(len, job.prefixes)) // len(job.prefixes),
        "rollouts": job.rollouts,
        **work,
        "seconds": round(wall, 2),
        "cpu_seconds": round(cpu, 2),
        "tok_s": round(work["tokens"] / wall),
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()
