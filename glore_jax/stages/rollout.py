"""Stage `rollout`: step labels of student samples, for the SORM and the local refiner.

    samples ─► of solved questions ─► some distinct drafts of each ─► rollouts ─► labelled drafts

How a draft gets its labels is in `labelling`, which test drafts share.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence

from glore_jax import grouping
from glore_jax.config import AnyConfig
from glore_jax.errors import UserError
from glore_jax.labels.balance import label_rates
from glore_jax.labels.outcome import WORKED, distinct_samples, drawn_first
from glore_jax.records import Sample
from glore_jax.scratch import Kept
from glore_jax.stages import labelling, models, parts, subsets
from glore_jax.stages.context import Context

# What the figures are counted from; the rollouts' texts are most of a record.
COUNTED = ("question_id", "completions", "labels", "tries", "tokens")


def run(ctx: Context) -> dict:
    config = ctx.config.rollout
    model = models.load_policy(ctx, "student", "hf")
    chosen = subsets.labelled(ctx.config, ctx.problems("train"))
    problems = {problem.id: problem for problem in chosen}
    rows = parts.expected(ctx, "sample/records")
    samples = grouping.of_folder(ctx.folder("sample", "records"), Sample, rows=rows)
    asked = (group for group in samples if group[0]["question_id"] in problems)
    drafts, unsolved = drafts_of(asked, ctx.config)

    how = labelling.training_labels(ctx.config)
    records = labelling.label(ctx, "rollout/records", model, drafts, how)
    labelled = records.select(*COUNTED)
    if not labelled:
        raise UserError(
            "no draft has a step to label: the student writes nothing that reads as a solution"
        )
    truth = labelling.label_truth_both_ways(ctx.task, problems, labelled)
    cost = labelling.cost(labelled, config.k)
    ctx.say(
        f"rollout: {len(labelled)} drafts labelled with {cost['rollouts']} rollouts "
        f"(every prefix: {cost['rollouts_full']}), "
        f"{unsolved} questions left out as never solved"
        + (f", {truth['acc']:.3f} of {truth['n']} labels true" if truth else "")
    )
    return {
        "drafts": len(labelled),
        "unsolved": unsolved,
        **cost,
        "schedule": config.schedule,
        "label_truth": truth,
        "label_rates": label_rates(labelled),
        "work": parts.work(ctx, "rollout/records"),
    }


def drafts_of(groups: Iterable[list[Sample]], config: AnyConfig) -> tuple[Sequence[Sample], int]:
    """(the drafts to be labelled, number of questions left out as never solved).

    groups: the samples of each question. config: the whole one; seed and section rollout count. The
    drafts lie on this machine's disk.
    """
    c = config.rollout
    unsolved = 0

    def chosen() -> Iterator[Sample]:
        nonlocal unsolved
        for group in groups:
            if c.solved_only and not is_solved(group):
                unsolved += 1
            else:
                yield from choose_drafts(group, c.drafts_per_question, config.seed)

    drafts = Kept(chosen())
    return drafts, unsolved


def is_solved(group: Iterable[Sample]) -> bool:
    """Whether at least one of a question's samples by the student is right."""
    return any(s["correct"] and s.get("policy") != WORKED for s in group)


def choose_drafts(group: Iterable[Sample], per_question: int, seed: int) -> list[Sample]:
    """Up to `per_question` distinct ones of a question's samples, wrong and right ones in turn."""
    distinct = distinct_samples(group)
    ranked = sorted(distinct, key=lambda sample: drawn_first(seed, sample))
    wrong = [sample for sample in ranked if not sample["correct"]]
    right = [sample for sample in ranked if sample["correct"]]
    # When one side has no more, the other goes on.
    in_turn = [s for pair in itertools.zip_longest(wrong, right) for s in pair if s is not None]
    return in_turn[:per_question]
