"""Stage `evaluate`: the whole system on test questions (paper section 4.2 and figure 3).

    question ─► greedy draft ─► step scores ─► [BAD] at the first step at or below `evaluate.mark`
                     │                                   │
                     │                       global and local refinement
                     └──────────────┬────────────────────┘
                          rerank by the ORM's final score

Beside it, on the splits of `evaluate.sample_splits`: K samples a question, for majority vote and
reranking, and rollout labels of the drafts' steps. Everything that is generated or scored is kept
as records under `evaluate/SPLIT`; `measures` turns the records into the report's figures.
"""

import functools
from collections.abc import Sequence
from typing import Any

from glore_jax import storage
from glore_jax.parallel import processes
from glore_jax.records import LabelledDraft, RefinementScores, Sample, StepScores
from glore_jax.sampling.tokens import Sampling
from glore_jax.stages import generation, labelling, measures, models, parts, refinements, rewards
from glore_jax.stages.context import Context
from glore_jax.stages.draft_figures import last_scores
from glore_jax.stages.refinements import KINDS
from glore_jax.tasks.base import Problem

GENERATED = ("drafts", "samples", "step_labels", "refinements")

_LEAST_SCORED = 64  # solutions of a part: scoring one takes little, and calls should be full

# Reward model -> probabilities per step of each solution.
Scores = dict[str, list[list[float]]]


def run(ctx: Context) -> dict:
    results = {split: evaluate_split(ctx, split) for split in ctx.config.evaluate.splits}
    figures = {split: result.figures.to_json() for split, result in results.items()}
    examples = [example for result in results.values() for example in result.examples]
    processes.on_main(storage.write_json, ctx.folder("evaluate", "results.json"), figures)
    processes.on_main(storage.write_jsonl, ctx.folder("evaluate", "examples.jsonl"), examples)
    return {split: counts(ctx, split, figures[split]) for split in results}


def evaluate_split(ctx: Context, split: str) -> measures.Measured:
    """The figures and worked examples of one split."""
    problems = ctx.problems(split)
    drafts, samples, labelled = write_solutions(ctx, split, problems)
    scored = score_all(ctx, split, drafts, samples)
    refined = refinements.refine(ctx, split, drafts, scored["drafts"])
    finals = score_refinements(ctx, split, refined)
    records = measures.SplitRecords(problems, drafts, samples, labelled, scored, refined, finals)
    return measures.measure(ctx, records)


def counts(ctx: Context, split: str, figures: dict) -> dict:
    """What the manifest says of a split."""
    work = {name: parts.work(ctx, f"evaluate/{split}/{name}") for name in GENERATED}
    return {
        "draft": figures["draft"]["acc"],
        "rerank": figures["pipeline"]["rerank"]["acc"],
        "work": {name: done for name, done in work.items() if done},
    }


def write_solutions(
    ctx: Context, split: str, problems: Sequence[Problem]
) -> tuple[list[Sample], list[Sample], list[LabelledDraft]]:
    """What the student writes: (greedy drafts, K samples a question, step labels of the drafts).

    The last two are empty on a split that `evaluate.sample_splits` does not name.
    """
    config = ctx.config.evaluate
    policy = models.load_policy(ctx, "student", "hf")
    drafts = list(generation.greedy(ctx, f"evaluate/{split}/drafts", policy, problems))
    if split not in config.sample_splits:
        return drafts, [], []
    sampling = Sampling(config.temperature, max_new=config.max_new)
    folder = f"evaluate/{split}/samples"
    samples = list(generation.sample(ctx, folder, policy, problems, sampling, config.k))
    folder = f"evaluate/{split}/step_labels"
    how = labelling.test_labels(ctx.config)
    labelled = list(labelling.label(ctx, folder, policy, drafts, how))
    return drafts, samples, labelled


def reward_models(ctx: Context) -> dict[str, tuple[str, str]]:
    """Name of each reward model -> its folder in the work directory."""
    folders = {"orm": ("orm", "hf"), "sorm": ("sorm", "hf")}
    if ctx.config.orm.balanced:
        folders["balanced_orm"] = ("orm", "balanced_hf")
    return folders


def score_all(
    ctx: Context, split: str, drafts: list[Sample], samples: list[Sample]
) -> dict[str, Scores]:
    """{"drafts": scores, "samples": scores}, kept in `evaluate/SPLIT/scores/MODEL`.

    The records of a model hold first the drafts, then the samples.
    """
    drafts_scored: Scores = {}
    samples_scored: Scores = {}
    for name in reward_models(ctx):
        scores = score_with(ctx, split, name, drafts + samples)
        drafts_scored[name] = scores[: len(drafts)]
        samples_scored[name] = scores[len(drafts) :]
    return {"drafts": drafts_scored, "samples": samples_scored}


def score_with(ctx: Context, split: str, name: str, solutions: list[Sample]) -> list[list[float]]:
    """Probabilities per step of each solution by the reward model `name`."""
    model = functools.cache(lambda: models.load_reward(ctx, *reward_models(ctx)[name]))

    def make(some: list[Sample]) -> list[StepScores]:
        texts = [(sample["question"], sample["steps"]) for sample in some]
        scores = rewards.score(ctx, model(), texts, f"evaluate/{split} {name}")
        return [{"scores": [float(p) for p in of_solution]} for of_solution in scores]

    folder = f"evaluate/{split}/scores/{name}"
    rows = parts.in_parts(ctx, folder, StepScores, solutions, make, least=_LEAST_SCORED)
    return [row["scores"] for row in rows]


def score_refinements(
    ctx: Context, split: str, refined: list[dict[str, Any]]
) -> list[RefinementScores]:
    """The ORM's final score of each refinement; 0 for an empty text."""
    model = functools.cache(lambda: models.load_reward(ctx, "orm", "hf"))

    def make(some: list[dict[str, Any]]) -> list[RefinementScores]:
        texts = [(row["question"], row[kind]["steps"]) for row in some for kind in KINDS]
        scores = rewards.score(ctx, model(), texts, f"evaluate/{split} refinements")
        # In the order of `texts`: all kinds of the first draft, then those of the next.
        finals = iter(last_scores(scores))
        return [
            {"global": next(finals), "local_orm": next(finals), "local_sorm": next(finals)}
            for _ in some
        ]

    folder = f"evaluate/{split}/scores/refinements"
    return parts.in_parts(ctx, folder, RefinementScores, refined, make, least=_LEAST_SCORED)
