"""One question in; draft, step scores, both refinements and the choice out, in a terminal.

    python -m glore_jax.solve --workdir=runs/tiny --question="Ben has 22 pies. ..."

Here are the command and what it shows; what the models do is in `system.py`, which takes JAX: a
mistake in the command is told without it.
"""

from absl import logging
from etils import epath

from glore_jax import command, storage
from glore_jax.errors import UserError
from glore_jax.solve.solved import Solved, show

__all__ = ["Solved", "main", "parse", "show", "solve"]


def solve(workdir: epath.PathLike, question: str) -> Solved:
    """Drafts, scores, refines and chooses with all that the run in `workdir` has trained.

    Raises:
      UserError: the run is not finished, or the student wrote nothing.
    """
    from glore_jax.solve import system

    return system.answer(workdir, question)


def parse(argv: list[str] | None) -> tuple[str, str]:
    """(work directory, question) from the command line; UserError says what is wrong with it."""
    parser = command.Parser(
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


def main(argv: list[str] | None = None) -> int:
    """Exit code: 0, or 2 for a mistake, of which one line on stderr says what it is."""
    logging.set_verbosity(logging.WARNING)
    try:
        print(show(solve(*parse(argv))))
        return 0
    except UserError as error:
        return command.end(f"error: {error}", 2)
