"""One question in; draft, step scores, both refinements and the choice out, in a terminal.

    python -m glore_jax.solve --workdir=runs/tiny --question="Ben has 22 pies. ..."

The way of stage `evaluate`, for a single question whose answer nobody knows:

    student: draft -> SORM: which step is wrong -> refiner: global and local refinement
                                                -> ORM: which of the three is best
"""

import argparse
import dataclasses
import sys
from typing import NoReturn

from absl import logging
from etils import epath
from ml_collections import ConfigDict

from glore_jax import storage
from glore_jax.errors import UserError
from glore_jax.labels.metrics import first_error
from glore_jax.models import hf_import
from glore_jax.models.model import Model
from glore_jax.sampling.engine import Fork, Job
from glore_jax.sampling.tokens import Sampling
from glore_jax.stages import generation, models, refinements, rewards
from glore_jax.stages.context import Context
from glore_jax.stages.draft_figures import last_scores

_WIDTH = 10  # characters of the left column


@dataclasses.dataclass(frozen=True)
class Solved:
    """What the system makes of a question.

    Attributes:
      question: its text.
      sorm: the SORM's probability of each step of the draft.
      bad: the step of the draft that is flagged, from 0; -1 if none is.
      texts: the steps of "draft", "global" and "local".
      scores: the ORM's probability of each of these.
      choice: the name of the best.
      answer: the final answer of that one, None if it has none.
    """

    question: str
    sorm: list[float]
    bad: int
    texts: dict[str, list[str]]
    scores: dict[str, float]
    choice: str
    answer: str | None


def solve(workdir: epath.PathLike, question: str) -> Solved:
    """Drafts, scores, refines and chooses with all that the run in `workdir` has trained.

    Raises:
      UserError: the run is not finished, or the student wrote nothing.
    """
    ctx = open_run(workdir)
    draft = write_draft(ctx, question)
    step_scores = score_steps(ctx, question, draft)
    bad = first_error(step_scores, ctx.config.evaluate.mark)
    texts = {"draft": draft} | refine(ctx, question, draft, bad)
    scores = score_texts(ctx, question, texts)
    choice = max(scores, key=lambda name: scores[name])  # of equals the first
    return Solved(
        question=question,
        sorm=step_scores,
        bad=bad,
        texts=texts,
        scores=scores,
        choice=choice,
        answer=ctx.task.answer(texts[choice]),
    )


def open_run(workdir: epath.PathLike) -> Context:
    """The run in `workdir`. UserError if it has not trained all that it takes."""
    file = storage.path(workdir) / "config.json"
    if not storage.exists(file):
        raise UserError(
            f"{workdir} is not a work directory (no config.json): run glore_jax.main first"
        )
    ctx = Context(ConfigDict(storage.read_json(file)["config"]), workdir)
    for stage in ("student", "orm", "sorm", "refiner"):
        if not hf_import.is_export(ctx.folder(stage, "hf")):
            raise UserError(f"{workdir} has no finished {stage}: run glore_jax.main on it first")
    return ctx


def write_draft(ctx: Context, question: str) -> list[str]:
    """The student's greedy steps. UserError if it writes none."""
    student = models.load_policy(ctx, "student", "hf")
    trunk = ctx.prompts(student).question(question)
    draft = _write(ctx, student, trunk, ctx.config.sample.max_new)
    if not draft:
        raise UserError("the student wrote nothing for this question")
    return draft


def score_steps(ctx: Context, question: str, draft: list[str]) -> list[float]:
    """The SORM's probability of each step."""
    sorm = models.load_reward(ctx, "sorm", "hf")
    (scores,) = rewards.score(ctx, sorm, [(question, draft)], "sorm")
    return [float(score) for score in scores]


def refine(ctx: Context, question: str, draft: list[str], bad: int) -> dict[str, list[str]]:
    """The steps of the "global" and the "local" refinement of a draft whose step `bad` is flagged.

    Nothing flagged (-1): the local refinement is the draft itself. The first step flagged: it is
    the global one.
    """
    refiner = models.load_policy(ctx, "refiner", "hf")
    prompts = ctx.prompts(refiner)
    section = ctx.config.refiner

    def refine_at(step: int) -> list[str]:
        begun = refinements.kept_prefix(ctx.config, draft, step)
        trunk = prompts.refine(question, draft, step, begun)
        both_ways = section.attention == "prefix"
        return begun + _write(ctx, refiner, trunk, section.max_new, both_ways)

    whole = refine_at(0)
    if bad < 0:
        local = draft
    elif bad == 0:
        local = whole
    else:
        local = refine_at(bad)
    return {"global": whole, "local": local}


def score_texts(ctx: Context, question: str, texts: dict[str, list[str]]) -> dict[str, float]:
    """The ORM's probability of each text, at its last step; 0 for an empty one."""
    orm = models.load_reward(ctx, "orm", "hf")
    solutions = [(question, steps) for steps in texts.values()]
    found = rewards.score(ctx, orm, solutions, "orm")
    return dict(zip(texts, last_scores(found), strict=True))


def _write(
    ctx: Context, policy: Model, trunk: list[int], max_new: int, bidirectional: bool = False
) -> list[str]:
    """Greedy steps after a trunk."""
    engine = generation.make_engine(
        ctx, policy, len(trunk), 1, max_new, 1, bidirectional=bidirectional
    )
    asked = Job("solve", trunk, [Fork(len(trunk))])
    (job,) = engine.run([asked], Sampling(0.0, max_new=max_new))
    (completion,) = job.completions.values()
    return ctx.task.split_steps(completion.text)


# The command.


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(message)


def parse(argv: list[str] | None) -> tuple[str, str]:
    """(work directory, question) from the command line; UserError says what is wrong with it."""
    parser = _Parser(
        "python -m glore_jax.solve",
        description="Answer one question with all that a run has trained.",
    )
    parser.add_argument("--workdir", required=True, help="a finished work directory")
    either = parser.add_mutually_exclusive_group(required=True)
    either.add_argument("--question", help="the question")
    either.add_argument("--question-file", help="a text file that holds the question")
    given = parser.parse_args(argv)
    text = storage.read_text(given.question_file) if given.question is None else given.question
    if not text.strip():
        raise UserError("the question is empty")
    return given.workdir, " ".join(text.split())


def show(solved: Solved) -> str:
    """What the terminal shows: each text with its scores, and the answer."""
    lines = [f"question  {solved.question}", ""]
    for name in solved.texts:
        lines += _show_text(solved, name)
    answer = "none" if solved.answer is None else solved.answer
    return "\n".join([*lines, f"answer    {answer}"])


def _show_text(solved: Solved, name: str) -> list[str]:
    heading = f"{name:<{_WIDTH}}ORM {solved.scores[name]:.2f}"
    if name == solved.choice:
        heading += " <- chosen"
    if name == "local" and solved.bad < 0:
        return [heading + " (no step is flagged: the draft itself)"]
    lines = [heading]
    for i, step in enumerate(solved.texts[name]):
        # Only the steps of the draft have scores of their own, and a flag.
        score = f"{solved.sorm[i]:.2f}" if name == "draft" else "    "
        flag = "[BAD] " if name == "draft" and i == solved.bad else ""
        lines.append(f"    {score}  {flag}{step}")
    return [*lines, ""]


def main(argv: list[str] | None = None) -> int:
    """Exit code: 0, or 2 for a mistake, of which one line on stderr says what it is."""
    logging.set_verbosity(logging.WARNING)
    try:
        print(show(solve(*parse(argv))))
        return 0
    except UserError as error:
        print(f"glore: error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
