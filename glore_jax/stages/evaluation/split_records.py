"""What stage `evaluate` has of a split when all is written and scored: what figures are made of."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from glore_jax.records import LabelledDraft, Sample
from glore_jax.stages.evaluation.in_force import InForce
from glore_jax.tasks.base import Problem

# By kind: {"steps", "bad", "ended", "correct", "tokens"}.
Refined = Mapping[str, Any]
Scores = Sequence[Sequence[float]]


@dataclasses.dataclass(frozen=True)
class SplitRecords:
    """What was generated and scored on one split.

    Attributes:
      problems: of the split.
      drafts: greedy solutions, one a question.
      samples: drawn solutions, as many a question, in any order; empty if none were drawn.
      labelled: step-label records of the drafts that have a step; empty if the split has no labels.
      scored: `drafts` and `samples`: by reward model, for each of those records a score a step.
      refined: for each draft what stands beside it, by kind: refinements, and what the config adds.
      finals: by scorer, for each draft its value of the whole draft (as `draft`) and of each
        refinement: `orm` at the last step, `sorm` the lowest, both in 0..1; `loglik` and
        `base_loglik`, the log-likelihood under the student and under the untrained base. Those
        that nothing needs are left out.
      in_force: what was chosen on dev, or is given by the config.
      sampled: the split is one of `evaluate.sample_splits`: its samples are K a question, and
        rivals are measured. Elsewhere samples are only what the system asks for.
    """

    problems: Sequence[Problem]
    drafts: Sequence[Sample]
    samples: Sequence[Sample]
    labelled: Sequence[LabelledDraft]
    scored: Mapping[str, Mapping[str, Scores]]
    refined: Sequence[Refined]
    finals: Mapping[str, Sequence[Mapping[str, float]]]
    in_force: InForce
    sampled: bool = False
