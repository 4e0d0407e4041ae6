"""What the commands share: flags from the command line, and one clear line for what is wrong."""

import re
import sys

from absl import flags

from glore_jax.errors import UserError

FLAGS = flags.FLAGS

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
