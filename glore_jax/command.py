"""What the commands share: flags, and one clear line for whatever is wrong in them."""

import re
import sys

from absl import flags

from glore_jax.errors import UserError

FLAGS = flags.FLAGS

# Whatever absl, ml_collections or a config file of the user raises.
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
    """Reads the flags and returns the rest of the command line.

    Whatever is wrong in it ends the program with one line.
    """
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
    """One line from an error, whose text is a bare key, a line, or a whole traceback."""
    if isinstance(e, KeyError | AttributeError):
        return _unknown_field(str(e.args[0] if e.args else type(e).__name__), argv)
    if isinstance(e, SyntaxError):
        return f"{e.filename}:{e.lineno}: {e.msg}"
    lines = [line.strip() for line in str(e).splitlines() if line.strip()]
    if isinstance(e, OSError) or len(lines) == 1:
        return lines[-1]
    return f"{lines[0]} {lines[-1]}"


def _unknown_field(text: str, argv: list[str]) -> str:
    """The line for a config field that is not there: which flag names it, and what may be meant."""
    # The key is quoted once for each level that the error passed.
    found = re.search(r"\w+", text)
    key = found[0] if found else text
    meant = re.search(r"Did you mean [^?]*\?", text)
    hint = meant[0] if meant else ""
    where = next((arg for arg in argv if key in arg.partition("=")[0].split(".")), "--config")
    return f"{where}: the config has no field {key!r}. {hint}".rstrip()
