"""Where a training run is saved and found again (Orbax)."""

import contextlib
import time

import orbax.checkpoint as ocp
from absl import logging

from glore_jax import storage
from glore_jax.errors import UserError
from glore_jax.parallel import processes


class Checkpoints:
    """Checkpoints of one run under `folder`: parameters, optimizer state and step in one save.

    The data position is the step (see `batches.py`) and the seed is in the configuration, so nothing else has to be kept.
    """

    def __init__(self, folder, keep: int = 1):
        self.folder = storage.path(folder)
        if not self.folder.is_absolute():  # Orbax takes no relative path; gs:// counts as absolute
            self.folder = self.folder.absolute()
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep, create=True, enable_async_checkpointing=True
        )
        # Without the handler Orbax asks the newest checkpoint what a save consists of; a torn one gives the wrong answer for all.
        self.handler = ocp.StandardCheckpointHandler()
        self.failures: list[BaseException] = []
        _note_failures(self.handler, self.failures)
        self.manager = ocp.CheckpointManager(
            self.folder, options=options, item_handlers=self.handler
        )

    def save(self, step: int, state: dict) -> None:
        with self._refusals():  # also of the save before, if it was still under way
            self._wait()
            self.manager.save(step, args=ocp.args.StandardSave(state), force=True)

    def restore(self, abstract: dict) -> tuple[int, dict | None]:
        """(step, state) of the newest readable checkpoint, or (0, None). `abstract` has shapes, dtypes and target shardings.

        Several processes go back together: a checkpoint that one of them cannot read is no checkpoint.
        """
        step = self._newest()
        while step:
            state, trouble = None, None
            try:  # the handler itself: the manager waits for all, and so for ever if only one of them fails
                state = self.handler.restore(
                    self.folder / str(step) / "default", args=ocp.args.StandardRestore(abstract)
                )
            except (ValueError, OSError, KeyError) as error:  # torn by a kill or a full disk
                trouble = error
            if processes.all_agree(trouble is None):
                return step, state
            logging.warning(
                "checkpoint %s/%d cannot be read (%s); trying the one before it",
                self.folder,
                step,
                trouble or "by another process",
            )
            if processes.is_main():
                (self.folder / str(step)).rmtree(missing_ok=True)
            processes.barrier(f"checkpoint {step} is gone")
            self.manager.reload()
            step = self._newest()
        return 0, None

    def _newest(self) -> int:
        """The newest step that any process sees, 0 if there is none."""
        return processes.largest(max(self.manager.all_steps(), default=0))

    def close(self) -> None:
        """Waits for the saves under way; their errors surface here."""
        with self._refusals():
            self._wait()
        self.manager.close()

    def _wait(self) -> None:
        """Until the save under way is done. If this process cannot write, the manager would first wait for the others, and they for
        this one's part."""
        while self.manager.is_saving_in_progress():
            if self.failures and not processes.alone():
                raise self.failures[0]
            time.sleep(0.01)
        self.manager.wait_until_finished()

    @contextlib.contextmanager
    def _refusals(self):
        """Turns a refusal of the file system into a UserError; TensorStore reports it as a ValueError with the system's code."""
        try:
            yield
        except (OSError, ValueError) as error:
            if isinstance(error, ValueError) and "os_error_code" not in str(error):
                raise
            raise UserError(f"cannot write the checkpoint under {self.folder}: {error}") from error


def _note_failures(handler: ocp.StandardCheckpointHandler, failures: list[BaseException]) -> None:
    """Makes `handler` leave in `failures` what goes wrong in the background of its saves."""
    save = handler.async_save

    async def async_save(*args, **kwargs):
        return [_Noted(write, failures) for write in await save(*args, **kwargs) or ()]

    handler.async_save = async_save


class _Noted:
    """A write under way, as Orbax wants it."""

    def __init__(self, write, failures: list[BaseException]):
        self._write, self._failures = write, failures

    def result(self, timeout: float | None = None):
        try:
            return self._write.result(timeout)
        except BaseException as error:
            self._failures.append(error)
            raise

    def __getattr__(self, name):
        return getattr(self._write, name)
