"""Run GLoRe, or what is missing of it.

    python -m glore_jax.main --config=configs/tiny.py --workdir=runs/tiny \\
        [--config.rollout.k=4] [--stage=orm,sorm]
    python -m glore_jax.main status --workdir=runs/tiny
    python -m glore_jax.main publish --workdir=runs/tiny --stage=refiner --folder=my-refiner

The second says how far a run is (see `status`), the third makes a model of it ready for others (see
`publish`). The first goes on where it ended the last time. Its
exit codes:

    0    all that was asked for is done
    1    a mistake of the program, with its traceback
    2    a mistake in the command, the config or the data, or a full disk: one line says which
    3    another process of this run has ended
    4    a bucket, a disk or another process did not answer for minutes: nothing is wrong with the
         run, and the same command later goes on from here
    130  interrupted
"""

import signal
import sys
import traceback
from types import FrameType

from absl import app, flags, logging
from ml_collections import config_flags

from glore_jax import command, pipeline, status
from glore_jax.errors import UserError
from glore_jax.parallel import processes
from glore_jax.progress import Progress

# Of the half minute that a spot machine is given, and enough to tidy up what is under way.
_AGAIN_SECONDS = 5

FLAGS = flags.FLAGS
config_flags.DEFINE_config_file(
    "config", None, "a file like configs/tiny.py, with :ARG if it takes one", lock_config=True
)
flags.DEFINE_string(
    "workdir", None, "folder for everything that the run makes: a local path or gs://BUCKET/FOLDER"
)
flags.DEFINE_list(
    "stage", None, "run only these stages, separated by commas; default: all that is missing"
)
flags.DEFINE_bool(
    "other_versions", False, "go on with a half-done stage under other versions of packages"
)
flags.DEFINE_string("coordinator", None, "HOST:PORT of process 0, if the run has several processes")
flags.DEFINE_integer(
    "num_processes", None, "how many processes the run has; Cloud TPU knows it by itself"
)
flags.DEFINE_integer(
    "process_id", None, "which of them this is, from 0; Cloud TPU knows it by itself"
)


def main(argv: list[str]) -> int:
    """Runs what the flags ask for and returns the exit code."""
    signal.signal(signal.SIGTERM, _interrupt)  # a pre-empted machine ends as Ctrl-C does
    code = 0
    reason = ""
    progress = Progress()
    try:
        run(argv, progress)
    except Exception as e:
        processes.wait_for_peer_loss()
        code, reason = command.verdict(e, FLAGS.workdir)
        if code == 1:
            traceback.print_exc()
    except KeyboardInterrupt as e:
        signal.alarm(0)
        code, reason = command.verdict(e)
        reason += "; the same command goes on from here"
    progress.end(code, reason)
    if code in command.MENDABLE:
        reason = f"error: {reason}"
    if code > 1:
        command.end(reason, code)
    # The other processes hear what went wrong; what to do about it has been said here.
    processes.announce_exit(code, reason.partition(";")[0])
    if code == command.INTERRUPTED:
        processes.exit_at_once(code)
    return code


class Terminated(KeyboardInterrupt):
    """SIGTERM came.

    A class of its own: where a plain KeyboardInterrupt has passed through an `exec` of text, as it
    may while modules are imported, `python -m` ends by SIGINT, whatever exit code it is given.
    """


def _interrupt(number: int, frame: FrameType | None) -> None:
    # In a destructor or a callback of the garbage collector Python only reports an exception, and
    # goes on. So it comes again until `main` has caught it.
    signal.signal(signal.SIGALRM, _interrupt)
    signal.alarm(_AGAIN_SECONDS)
    raise Terminated


def run(argv: list[str], progress: Progress) -> None:
    """What the flags ask for. Raises UserError for a mistake in them."""
    if len(argv) > 1:
        raise UserError(f"unexpected argument {argv[1]!r}: flags have the form --name=value")
    if FLAGS.config is None or not FLAGS.workdir:
        raise UserError("--config=configs/NAME.py and --workdir=DIR are needed")
    processes.initialize(FLAGS.coordinator, FLAGS.num_processes, FLAGS.process_id)
    only = None if FLAGS.stage is None else tuple(FLAGS.stage)
    pipeline.run(
        FLAGS.config,
        FLAGS.workdir,
        only,
        other_versions=FLAGS.other_versions,
        progress=progress,
    )


def cli() -> None:
    """The console script `glore`.

    `glore status` says how far a run is, `glore publish` makes a model of it ready for others.
    """
    if sys.argv[1:2] == ["status"]:
        sys.exit(status.main(sys.argv[2:]))
    if sys.argv[1:2] == ["publish"]:
        # Here, since it imports JAX, which a run with nothing to do can spare.
        from glore_jax import publish

        sys.exit(publish.main(sys.argv[2:]))
    logging.set_verbosity(logging.WARNING)
    app.run(main, flags_parser=command.parse)


if __name__ == "__main__":
    cli()
