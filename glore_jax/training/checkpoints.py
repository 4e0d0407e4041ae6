"""Where a training run is saved and found again (Orbax).

RUN/checkpoints/120, 180        the newest two, by the number of updates done
RUN/unreadable/240, 240.json    one that could not be read, and why
"""

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import jax
import orbax.checkpoint as ocp
from absl import logging
from etils import epath

from glore_jax import storage
from glore_jax.errors import TransientError, UserError, is_passing
from glore_jax.parallel import coordinator, processes

KEPT = 2  # one to go on from, and the one before if that cannot be read
_ITEM = "default"  # folder of the tree in a checkpoint, as Orbax calls what has no name

# What became of reading a checkpoint; the largest of all processes counts.
_READ, _TORN, _PASSING = range(3)


class Checkpoints:
    """Checkpoints of one run under `folder`, each a tree of arrays in one save.

    A checkpoint has the number of updates that were done. All processes call each method together.

    Args:
      folder: any path that `etils.epath` opens.
      keep: how many are kept; older ones are removed.
    """

    def __init__(self, folder: epath.PathLike, keep: int = KEPT):
        self.folder = storage.path(folder)
        if not self.folder.is_absolute():  # Orbax takes no relative path; gs:// counts as absolute
            self.folder = self.folder.absolute()
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep, create=True, enable_async_checkpointing=True
        )
        # Without the handler Orbax asks the newest checkpoint what a save consists of; a torn one
        # gives the wrong answer for all.
        self.handler = ocp.StandardCheckpointHandler()
        self.failures: list[BaseException] = []
        _note_failures(self.handler, self.failures)
        with self._refusals():
            self.manager = ocp.CheckpointManager(
                self.folder, options=options, item_handlers=self.handler
            )

    def save(self, updates: int, tree: Any) -> None:
        """Copies `tree` from the devices; it is written while the run goes on.

        UserError if the file system refuses it, or refused the save before.
        """
        with self._refusals():
            self._wait()
            self.manager.save(updates, args=ocp.args.StandardSave(tree), force=True)

    def restore(self, abstract: Any) -> tuple[int, Any]:
        """(updates, tree) of the newest readable checkpoint, or (0, None).

        One that cannot be read, though the disk answers, is set aside under `unreadable/`, and the
        one before it is tried. Several processes do the same: what one of them cannot read, none
        reads.

        Args:
          abstract: a tree with shapes, dtypes and the shardings that the arrays shall have; the
            mesh may be another than that of the save.

        Raises:
          UserError: it is whole, but holds another tree than `abstract`.
          TransientError: the disk or the network did not answer.
        """
        for updates in coordinator.from_main(f"{self.folder} listed", self._numbers):
            reason = self._check_tree(updates, abstract)
            tree = None
            if not reason:
                tree, reason = self._read(updates, abstract)
            if not reason:
                return updates, tree
            self._set_aside(updates, reason)
        return 0, None

    def _numbers(self) -> list[int]:
        """Of the checkpoints, the newest first."""
        return sorted(self.manager.all_steps(), reverse=True)

    def _check_tree(self, updates: int, abstract: Any) -> str:
        """Why the description of a checkpoint cannot be read; empty if it is that of `abstract`.

        UserError in every process if it is that of another tree.
        """
        checkpoint = self.folder / str(updates)
        told = coordinator.from_main(f"{checkpoint} described", lambda: _describe(checkpoint))
        if "passing" in told:
            processes.raise_together(TransientError(_again(checkpoint, told["passing"])))
        if "torn" in told:
            return told["torn"]
        difference = told.get("layout") or _difference(told["arrays"], _arrays(abstract))
        if difference:
            error = UserError(
                f"the checkpoint {checkpoint} is of another training: {difference}. Go on with the "
                "config and the package versions that it was written with, or move "
                f"{self.folder} away to train from the beginning"
            )
            processes.raise_together(error)
        return ""

    def _read(self, updates: int, abstract: Any) -> tuple[Any, str]:
        """(the tree, why it cannot be read: empty if it can), the latter alike in all processes."""
        checkpoint = self.folder / str(updates)
        tree = None
        found = _READ
        reason = "another process cannot read it"
        # By the handler itself: the manager waits for all, and so for ever if only one fails.
        try:
            tree = self.handler.restore(checkpoint / _ITEM, args=ocp.args.StandardRestore(abstract))
        except Exception as error:
            if not _says_unreadable(error):
                raise
            found = _PASSING if is_passing(error) else _TORN
            reason = _one_line(error)
        worst = processes.maximum(found)
        if worst == _PASSING:
            processes.raise_together(TransientError(_again(checkpoint, reason)))
        return (tree, "") if worst == _READ else (None, reason)

    def _set_aside(self, updates: int, reason: str) -> None:
        """Moves a checkpoint out of the way; nothing of it is lost."""
        checkpoint = self.folder / str(updates)
        logging.warning(
            "checkpoint %s cannot be read (%s): it goes to unreadable/, and the one before it "
            "is tried",
            checkpoint,
            reason,
        )
        if processes.is_main():
            _move(checkpoint, self.folder.parent / "unreadable", reason)
        processes.barrier(f"checkpoint {updates} is set aside")
        self.manager.reload()

    def close(self) -> None:
        """Waits for the save under way. UserError if the file system refused it."""
        with self._refusals():
            self._wait()
        self.manager.close()

    def _wait(self) -> None:
        """Until the save under way is done.

        If this process cannot write, the manager would first wait for the others, and they for
        this one's share: so the failure is looked for while it waits.
        """
        while self.manager.is_saving_in_progress():
            if self.failures and not processes.is_single():
                raise self.failures[0]
            time.sleep(0.01)
        self.manager.wait_until_finished()

    @contextlib.contextmanager
    def _refusals(self) -> Iterator[None]:
        """Turns a refusal of the file system into a UserError, what will pass into its own kind."""
        try:
            yield
        except Exception as error:  # of Orbax, TensorStore and the store's client
            refusal = storage.refused(error, f"write the checkpoint under {self.folder}")
            if refusal is None:
                raise
            raise refusal from error


