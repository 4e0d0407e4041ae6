"""Labels the same drafts under each schedule and prints a line of JSON for each: what it costs, and where its labels differ.

    python -m benchmarks.schedules --config=configs/tiny.py --workdir=runs/tiny --drafts=500

Reads the student and the samples of a work directory; writes nothing. `disagreement` counts the steps before the last whose
label is not that of `full`. `seconds` are wall-clock from drafts in memory to labels in memory, after a warm-up that compiles.
"""

import argparse
import dataclasses
import json
import time

from benchmarks.pods import read_config
from glore_jax import parquet
from glore_jax.labels.stepwise import SCHEDULES
from glore_jax.stages import generation, labelling, models, rollout
from glore_jax.stages.context import Context


def read_drafts(ctx: Context, count: int) -> list[dict]:
    """The first `count` drafts with a step that stage `rollout` would label, read from the work directory."""
    samples = parquet.read_records(ctx.folder("sample", "records"))
    drafts, _ = rollout.drafts_of(samples, ctx.config)
    return [d for d in drafts if d["steps"]][:count]


def by_draft(records) -> dict[tuple, dict]:
    """Label records by the draft that they label, as `compare` takes them."""
    return {(r["question_id"], r["sample_id"]): r for r in records}


def compare(labels: dict, reference: dict) -> dict:
    """Disagreement of labels {draft: record} with those of `reference` over the same drafts."""
    pairs = [(r["labels"][:-1], reference[k]["labels"][:-1]) for k, r in labels.items()]
    steps = sum(len(a) for a, _ in pairs)
    return {
        "disagreement": sum(x != y for a, b in pairs for x, y in zip(a, b, strict=True)) / steps,
        "drafts_that_differ": sum(a != b for a, b in pairs) / len(pairs),
        "steps": steps,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", required=True)
    parser.add_argument("--workdir", required=True)
    parser.add_argument("--drafts", type=int, default=500)
    parser.add_argument("--schedules", default=",".join(SCHEDULES))
    for field in ("groups", "siblings", "shelves", "round_steps", "lanes"):
        parser.add_argument(f"--{field}", type=int, help=f"instead of config.engine.{field}")
    flags = parser.parse_args()

    config = read_config(flags.config)
    for field in ("groups", "siblings", "shelves", "round_steps", "lanes"):
        if getattr(flags, field) is not None:
            config.engine[field] = getattr(flags, field)
    ctx, c = Context(config, flags.workdir), config.rollout
    model = models.load_policy(ctx, "student", "hf")
    drafts = read_drafts(ctx, flags.drafts)

    def label(engine, drafts, schedule):
        jobs = labelling.make_jobs(ctx, model, drafts, c.k, schedule)
        done = engine.run(jobs, generation.sampling_of(c))
        return by_draft(job.record() for job in done)

    trunks = [job.trunk for job in labelling.make_jobs(ctx, model, drafts, c.k, "full")]
    engine = generation.make_engine(ctx, model, trunks, c.max_new, c.k)
    label(engine, drafts[:64], "full")
    labels = {}
    for schedule in sorted(flags.schedules.split(","), key=lambda s: s != "full"):
        before, start, cpu = (
            dataclasses.replace(engine.stats),
            time.perf_counter(),
            time.process_time(),
        )
        labels[schedule] = label(engine, drafts, schedule)
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        s = engine.stats
        tokens, slot_steps = s.tokens - before.tokens, s.slot_steps - before.slot_steps
        line = {
            "schedule": schedule,
            "drafts": len(drafts),
            "rollouts": s.forks - before.forks,
            "tokens": tokens,
            "prefill_tokens": s.prefill_tokens - before.prefill_tokens,
            "rounds": s.rounds - before.rounds,
            "occupancy": round(tokens / slot_steps, 4),
            "seconds": round(seconds, 2),
            "cpu_seconds": round(cpu, 2),
        }
        if "full" in labels:
            line |= compare(labels[schedule], labels["full"])
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
