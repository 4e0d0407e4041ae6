"""What a data set is like, before anything learns from it: one screen.

    python -m glore_jax.tasks.audit --config=configs/gsm8k_llama2_7b.py \\
        --config.task.data_dir=FOLDER

Reads the splits as a run would. Malformed rows, at the first of which a run would stop, are counted
and the first ones named; the exit code is then 2. `docs/tasks.md` says what to make of the figures.
"""

import dataclasses
import sys
from collections.abc import Callable, Iterable, Sequence

from absl import app, flags, logging
from ml_collections import config_flags

from glore_jax import command
from glore_jax.config import validate
from glore_jax.errors import UserError
from glore_jax.tasks import duplicates, grading, registry
from glore_jax.tasks.base import ANSWER_MARK, Problem, Task
from glore_jax.tasks.calculations import false_calculations

FLAGS = flags.FLAGS

NEAR = 0.8  # words that two questions share, of all their words: more is a near duplicate
_EXAMPLES = 3


@dataclasses.dataclass(frozen=True)
class Numbers:
    """Mean and largest of some numbers."""

    mean: float
    most: int

    @classmethod
    def of(cls, values: Iterable[int]) -> "Numbers":
        found = list(values)
        return cls(sum(found) / max(1, len(found)), max(found, default=0))


@dataclasses.dataclass(frozen=True)
class SplitFigures:
    """One split.

    Attributes:
      rows, stories: how many; `Problem.story`.
      words: of a question.
      steps: of a worked solution, without its answer line.
      unsolved: questions without a worked solution.
      odd: answers that are no whole numbers from 0.
      graded_wrong: worked solutions that the grader finds wrong.
      no_result: steps in which no number is found, so that the consistency rule asks for nothing.
      false_steps: steps with a calculation that is false.
      prefixes, inconsistent: prefixes of worked solutions; those whose last result does not occur
        later, so that by the consistency rule (section 4.1 of the paper) the gold continuation
        would not verify them.
      inconsistent_solutions: worked solutions with such a prefix.
      repeated: questions that stand in the split already, word for word.
      same, near: questions that stand in a split before this one, word for word; or nearly, these
        included.
      shared_story: questions whose story a split before this one tells.
    """

    rows: int
    stories: int
    words: Numbers
    steps: Numbers
    unsolved: int
    odd: int
    graded_wrong: int
    no_result: int
    false_steps: int
    prefixes: int
    inconsistent: int
    inconsistent_solutions: int
    repeated: int
    same: int
    near: int
    shared_story: int


@dataclasses.dataclass(frozen=True)
class Audit:
    """A data set.

    Attributes:
      name: of the task.
      splits: split -> figures, in the task's order.
      unread: split -> why it could not be read.
      faults: a line for each malformed row.
      pairs: (likeness, id, id of a split before) of near duplicates, the nearest first.
      false: (id, what it says) of false calculations.
    """

    name: str
    splits: dict[str, SplitFigures]
    unread: dict[str, str]
    faults: list[str]
    pairs: list[tuple[float, str, str]]
    false: list[tuple[str, str]]


def audit(task: Task) -> Audit:
    """Reads all splits of `task`, which was made to gather its faults."""
    assert task.faults is not None, "the first malformed row would end the audit"
    found = Audit(task.name, {}, {}, task.faults, [], [])
    before: list[Problem] = []
    for split in task.splits:
        try:
            problems = task.load(split)
        except UserError as error:
            found.unread[split] = str(error)
            continue
        nearest = duplicates.nearest(
            [p.question for p in problems], [p.question for p in before], NEAR
        )
        for problem, twin in zip(problems, nearest, strict=True):
            if twin is not None:
                found.pairs.append((twin[1], problem.id, before[twin[0]].id))
        false = [
            (problem.id, said)
            for problem in problems
            for step in problem.solution
            if (said := false_calculations(step))
        ]
        found.false.extend((id, shown) for id, said in false for shown in said)
        near = sum(twin is not None for twin in nearest)
        found.splits[split] = _figures(task, problems, before, near, len(false))
        before += problems
    found.pairs.sort(key=lambda pair: -pair[0])
    return found


def _figures(
    task: Task,
    problems: Sequence[Problem],
    before: Sequence[Problem],
    near: int,
    false_steps: int,
) -> SplitFigures:
    solved = [p for p in problems if p.solution]
    steps = [_computing(p.solution) for p in solved]
    cuts = [_inconsistent(task, p.solution) for p in solved]
    asked = [_plain(p.question) for p in problems]
    earlier = {_plain(p.question) for p in before}
    told = {p.story for p in before}
    return SplitFigures(
        rows=len(problems),
        stories=len({p.story for p in problems}),
        words=Numbers.of(len(p.question.split()) for p in problems),
        steps=Numbers.of(map(len, steps)),
        unsolved=len(problems) - len(solved),
        odd=sum(_is_odd(p.gold) for p in problems),
        graded_wrong=sum(not task.grade(p.solution, p.gold) for p in solved),
        no_result=sum(task.step_result(step) is None for each in steps for step in each),
        false_steps=false_steps,
        prefixes=sum(len(p.solution) - 1 for p in solved),
        inconsistent=sum(cuts),
        inconsistent_solutions=sum(count > 0 for count in cuts),
        repeated=len(asked) - len(set(asked)),
        same=sum(question in earlier for question in asked),
        near=near,
        shared_story=sum(p.story in told for p in problems),
    )


