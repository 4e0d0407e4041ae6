"""A look at a reward model after its training, on questions that it did not learn from.

    samples of held-out questions ─► the exported model ─► labels/looks.py ─► manifest, and a line

Held out are questions, not stories: a model may have learned from variations of what it is looked
at on. How sure a figure is goes by stories.

The model is read from its export: that is what all later stages read.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from glore_jax import records
from glore_jax.labels import looks, metrics
from glore_jax.labels.identity import identity_rank
from glore_jax.labels.looks import Judged, JudgedSteps
from glore_jax.labels.outcome import distinct_samples
from glore_jax.records import Sample
from glore_jax.stages import models, parts, rewards, variations
from glore_jax.stages.context import Context
from glore_jax.stages.rewards import LabelledSolution

QUESTIONS = 128  # most that are looked at
SOLUTIONS = 8  # most of a question

_COLUMNS = (
    *("question_id", "sample_id", "question", "steps", "correct"),
    *("logprob", "policy"),
)


def look(
    ctx: Context,
    name: str,
    folder: str,
    section: Any,
    drafts: Iterable[LabelledSolution] | None = None,
) -> dict[str, Any]:
    """Figures of the reward model in `folder`, see `labels.looks.look`; says them.

    A model that learned nothing is a warning, and so are steps that a constant guess calls as well.

    Args:
      name: of its training.
      section: its section of the config: `held_out`, a share of the questions, and `likelihood`.
      drafts: with step labels, of held-out questions; steps without weight do not count. The
        figures then have `steps`, see `labels.looks.look_at_steps`.
    """
    seed = ctx.config.seed
    groups = held_out_samples(ctx, section.held_out)
    stories = variations.read(ctx)
    labelled = list(itertools.islice(drafts or (), QUESTIONS))
    samples = [(sample["question"], sample["steps"]) for group in groups for sample in group]
    texts = [*samples, *((draft.question, draft.steps) for draft in labelled)]
    by_text = iter(score(ctx, name, folder, texts))
    judged = [
        Judged(
            stories.get(group[0]["question_id"], group[0]["question_id"]),
            list(map(metrics.last_score, itertools.islice(by_text, len(group)))),
            [sample["logprob"] or 0.0 for sample in group],
            [sample["correct"] for sample in group],
        )
        for group in groups
    ]
    found = looks.look(judged, seed, section.likelihood)
    if drafts is not None:
        found["steps"] = looks.look_at_steps(_judged_steps(list(by_text), labelled), seed)
    ctx.say(f"{name}: {looks.in_words(found)}")
    if found["learned"] is False:
        ctx.warn(f"{name} learned nothing: {found['why']}")
    if drafts is not None and found["steps"]["why"]:
        ctx.warn(f"{name}: {found['steps']['why']}")
    return found


def score(
    ctx: Context, name: str, folder: str, texts: Sequence[tuple[str, Sequence[str]]]
) -> list[np.ndarray]:
    """The scores of the steps of each (question, steps)."""
    if not texts:
        return []
    model = models.load_reward(ctx, *folder.split("/"))
    return rewards.score(ctx, model, texts, f"{name} look")


def _judged_steps(
    scores: Sequence[np.ndarray], drafts: Sequence[LabelledSolution]
) -> list[JudgedSteps]:
    """The steps of `drafts` that have a label and weight, with their scores, by question."""
    found: dict[str, list[tuple[float, bool]]] = {}
    for of_draft, draft in zip(scores, drafts, strict=True):
        steps = found.setdefault(draft.question, [])
        rows = zip(of_draft, draft.labels, draft.weights, strict=True)
        steps += [(float(score), label > 0.5) for score, label, weight in rows if weight > 0]
    return [
        JudgedSteps([score for score, _ in steps], [good for _, good in steps])
        for steps in found.values()
    ]


def held_out_samples(ctx: Context, share: float) -> list[list[Sample]]:
    """Some of the student's distinct solutions of each of some held-out questions."""
    seed = ctx.config.seed
    groups: dict[str, list[Sample]] = {}
    for sample in _held_out(ctx, share):
        if sample["logprob"] is not None:  # the student's own, not the task's
            groups.setdefault(sample["question_id"], []).append(sample)
    chosen = sorted(groups, key=lambda question: identity_rank(seed, question))[:QUESTIONS]

    def rank(sample: Sample) -> float:
        return identity_rank(seed, sample["question_id"], sample["sample_id"])

    drawn = (sorted(distinct_samples(groups[q]), key=rank)[:SOLUTIONS] for q in chosen)
    return [group for group in drawn if group]


def _held_out(ctx: Context, share: float) -> Iterator[Sample]:
    """All samples of the held-out questions."""
    folder = ctx.folder("sample", "records")
    rows = parts.expected(ctx, "sample/records")
    for batch in records.stream_columns(folder, Sample, _COLUMNS, rows):
        ids = batch["question_id"].to_pylist()
        asked = {q for q in set(ids) if looks.is_held_out(ctx.config.seed, q, share)}
        if asked:
            kept = np.flatnonzero([q in asked for q in ids])
            yield from batch.take(kept).to_pylist()
