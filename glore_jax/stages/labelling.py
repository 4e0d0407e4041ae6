"""Monte-Carlo step labels (paper section 4.1 step 2), for training and for test drafts.

One job a draft. Its trunk is question + draft, prefilled once; a cut keeps the first steps and
forks K rollouts there:

    question | step 1 | step 2 | step 3 | #### n          trunk
             ^ cut 0  ^ cut 1  ^ cut 2  ^ cut 3
                                        └─► K rollouts    tried first; then cut 2, ...

The labeller decides which cuts are tried and in which order (`rollout.schedule`; by default from
the last one backwards), and stops as soon as the labels are settled.

Labels of training drafts are made as section `rollout` says. Those of test drafts are a measure, so
they are made in one way, whatever that section says (`test_labels`).
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence

from glore_jax.config import AnyConfig
from glore_jax.labels.stepwise import LabelRule, StepLabeller, verifies
from glore_jax.models.model import Model
from glore_jax.records import LabelledDraft, Sample, StoredRecords, Trace
from glore_jax.sampling.cpu.lanes import Lanes
from glore_jax.sampling.engine import Completion, Engine, Fork, Job
from glore_jax.sampling.tokens import Sampling
from glore_jax.scratch import Kept
from glore_jax.stages import generation
from glore_jax.stages.context import Context
from glore_jax.tasks.base import Problem, Task
from glore_jax.tasks.prompts import Prompts


@dataclasses.dataclass(frozen=True)
class Labelling:
    """How drafts are labelled: by which rule, and how their rollouts are drawn."""

    rule: LabelRule
    sampling: Sampling


def training_labels(config: AnyConfig) -> Labelling:
    """What section `rollout` of the whole `config` says."""
    section = config.rollout
    rule = LabelRule(section.k, section.schedule, section.consistency, section.propagate)
    return Labelling(rule, generation.sampling_of(section))


def test_labels(config: AnyConfig) -> Labelling:
    """The paper's rules (section 4.1 step 2), `evaluate.label_k` rollouts at temperature 1."""
    section = config.evaluate
    return Labelling(LabelRule(section.label_k), Sampling(1.0, max_new=section.max_new))


class LabelJob(Job):
    """Labels the steps of one draft.

    Args:
      draft: the sample, with at least one step.
      rule: how.
    """

    def __init__(self, task: Task, prompts: Prompts, draft: Sample, rule: LabelRule):
        self.task = task
        self.draft = draft
        self.rule = rule
        self.labeller = StepLabeller(len(draft["steps"]), draft["correct"], rule)
        self.running: dict[int, list[bool]] = {}  # cut -> whether each ended rollout verified it
        self.traces: list[Trace] = []
        self.tokens = 0  # drawn so far, end-of-sequence included

        trunk, self.cut_at = trunk_of(prompts, draft)
        super().__init__(draft["question_id"], trunk, self.next_forks())

    def next_forks(self) -> list[Fork]:
        """The rollouts of every cut that the labeller wants tried by now."""
        sample = self.draft["sample_id"]
        forks: list[Fork] = []
        while (cut := self.labeller.next_cut()) is not None:
            self.running[cut] = []
            at = self.cut_at[cut]
            forks += [Fork(at, sample=sample, cut=cut, rollout=i) for i in range(self.rule.k)]
        return forks

    def done(self, fork: Fork, completion: Completion) -> list[Fork]:
        prefix = self.draft["steps"][: fork.cut]
        steps = self.task.split_steps(completion.text)
        verified = verifies(self.task, prefix, steps, self.draft["gold"], self.rule.consistency)
        self.traces.append(
            {"cut": fork.cut, "rollout": fork.rollout, "steps": steps, "verified": verified}
        )
        self.tokens += len(completion.tokens) + completion.ended

        outcomes = self.running[fork.cut]
        outcomes.append(verified)
        if len(outcomes) < self.rule.k:
            return []
        self.labeller.record(fork.cut, hits=sum(outcomes), tries=self.rule.k)
        return self.next_forks()

    def record(self) -> LabelledDraft:
        """Labels, their evidence, the schedule that made its counts, and the rollouts themselves.

        A prefix that a schedule skipped has 0 tries; one that it ran has all k.
        """
        draft = self.draft
        result = self.labeller.result()
        return {
            "question_id": draft["question_id"],
            "sample_id": draft["sample_id"],
            "prompt": draft["question"],
            "gold": draft["gold"],
            "completions": draft["steps"],
            "labels": result.labels,
            "hits": result.hits,
            "tries": result.tries,
            "source": result.source,
            "schedule": self.rule.schedule,
            "first_error": result.first_error,
            "correct": draft["correct"],
            "tokens": self.tokens,
            # Rollouts end in any order.
            "traces": sorted(self.traces, key=lambda trace: (trace["cut"], trace["rollout"])),
        }