def _says_unreadable(error: Exception) -> bool:
    """Whether it is of what a reader of files raises, and no mistake of the program.

    Orbax puts a bare Exception around what TensorStore says of an array's data.
    """
    return isinstance(error, ValueError | OSError | KeyError) or type(error) is Exception


# The tree on disk.


def _describe(checkpoint: epath.Path) -> dict[str, Any]:
    """What a checkpoint says of itself, one of

    * arrays: {name: "dtype[shape]"},
    * layout: what it is instead of one of ours,
    * torn: why it cannot be read,
    * passing: why it cannot be read just yet.
    """
    try:
        items = sorted(child.name for child in checkpoint.iterdir() if child.is_dir())
        if items and _ITEM not in items:
            return {"layout": f"it holds {', '.join(items)}, where this Orbax writes {_ITEM}"}
        metadata = ocp.StandardCheckpointHandler().metadata(checkpoint / _ITEM)
        return {"arrays": _arrays(getattr(metadata, "tree", metadata))}
    except Exception as error:  # of several libraries, and whatever a torn file makes of them
        return {"passing" if is_passing(error) else "torn": _one_line(error)}


def _arrays(tree: Any) -> dict[str, str]:
    """{name: "dtype[shape]"} of the arrays of a tree: of values, shapes, or Orbax's metadata."""
    return {
        ".".join(_key(key) for key in path): f"{x.dtype}{list(x.shape)}"
        for path, x in jax.tree_util.tree_leaves_with_path(tree)
    }


def _key(key: Any) -> str:
    """A step of a path; the fields of a class are those of a dict on disk."""
    for name in ("key", "name", "idx"):
        if hasattr(key, name):
            return str(getattr(key, name))
    return str(key)


def _difference(there: dict[str, str], here: dict[str, str]) -> str:
    """The first array in which two trees differ; empty if there is none."""
    for name in sorted(there.keys() | here.keys()):
        old = there.get(name, "nothing")
        new = here.get(name, "nothing")
        if old != new:
            return f"{name} is {old} there and {new} here"
    return ""


def _move(checkpoint: epath.Path, aside: epath.Path, reason: str) -> None:
    """Moves a checkpoint into the folder `aside`, with the reason in a file beside it.

    In an object store that is done file by file: a kill in between leaves some here and some there.
    What is left cannot be read either, so the next start moves it, under a name of its own: never
    over what has been moved.
    """
    name = checkpoint.name
    count = 1
    while (aside / name).exists() or (aside / f"{name}.json").exists():
        count += 1
        name = f"{checkpoint.name}-{count}"
    # The note also brings the folder into being.
    storage.write_json(aside / f"{name}.json", {"checkpoint": str(checkpoint), "reason": reason})
    storage.move_folder(checkpoint, aside / name)


def _again(checkpoint: epath.Path, reason: str) -> str:
    return f"cannot read the checkpoint {checkpoint}: {reason}; the same command goes on from here"


def _one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:400]


# Failures in the background.


def _note_failures(handler: ocp.StandardCheckpointHandler, failures: list[BaseException]) -> None:
    """Makes `handler` leave in `failures` what goes wrong in the background of its saves: a share
    that this process writes, and what process 0 does when all shares are there."""
    save = handler.async_save
    finalize = handler.finalize

    async def async_save(*args: Any, **kwargs: Any) -> list["_NotedWrite"]:
        writes = await save(*args, **kwargs) or ()
        return [_NotedWrite(write, failures) for write in writes]

    def noted_finalize(*args: Any, **kwargs: Any) -> None:
        with _noted(failures):
            finalize(*args, **kwargs)

    handler.async_save = async_save
    handler.finalize = noted_finalize


@contextlib.contextmanager
def _noted(failures: list[BaseException]) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        failures.append(error)
        raise


class _NotedWrite:
    """A write under way, as Orbax wants it, that notes its failure."""

    def __init__(self, write: Any, failures: list[BaseException]):
        self._write = write
        self._failures = failures

    def result(self, timeout: float | None = None) -> Any:
        with _noted(self._failures):
            return self._write.result(timeout)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._write, name)
