"""Labels the same drafts under each schedule: what it costs, and where its labels differ.

    python -m benchmarks.schedules --config=configs/tiny.py --workdir=runs/tiny --drafts=500

Reads the student and the samples of a work directory; writes nothing, and prints a line of JSON for
each schedule. `disagreement` counts the steps before the last whose label is not that of `full`.
`seconds` are wall-clock from drafts in memory to labels in memory, after a warm-up that compiles.
"""

import argparse
import dataclasses
import json
from collections.abc import Iterable

from benchmarks import harness
from glore_jax import grouping
from glore_jax.labels.stepwise import SCHEDULES
from glore_jax.models.model import Model
from glore_jax.records import Sample
from glore_jax.stages import labelling, models, rollout
from glore_jax.stages.context import Context

ENGINE_FIELDS = ("groups", "siblings", "shelves", "round_steps", "lanes")
WARM_UP = 64  # drafts


def read_drafts(ctx: Context, count: int) -> list[dict]:
    """The first `count` drafts with a step that stage `rollout` would label."""
    samples = grouping.of_folder(ctx.folder("sample", "records"), Sample)
    drafts, _ = rollout.drafts_of(samples, ctx.config)
    return [draft for draft in drafts if draft["steps"]][:count]


def by_draft(records: Iterable[dict]) -> dict[tuple, dict]:
    """Label records by the draft that they label, as `compare` takes them."""
    return {(r["question_id"], r["sample_id"]): r for r in records}


def compare(labels: dict[tuple, dict], reference: dict[tuple, dict]) -> dict:
    """Disagreement of labels {draft: record} with those of `reference` over the same drafts."""
    pairs = [
        (record["labels"][:-1], reference[draft]["labels"][:-1]) for draft, record in labels.items()
    ]
    steps = sum(len(one) for one, _ in pairs)
    different = sum(a != b for one, other in pairs for a, b in zip(one, other, strict=True))
    return {
        "disagreement": different / steps,
        "drafts_that_differ": sum(one != other for one, other in pairs) / len(pairs),
        "steps": steps,
    }


def label(ctx: Context, engine, model: Model, drafts: list[dict], schedule: str) -> dict:
    """The labels of `drafts` under `schedule`, by draft."""
    how = labelling.training_labels(ctx.config)
    rule = dataclasses.replace(how.rule, schedule=schedule)
    jobs = map(labelling.job_maker(ctx, model, rule), labelling.longest_first(drafts))
    done = engine.run(jobs, how.sampling)
    return by_draft(job.record() for job in done)


def cost(before, after, clock: harness.Clock) -> dict:
    """What an engine did between two of its statistics."""
    tokens = after.tokens - before.tokens
    return {
        "rollouts": after.forks - before.forks,
        "tokens": tokens,
        "prefill_tokens": after.prefill_tokens - before.prefill_tokens,
        "rounds": after.rounds - before.rounds,
        "occupancy": round(tokens / (after.slot_steps - before.slot_steps), 4),
        "seconds": round(clock.wall, 2),
        "cpu_seconds": round(clock.cpu, 2),
    }


def read_flags() -> argparse.Namespace:
    parser = harness.parser(__doc__)
    parser.add_argument("--config", required=True)
    parser.add_argument("--workdir", required=True)
    parser.add_argument("--drafts", type=int, default=500)
    parser.add_argument("--schedules", default=",".join(SCHEDULES))
    for field in ENGINE_FIELDS:
        parser.add_argument(f"--{field}", type=int, help=f"instead of config.engine.{field}")
    return parser.parse_args()


def main() -> None:
    flags = read_flags()
    config = harness.read_config(flags.config)
    for field in ENGINE_FIELDS:
        if getattr(flags, field) is not None:
            config.engine[field] = getattr(flags, field)
    ctx = Context(config, flags.workdir)
    model = models.load_policy(ctx, "student", "hf")
    drafts = read_drafts(ctx, flags.drafts)
    engine = labelling.make_engine(ctx, model, drafts, labelling.training_labels(config))
    label(ctx, engine, model, drafts[:WARM_UP], "full")

    labels = {}
    # `full` first: the others are compared with it.
    for schedule in sorted(flags.schedules.split(","), key=lambda s: s != "full"):
        before = dataclasses.replace(engine.stats)
        with harness.Clock() as clock:
            labels[schedule] = label(ctx, engine, model, drafts, schedule)
        line = {"schedule": schedule, "drafts": len(drafts)}
        line |= cost(before, engine.stats, clock)
        if "full" in labels:
            line |= compare(labels[schedule], labels["full"])
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
