"""Training and reading of reward models; ORM and SORM differ only in their labels."""

import numpy as np

from glore_jax.errors import UserError
from glore_jax.models import hf_export, reward
from glore_jax.models.model import Model
from glore_jax.sampling.scoring import score_steps
from glore_jax.stages import models, training
from glore_jax.training import losses
from glore_jax.training.batches import Example


def reward_example(prompts, question: str, steps, labels, weights) -> Example:
    """One value a step, read and trained at its last token. ValueError if steps and labels do not match one to one."""
    if not len(steps) == len(labels) == len(weights):
        raise ValueError(
            f"{len(steps)} steps, {len(labels)} labels, {len(weights)} weights of one solution: {question[:60]!r}"
        )
    tokens, ends, source = prompts.scored(question, steps)
    at = np.asarray(ends, np.int64) - 1
    label_row, weight_row = np.zeros((2, len(tokens)), np.float32)
    label_row[at], weight_row[at] = labels, weights
    return Example(np.asarray(tokens, np.int32), weight_row, label_row, source=source)


def fresh(ctx, policy: Model, likelihood: bool = False) -> Model:
    """A reward model that starts from `policy`, for training: every parameter over the global mesh."""
    return reward.from_policy(policy, likelihood=likelihood).on(ctx.mesh)


def train_reward(
    ctx, name: str, items: list[tuple[str, list, list, list]], section, target: str
) -> dict:
    """Fine-tunes the student with a value head on (question, steps, labels, weights) items, as `section` says (`train`, `likelihood`);
    leaves the folder `target`."""
    if not items:
        raise UserError(
            f"{name} has no training solutions: sample more per question, or balance less"
        )
    policy = models.load_policy(ctx, "student", "hf", training=True)
    prompts = ctx.prompts(policy)
    examples = [reward_example(prompts, *item) for item in items]
    start = fresh(ctx, policy, section.likelihood)
    batches, too_long = training.make_batches(ctx, examples, section.train, policy.config)
    trained = training.fit(ctx, name, start, batches, losses.reward_loss, section.train)
    hf_export.save_reward(ctx.folder(*target.split("/")), trained.model, ctx.config.model.dtype)
    training.drop_checkpoints(ctx, name)
    return {
        "solutions": len(examples),
        "too_long": too_long,
        "steps": trained.updates,
        "fill": batches.plan.fill,
        **trained.metrics,
    }


def score(ctx, model, solutions: list[tuple[str, list[str]]], name: str) -> list[np.ndarray]:
    """Probabilities per step of (question, steps) solutions; an empty one gets an empty array. Equal solutions are read once."""
    texts = [(question, tuple(steps)) for question, steps in solutions]
    distinct = list(dict.fromkeys(texts))
    prompts = ctx.prompts(model)
    items = [prompts.scored(question, steps) for question, steps in distinct]
    found = score_steps(model, items, mesh=ctx.local_mesh, name=name)
    values = dict(zip(distinct, found, strict=True))
    return [values[text] for text in texts]
