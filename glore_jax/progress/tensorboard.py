"""TensorBoard without TensorFlow: one run of it for a work directory, whatever its stages.

    tb/NAME/events.out.tfevents.0.config          the hyperparameters, for their own tab
            events.out.tfevents.TIME.HOST.orm     what stage `orm` drew since that time
            plugins/profile/TIME/                 traces of chosen updates

Tags begin with the stage, by which TensorBoard groups them: `student/round-0/loss`; those of what
comes out begin with `accuracy` and stand first. Their steps are updates of a training, or jobs of a
generation, each from 0. The stage in a file's name says
which files go aside with it.
"""

from __future__ import annotations

import functools
import os
import struct
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from absl import logging
from etils import epath

from glore_jax import storage
from glore_jax.config import Effect, effect_of, leaves
from glore_jax.parallel import processes
from glore_jax.progress import remote_events

if TYPE_CHECKING:
    import tensorboardX

_CONFIG_FILE = "events.out.tfevents.0.config"  # one name: what a start writes replaces the last
# What the tab of hyperparameters compares by.
_METRICS = ("accuracy/test/rerank", "accuracy/test/draft", "accuracy/dev")


class Board:
    """The events of stage `stage` in the folder `folder`; only process 0 writes.

    hyperparameters: makes what the tab of that name shows.
    """

    def __init__(
        self,
        folder: epath.PathLike,
        stage: str,
        hyperparameters: Callable[[], Mapping[str, Any]] = dict,
    ):
        self.folder = storage.path(folder)
        self._stage = stage
        self._hyperparameters = hyperparameters

    @functools.cached_property
    def events(self) -> tensorboardX.SummaryWriter | None:
        """The writer of TensorBoard's files, None in the other processes."""
        if not processes.is_main():
            return None
        # Not before the first event: its import takes seconds (PyTorch's, where that is installed),
        # in which the devices compute the first update.
        import tensorboardX

        if storage.is_remote(self.folder):
            remote_events.register(self.folder)
        self._write_hyperparameters()
        return tensorboardX.SummaryWriter(
            str(self.folder),
            flush_secs=remote_events.FLUSH_SECONDS,
            filename_suffix=f".{self._stage}",
        )

    def close(self) -> None:
        # Not opened to be closed: whoever was told to end has little time.
        if "events" in self.__dict__ and self.events:
            self.events.close()

    def _write_hyperparameters(self) -> None:
        values = self._hyperparameters()
        if not values:
            return
        data = hyperparameter_events(values)
        file = self.folder / _CONFIG_FILE
        if storage.is_remote(file):
            remote_events.send(file, data)
            return
        try:
            storage.write_bytes(file, data)
        except Exception as error:  # as of the events: the run must not stop for it
            logging.warning("TensorBoard's hyperparameters are not written: %s", error)


class Writer:
    """Curves and texts of `board` whose tags begin with `group`, such as "student/round-0"."""

    def __init__(self, board: Board, group: str):
        self._board = board
        self._group = group

    def scalars(self, values: dict[str, float], step: int) -> None:
        if events := self._board.events:
            for name, value in values.items():
                events.add_scalar(f"{self._group}/{name}", float(value), step)

    def text(self, name: str, text: str, step: int) -> None:
        if events := self._board.events:
            events.add_text(f"{self._group}/{name}", text, step)

    @property
    def traces(self) -> str | None:
        """The folder that a trace of JAX's profiler goes into; None in the other processes."""
        return os.fspath(self._board.folder) if self._board.events else None


def is_of_stage(name: str, stage: str) -> bool:
    """Whether a file of that name holds events of `stage`."""
    return name.startswith("events.out.tfevents.") and name.endswith(f".{stage}")


def hyperparameters(config: Any) -> dict[str, Any]:
    """The fields of the whole `config` that a result depends on, as TensorBoard shows them."""
    return {
        name: value if isinstance(value, bool | int | float | str) else str(value)
        for name, value in leaves(config.to_dict())
        if effect_of(name) in (Effect.RESULT, Effect.IDENTITY)
    }


def hyperparameter_events(values: Mapping[str, Any]) -> bytes:
    """A file of events with these hyperparameters, and `_METRICS` to compare runs by."""
    from tensorboardX import record_writer, summary
    from tensorboardX.proto.event_pb2 import Event

    made = summary.hparams(dict(values), dict.fromkeys(_METRICS))
    events = [Event(file_version="brain.Event:2"), *(Event(summary=some) for some in made)]
    data = b""
    for event in events:
        record = event.SerializeToString()
        length = struct.pack("<Q", len(record))
        for piece in (length, record):
            data += piece + struct.pack("<I", record_writer.masked_crc32c(piece))
    return data
