"""Time to label: from the drafts on disk to their step labels on disk, by this package or by vLLM, as one line of JSON.

    python -m benchmarks.labelling --config=configs/tiny.py --workdir=runs/tiny --out=/tmp/labels [--drafts=500]
    python -m benchmarks.labelling --engine=vllm --config=configs/tiny.py --workdir=runs/tiny --out=/tmp/labels-vllm

Reads the student and the samples of a work directory; the records go to `--out`. `--schedule` is the config's (`backward`) here and
`full` for vLLM, which gets all prefixes of all drafts at once, shares their keys and values by its prefix cache, and stops at
end-of-sequence. Cuts, prompts, grading and labels are the same code for both. `seconds` are wall-clock after a warm-up on the
first drafts; `cpu_seconds` processor time. vLLM is imported only if asked for: install this package beside it.
"""

import argparse
import dataclasses
import itertools
import json
import os
import time

from benchmarks.pods import read_config
from benchmarks.schedules import by_draft, compare, read_drafts
from glore_jax import parquet, records
from glore_jax.labels.stepwise import SCHEDULES
from glore_jax.sampling.engine import Completion, Stats
from glore_jax.stages import generation, labelling, models
from glore_jax.stages.context import Context


class Vllm:
    """Runs jobs that say at once which forks they want; a job asks for all rollouts of a prefix."""

    def __init__(self, folder: str, tokenizer, positions: int, dtype: str):
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "4")
        import vllm

        self.vllm, self.tokenizer, self.stats = vllm, tokenizer, Stats()
        self.llm = vllm.LLM(
            model=folder,
            skip_tokenizer_init=True,
            dtype=dtype,
            max_model_len=positions,
            enable_prefix_caching=True,
        )

    def run(self, jobs, sampling):
        self.llm.reset_prefix_cache()
        jobs = list(jobs)
        asked = [
            (job, at, list(forks))
            for job in jobs
            for at, forks in itertools.groupby(job.waiting, key=lambda fork: fork.at)
        ]
        params = [
            self.vllm.SamplingParams(
                temperature=sampling.temperature,
                max_tokens=sampling.max_new,
                n=len(forks),
                detokenize=False,
                stop_token_ids=[self.tokenizer.eos_id],
            )
            for _, _, forks in asked
        ]
        prompts = [{"prompt_token_ids": job.trunk[:at]} for job, at, _ in asked]
        for (job, _, forks), made in zip(
            asked, self.llm.generate(prompts, params, use_tqdm=False), strict=True
        ):
            for fork, one in zip(forks, made.outputs, strict=True):
                tokens = list(one.token_ids)
                self.stats.forks, self.stats.tokens = (
                    self.stats.forks + 1,
                    self.stats.tokens + len(tokens),
                )
                ended = tokens[-1] == self.tokenizer.eos_id
                tokens = tokens[: len(tokens) - ended]
                job.done(fork, Completion(tuple(tokens), self.tokenizer.decode(tokens), 0.0, ended))
        yield from jobs


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--engine", choices=("glore", "vllm"), default="glore")
    parser.add_argument("--config", required=True)
    parser.add_argument("--workdir", required=True)
    parser.add_argument("--out", required=True, help="folder for the label records")
    parser.add_argument("--drafts", type=int, default=500)
    parser.add_argument("--schedule", choices=SCHEDULES)
    parser.add_argument(
        "--dtype", choices=("float32", "bfloat16"), help="instead of config.model.dtype"
    )
    parser.add_argument(
        "--unsolved",
        action="store_true",
        help="also drafts of questions that no sample solves, whatever the config says",
    )
    parser.add_argument(
        "--against", help="--out of another run: on which share of steps the labels differ"
    )
    flags = parser.parse_args()

    config = read_config(flags.config)
    config.model.dtype = flags.dtype or config.model.dtype
    config.rollout.solved_only = config.rollout.solved_only and not flags.unsolved
    schedule = flags.schedule or ("full" if flags.engine == "vllm" else config.rollout.schedule)
    if flags.engine == "vllm" and schedule != "full":
        parser.error("vllm gets all prefixes at once: --schedule=full")
    ctx, c = Context(config, flags.workdir), config.rollout
    model = models.load_policy(ctx, "student", "hf")

    def read_jobs():
        return labelling.make_jobs(ctx, model, read_drafts(ctx, flags.drafts), c.k, schedule)

    first = read_jobs()
    if len(first) < flags.drafts:
        parser.error(f"{flags.workdir} has {len(first)} drafts, not {flags.drafts}")
    if flags.engine == "vllm":
        folder = str(ctx.folder("student", "hf"))
        engine = Vllm(folder, model.tokenizer, model.config.max_positions, config.model.dtype)
    else:
        engine = generation.make_engine(ctx, model, [job.trunk for job in first], c.max_new, c.k)
    sampling = generation.sampling_of(c)
    list(engine.run(first[:64], sampling))

    before, start, cpu = dataclasses.replace(engine.stats), time.perf_counter(), time.process_time()
    labelled = [job.record() for job in engine.run(read_jobs(), sampling)]
    labelled.sort(key=lambda r: (r["question_id"], r["sample_id"]))
    records.write_part(flags.out, 0, labelled, records.LabelledDraft)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu

    line = {
        "engine": flags.engine,
        "dtype": config.model.dtype,
        "schedule": schedule,
        "drafts": len(labelled),
        "k": c.k,
        "rollouts": engine.stats.forks - before.forks,
        "tokens": engine.stats.tokens - before.tokens,
        "seconds": round(seconds, 2),
        "cpu_seconds": round(cpu, 2),
    }
    if flags.against:
        one, other = (
            by_draft(parquet.read_records(folder)) for folder in (flags.out, flags.against)
        )
        line["disagreement"] = round(compare(one, other)["disagreement"], 4)
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
