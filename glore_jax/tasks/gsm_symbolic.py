"""GSM-Symbolic: questions with the wording of GSM8K, as many as are asked for.

A question is drawn from one of some eighty templates (`symbolic_templates`), each the story of a
question of GSM8K with other names and numbers. Template and numbers decide its split, so that no
question of one split is one of another's with other names:

    bucket    0 ........ 9   10 11   12 13 14 15
    split     train          dev     test

`test_templates` takes all buckets: its templates (`HELD_OUT` of them) occur in no other split. It
asks what a model does with stories that it has not seen; `test` with new numbers in stories that it
has seen.

Variations of a template go right or wrong together, so each template is a story (`Problem.story`).

The draws of the package are not all sound: where a division does not come out even, some templates
cut the result and write "17 * 0.5 = 8". So a draw is taken only if its solution holds no
calculation that is false, no number with more than `MAX_DECIMALS` decimals, and no negative answer.
"""

import hashlib
import itertools
import re
from collections.abc import Iterator, Sequence
from random import Random

from glore_jax.errors import UserError
from glore_jax.tasks import grading, symbolic_templates
from glore_jax.tasks.base import ANSWER_MARK, Problem, Task
from glore_jax.tasks.calculations import false_calculations

HELD_OUT = 15  # templates of `test_templates`
MAX_DECIMALS = 4

BUCKETS = {
    "train": range(0, 10),
    "dev": range(10, 12),
    "test": range(12, 16),
    "test_templates": range(0, 16),
}
# Draws of a template until one is sound, of the split and not there yet. A template that has none
# is passed over.
_ATTEMPTS = 400

_WHOLE = re.compile(r"(?<![\d.,])(\d+)\.0(?!\d)")  # 12.0 where 12 is meant
_NOISE = re.compile(rf"\.\d{{{MAX_DECIMALS + 1}}}")


class GsmSymbolicTask(Task):
    """GSM-Symbolic. Reads of `config` these fields.

    `seed`: of the draws; `size.<split>`: how many questions; `limit.<split>` (0 = all). Ids are
    `gsm_symbolic-<split>-<template>-<number>`.
    """

    name = "gsm_symbolic"
    splits = tuple(BUCKETS)

    def load(self, split: str) -> list[Problem]:
        """The problems of `split`: each template once in random order, then each once again.

        Errors as in `Task.load`, or the package with the templates is not there, or they have fewer
        different questions than `size.<split>`.
        """
        self._check_split(split)
        size = self.config.size[split]
        if size < 1:
            raise UserError(
                f"task gsm_symbolic: split '{split}' is empty (task.size.{split} = {size})"
            )
        problems = list(itertools.islice(self._drawn(split), size))
        if len(problems) < size:
            raise UserError(
                f"task gsm_symbolic: {split} has no {size} different questions, "
                f"{len(problems)} were found: lower task.size.{split}"
            )
        return self._take(problems, split)

    def _drawn(self, split: str) -> Iterator[Problem]:
        """Problems until no template has one more."""
        templates = symbolic_templates.load()
        names = templates_of(split, sorted(templates))
        seed = self.config.seed
        taken: set[str] = set()
        for count in itertools.count():
            Random(f"gsm_symbolic {split} {seed} order {count}").shuffle(names)
            exhausted = []
            for name in names:
                rng = Random(f"gsm_symbolic {split} {seed} {name} {count}")
                id = f"gsm_symbolic-{split}-{name:02d}-{count:04d}"
                problem = _draw(templates[name], rng, split, name, id, taken)
                if problem is None:
                    exhausted.append(name)
                else:
                    taken.add(problem.question)
                    yield problem
            names = [name for name in names if name not in exhausted]
            if not names:
                return


def templates_of(split: str, numbers: Sequence[int]) -> list[int]:
    """The templates of `split` among `numbers`, smallest first.

    Held out are those of the smallest hashes, whatever the seed.
    """

    def rank(number: int) -> bytes:
        return hashlib.sha256(f"gsm_symbolic-{number}".encode()).digest()

    held_out = sorted(numbers, key=rank)[:HELD_OUT]
    return sorted(n for n in numbers if (n in held_out) == (split == "test_templates"))


def bucket(template: int, question: str) -> int:
    """0 to 15, from the template and the numbers of the question, in their order."""
    numbers = " ".join(grading.find_numbers(question))
    return hashlib.sha256(f"{template} {numbers}".encode()).digest()[0] % 16


def _draw(
    template: symbolic_templates.Template,
    rng: Random,
    split: str,
    name: int,
    id: str,
    taken: set[str],
) -> Problem | None:
    """A sound problem of `split` that is not `taken`; None if `_ATTEMPTS` draws bring none."""
    for _ in range(_ATTEMPTS):
        drawn = template(rng, 1.0)
        question = _tidy(drawn["question"])
        if question in taken or bucket(name, question) not in BUCKETS[split]:
            continue
        lines = _tidy(drawn["metadata"]["answer_cot"]).split("\n")
        steps = tuple(line.strip() for line in lines if line.strip())
        if is_sound(question, steps):
            gold = steps[-1].removeprefix(ANSWER_MARK).strip()
            return Problem(id, question, gold, steps, variation_of=f"gsm_symbolic-{name:02d}")
    return None


def is_sound(question: str, steps: Sequence[str]) -> bool:
    """Whether a solution ends with a number that is not negative, computes nothing false, and holds
    no remains of binary arithmetic, such as 12.999999999999998."""
    if not steps or not steps[-1].startswith(ANSWER_MARK):
        return False
    gold = grading.parse_number(steps[-1].removeprefix(ANSWER_MARK))
    if gold is None or gold < 0:
        return False
    if any(_NOISE.search(text) for text in (question, *steps)):
        return False
    return not any(false_calculations(step) for step in steps)


def _tidy(text: str) -> str:
    """`text` with whole numbers written as such."""
    return _WHOLE.sub(r"\1", text.strip())
