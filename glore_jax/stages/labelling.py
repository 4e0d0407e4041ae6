"""Monte-Carlo step labels (paper section 4.1 step 2), for training and for test drafts.

One job a draft. Its trunk is question + draft, prefilled once; a cut keeps the first steps and
forks K rollouts there:

    question | step 1 | step 2 | step 3 | #### n          trunk
             ^ cut 0  ^ cut 1  ^ cut 2  ^ cut 3
                                        └─► K rollouts    tried first; then cut 2, ...

The labeller decides which cuts are tried and in which order (`rollout.schedule`; by default from
the last one backwards), and stops as soon as the labels are settled.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from glore_jax.labels.agreement import Judged, agreement
from glore_jax.labels.stepwise import StepLabeller, verifies
from glore_jax.models.model import Model
from glore_jax.records import LabelledDraft, Sample, StoredRecords, Trace
from glore_jax.sampling.cpu.lanes import Lanes
from glore_jax.sampling.engine import Completion, Engine, Fork, Job
from glore_jax.scratch import Kept
from glore_jax.stages import generation
from glore_jax.stages.context import Context
from glore_jax.tasks.base import Problem, Task
from glore_jax.tasks.prompts import Prompts


class LabelJob(Job):
    """Labels the steps of one draft.

    Args:
      draft: the sample, with at least one step.
      k: rollouts a cut.
      schedule: one of `labels.stepwise.SCHEDULES`.
      consistency: whether a rollout has to use the last result of its prefix.
    """

    def __init__(
        self, task: Task, prompts: Prompts, draft: Sample, k: int, schedule: str, consistency: bool
    ):
        self.task = task
        self.draft = draft
        self.k = k
        self.schedule = schedule
        self.consistency = consistency
        self.labeller = StepLabeller(len(draft["steps"]), draft["correct"], k, schedule)
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
            forks += [Fork(at, sample=sample, cut=cut, rollout=i) for i in range(self.k)]
        return forks

    def done(self, fork: Fork, completion: Completion) -> list[Fork]:
        prefix = self.draft["steps"][: fork.cut]
        steps = self.task.split_steps(completion.text)
        verified = verifies(self.task, prefix, steps, self.draft["gold"], self.consistency)
        self.traces.append(
            {"cut": fork.cut, "rollout": fork.rollout, "steps": steps, "verified": verified}
        )
        self.tokens += len(completion.tokens) + completion.ended

        outcomes = self.running[fork.cut]
        outcomes.append(verified)
        if len(outcomes) < self.k:
            return []
        self.labeller.record(fork.cut, hits=sum(outcomes), tries=self.k)
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
            "schedule": self.schedule,
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


def job_maker(ctx: Context, model: Model, k: int, schedule: str) -> Callable[[Sample], LabelJob]:
    """make_job(draft) -> the job that labels it, as `config.rollout` says."""
    prompts = ctx.prompts(model)
    consistency = ctx.config.rollout.consistency

    def make_job(draft: Sample) -> LabelJob:
        return LabelJob(ctx.task, prompts, draft, k, schedule, consistency)

    return make_job


def make_engine(ctx: Context, model: Model, drafts: Sequence[Sample], k: int) -> Engine | Lanes:
    """An engine that labels `drafts` with k rollouts a cut."""
    prompts = ctx.prompts(model)
    longest = generation.longest_of(drafts, lambda draft: trunk_of(prompts, draft)[0])
    return generation.make_engine(ctx, model, longest, len(drafts), ctx.config.rollout.max_new, k)


def label(
    ctx: Context, name: str, model: Model, drafts: Iterable[Sample], k: int
) -> StoredRecords[LabelledDraft]:
    """Step labels of `drafts` (those without any step are left out), k rollouts a prefix.

    Kept under the folder `name`.
    """
    config = ctx.config.rollout
    to_label = longest_first(drafts)

    def to_rows(_: Sample, job: LabelJob) -> list[LabelledDraft]:
        return [job.record()]

    return generation.generate(
        ctx,
        name,
        LabelledDraft,
        to_label,
        make_engine(ctx, model, to_label, k),
        generation.sampling_of(config),
        make_job=job_maker(ctx, model, k, config.schedule),
        to_rows=to_rows,
    )


def label_truth(
    task: Task, problems: Mapping[str, Problem], records: Iterable[LabelledDraft], k: int
) -> dict | None:
    """How well rollout labels agree with the known truth; see `labels.agreement`.

    Args:
      problems: by question id.
      records: gone through once.
      k: rollouts of a prefix.

    Returns:
      The figures of `agreement`; None if there is no step to compare, or the task does not know the
      truth of some.
    """

    def judged(record: LabelledDraft) -> Judged:
        problem = problems[record["question_id"]]
        steps = record["completions"]
        strict = task.step_truth(problem, steps, strict=True)
        return Judged(record, task.step_truth(problem, steps), strict)

    return agreement(map(judged, records), k)


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
