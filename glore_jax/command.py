"""What the commands share: flags from the command line, and one clear line for what is wrong."""

import argparse
import errno
import re
import sys
from typing import NoReturn

from absl import flags

from glore_jax import storage
from glore_jax.errors import TransientError, UserError

FLAGS = flags.FLAGS

INTERRUPTED = 130  # exit code
MENDABLE = (2, 4)  # exit codes of errors that are no mistake of the program

# Whatever absl, ml_collections and a config file raise over a mistake in the command line.
_MISTAKES = (
    UserError,
    flags.Error,
    OSError,
    KeyError,
    AttributeError,
    TypeError,
    ValueError,
    SyntaxError,
    ImportError,
)


def end(message: str, code: int) -> int:
    """Prints `message` as the last line on stderr and returns the exit code."""
    print(f"glore: {message}", file=sys.stderr, flush=True)
    return code


class Parser(argparse.ArgumentParser):
    """Of commands that read no config: a mistake in their arguments is a UserError."""

    def error(self, message: str) -> NoReturn:
        raise UserError(message)


def verdict(error: BaseException, place: str = "its files") -> tuple[int, str]:
    """The exit code that `error` stands for, and the line that says why.

    1 is a mistake of the program, 2 one that the user can mend, 4 will pass (`errors.py`), and
    `INTERRUPTED`. `place`: what a full disk holds, if `error` does not say.
    """
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED, "interrupted"
    if not isinstance(error, Exception):
        return 1, _named(error)
    refusal = storage.refused(error, "reach the files of the run")
    if isinstance(refusal, TransientError):
        return 4, str(refusal)
    if isinstance(error, UserError):
        return 2, str(error)
    if isinstance(error, MemoryError):
        return 2, "out of memory; try a smaller batch_size or a smaller engine.groups"
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        full = error.filename or place
        return 2, f"no space left on the disk of {full}; the same command goes on from here"
    line = _first_line(error)
    # XLA's words: of a collective that another process, busy with a slow disk say, did not reach,
    # and of a device without memory.
    if isinstance(error, RuntimeError) and "DEADLINE_EXCEEDED" in str(error):
        why = f"the processes of the run did not meet in time: {line}"
        return 4, f"{why}; the same command goes on from here"
    if isinstance(error, RuntimeError) and "RESOURCE_EXHAUSTED" in str(error):
        return 2, f"out of device memory; try a smaller batch_size or engine.groups: {line}"
    return 1, _named(error)


def _named(error: BaseException) -> str:
    return f"{type(error).__name__}: {_first_line(error)}"


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def parse(argv: list[str]) -> list[str]:
    """Flags from the command line; whatever is wrong in it ends the program with one line."""
    try:
        rest = FLAGS(argv)
        if FLAGS.config is not None:
            # A config file that cannot be read says so only when it is used.
            FLAGS.config.name  # noqa: B018
        return rest
    except SystemExit:  # --help; absl would exit with 1
        sys.exit(0)
    except _MISTAKES as e:
        sys.exit(end(f"error: {_reason(e, argv)}", 2))


def _reason(e: Exception, argv: list[str]) -> str:
    """One line from an error of absl or ml_collections, whose texts are a bare key, a line, or a
    whole traceback."""
    text = str(e.args[0] if e.args else type(e).__name__)
    if isinstance(e, KeyError | AttributeError):
        return _unknown_field(text, argv)
    if isinstance(e, SyntaxError):
        return f"{e.filename}:{e.lineno}: {e.msg}"
    lines = [line.strip() for line in str(e).splitlines() if line.strip()]
    if isinstance(e, OSError) or len(lines) == 1:
        return lines[-1]
    return f"{lines[0]} {lines[-1]}"


def _unknown_field(text: str, argv: list[str]) -> str:
    """`text`: the unknown key, quoted once for each level that it passed, perhaps with a hint."""
    word = re.search(r"\w+", text)
    key = word[0] if word else text
    hint = re.search(r"Did you mean [^?]*\?", text)
    # The argument that names the key, the value behind = left out.
    named = (arg for arg in argv if key in arg.partition("=")[0].split("."))
    where = next(named, "--config")
    line = f"{where}: the config has no field {key!r}."
    return f"{line} {hint[0]}" if hint else line
