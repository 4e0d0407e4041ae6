"""What a stage is handed: the config, the work directory, and the few things made once a run."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from etils import epath
from ml_collections import ConfigDict

from glore_jax import storage
from glore_jax.config import View
from glore_jax.parallel import coordinator, processes
from glore_jax.progress import TRAIN, Piece, Progress
from glore_jax.progress import tensorboard as boards
from glore_jax.tasks import registry
from glore_jax.tasks.base import Problem, Task
from glore_jax.tasks.prompts import Prompts

if TYPE_CHECKING:  # importing these takes JAX, which a run with nothing to do does without
    import jax

    from glore_jax.models.model import Model


class Context:
    """One run, seen from outside its stages, or from inside the one named `stage`.

    Attributes:
      config: the whole config; inside a stage of a running pipeline, a `View` of what it declares.
      workdir: the work directory.
      stage: name of the stage that is handed this context; empty outside.
      progress: of the run.
      rows: folder of records that the stage has made whole -> how many rows each part has.
      work: such a folder -> what the rollout engines did for it (see `stages.parts`).
      on_rows: called with `rows` whenever a folder has come to them.
      warnings: what a person should know of the stage's result, for its manifest.
      on_warnings: called with `warnings` whenever one has come to them.
    """

    def __init__(
        self,
        config: ConfigDict,
        workdir: epath.PathLike,
        stage: str = "",
        progress: Progress | None = None,
    ):
        self.config = config
        self.progress = progress or Progress()
        self.workdir: epath.Path = storage.path(workdir)
        self.stage = stage
        self.rows: dict[str, list[int]] = {}
        self.work: dict[str, dict[str, Any]] = {}
        self.on_rows: Callable[[dict[str, list[int]]], None] = lambda rows: None
        self.warnings: list[str] = []
        self.on_warnings: Callable[[list[str]], None] = lambda warnings: None
        self._problems: Mapping[str, list[Problem]] = {}
        self._whole_config = config

    def inside(
        self,
        stage: str,
        declared: tuple[str, ...],
        problems: Mapping[str, list[Problem]] | None = None,
    ) -> Context:
        """The same run as `stage` sees it, which declares the fields `declared` of the config.

        `problems`: what `problems` returns for a split that the stage asks.
        """
        view = View(self.config, stage, declared)
        context = Context(view, self.workdir, stage, self.progress)
        context._problems = problems or {}
        context._whole_config = self.config
        return context

    @functools.cached_property
    def task(self) -> Task:
        """The task of `config.task`."""
        return registry.make_task(self.config.task)

    def problems(self, split: str) -> list[Problem]:
        """The problems of `split`, without those whose question is too long to be asked.

        These were sorted out before the first stage. Outside of a running pipeline: all.
        """
        if split in self._problems:
            return self._problems[split]
        return self.task.load(split)

    @functools.cached_property
    def mesh(self) -> jax.sharding.Mesh:
        """The global mesh of `config.mesh` over all devices of all processes."""
        from glore_jax.parallel.mesh import make_mesh

        return make_mesh(**self.config.mesh.to_dict())

    @functools.cached_property
    def local_mesh(self) -> jax.sharding.Mesh:
        """A mesh over this process's own devices, for generation."""
        import jax

        return self.mesh_of_host(jax.local_devices())

    def mesh_of_host(self, devices: list[jax.Device]) -> jax.sharding.Mesh:
        """`engine.tensor` devices hold a model together, the rest are copies."""
        from glore_jax.parallel.mesh import make_mesh

        return make_mesh(data=-1, fsdp=1, tensor=self.config.engine.tensor, devices=devices)

    def folder(self, *parts: str) -> epath.Path:
        """A path in the work directory; nothing is created."""
        return self.workdir.joinpath(*parts)

    def keep_rows(self, name: str, rows: list[int]) -> None:
        """Notes that all parts of the records `name` are whole, and how many rows each has."""
        self.rows[name] = rows
        self.on_rows(self.rows)

    def prompts(self, model: Model) -> Prompts:
        """Token forms of questions and solutions for `model` (its tokenizer) and `task.prompt`."""
        prompts = Prompts(model.tokenizer, self.config.task.prompt)
        if prompts.cuts:
            self.warn(
                "tokens of this model reach over ends of lines: each step is encoded on its own, "
                "unlike in a text that another tool encodes whole"
            )
        return prompts

    @functools.cached_property
    def board(self) -> boards.Board:
        """What this stage draws in TensorBoard, in the run `tb/NAME`; close it after use."""
        config = self._whole_config
        folder = self.folder("tb", config.name)
        return boards.Board(folder, self.stage, lambda: boards.hyperparameters(config))

    def writer(self, group: str) -> boards.Writer:
        """Curves and texts whose tags begin with `group`, such as "student/round-0"."""
        return boards.Writer(self.board, group)

    @contextlib.contextmanager
    def piece(self, name: str, kind: str, unit: str, total: int) -> Iterator[Piece]:
        """A piece of this stage's work, as long as the block; see `progress.Progress.piece`.

        Its figures become curves of that name, those of a training apart, which draws every update.
        """
        curves = None if kind == TRAIN else self.writer(name)
        with self.progress.piece(name, kind, unit, total, curves) as piece:
            yield piece

    def say(self, text: str) -> None:
        """Prints a line (process 0 only), above the one that changes if there is one."""
        self.progress.say(text)

    def warn(self, text: str) -> None:
        """Says `text`, and notes it for the manifest; nothing if it is noted already."""
        if text not in self.warnings:
            self.say(f"warning: {text}")
            self.warnings.append(text)
            self.on_warnings(self.warnings)

    def step(
        self,
        name: str,
        function: Callable[[], dict],
        is_whole: Callable[[dict], bool] = lambda result: True,
    ) -> dict:
        """The result of `function`, computed once for this stage, kept in `STAGE/NAME.json`.

        A restart reads it from there. Every process calls `function`; what process 0 returns is
        kept. The result comes back as JSON has it (lists for tuples, string keys), on the first run
        as on the later ones.

        is_whole(result) -> whether the files that it speaks of are still there and whole; else it
        is computed again.
        """
        file = self.folder(self.stage, f"{name}.json")

        def is_done() -> bool:
            return storage.exists(file) and is_whole(storage.read_json(file))

        if not coordinator.from_main(f"{self.stage}/{name} done", is_done):
            result = function()
            if processes.is_main():
                storage.write_json(file, result)
            processes.barrier(f"{self.stage}/{name} written")
        return storage.read_json(file)
