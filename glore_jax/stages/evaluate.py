"""Stage `evaluate`: the whole system on test questions (paper section 4.2 and figure 3).

    dev ─► marks, thresholds, temperature (`choices`), before anything else is looked at

    question ─► greedy draft ─► step scores ─► [BAD] at the first step at or below the mark
                     │                                   │
                     │                       global and local refinement
                     └──────────────┬────────────────────┘
                          rerank by the ORM's final score

Beside it, on the splits of `evaluate.sample_splits`: K samples a question, for majority vote and
reranking; rollout labels of the drafts' steps; and the rivals, among them the untrained base as
refiner and as judge. Everything that is generated or scored is kept as records under
`evaluate/SPLIT`; `measures` turns the records into the report's figures.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from glore_jax import storage
from glore_jax.labels import metrics
from glore_jax.parallel import processes
from glore_jax.records import LabelledDraft, Sample
from glore_jax.report import figures
from glore_jax.sampling.tokens import Sampling
from glore_jax.stages import generation, labelling, models, parts, scores
from glore_jax.stages.context import Context
from glore_jax.stages.evaluation import candidates, choices, measures, refinements, untrained
from glore_jax.stages.evaluation.in_force import InForce
from glore_jax.stages.evaluation.refinements import Texts
from glore_jax.stages.evaluation.split_records import Scores, SplitRecords
from glore_jax.tasks.base import Problem

GENERATED = (
    "drafts",
    "samples",
    "step_labels",
    "refinements",
    "backtracks",
    "base_refinements",
)

# Reward model -> probabilities per step of each solution.
ByModel = Mapping[str, Scores]
# Scorer -> for each draft the value of each of its texts, by kind.
Finals = dict[str, list[dict[str, float]]]


class Solutions(NamedTuple):
    """What the student writes on a split.

    Attributes:
      drafts: greedy, one a question.
      samples: K a question on a sampled split; elsewhere what the system asks for, which may be
        none.
      labelled: step labels of the drafts of a sampled split.
    """

    drafts: list[Sample]
    samples: list[Sample]
    labelled: list[LabelledDraft]


def run(ctx: Context) -> dict:
    in_force = choices.choose(ctx)
    results = {split: evaluate_split(ctx, split, in_force) for split in ctx.config.evaluate.splits}
    found = {split: result.figures.to_json() for split, result in results.items()}
    examples = [example for result in results.values() for example in result.examples]
    processes.on_main(storage.write_json, ctx.folder("evaluate", "results.json"), found)
    processes.on_main(storage.write_jsonl, ctx.folder("evaluate", "examples.jsonl"), examples)
    counted = {split: counts(ctx, split, found[split]) for split in results}
    for split, figures_of in counted.items():
        shown = {name: figures_of[name] for name in ("draft", "rerank")}
        ctx.writer(f"accuracy/{split}").scalars(shown, 0)
    return {"in_force": in_force.to_json(), **counted}


def evaluate_split(ctx: Context, split: str, in_force: InForce) -> measures.Measured:
    """The figures and worked examples of one split."""
    problems = ctx.problems(split)
    written = write_solutions(ctx, split, problems, in_force.temperature)
    scored = score_all(ctx, split, written.drafts, written.samples)
    refined = write_refinements(ctx, split, written, scored["drafts"], in_force)
    finals = score_refinements(ctx, split, written.drafts, scored["drafts"], refined)
    records = SplitRecords(
        problems,
        *written,
        scored,
        refined,
        finals,
        in_force,
        sampled=is_sampled(ctx, split),
    )
    measured = measures.measure(ctx, records)
    if records.sampled:
        warn_of_short_rivals(ctx, split, measured.figures)
    return measured


def warn_of_short_rivals(ctx: Context, split: str, measured: figures.SplitFigures) -> None:
    """Warns if all samples of a question, with the draft, have fewer tokens than the system."""
    pipeline = measured.pipeline
    assert pipeline and pipeline.rerank and pipeline.rerank.tokens is not None  # every split's
    spent = pipeline.rerank.tokens
    rival = pipeline.equal_orm or pipeline.greedy2_orm
    tokens = rival.tokens if rival and rival.tokens is not None else 0.0
    if tokens < spent:
        has = f"no more than {tokens:.1f}" if rival else "none"
        ctx.warn(
            f"{split}: the system draws {spent:.1f} tokens a question, its rivals that draw "
            f"samples {has}, all that evaluate.k={ctx.config.evaluate.k} gives them: raise it"
        )


def is_sampled(ctx: Context, split: str) -> bool:
    return split in ctx.config.evaluate.sample_splits


def counts(ctx: Context, split: str, measured: dict) -> dict:
    """What the manifest says of a split."""
    work = {name: parts.work(ctx, f"evaluate/{split}/{name}") for name in GENERATED}
    return {
        "draft": measured["draft"]["acc"],
        "rerank": measured["pipeline"]["rerank"]["acc"],
        "work": {name: done for name, done in work.items() if done},
    }


def write_solutions(
    ctx: Context, split: str, problems: Sequence[Problem], temperature: float
) -> Solutions:
    """What the student writes; `temperature`: of the samples."""
    config = ctx.config.evaluate
    sampled = is_sampled(ctx, split)
    policy = models.load_policy(ctx, "student", "hf")
    drafts = list(generation.greedy(ctx, f"evaluate/{split}/drafts", policy, problems))
    samples: list[Sample] = []
    labelled: list[LabelledDraft] = []
    if k := config.k if sampled else config.extra_samples:
        sampling = Sampling(temperature, max_new=config.max_new)
        folder = f"evaluate/{split}/samples"
        samples = list(generation.sample(ctx, folder, policy, problems, sampling, k))
    if sampled:
        folder = f"evaluate/{split}/step_labels"
        how = labelling.test_labels(ctx.config)
        labelled = list(labelling.label(ctx, folder, policy, drafts, how))
    return Solutions(drafts, samples, labelled)


def write_refinements(
    ctx: Context, split: str, written: Solutions, scored: ByModel, in_force: InForce
) -> list[Texts]:
    """All texts that stand beside each draft, by kind; `scored`: the drafts by reward model."""
    config = ctx.config.evaluate
    drafts = written.drafts
    places = []
    for i, draft in enumerate(drafts):
        of_draft = {locator: scored[locator][i] for locator in refinements.LOCATORS.values()}
        places.append(
            refinements.places_of(draft["steps"], of_draft, in_force.mark, config.suspects)
        )
    found = [refinements.refine(ctx, f"evaluate/{split}/refinements", drafts, places)]
    if config.backtrack:
        sampling = Sampling(in_force.temperature, max_new=config.max_new)
        folder = f"evaluate/{split}/backtracks"
        found.append(refinements.backtrack(ctx, folder, drafts, places, sampling))
    if is_sampled(ctx, split):
        folder = f"evaluate/{split}/base_refinements"
        found.append(untrained.refine(ctx, folder, drafts, places))
    if config.extra_samples:
        found.append(extra_samples(drafts, written.samples, config.extra_samples))
    return [merged(texts) for texts in zip(*found, strict=True)]


def extra_samples(drafts: Sequence[Sample], samples: Sequence[Sample], count: int) -> list[Texts]:
    """The first `count` samples of the question of each draft, by their names as candidates."""
    names = candidates.extra_samples(count)
    of_question: dict[str, Texts] = {}
    for sample in samples:
        if sample["sample_id"] < count:
            texts = of_question.setdefault(sample["question_id"], {})
            name = names[sample["sample_id"]]
            texts[name] = refinements.as_text(sample, sample["tokens"])
    return [{name: of_question[draft["question_id"]][name] for name in names} for draft in drafts]


def merged(texts: Sequence[Texts]) -> Texts:
    """One dict of several with different keys."""
    return {kind: text for some in texts for kind, text in some.items()}


# Scores.


def score_all(
    ctx: Context, split: str, drafts: list[Sample], samples: list[Sample]
) -> dict[str, ByModel]:
    """{"drafts": scores, "samples": scores}, kept in `evaluate/SPLIT/scores/MODEL`.

    The records of a model hold first the drafts, then the samples.
    """
    drafts_scored: dict[str, Scores] = {}
    samples_scored: dict[str, Scores] = {}
    texts = [scores.text_of(sample) for sample in drafts + samples]
    for name in scores.reward_models(ctx.config):
        found = scores.by_steps(ctx, f"evaluate/{split}/scores/{name}", name, texts)
        drafts_scored[name] = found[: len(drafts)]
        samples_scored[name] = found[len(drafts) :]
    return {"drafts": drafts_scored, "samples": samples_scored}


def score_refinements(
    ctx: Context,
    split: str,
    drafts: Sequence[Sample],
    scored: ByModel,
    refined: Sequence[Texts],
) -> Finals:
    """The value of each draft (`draft`) and of each text made from it, by scorer.

    As `SplitRecords.finals`. `scored`: the drafts by reward model. Kept in
    `evaluate/SPLIT/scores/SCORER-refinements`, and `.../loglik`, `.../base_loglik`.
    """
    weighed = ctx.config.evaluate.choose == "combination"
    sampled = is_sampled(ctx, split)
    texts = [
        scores.Text(draft["question"], text["steps"], text["ended"])
        for draft, of_draft in zip(drafts, refined, strict=True)
        for text in of_draft.values()
    ]
    folder = f"evaluate/{split}/scores"
    values: dict[str, tuple[list[float], list[float]]] = {}  # of the drafts, of `texts`
    for scorer, of_solution in (("orm", metrics.last_score), ("sorm", candidates.lowest)):
        if scorer == "orm" or weighed:
            found = scores.by_steps(ctx, f"{folder}/{scorer}-refinements", scorer, texts)
            values[scorer] = (
                [of_solution(steps) for steps in scored[scorer]],
                [of_solution(steps) for steps in found],
            )
    of_drafts = [scores.text_of(draft) for draft in drafts]
    asked = {"loglik": sampled or weighed, "base_loglik": sampled}
    loads = {"loglik": scores.load_student, "base_loglik": scores.load_base}
    for scorer, is_asked in asked.items():
        if is_asked:
            load = functools.partial(loads[scorer], ctx)
            both = scores.by_likelihood(ctx, f"{folder}/{scorer}", load, of_drafts + texts)
            values[scorer] = both[: len(drafts)], both[len(drafts) :]
    return {scorer: by_kind(*found, refined) for scorer, found in values.items()}


def by_kind(
    of_drafts: Sequence[float], of_texts: Sequence[float], refined: Sequence[Texts]
) -> list[dict[str, float]]:
    """For each draft its own value and those of its texts, which stand one after the other."""
    rest = iter(of_texts)
    return [
        {candidates.DRAFT: own, **{kind: next(rest) for kind in of_draft}}
        for own, of_draft in zip(of_drafts, refined, strict=True)
    ]
