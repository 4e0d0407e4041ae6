"""How far a run is, from the files of its work directory alone.

    glore status --workdir=runs/night        or gs://BUCKET/FOLDER, from any machine
    glore status --workdir=runs/night --json

The run itself is not asked, so this works while it runs, after it has ended, and when its machine
is gone. Exit codes:

    0    all that was asked for is done
    2    a mistake in the command, or the folder holds no run
    10   it runs
    11   it has stopped, and the same command goes on from there: interrupted, another process of it
         gone, a bucket or a disk that did not answer
    12   it has ended with an error that somebody has to mend
    13   it seems dead: it has not written for so long that it should have, and did not say goodbye

`found.py` reads the files and judges, `show.py` puts it into words. Nothing here imports JAX.
"""

import json
import time

from absl import logging

from glore_jax import command
from glore_jax.errors import UserError
from glore_jax.status.found import look
from glore_jax.status.show import show

__all__ = ["main"]


def main(argv: list[str] | None = None) -> int:
    """Prints the status that the arguments ask for; returns the exit code."""
    logging.set_verbosity(logging.WARNING)
    parser = command.Parser("glore status", description="Say how far a run is. Nothing is changed.")
    parser.add_argument("--workdir", required=True, help="its work directory, local or gs://")
    parser.add_argument("--json", action="store_true", help="as JSON, for programs")
    try:
        given = parser.parse_args(argv)
        found = look(given.workdir, time.time())
    except UserError as error:
        return command.end(f"error: {error}", 2)
    print(json.dumps(found.to_json(), indent=2) if given.json else show(found))
    return found.verdict.value
