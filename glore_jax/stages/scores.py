"""Scores of solutions as records on disk: by a reward model for each step, or the log-likelihood of
the whole under a policy."""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

from glore_jax.config import AnyConfig
from glore_jax.models.model import Model
from glore_jax.records import LogLikelihood, Sample, StepScores
from glore_jax.sampling.scoring import log_likelihoods
from glore_jax.stages import models, parts, rewards
from glore_jax.stages.context import Context
from glore_jax.tasks.prompts import Prompts

_LEAST = 64  # solutions of a part: scoring one takes little, and calls should be full


class Text(NamedTuple):
    """A solution that is scored; `ended`: it came to an end before its length ran out."""

    question: str
    steps: Sequence[str]
    ended: bool = True


def text_of(sample: Sample) -> Text:
    return Text(sample["question"], sample["steps"], sample["ended"])


def reward_models(config: AnyConfig) -> dict[str, tuple[str, str]]:
    """Name of each reward model -> its folder in the work directory. `config`: the whole one."""
    folders = {"orm": ("orm", "hf"), "sorm": ("sorm", "hf")}
    if config.orm.balanced:
        folders["balanced_orm"] = ("orm", "balanced_hf")
    return folders


def by_steps(ctx: Context, name: str, scorer: str, texts: Sequence[Text]) -> list[list[float]]:
    """Probabilities per step of each text by the reward model `scorer`, kept in the folder `name`.

    An empty list for a text without steps.
    """
    model = functools.cache(lambda: models.load_reward(ctx, *reward_models(ctx.config)[scorer]))

    def make(some: list[Text]) -> list[StepScores]:
        solutions = [(text.question, text.steps) for text in some]
        found = rewards.score(ctx, model(), solutions, name)
        return [{"scores": [float(p) for p in of_text]} for of_text in found]

    rows = parts.in_parts(ctx, name, StepScores, texts, make, least=_LEAST)
    return [row["scores"] for row in rows]


def by_likelihood(
    ctx: Context, name: str, load: Callable[[], Model], texts: Sequence[Text]
) -> list[float]:
    """Natural logarithm of the probability of each text under a policy, at temperature 1.

    The end of the sequence counts where a text ended. Kept in the folder `name`.

    load: the policy; called only if some are missing.
    """
    model = functools.cache(load)

    def make(some: list[Text]) -> list[LogLikelihood]:
        items = likelihood_items(ctx.prompts(model()), some)
        found = log_likelihoods(model(), items, mesh=ctx.local_mesh)
        return [{"loglik": value} for value in found]

    rows = parts.in_parts(ctx, name, LogLikelihood, texts, make, least=_LEAST)
    return [row["loglik"] for row in rows]


def likelihood_items(prompts: Prompts, texts: Sequence[Text]) -> list[tuple[list[int], int]]:
    """What `log_likelihoods` reads of each text: its tokens, and how many are the question's."""
    items = []
    for text in texts:
        question = prompts.question(text.question)
        solution, _ = prompts.solution(text.steps, text.ended)
        items.append((question + solution, len(question)))
    return items


def load_student(ctx: Context) -> Model:
    """The student to read with."""
    return models.policy_start(ctx, "student", "hf", training=False).loaded()


def load_base(ctx: Context) -> Model:
    """The untrained base to read with."""
    return models.base_start(ctx, training=False).loaded()
