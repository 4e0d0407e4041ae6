"""What a stage is handed: the config, the work directory, and the few things made once a run."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from etils import epath
from ml_collections import ConfigDict
from tqdm import tqdm

from glore_jax import storage
from glore_jax.config import View
from glore_jax.parallel import coordinator, processes
from glore_jax.tasks import registry
from glore_jax.tasks.base import Problem, Task
from glore_jax.tasks.prompts import Prompts

if TYPE_CHECKING:  # importing these takes JAX, which a run with nothing to do does without
    import jax

    from glore_jax.models.model import Model
    from glore_jax.training.metrics import Writer


class Context:
    """One run, seen from outside its stages, or from inside the one named `stage`.

    Attributes:
      config: the whole config; inside a stage of a running pipeline, a `View` of what it declares.
      workdir: the work directory.
      stage: name of the stage that is handed this context; empty outside.
      rows: folder of records that the stage has made whole -> how many rows each part has.
      work: such a folder -> what the rollout engines did for it (see `stages.parts`).
      on_rows: called with `rows` whenever a folder has come to them.
      warnings: what a person should know of the stage's result, for its manifest.
      on_warnings: called with `warnings` whenever one has come to them.
    """

    def __init__(self, config: ConfigDict, workdir: epath.PathLike, stage: str = ""):
        self.config = config
        self.workdir: epath.Path = storage.path(workdir)
        self.stage = stage
        self.rows: dict[str, list[int]] = {}
        self.work: dict[str, dict[str, Any]] = {}
        self.on_rows: Callable[[dict[str, list[int]]], None] = lambda rows: None
        self.warnings: list[str] = []
        self.on_warnings: Callable[[list[str]], None] = lambda warnings: None
        self._problems: Mapping[str, list[Problem]] = {}

    def inside(
        self,
        stage: str,
        declared: tuple[str, ...],
        problems: Mapping[str, list[Problem]] | None = None,
    ) -> Context:
        """The same run as `stage` sees it, which declares the fields `declared` of the config.

        `problems`: what `problems` returns for a split that the stage asks.
        """
        context = Context(View(self.config, stage, declared), self.workdir, stage)
        context._problems = problems or {}
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
        return Prompts(model.tokenizer, self.config.task.prompt)

    def writer(self, name: str, section: Any = None) -> Writer:
        """TensorBoard events under `tb/NAME`; close it after use.

        `section`: a config section or a dict that is shown as the run's hyperparameters.
        """
        from glore_jax.training.metrics import Writer

        hyperparameters = section.to_dict() if hasattr(section, "to_dict") else section
        return Writer(self.folder("tb", *name.split("/")), hyperparameters)

    def say(self, text: str) -> None:
        """Prints a line of progress (process 0 only), above a progress bar if one is drawn."""
        if processes.is_main():
            tqdm.write(text, file=sys.stdout)
            sys.stdout.flush()

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
