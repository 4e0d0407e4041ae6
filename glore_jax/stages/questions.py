"""Which questions a model can be asked: those that leave room for an answer in its context."""

import dataclasses
import functools
import math
import operator
from collections.abc import Sequence

from etils import epath

from glore_jax.errors import UserError
from glore_jax.models import hf_import
from glore_jax.models.tokenizer import Tokenizer
from glore_jax.parallel import coordinator
from glore_jax.stages import models
from glore_jax.stages.context import Context
from glore_jax.tasks.base import Problem
from glore_jax.tasks.prompts import Prompts


@dataclasses.dataclass(frozen=True)
class Fitting:
    """The questions of a split that fit, and those that are left out.

    Attributes:
      problems: those that fit, in the order of the split.
      left_out: (question id, tokens) of those that do not, in the same order.
    """

    problems: list[Problem]
    left_out: list[tuple[str, int]]

    def describe(self, split: str, room: int, context: int) -> str:
        """One line: how many are left out, why, and the first of them."""
        name, tokens = self.left_out[0]
        total = len(self.problems) + len(self.left_out)
        return (
            f"{split}: {len(self.left_out)} of {total} questions left out, too long for the "
            f"model's context of {context} tokens with {room} to be written; "
            f"first {name} ({tokens} tokens)"
        )


def fit(problems: Sequence[Problem], prompts: Prompts, context: int, room: int) -> Fitting:
    """Leaves out the `problems` whose question and `room` new tokens exceed `context` tokens."""
    fitting = []
    left_out = []
    for problem in problems:
        # To encode all questions of a task takes seconds, and nearly all are far from the limit.
        if _most_tokens(prompts.template + problem.question) + room <= context:
            fitting.append(problem)
            continue
        tokens = len(prompts.question(problem.question))
        if tokens + room <= context:
            fitting.append(problem)
        else:
            left_out.append((problem.id, tokens))
    return Fitting(fitting, left_out)


def _most_tokens(text: str) -> float:
    """No tokenizer makes more tokens of `text`; infinite where that is not known.

    Of ASCII text a token covers at least a character. The few more are for what is put before it.
    """
    return len(text) + 16 if text.isascii() else math.inf


class Reader:
    """Reads splits of the run's task once, as the base (or the student made from it) will see them.

    The tokenizer is that of `student/hf` if there is one: the base may be gone by then. It differs
    only in `[BAD]`.

    Attributes:
      config: sizes of the model.
      prompts: its token forms of questions and solutions.
    """

    def __init__(self, ctx: Context):
        exported = ctx.folder("student", "hf")
        whole = coordinator.from_main("student/hf exported", lambda: hf_import.is_export(exported))
        folder: epath.Path = exported if whole else models.base_folder(ctx.config)
        self._ctx = ctx
        self.config = hf_import.read_config(folder)
        self.prompts = Prompts(Tokenizer.load(folder), ctx.config.task.prompt)
        self._problems: dict[str, list[Problem]] = {}
        self._fitting: dict[tuple[str, int], Fitting] = {}

    def read(self, ctx: Context, split: str, fields: tuple[str, ...]) -> Fitting:
        """The questions of `split` that leave room for the largest of `fields` in new tokens.

        `ctx` is that of the stage that asks. Says once what is left out.

        Raises:
          UserError: the split cannot be loaded, or no question of it fits.
        """
        room = max(_value(ctx, field) for field in fields)
        if (split, room) not in self._fitting:
            context = self.config.max_positions
            found = fit(self.problems(split), self.prompts, context, room)
            if not found.problems:
                names = " and ".join(f"config.{field}" for field in fields)
                raise UserError(
                    f"no question of {split} leaves room for {room} new tokens in the model's "
                    f"context of {context}: lower {names}"
                )
            if found.left_out:
                ctx.say(found.describe(split, room, context))
            self._fitting[split, room] = found
        return self._fitting[split, room]

    def problems(self, split: str) -> list[Problem]:
        """All of `split`. UserError if it cannot be loaded."""
        if split not in self._problems:
            self._problems[split] = self._ctx.task.load(split)
        return self._problems[split]


def _value(ctx: Context, field: str) -> int:
    """The number that stands under the dotted name `field` of the config."""
    return functools.reduce(operator.getitem, field.split("."), ctx.config)
