r"""Time to label, by this package or by vLLM: from drafts on disk to step labels on disk.

    python -m benchmarks.labelling --config=configs/tiny.py --workdir=runs/tiny \
        --out=/tmp/labels [--drafts=500]
    python -m benchmarks.labelling --engine=vllm --config=configs/tiny.py --workdir=runs/tiny \
        --out=/tmp/labels-vllm

Reads the student and the samples of a work directory; the records go to `--out`, one line of JSON
to the terminal. `--schedule` is the config's (`backward`) here and `full` for vLLM, which gets all
prefixes of all drafts at once, shares their keys and values by its prefix cache, and stops at
end-of-sequence. Cuts, prompts, grading and labels are the same code for both.

`seconds` are wall-clock after a warm-up on the first drafts; `cpu_seconds` processor time. vLLM is
imported only if asked for: install this package beside it.
"""

import argparse
import dataclasses
import itertools
import json
import os
from collections.abc import Iterable, Iterator

from benchmarks import harness
from benchmarks.schedules import WARM_UP, by_draft, compare, read_drafts
from glore_jax import parquet, records
from glore_jax.labels.stepwise import SCHEDULES
from glore_jax.models.model import Model
from glore_jax.sampling.engine import Completion, Fork, Job, Stats
from glore_jax.sampling.tokens import Sampling
from glore_jax.stages import labelling, models
from glore_jax.stages.context import Context


class Vllm:
    """Runs jobs that say at once which forks they want; a job asks for all rollouts of a prefix."""

    def __init__(self, folder: str, tokenizer, positions: int, dtype: str):
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "4")
        import vllm

        self.vllm = vllm
        self.tokenizer = tokenizer
        self.stats = Stats()
        self.llm = vllm.LLM(
            model=folder,
            skip_tokenizer_init=True,
            dtype=dtype,
            max_model_len=positions,
            enable_prefix_caching=True,
        )

    def run(self, jobs: Iterable[Job], sampling: Sampling) -> Iterator[Job]:
        """Yields each job once all its forks have ended."""
        self.llm.reset_prefix_cache()
        jobs = list(jobs)
        asked = [
            (job, at, list(forks))
            for job in jobs
            for at, forks in itertools.groupby(job.waiting, key=lambda fork: fork.at)
        ]
        prompts = [{"prompt_token_ids": job.trunk[:at]} for job, at, _ in asked]
        params = [self._params(sampling, len(forks)) for _, _, forks in asked]
        written = self.llm.generate(prompts, params, use_tqdm=False)
        for (job, _, forks), made in zip(asked, written, strict=True):
            for fork, one in zip(forks, made.outputs, strict=True):
                self._finish(job, fork, list(one.token_ids))
        yield from jobs

    def _params(self, sampling: Sampling, count: int):
        return self.vllm.SamplingParams(
            temperature=sampling.temperature,
            max_tokens=sampling.max_new,
            n=count,
            detokenize=False,
            stop_token_ids=[self.tokenizer.eos_id],
        )

    def _finish(self, job: Job, fork: Fork, tokens: list[int]) -> None:
        self.stats.forks += 1
        self.stats.tokens += len(tokens)
        ended = tokens[-1] == self.tokenizer.eos_id
        if ended:
            tokens = tokens[:-1]
        job.done(fork, Completion(tuple(tokens), self.tokenizer.decode(tokens), 0.0, ended))


def read_flags() -> argparse.Namespace:
    parser = harness.parser(__doc__)
    add = parser.add_argument
    add("--engine", choices=("glore", "vllm"), default="glore")
    add("--config", required=True)
    add("--workdir", required=True)
    add("--out", required=True, help="folder for the label records")
    add("--drafts", type=int, default=500)
    add("--schedule", choices=SCHEDULES)
    add("--dtype", choices=("float32", "bfloat16"), help="instead of config.model.dtype")
    add(
        "--unsolved",
        action="store_true",
        help="also drafts of questions that no sample solves, whatever the config says",
    )
    add("--against", help="--out of another run: on which share of steps the labels differ")
    flags = parser.parse_args()
    if flags.engine == "vllm":
        flags.schedule = flags.schedule or "full"
        if flags.schedule != "full":
            parser.error("vllm gets all prefixes at once: --schedule=full")
    return flags


def configure(flags: argparse.Namespace):
    """The config of `flags.config` with what the flags say."""
    config = harness.read_config(flags.config)
    config.model.dtype = flags.dtype or config.model.dtype
    config.rollout.solved_only = config.rollout.solved_only and not flags.unsolved
    config.rollout.schedule = flags.schedule or config.rollout.schedule
    return config


def make_engine(ctx: Context, model: Model, kind: str, drafts: list[records.Sample]):
    """The engine `kind` with room for the jobs of `drafts`."""
    if kind == "vllm":
        folder = str(ctx.folder("student", "hf"))
        positions = model.config.max_positions
        return Vllm(folder, model.tokenizer, positions, ctx.config.model.dtype)
    return labelling.make_engine(ctx, model, drafts, labelling.training_labels(ctx.config))


def main() -> None:
    flags = read_flags()
    ctx = Context(configure(flags), flags.workdir)
    c = ctx.config.rollout
    model = models.load_policy(ctx, "student", "hf")
    drafts = labelling.longest_first(read_drafts(ctx, flags.drafts))
    if len(drafts) < flags.drafts:
        raise SystemExit(f"{flags.workdir} has {len(drafts)} drafts, not {flags.drafts}")
    engine = make_engine(ctx, model, flags.engine, drafts)
    how = labelling.training_labels(ctx.config)
    make_job = labelling.job_maker(ctx, model, how.rule)
    sampling = how.sampling
    list(engine.run(map(make_job, drafts[:WARM_UP]), sampling))

    before = dataclasses.replace(engine.stats)
    with harness.Clock() as clock:
        labelled = [job.record() for job in engine.run(map(make_job, drafts), sampling)]
        labelled.sort(key=lambda r: (r["question_id"], r["sample_id"]))
        records.write_part(flags.out, 0, labelled, records.LabelledDraft)

    line = {
        "engine": flags.engine,
        "dtype": ctx.config.model.dtype,
        "schedule": c.schedule,
        "drafts": len(labelled),
        "k": c.k,
        "rollouts": engine.stats.forks - before.forks,
        "tokens": engine.stats.tokens - before.tokens,
        "seconds": round(clock.wall, 2),
        "cpu_seconds": round(clock.cpu, 2),
    }
    if flags.against:
        labels = by_draft(parquet.read_records(flags.out))
        reference = by_draft(parquet.read_records(flags.against))
        line["disagreement"] = round(compare(labels, reference)["disagreement"], 4)
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
