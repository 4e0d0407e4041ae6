"""What a stage is handed: the config, the work directory, and the few things that are made once a run."""

import functools
import sys
from collections.abc import Callable

from etils import epath
from tqdm import tqdm

from glore_jax import storage
from glore_jax.parallel import processes
from glore_jax.tasks import registry
from glore_jax.tasks.base import Task
from glore_jax.tasks.prompts import Prompts


class Context:
    """One run, seen from its stages. `stage` is the name of the running one; the pipeline sets it."""

    def __init__(self, config, workdir: epath.PathLike, stage: str = ""):
        self.config, self.workdir, self.stage = config, storage.path(workdir), stage

    @functools.cached_property
    def task(self) -> Task:
        return registry.make_task(self.config.task)

    @functools.cached_property
    def mesh(self):
        """The global `jax.sharding.Mesh` of `config.mesh` over all devices of all processes."""
        from glore_jax.parallel.mesh import make_mesh

        return make_mesh(**self.config.mesh.to_dict())

    @functools.cached_property
    def local_mesh(self):
        """A mesh over this process's own devices, for generation."""
        import jax

        return self.mesh_of_host(jax.local_devices())

    def mesh_of_host(self, devices: list):
        """`engine.tensor` devices hold a model together, the rest are copies."""
        from glore_jax.parallel.mesh import make_mesh

        return make_mesh(data=-1, fsdp=1, tensor=self.config.engine.tensor, devices=devices)

    def folder(self, *parts: str) -> epath.Path:
        """A path in the work directory; nothing is created."""
        return self.workdir.joinpath(*parts)

    def prompts(self, model) -> Prompts:
        """Token forms of questions and solutions for `model` (its tokenizer) and `config.task.prompt`."""
        return Prompts(model.tokenizer, self.config.task.prompt)

    def writer(self, name: str, section=None):
        """TensorBoard events under `tb/NAME`, with config section `section` as hyperparameters. Close it after use."""
        from glore_jax.training.metrics import Writer

        hyperparameters = section.to_dict() if hasattr(section, "to_dict") else section
        return Writer(self.folder("tb", *name.split("/")), hyperparameters)

    def say(self, text: str) -> None:
        """Prints a line of progress (process 0 only), above a progress bar if one is drawn."""
        if processes.is_main():
            tqdm.write(text, file=sys.stdout)
            sys.stdout.flush()

    def step(self, name: str, function: Callable[[], dict]) -> dict:
        """The result of `function`, computed once for the running stage: a restart reads it from `STAGE/NAME.json`.

        Every process calls `function`; what process 0 returns is kept. The result comes back as JSON has it (lists for
        tuples, string keys), on the first run as on the later ones.
        """
        file = self.folder(self.stage, f"{name}.json")
        done = file.exists()
        processes.barrier(
            f"{self.stage}/{name} looked up"
        )  # nobody may find the file that another has just written
        if not done:
            result = function()
            if processes.is_main():
                storage.write_json(file, result)
            processes.barrier(f"{self.stage}/{name} written")
        return storage.read_json(file)
