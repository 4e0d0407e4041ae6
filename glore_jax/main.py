"""Run GLoRe, or what is missing of it.

    python -m glore_jax.main --config=configs/tiny.py --workdir=runs/tiny [--config.rollout.k=4] [--stage=orm,sorm]

The same command again goes on where the last one ended. Exit codes: 0 all that was asked for is done; 2 a mistake in the
command, the config or the data, or a full disk: one line says which; 130 interrupted.
"""

import errno
import re
import signal
import sys

from absl import app, flags, logging
from ml_collections import config_flags

from glore_jax import pipeline
from glore_jax.errors import UserError
from glore_jax.parallel import processes

FLAGS = flags.FLAGS
config_flags.DEFINE_config_file(
    "config", None, "a file like configs/tiny.py, with :ARG if it takes one", lock_config=True
)
flags.DEFINE_string(
    "workdir", None, "folder for everything that the run makes: a local path or gs://BUCKET/FOLDER"
)
flags.DEFINE_list("stage", None, "run only these stages, separated by commas; default: all that is missing")
flags.DEFINE_string("coordinator", None, "HOST:PORT of process 0, if the run has several processes")
flags.DEFINE_integer("num_processes", None, "how many processes the run has; Cloud TPU knows it by itself")
flags.DEFINE_integer("process_id", None, "which of them this is, from 0; Cloud TPU knows it by itself")


def main(argv: list[str]) -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a pre-empted machine ends as Ctrl-C does
    try:
        if len(argv) > 1:
            raise UserError(f"unexpected argument {argv[1]!r}: flags have the form --name=value")
        if FLAGS.config is None or not FLAGS.workdir:
            raise UserError("--config=configs/NAME.py and --workdir=DIR are needed")
        processes.initialize(FLAGS.coordinator, FLAGS.num_processes, FLAGS.process_id)
        pipeline.run(FLAGS.config, FLAGS.workdir, None if FLAGS.stage is None else tuple(FLAGS.stage))
        return 0
    except KeyboardInterrupt:
        return _end("interrupted; the same command goes on from here", 130)
    except UserError as e:
        return _end(f"error: {e}", 2)
    except MemoryError:
        return _end("error: out of memory; try a smaller batch_size or a smaller engine.groups", 2)
    except OSError as e:
        if e.errno != errno.ENOSPC:
            raise
        return _end(
            f"error: no space left on the disk of {e.filename or FLAGS.workdir}; the same command goes on from here",
            2,
        )
    except RuntimeError as e:  # what XLA raises if an allocation on the device fails
        if "RESOURCE_EXHAUSTED" not in str(e):
            raise
        return _end(
            f"error: out of device memory; try a smaller batch_size or engine.groups: {str(e).splitlines()[0]}",
            2,
        )


def _end(message: str, code: int) -> int:
    print(f"glore: {message}", file=sys.stderr, flush=True)
    return code


def _parse(argv: list[str]) -> list[str]:
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
        sys.exit(_end(f"error: {_reason(e, argv)}", 2))


def _reason(e: Exception, argv: list[str]) -> str:
    """One line from an error of absl or ml_collections, whose texts are a bare key, a line, or a whole traceback."""
    text = str(e.args[0] if e.args else type(e).__name__)
    if isinstance(e, KeyError | AttributeError):  # the key, quoted once for each level that it passed
        key, hint = re.search(r"\w+", text)[0], re.search(r"Did you mean [^?]*\?", text)
        where = next((a for a in argv if key in a.partition("=")[0].split(".")), "--config")
        return f"{where}: the config has no field {key!r}. {hint[0] if hint else ''}".rstrip()
    if isinstance(e, SyntaxError):
        return f"{e.filename}:{e.lineno}: {e.msg}"
    lines = [line.strip() for line in str(e).splitlines() if line.strip()]
    return lines[-1] if isinstance(e, OSError) or len(lines) == 1 else f"{lines[0]} {lines[-1]}"


def cli() -> None:
    """The console script `glore`."""
    logging.set_verbosity(logging.WARNING)
    app.run(main, flags_parser=_parse)


if __name__ == "__main__":
    cli()
