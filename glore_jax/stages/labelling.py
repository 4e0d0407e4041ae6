"""Monte-Carlo step labels: forks of solutions at the ends of their steps (paper section 4.1 step 2), for training and test drafts.

One job a draft: its trunk is question + draft, prefilled once; a cut keeps the first steps and forks K rollouts there. The
labeller decides which cuts are tried, from the last one backwards, and stops as soon as the labels are settled.
"""

from collections.abc import Sequence

from glore_jax.labels.stepwise import StepLabeller, verifies
from glore_jax.records import LabelledDraft
from glore_jax.sampling.engine import Completion, Fork, Job
from glore_jax.stages import generation


class LabelJob(Job):
    """Labels the steps of one draft (a sample record)."""

    def __init__(self, task, prompts, draft: dict, k: int, schedule: str, consistency: bool):
        self.task, self.draft, self.k, self.consistency, self.schedule = (
            task,
            draft,
            k,
            consistency,
            schedule,
        )
        self.labeller = StepLabeller(len(draft["steps"]), draft["correct"], k, schedule)
        question = prompts.question(draft["question"])
        solution, ends = prompts.solution(draft["steps"], ended=False)
        self.cut_at = [
            len(question),
            *(len(question) + end for end in ends),
        ]  # tokens kept by a cut
        self.running: dict[int, list[bool]] = {}
        self.traces: list[dict] = []
        self.tokens = 0
        super().__init__(draft["question_id"], question + solution, self.next_forks())

    def next_forks(self) -> list[Fork]:
        forks = []
        while (cut := self.labeller.next_cut()) is not None:
            self.running[cut] = []
            sample = self.draft["sample_id"]
            forks += [
                Fork(self.cut_at[cut], sample=sample, cut=cut, rollout=i) for i in range(self.k)
            ]
        return forks

    def done(self, fork: Fork, completion: Completion) -> list[Fork]:
        prefix, steps = self.draft["steps"][: fork.cut], self.task.split_steps(completion.text)
        verified = verifies(self.task, prefix, steps, self.draft["gold"], self.consistency)
        self.traces.append(
            {"cut": fork.cut, "rollout": fork.rollout, "steps": steps, "verified": verified}
        )
        self.tokens += len(completion.tokens) + completion.ended
        outcomes = self.running[fork.cut]
        outcomes.append(verified)
        if len(outcomes) < self.k:
            return []
        self.labeller.record(fork.cut, sum(outcomes), self.k)
        return self.next_forks()

    def record(self) -> dict:
        """The step-label record: labels, their evidence, the stop rule that made its counts (`schedule`), and the rollouts
        themselves as `traces`. A prefix that a schedule skipped has 0 tries; one that it ran has all k."""
        d, result = self.draft, self.labeller.result()
        return {
            "question_id": d["question_id"],
            "sample_id": d["sample_id"],
            "prompt": d["question"],
            "gold": d["gold"],
            "completions": d["steps"],
            "labels": result.labels,
            "hits": result.hits,
            "tries": result.tries,
            "source": result.source,
            "schedule": self.schedule,
            "first_error": result.first_error,
            "correct": d["correct"],
            "tokens": self.tokens,
            "traces": sorted(self.traces, key=lambda t: (t["cut"], t["rollout"])),
        }


def make_jobs(ctx, model, drafts: list[dict], k: int, schedule: str) -> list[LabelJob]:
    """Jobs of the drafts that have a step, those of most steps first: their prefixes are tried one after the other, so that one that
    began last would be alone at the end."""
    longest_first = sorted((d for d in drafts if d["steps"]), key=lambda d: -len(d["steps"]))
    consistency = ctx.config.rollout.consistency
    prompts = ctx.prompts(model)
    return [LabelJob(ctx.task, prompts, d, k, schedule, consistency) for d in longest_first]


def label(ctx, name: str, model, drafts: list[dict], k: int) -> list[dict]:
    """Step-label records of `drafts` (those without any step are left out)."""
    c = ctx.config.rollout
    jobs = make_jobs(ctx, model, drafts, k, c.schedule)
    engine = generation.make_engine(ctx, model, [j.trunk for j in jobs], c.max_new, k)
    return generation.generate(
        ctx,
        name,
        jobs,
        engine,
        generation.sampling_of(c),
        lambda job: job,
        lambda _, job: [job.record()],
    )


def label_truth(
    task, problems: dict, records: Sequence[LabelledDraft], strict: bool = False
) -> dict | None:
    """How well rollout labels agree with the known truth, per step before the last (its label is graded, not rolled out)."""
    agree = n = false_positive = bad = false_negative = good = 0
    for r in records:
        truth = task.step_truth(problems[r["question_id"]], r["completions"], strict)
        if truth is None:
            return None
        for label, right in list(zip(r["labels"], truth, strict=True))[:-1]:
            agree, n = agree + (label == right), n + 1
            bad, false_positive = bad + (not right), false_positive + (label and not right)
            good, false_negative = good + right, false_negative + (right and not label)
    if not n:
        return None
    return {
        "acc": agree / n,
        "n": n,
        "false_positive": false_positive / max(bad, 1),
        "false_negative": false_negative / max(good, 1),
    }


def cost(records: Sequence[LabelledDraft], k: int) -> dict:
    """Rollouts made, what labelling every prefix of every draft would take, and tokens drawn (end-of-sequence counts)."""
    return {
        "rollouts": sum(sum(r["tries"]) for r in records),
        "rollouts_full": sum(k * (len(r["completions"]) - 1) for r in records),
        "tokens": sum(r["tokens"] for r in records),
    }
