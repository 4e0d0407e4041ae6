"""What the commands share: flags from the command line, and one clear line for whatever is wrong in them."""

import re
import sys

from absl import flags

from glore_jax.errors import UserError

FLAGS = flags.FLAGS


def end(message: str, code: int) -> int:
    """Prints `message` as the last line on stderr and returns the exit code."""
    print(f"glore: {message}", file=sys.stderr, flush=True)
    return code


def parse(argv: list[str]) -> list[str]:
    """Flags from the command line; whatever is wrong in it ends the program with one line."""
    try:
        rest = FLAGS(argv)
        if FLAGS.config is not None:
            FLAGS.config.name  # noqa: B018  (a config file that cannot be read says so only when it is used)
        return rest
    except SystemExit:  # --help; absl would exit with 1
        sys.exit(0)
    except (
        UserError,
        flags.Error,
        OSError,
        KeyError,
        AttributeError,
        TypeError,
        ValueError,
        SyntaxError,
        ImportError,
    ) as e:
        sys.exit(end(f"error: {_reason(e, argv)}", 2))


def _reason(e: Exception, argv: list[str]) -> str:
    """One line from an error of absl or ml_collections, whose texts are a bare key, a line, or a whole traceback."""
    text = str(e.args[0] if e.args else type(e).__name__)
    if isinstance(
        e, KeyError | AttributeError
    ):  # the key, quoted once for each level that it passed
        key, hint = re.search(r"\w+", text)[0], re.search(r"Did you mean [^?]*\?", text)
        where = next((a for a in argv if key in a.partition("=")[0].split(".")), "--config")
        return f"{where}: the config has no field {key!r}. {hint[0] if hint else ''}".rstrip()
    if isinstance(e, SyntaxError):
        return f"{e.filename}:{e.lineno}: {e.msg}"
    lines = [line.strip() for line in str(e).splitlines() if line.strip()]
    return lines[-1] if isinstance(e, OSError) or len(lines) == 1 else f"{lines[0]} {lines[-1]}"