def _computing(solution: Sequence[str]) -> list[str]:
    return [step for step in solution if not step.startswith(ANSWER_MARK)]


def _inconsistent(task: Task, solution: Sequence[str]) -> int:
    """Prefixes whose last result does not occur in the steps behind them."""
    count = 0
    for cut in range(1, len(solution)):
        result = task.step_result(solution[cut - 1])
        count += result is not None and not task.is_used(result, solution[cut:])
    return count


def _is_odd(gold: str) -> bool:
    value = grading.parse_number(gold)
    return value is None or value.denominator != 1 or value < 0


def _plain(question: str) -> str:
    return " ".join(question.lower().split())


# The screen

_ROWS: tuple[tuple[str, Callable[[SplitFigures], str]], ...] = (
    ("rows", lambda f: f"{f.rows:,}"),
    ("stories", lambda f: f"{f.stories:,}"),
    ("words of a question: mean, most", lambda f: f"{f.words.mean:.1f}, {f.words.most}"),
    ("steps of a worked solution: mean, most", lambda f: f"{f.steps.mean:.1f}, {f.steps.most}"),
    ("questions without one", lambda f: f"{f.unsolved:,}"),
    ("answers that are no whole number from 0", lambda f: f"{f.odd:,}"),
    ("worked solutions graded wrong", lambda f: f"{f.graded_wrong:,}"),
    ("steps without a result", lambda f: f"{f.no_result:,}"),
    ("steps with a false calculation", lambda f: f"{f.false_steps:,}"),
    ("prefixes that fail the consistency rule", lambda f: _of(f.inconsistent, f.prefixes)),
    (
        "worked solutions with such a prefix",
        lambda f: _of(f.inconsistent_solutions, f.rows - f.unsolved),
    ),
    ("questions that stand here twice", lambda f: f"{f.repeated:,}"),
    ("questions of a split further left", lambda f: f"{f.same:,}"),
    (f"  or that share {NEAR:.0%} of the words", lambda f: f"{f.near:,}"),
    ("questions with a story told further left", lambda f: f"{f.shared_story:,}"),
)


def _of(count: int, whole: int) -> str:
    return f"{count:,} ({count / whole:.0%})" if whole else "0"


def screen(found: Audit) -> str:
    """`found` in some twenty lines of at most 100 characters."""
    columns = [
        [split, *(text(figures) for _, text in _ROWS)] for split, figures in found.splits.items()
    ]
    widths = [max(map(len, column)) + 2 for column in columns]
    lines = [f"task {found.name}, {len(found.faults):,} malformed rows", ""]
    for number, name in enumerate(("", *(name for name, _ in _ROWS)) if columns else ()):
        cells = (f"{column[number]:>{w}}" for column, w in zip(columns, widths, strict=True))
        lines.append(f"{name:<42}{''.join(cells)}")
    lines += _examples("nearest", (f"{one} ~ {two} ({s:.0%})" for s, one, two in found.pairs))
    lines += _examples("false", (f"{id}: {says}" for id, says in found.false))
    lines += _examples("malformed", found.faults)
    lines += [f"cannot be read: {why}" for why in found.unread.values()]
    return "\n".join(lines)


def _examples(name: str, texts: Iterable[str]) -> list[str]:
    shown = list(texts)[:_EXAMPLES]
    return [f"{name}: {text}"[:200] for text in shown]


# The command


def main(argv: list[str]) -> int:
    """Runs the command; the exit code."""
    try:
        return run(argv)
    except UserError as error:
        return command.end(f"error: {error}", 2)
    except KeyboardInterrupt:
        return command.end("interrupted", 130)


def run(argv: list[str]) -> int:
    """What the flags ask for. UserError for a mistake in them."""
    if len(argv) > 1:
        raise UserError(f"unexpected argument {argv[1]!r}: flags have the form --name=value")
    if FLAGS.config is None:
        raise UserError("--config=configs/NAME.py is needed")
    validate(FLAGS.config)
    found = audit(registry.make_task(FLAGS.config.task, faults=[]))
    print(screen(found))
    if found.faults or found.unread:
        raise UserError("a run would stop at what is malformed or cannot be read: mend it first")
    return 0


def define_flags() -> None:
    """`--config`, as `glore_jax.main` has it."""
    config_flags.DEFINE_config_file(
        "config", None, "a file like configs/gsm8k_llama2_7b.py", lock_config=True
    )


if __name__ == "__main__":
    define_flags()
    logging.set_verbosity(logging.WARNING)
    sys.exit(app.run(main, flags_parser=command.parse))
