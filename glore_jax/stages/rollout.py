"""Stage `rollout`: step labels of student samples, from which the SORM and the local refiner learn."""

from glore_jax import storage
from glore_jax.errors import UserError
from glore_jax.labels.balance import label_rates
from glore_jax.labels.outcome import WORKED, distinct_samples, drawn_first
from glore_jax.stages import generation, labelling, models, parts


def choose_drafts(samples: list[dict], per_question: int, seed: int) -> list[dict]:
    """Up to `per_question` distinct solutions of each question, right and wrong ones in turn."""
    drafts = []
    for group in distinct_samples(samples).values():
        ranked = sorted(group, key=lambda s: drawn_first(seed, s))
        sides = [s for s in ranked if not s["correct"]], [s for s in ranked if s["correct"]]
        turns = sorted(
            ((i, bool(s["correct"]), s) for side in sides for i, s in enumerate(side)),
            key=lambda t: t[:2],
        )
        drafts += [s for *_, s in turns[:per_question]]
    return drafts


def of_solved(samples: list[dict]) -> list[dict]:
    """The samples of questions that at least one sample of the student solves."""
    solved = {s["question_id"] for s in samples if s["correct"] and s.get("policy") != WORKED}
    return [s for s in samples if s["question_id"] in solved]


def drafts_of(samples: list[dict], config) -> tuple[list[dict], int]:
    """(the drafts among `samples` that are to be labelled, how many questions are left out as never solved). `config`: the whole one;
    seed and section rollout count."""
    c = config.rollout
    kept = of_solved(samples) if c.solved_only else samples
    asked, left = ({s["question_id"] for s in some} for some in (samples, kept))
    return choose_drafts(kept, c.drafts_per_question, config.seed), len(asked) - len(left)


def run(ctx) -> dict:
    c = ctx.config.rollout
    model = models.load_policy(ctx, "student", "hf")
    problems = {p.id: p for p in generation.first(ctx.problems("train"), c.questions)}
    samples = [
        s
        for s in storage.read_records(ctx.folder("sample", "records"))
        if s["question_id"] in problems
    ]
    drafts, unsolved = drafts_of(samples, ctx.config)
    records = labelling.label(ctx, "rollout/records", model, drafts, c.k)
    if not records:
        raise UserError(
            "no draft has a step to label: the student writes nothing that reads as a solution"
        )
    truth, cost = labelling.label_truth(ctx.task, problems, records), labelling.cost(records, c.k)
    if truth:
        strict = labelling.label_truth(ctx.task, problems, records, strict=True)
        truth["strict_acc"] = strict["acc"]
    ctx.say(
        f"rollout: {len(records)} drafts labelled with {cost['rollouts']} rollouts (every prefix: {cost['rollouts_full']}), "
        f"{unsolved} questions left out as never solved"
        + (f", {truth['acc']:.3f} of {truth['n']} labels true" if truth else "")
    )
    return {
        "drafts": len(records),
        "unsolved": unsolved,
        **cost,
        "schedule": c.schedule,
        "label_truth": truth,
        "label_rates": label_rates(records),
        "work": parts.work(ctx, "rollout/records"),
    }
