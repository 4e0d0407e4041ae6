"""What a task is: problems, and how a worked solution in GSM8K's format is split, read and graded.

A solution is a list of steps without newlines; its text is the steps joined by newlines (a step is
a line, section 2 of the paper). A step may carry calculator marks, and the last step is the answer:

    Half of 48 is 48/2 = <<48/2=24>>24 clips.
    #### 24

All tasks share this form, so its reading lives here; a task adds where its problems come from and,
if it knows it, the truth about steps.
"""

import abc
import dataclasses
import re
from collections.abc import Sequence

from ml_collections import ConfigDict

from glore_jax.errors import UserError, refuse
from glore_jax.tasks import grading

ANSWER_MARK = "####"

MARK = re.compile(r"<<([^<>]*)>>")  # a calculator mark


@dataclasses.dataclass(frozen=True)
class Problem:
    """One question with its known final answer.

    Attributes:
      id: stable name of the question, unique within its task, e.g. `gsm8k-train-00012`.
      question: text shown to the model.
      gold: the right final answer, a text that `grading.parse_number` reads.
      solution: worked steps, the last one `#### gold`; empty if the data has none.
      facts: what only the task needs to judge steps, as JSON values; None if it knows nothing
        more.
      variation_of: the name that it shares with its variations, where it has any; empty: none.
    """

    id: str
    question: str
    gold: str
    solution: tuple[str, ...] = ()
    facts: dict | None = None
    variation_of: str = ""

    @property
    def story(self) -> str:
        """The name of its story, the same for questions that are variations of each other.

        These are right or wrong together, so whatever asks how sure a figure is counts stories. A
        question without variations is a story by itself, of its own id.
        """
        return self.variation_of or self.id


class Task(abc.ABC):
    """A set of problems and the reading of their solutions.

    Everything but `load` is pure and cheap.
    """

    name: str
    splits: tuple[str, ...]

    def __init__(self, config: ConfigDict, faults: list[str] | None = None):
        """`config` is the `task` section of the run's config, or any mapping with its fields.

        `faults`: takes a line for each malformed row, which is then left out; None: the first one
        is an error.
        """
        self.config = config
        self.faults = faults

    @abc.abstractmethod
    def load(self, split: str) -> list[Problem]:
        """The problems of `split`, in a fixed order.

        Raises:
          UserError: the split is unknown or empty, the data are not there, or a row is malformed.
        """

    def step_truth(
        self, problem: Problem, steps: Sequence[str], strict: bool = False
    ) -> list[bool] | None:
        """For each step whether all steps up to and including it are right; None if unknown.

        `strict`: right also in what does not decide whether the solution can still come out right,
        such as a name.
        """
        del problem, steps, strict
        return None

    def split_steps(self, text: str) -> list[str]:
        """The steps of a solution: its non-empty lines, stripped, up to its answer line.

        What follows an answer is not read.
        """
        steps: list[str] = []
        # At "\n" alone: `splitlines` would cut at characters that a model may write inside a line.
        for line in text.split("\n"):
            step = line.strip()
            if step:
                steps.append(step)
            if step.startswith(ANSWER_MARK):
                break
        return steps

    def answer(self, steps: Sequence[str]) -> str | None:
        """The final answer: what stands behind `####` at the start of the last step, else None.

        Nothing else is searched: a number in some other step or place is not an answer.
        """
        if not steps or not steps[-1].startswith(ANSWER_MARK):
            return None
        answer = steps[-1].removeprefix(ANSWER_MARK).strip()
        return answer or None

    def grade(self, steps: Sequence[str], gold: str) -> bool:
        """Whether the final answer of `steps` equals `gold` as an exact number."""
        answer = self.answer(steps)
        return answer is not None and grading.equal(answer, gold)

    def step_result(self, step: str) -> str | None:
        """The number that a step computes (R_i in section 4.1 of the paper), as written, or None.

        The paper does not say how it is found. Here: the right-hand side of the last calculator
        mark, else the first number behind the last `=` outside of marks, else the last number of
        the step; for `#### n` it is n.
        """
        if step.startswith(ANSWER_MARK):
            answer = self.answer([step])
            return answer if answer and _is_number(answer) else None
        marks = MARK.findall(step)
        if marks and "=" in marks[-1]:
            right = marks[-1].rpartition("=")[2].strip()
            if _is_number(right):
                return right
        plain = MARK.sub(" ", step)
        if "=" in plain:
            right = plain.rpartition("=")[2]
            for number in grading.find_numbers(right, fractions=True):
                if _is_number(number):
                    return number
        numbers = [number for number in grading.find_numbers(plain) if _is_number(number)]
        return numbers[-1] if numbers else None

    def is_used(self, result: str, later_steps: Sequence[str]) -> bool:
        """Whether the number `result` occurs in `later_steps` (consistency rule, section 4.1).

        Values of whole number tokens are compared, never substrings: `12` does not use `2`, `.5`
        uses `0.50`.
        """
        value = grading.parse_number(result)
        if value is None:
            return False
        # Read as one number, `48/2` would be a use of 24 in a text that never says 24: literal
        # fractions count only for a result that is one itself.
        readings = (False, True) if "/" in result else (False,)
        return any(
            grading.parse_number(number) == value
            for step in later_steps
            for fractions in readings
            for number in grading.find_numbers(step, fractions)
        )

    def _fault(self, message: str) -> None:
        """Tells of a malformed row: UserError, unless `faults` are gathered."""
        if self.faults is None:
            refuse(message)
        if message not in self.faults:  # a file may hold two splits
            self.faults.append(message)

    def _take(self, problems: list[Problem], split: str) -> list[Problem]:
        """The first `config.limit.<split>` problems (0 or absent: all); UserError if none."""
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
        cut = len(problems) - self._dev_size(len(problems), default)
        return problems[:cut], problems[cut:]

    def _dev_size(self, rows: int, default: int) -> int:
        """`config.dev_size`; UserError if it leaves none of the training `rows`."""
        size = self.config.get("dev_size", default)
        if not 0 <= size < max(1, rows):
            raise UserError(
                f"task.dev_size = {size}: must be from 0 to less than the {rows} training rows"
            )
        return size

    def _check_split(self, split: str) -> None:
        if split not in self.splits:
            raise UserError(
                f"task {self.name} has no split '{split}'; choose one of {', '.join(self.splits)}"
            )


def _is_number(text: str) -> bool:
    return grading.parse_number(text) is not None
