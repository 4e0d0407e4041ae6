"""Training and reading of reward models; ORM and SORM differ only in their labels.

One value a step, trained and read at the last token of the step:

    question | step 1 \\n | step 2 \\n | #### n \\n
                      ^           ^           ^      labels, weights and scores stand here

`every_token`: trained at all tokens of the step, read as before:

               1 1 1 1 1 1 2 2 2 2 2 2 3 3 3 3 3
"""

import dataclasses
import functools
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from glore_jax.config import AnyConfig
from glore_jax.errors import UserError
from glore_jax.models import hf_export, reward
from glore_jax.models.model import Model, Start
from glore_jax.progress import SCORE
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
    every_token: bool = False,
    longest: int | None = None,
) -> tuple[Example, int]:
    """(a labelled solution as a training example, how many of its last steps do not fit).

    Args:
      every_token: label and weight of a step stand at all its tokens, else at its last one.
      longest: tokens that the example may have; steps that end behind them are not there.

    ValueError if steps, labels and weights do not match one to one.
    """
    if not len(steps) == len(labels) == len(weights):
        raise ValueError(
            f"{len(steps)} steps, {len(labels)} labels, {len(weights)} weights "
            f"of one solution: {question[:60]!r}"
        )
    tokens, ends, source = prompts.scored(question, steps)
    fitting = [end for end in ends if longest is None or end <= longest]
    length = fitting[-1] if fitting else source
    label_row = np.zeros(length, np.float32)
    weight_row = np.zeros(length, np.float32)
    begin = source
    for end, label, weight in zip(fitting, labels, weights, strict=False):
        first = begin if every_token else end - 1
        label_row[first:end] = label
        weight_row[first:end] = weight
        begin = end
    ids = np.asarray(tokens[:length], np.int32)
    return Example(ids, weight_row, label_row, source=source), len(ends) - len(fitting)


@dataclasses.dataclass
class Examples:
    """The training examples of some solutions, and what became of those longer than a row.

    A solution that is too long is cut behind the last step that fits. It is not left out: most that
    run on for so long are wrong, and a reward model that never saw one would not know.

    Attributes:
      prompts, every_token, row_length: see `reward_example`.
      cut: solutions of which only the first steps are learned.
      left_out: those of which no labelled step fits.
    """

    prompts: Prompts
    every_token: bool
    row_length: int
    cut: int = 0
    left_out: int = 0

    def of(self, solutions: Iterable[LabelledSolution]) -> Iterator[Example]:
        for solution in solutions:
            example, missing = reward_example(
                self.prompts, *solution, self.every_token, self.row_length
            )
            if example.weights.any():
                self.cut += missing > 0
                yield example
            else:
                self.left_out += 1


def start(ctx: Context, policy: Start, **options: Any) -> Start:
    """A reward model that starts from `policy`, for training: parameters over the global mesh.

    options: of `reward.from_policy`.
    """
    return policy.then(functools.partial(reward.from_policy, **options), ctx.mesh)


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
      section: `config.orm` or `config.sorm`.

    Returns counts and metrics for the manifest. UserError if there is no solution.
    """
    solutions = iter(solutions)
    first = next(solutions, None)  # before a large model is loaded
    if first is None:
        raise UserError(
            f"{name} has no training solutions: sample more per question, or balance less"
        )
    policy = models.policy_start(ctx, "student", "hf")
    config = policy.model.config
    row_length = training.row_length_of(section.train, config)
    examples = Examples(ctx.prompts(policy.model), section.every_token, row_length)
    made = examples.of(itertools.chain([first], solutions))
    batches, _ = training.make_batches(ctx, name, made, section.train, config)
    if examples.cut or examples.left_out:
        ctx.warn(
            f"{name}: {examples.cut} of {len(batches.examples)} solutions are cut to "
            f"row_length={row_length}, {examples.left_out} more left out: no labelled step fits"
        )
    trained = training.fit(
        ctx,
        name,
        start(ctx, policy, **head_of(ctx, section)),
        batches,
        functools.partial(losses.reward_loss, language=section.language),
        section.train,
        hf_export.save_reward,
        ctx.folder(*target.split("/")),
    )
    return {
        "solutions": len(batches.examples) + examples.left_out,
        "cut": examples.cut,
        "too_long": examples.left_out,
        "steps": trained.updates,
        "fill": batches.plan.fill,
        **trained.metrics,
    }


def head_of(ctx: Context, section: AnyConfig) -> dict[str, Any]:
    """Options of `reward.from_policy` of a reward model that `section` describes."""
    return {
        "seed": ctx.config.seed,
        "std": section.head_std,
        "likelihood": section.likelihood,
        "language": section.language > 0,
    }


def score(
    ctx: Context, model: Model, solutions: Sequence[tuple[str, Sequence[str]]], name: str
) -> list[np.ndarray]:
    """The probability of each step, float [steps], of every (question, steps) solution.

    A solution without steps gets an empty array. Equal solutions are read once. `name`: of this
    piece of work.
    """
    texts = [(question, tuple(steps)) for question, steps in solutions]
    distinct = list(dict.fromkeys(texts))
    prompts = ctx.prompts(model)
    items = [prompts.scored(question, steps) for question, steps in distinct]
    with ctx.piece(name, SCORE, "solutions", len(items)) as piece:
        found = score_steps(model, items, mesh=ctx.local_mesh, piece=piece)
    scores = dict(zip(distinct, found, strict=True))
    return [scores[text] for text in texts]
