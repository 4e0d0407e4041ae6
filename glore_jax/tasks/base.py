"""What a task is: problems, and how a worked solution in GSM8K's format is split, read and graded.

A solution is a list of steps without newlines; its text is the steps joined by newlines (a step is a line,
section 2 of the paper). A step may carry calculator marks, `<<48/2=24>>`, and the last step is `#### 24`. All
tasks share this form, so its reading lives here; a task adds where its problems come from and, if it knows
it, the truth about steps.
"""

import abc
import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

from glore_jax.errors import UserError
from glore_jax.tasks import grading

ANSWER_MARK = "####"

_MARK = re.compile(r"<<([^<>]*)>>")


@dataclasses.dataclass(frozen=True)
class Problem:
    """One question with its known final answer.

    Attributes:
      id: stable name of the question, unique within its task, e.g. `gsm8k-train-00012`.
      question: text shown to the model.
      gold: the right final answer, a text that `grading.parse_number` reads.
      solution: worked steps, the last one `#### gold`; empty if the data has none.
      facts: what only the task needs to judge steps, as JSON values; None if it knows nothing more.
    """

    id: str
    question: str
    gold: str
    solution: tuple[str, ...] = ()
    facts: dict | None = None


class Task(abc.ABC):
    """A set of problems and the reading of their solutions. Everything but `load` is pure and cheap."""

    name: str
    splits: tuple[str, ...]

    def __init__(self, config: Mapping[str, Any]):
        """`config` is the `task` part of the run's config (anything with a `get` method)."""
        self.config = config

    @abc.abstractmethod
    def load(self, split: str) -> list[Problem]:
        """The problems of `split`, in a fixed order.

        Raises:
          UserError: the split is unknown or empty, the data are not there, or a row is malformed.
        """

    def step_truth(
        self, problem: Problem, steps: Sequence[str], strict: bool = False
    ) -> list[bool] | None:
        """For each step whether all steps up to and including it are right, or None where the task cannot tell.

        `strict`: also in what does not decide whether the solution can still come out right, such as a name.
        """
        del problem, steps, strict
        return None

    def split_steps(self, text: str) -> list[str]:
        """The steps of a solution: its non-empty lines, stripped, up to its answer line; what follows an answer is not read."""
        steps = [line.strip() for line in text.split("\n") if line.strip()]
        end = next(
            (i + 1 for i, step in enumerate(steps) if step.startswith(ANSWER_MARK)), len(steps)
        )
        return steps[:end]

    def answer(self, steps: Sequence[str]) -> str | None:
        """The final answer: what stands behind `####` at the start of the last step, None if that is missing.

        Nothing else is searched: a number in some other step or place is not an answer.
        """
        if not steps or not steps[-1].startswith(ANSWER_MARK):
            return None
        return steps[-1][len(ANSWER_MARK) :].strip() or None

    def grade(self, steps: Sequence[str], gold: str) -> bool:
        """Whether the final answer of `steps` equals `gold` as an exact number."""
        answer = self.answer(steps)
        return answer is not None and grading.equal(answer, gold)

    def step_result(self, step: str) -> str | None:
        """The number that a step computes (R_i in section 4.1 of the paper), as written; None if it has none.

        The paper does not say how it is found. Here: the right-hand side of the last calculator mark, else
        the first number behind the last `=` outside of marks, else the last number of the step; for `#### n`
        it is n.
        """
        if step.startswith(ANSWER_MARK):
            answer = self.answer([step])
            return answer if answer and grading.parse_number(answer) is not None else None
        marks = _MARK.findall(step)
        if marks and "=" in marks[-1]:
            right = marks[-1].rpartition("=")[2].strip()
            if grading.parse_number(right) is not None:
                return right
        plain = _MARK.sub(" ", step)
        if "=" in plain:
            for number in grading.find_numbers(plain.rpartition("=")[2], fractions=True):
                if grading.parse_number(number) is not None:
                    return number
        numbers = [n for n in grading.find_numbers(plain) if grading.parse_number(n) is not None]
        return numbers[-1] if numbers else None

    def is_used(self, result: str, later_steps: Sequence[str]) -> bool:
        """Whether the number `result` occurs in `later_steps` (the paper's consistency rule, section 4.1).

        Values of whole number tokens are compared, never substrings: `12` does not use `2`, `.5` uses `0.50`.
        """
        value = grading.parse_number(result)
        if value is None:
            return False
        readings = (
            (False, True) if "/" in result else (False,)
        )  # literal fractions matter only if it is one
        return any(
            grading.parse_number(number) == value
            for step in later_steps
            for fractions in readings
            for number in grading.find_numbers(step, fractions)
        )

    def _take(self, problems: list[Problem], split: str) -> list[Problem]:
        """The first `config.limit.<split>` problems (0 or absent: all); UserError if none are left."""
        limit = (self.config.get("limit") or {}).get(split, 0)
        if limit < 0:
            raise UserError(
                f"task.limit.{split} = {limit}: must be 0 (all problems) or a positive number"
            )
        if not problems:
            raise UserError(f"task {self.name}: split '{split}' is empty")
        return problems[:limit] if limit else problems

    def _hold_out(
        self, problems: list[Problem], default: int
    ) -> tuple[list[Problem], list[Problem]]:
        """(train, dev): the last `config.dev_size` training problems are the development split."""
        size = self.config.get("dev_size", default)
        if not 0 <= size < max(1, len(problems)):
            raise UserError(
                f"task.dev_size = {size}: must be from 0 to less than the {len(problems)} training rows"
            )
        cut = len(problems) - size
        return problems[:cut], problems[cut:]

    def _check_split(self, split: str) -> None:
        if split not in self.splits:
            raise UserError(
                f"task {self.name} has no split '{split}'; choose one of {', '.join(self.splits)}"
            )
