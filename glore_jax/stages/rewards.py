"""Training and reading of reward models; ORM and SORM differ only in their labels.

One value a step, trained and read at the last token of the step:

    question | step 1 \\n | step 2 \\n | #### n \\n
                      ^           ^           ^      labels, weights and scores stand here
"""

import functools
import itertools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from glore_jax.config import AnyConfig
from glore_jax.errors import UserError
from glore_jax.models import hf_export, reward
from glore_jax.models.model import Model, Start
from glore_jax.sampling.scoring import score_steps
from glore_jax.stages import models, training
from glore_jax.stages.context import Context
from glore_jax.tasks.prompts import Prompts
from glore_jax.training import losses
from glore_jax.training.examples import Example


class LabelledSolution(NamedTuple):
    """What a reward model learns from: one label in 0..1 and one weight for each step."""

    question: str
    steps: Sequence[str]
    labels: Sequence[float]
    weights: Sequence[float]


def reward_example(
    prompts: Prompts,
    question: str,
    steps: Sequence[str],
    labels: Sequence[float],
    weights: Sequence[float],
) -> Example:
    """A labelled solution as a training example.

    ValueError if steps, labels and weights do not match one to one.
    """
    if not len(steps) == len(labels) == len(weights):
        raise ValueError(
            f"{len(steps)} steps, {len(labels)} labels, {len(weights)} weights "
            f"of one solution: {question[:60]!r}"
        )
    tokens, ends, source = prompts.scored(question, steps)
    last = np.asarray(ends, np.int64) - 1  # index of each step's last token
    label_row = np.zeros(len(tokens), np.float32)
    label_row[last] = labels
    weight_row = np.zeros(len(tokens), np.float32)
    weight_row[last] = weights
    return Example(np.asarray(tokens, np.int32), weight_row, label_row, source=source)


def start(ctx: Context, policy: Start, likelihood: bool = False) -> Start:
    """A reward model that starts from `policy`, for training: parameters over the global mesh."""
    return policy.then(functools.partial(reward.from_policy, likelihood=likelihood), ctx.mesh)


def train_reward(
    ctx: Context,
    name: str,
    solutions: Iterable[LabelledSolution],
    section: AnyConfig,
    target: str,
) -> dict:
    """Fine-tunes the student with a value head; leaves the folder `target`, and the checkpoints.

    Args:
      name: of the run, as in "orm/plain"; its checkpoints lie there meanwhile.
      section: `config.orm` or `config.sorm` (`train`, `likelihood`).

    Returns counts and metrics for the manifest. UserError if there is no solution.
    """
    solutions = iter(solutions)
    first = next(solutions, None)  # before a large model is loaded
    if first is None:
        raise UserError(
            f"{name} has no training solutions: sample more per question, or balance less"
        )
    policy = models.policy_start(ctx, "student", "hf")
    prompts = ctx.prompts(policy.model)
    examples = (reward_example(prompts, *s) for s in itertools.chain([first], solutions))
    batches, too_long = training.make_batches(ctx, examples, section.train, policy.model.config)
    trained = training.fit(
        ctx,
        name,
        start(ctx, policy, section.likelihood),
        batches,
        losses.reward_loss,
        section.train,
        functools.partial(hf_export.save_reward, dtype=ctx.config.model.dtype),
        ctx.folder(*target.split("/")),
    )
    return {
        "solutions": len(batches.examples) + too_long,
        "too_long": too_long,
        "steps": trained.updates,
        "fill": batches.plan.fill,
        **trained.metrics,
    }


def score(
    ctx: Context, model: Model, solutions: Sequence[tuple[str, Sequence[str]]], name: str
) -> list[np.ndarray]:
    """The probability of each step, float [steps], of every (question, steps) solution.

    A solution without steps gets an empty array. Equal solutions are read once. `name` stands on
    the progress bar.
    """
    texts = [(question, tuple(steps)) for question, steps in solutions]
    distinct = list(dict.fromkeys(texts))
    prompts = ctx.prompts(model)
    items = [prompts.scored(question, steps) for question, steps in distinct]
    found = score_steps(model, items, mesh=ctx.local_mesh, name=name)
    scores = dict(zip(distinct, found, strict=True))
    return [scores[text] for text in texts]