def trunk_of(prompts: Prompts, draft: Sample) -> tuple[list[int], list[int]]:
    """(tokens of question and draft, how many of them each cut keeps).

    The last cut keeps the whole draft and is never tried.
    """
    question = prompts.question(draft["question"])
    solution, ends = prompts.solution(draft["steps"], ended=False)
    return question + solution, [len(question), *(len(question) + end for end in ends)]


def longest_first(drafts: Iterable[Sample]) -> Sequence[Sample]:
    """The drafts that have a step, those of most steps first; they lie on this machine's disk.

    Prefixes of a draft are tried one after the other, so that one that began last would be alone
    at the end.
    """
    with_steps = (draft for draft in drafts if draft["steps"])
    return Kept(with_steps, key=lambda draft: -len(draft["steps"]))


def job_maker(ctx: Context, model: Model, rule: LabelRule) -> Callable[[Sample], LabelJob]:
    """make_job(draft) -> the job that labels it."""
    prompts = ctx.prompts(model)

    def make_job(draft: Sample) -> LabelJob:
        return LabelJob(ctx.task, prompts, draft, rule)

    return make_job


def make_engine(
    ctx: Context, model: Model, drafts: Sequence[Sample], labelling: Labelling
) -> Engine | Lanes:
    """An engine that labels `drafts`."""
    prompts = ctx.prompts(model)
    longest = generation.longest_of(drafts, lambda draft: trunk_of(prompts, draft)[0])
    max_new = labelling.sampling.max_new
    return generation.make_engine(ctx, model, longest, len(drafts), max_new, labelling.rule.k)


def label(
    ctx: Context, name: str, model: Model, drafts: Iterable[Sample], labelling: Labelling
) -> StoredRecords[LabelledDraft]:
    """Step labels of `drafts` (those without any step are left out).

    Kept under the folder `name`.
    """
    to_label = longest_first(drafts)

    def to_rows(_: Sample, job: LabelJob) -> list[LabelledDraft]:
        return [job.record()]

    return generation.generate(
        ctx,
        name,
        LabelledDraft,
        to_label,
        make_engine(ctx, model, to_label, labelling),
        labelling.sampling,
        make_job=job_maker(ctx, model, labelling.rule),
        to_rows=to_rows,
    )


def label_truth(
    task: Task,
    problems: Mapping[str, Problem],
    records: Iterable[LabelledDraft],
    strict: bool = False,
) -> dict | None:
    """How well rollout labels agree with the known truth, per step before the last.

    The last step is left out: its label is graded, not rolled out.

    Args:
      problems: by question id.
      strict: compare with the strict truth (see `Task.step_truth`).

    Returns:
      `acc`, the share of n labels that are true; `false_positive`, the share of bad steps that are
      labelled good; `false_negative`, the share of good steps labelled bad; `n`. None if there is
      no step to compare, or the task does not know the truth.
    """
    pairs: list[tuple[int, bool]] = []  # (label, truth) of each step
    for record in records:
        truth = task.step_truth(problems[record["question_id"]], record["completions"], strict)
        if truth is None:
            return None
        pairs += list(zip(record["labels"], truth, strict=True))[:-1]
    if not pairs:
        return None
    labels_of_bad = [label for label, right in pairs if not right]
    labels_of_good = [label for label, right in pairs if right]
    return {
        "acc": sum(label == right for label, right in pairs) / len(pairs),
        "n": len(pairs),
        "false_positive": sum(labels_of_bad) / max(len(labels_of_bad), 1),
        "false_negative": labels_of_good.count(0) / max(len(labels_of_good), 1),
    }


def label_truth_both_ways(
    task: Task, problems: Mapping[str, Problem], records: Iterable[LabelledDraft]
) -> dict | None:
    """`label_truth` with `strict_acc`, its accuracy by the strict truth."""
    truth = label_truth(task, problems, records)
    strict = label_truth(task, problems, records, strict=True)
    if truth is None or strict is None:
        return None
    return truth | {"strict_acc": strict["acc"]}


def cost(records: Iterable[LabelledDraft], k: int) -> dict[str, int]:
    """What labelling took.

    `rollouts` made; `rollouts_full`, what every prefix of every draft would take with k rollouts
    each; `tokens` drawn, end-of-sequence included.
    """
    return {
        "rollouts": sum(sum(record["tries"]) for record in records),
        "rollouts_full": sum(k * (len(record["completions"]) - 1) for record in records),
        "tokens": sum(record["tokens"] for record in records),
    }
