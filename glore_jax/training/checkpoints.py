"""Where a training run is saved and found again (Orbax)."""

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import orbax.checkpoint as ocp
from absl import logging
from etils import epath

from glore_jax import storage
from glore_jax.errors import UserError
from glore_jax.parallel import processes


class Checkpoints:
    """Checkpoints of one run under `folder`, each a tree of arrays in one save.

    A checkpoint has the number of updates that were done. All processes call each method together.

    Args:
      folder: any path that `etils.epath` opens.
      keep: how many are kept; older ones are removed.
    """

    def __init__(self, folder: epath.PathLike, keep: int = 1):
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

        `abstract`: a tree with shapes, dtypes and the shardings that the arrays shall have; the
        mesh may be another than that of the save.

        Several processes go back together: a checkpoint that one of them cannot read is none.
        """
        updates = self._newest()
        while updates:
            tree = None
            trouble: Exception | None = None
            # By the handler itself: the manager waits for all, and so for ever if only one fails.
            try:
                tree = self.handler.restore(
                    self.folder / str(updates) / "default", args=ocp.args.StandardRestore(abstract)
                )
            except (ValueError, OSError, KeyError) as error:  # torn by a kill or a full disk
                trouble = error
            if processes.all_agree(trouble is None):
                return updates, tree
            logging.warning(
                "checkpoint %s/%d cannot be read (%s); trying the one before it",
                self.folder,
                updates,
                trouble or "by another process",
            )
            if processes.is_main():
                (self.folder / str(updates)).rmtree(missing_ok=True)
            processes.barrier(f"checkpoint {updates} is gone")
            self.manager.reload()
            updates = self._newest()
        return 0, None

    def close(self) -> None:
        """Waits for the save under way. UserError if the file system refused it."""
        with self._refusals():
            self._wait()
        self.manager.close()

    def _newest(self) -> int:
        """The newest checkpoint that any process sees, 0 if there is none."""
        return processes.maximum(max(self.manager.all_steps(), default=0))

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
        """Turns a refusal of the file system into a UserError.

        TensorStore reports it as a ValueError with the system's code.
        """
        try:
            yield
        except (OSError, ValueError) as error:
            if isinstance(error, ValueError) and "os_error_code" not in str(error):
                raise
            raise UserError(f"cannot write the checkpoint under {self.folder}: {error}") from error


def _note_failures(handler: ocp.StandardCheckpointHandler, failures: list[BaseException]) -> None:
    """Makes `handler` leave in `failures` what goes wrong in the background of its saves."""
    save = handler.async_save

    async def async_save(*args: Any, **kwargs: Any) -> list["_NotedWrite"]:
        writes = await save(*args, **kwargs) or ()
        return [_NotedWrite(write, failures) for write in writes]

    handler.async_save = async_save


class _NotedWrite:
    """A write under way, as Orbax wants it, that notes its failure."""

    def __init__(self, write: Any, failures: list[BaseException]):
        self._write = write
        self._failures = failures

    def result(self, timeout: float | None = None) -> Any:
        try:
            return self._write.result(timeout)
        except BaseException as error:
            self._failures.append(error)
            raise

    def __getattr__(self, name: str) -> Any:
        return getattr(self._write, name)
