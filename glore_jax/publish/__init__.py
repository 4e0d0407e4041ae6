"""A model of a run as others get it: a folder with its card, or a model of the hub.

    glore publish --workdir=runs/tiny --stage=refiner --folder=my-refiner
    glore publish --workdir=runs/tiny --stage=refiner --push=hf://ORG/NAME [--private]

The folder has what `STAGE/hf` has, without the rows of the vocabulary that only meshes need, and a
README.md: what the model is, how it was made, and what it reached. Where PyTorch is installed, the
model is read back by transformers, which must compute the same.

    card.py     what README.md says
    folder.py   the files
    check.py    what transformers computes beside ours
"""

import argparse
import tempfile

from absl import logging
from etils import epath

from glore_jax import command, storage
from glore_jax.errors import UserError
from glore_jax.models import hf_export, hf_import, hub
from glore_jax.publish import card, check, folder

__all__ = ["main"]

STAGES = ("student", "orm", "sorm", "refiner")


def main(argv: list[str] | None = None) -> int:
    """Publishes what the arguments ask for; returns the exit code, 0 or that of `command`."""
    logging.set_verbosity(logging.WARNING)
    try:
        publish(_given(argv))
    except Exception as error:
        code, reason = command.verdict(error)
        if code == 1:
            raise
        return command.end(f"error: {reason}", code)
    return 0


def _given(argv: list[str] | None) -> argparse.Namespace:
    parser = command.Parser("glore publish", description="Make a model of a run ready for others.")
    parser.add_argument("--workdir", required=True, help="of the run, local or gs://")
    parser.add_argument("--stage", required=True, choices=STAGES, help="whose model")
    parser.add_argument("--folder", help="to be made, local or gs://")
    parser.add_argument("--push", help="hf://ORG/NAME, a model of the hub, made if there is none")
    parser.add_argument("--private", action="store_true", help="nobody else sees that model")
    parser.add_argument("--no-check", action="store_true", help="compare nothing with transformers")
    given = parser.parse_args(argv)
    if not given.folder and not given.push:
        raise UserError("say where to: --folder=DIR, --push=hf://ORG/NAME or both")
    if given.private and not given.push:
        raise UserError("--private is for --push: a folder is as private as its place")
    if given.folder and given.folder.startswith(hub.SCHEME):
        raise UserError(f"--folder={given.folder} is a model of the hub: give it as --push")
    return given


def publish(given: argparse.Namespace) -> None:
    """Raises UserError if the stage has not ended, or something cannot be read or written: then
    nothing is left of the folder."""
    if given.push:
        hub.check_target(given.push)  # before anything is read
        if given.folder and storage.is_remote(given.folder):
            raise UserError("--push sends what lies on a disk: leave --folder out")
    source = storage.path(given.workdir) / given.stage / "hf"
    if not hf_import.is_export(source):
        raise UserError(f"{source} is no model: has the stage {given.stage} of this run ended?")
    text = card.text_of(card.read_facts(given.workdir, given.stage))
    with tempfile.TemporaryDirectory(prefix="glore-") as scratch:
        target = storage.path(given.folder or scratch)
        if given.folder and storage.exists(target) and storage.names(target):
            raise UserError(f"{target} is not empty: name another folder")
        try:
            _make(source, target, text, given)
        except BaseException:  # so that the same command can be given again
            hf_export.clear(target)
            raise


def _make(source: epath.Path, target: epath.Path, text: str, given: argparse.Namespace) -> None:
    """Writes, compares and pushes."""
    rows = folder.write(source, target, text)
    said = "" if given.no_check else check.compare(target)
    if given.folder:
        print(f"{target}: the model of stage {given.stage}, a vocabulary of {rows:,}")
    if said:
        print(said)
    if given.push:
        print(hub.push(given.push, target, private=given.private))
