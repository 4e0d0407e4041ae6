"""From the name in a config to the task."""

import importlib

from ml_collections import ConfigDict

from glore_jax.errors import UserError
from glore_jax.tasks.base import Task

# Name -> (module, class). Modules are imported on demand: a task's data libraries cost a second,
# and most runs use one task only.
_TASKS = {
    "chains": ("glore_jax.tasks.chains.task", "ChainsTask"),
    "gsm_symbolic": ("glore_jax.tasks.gsm_symbolic", "GsmSymbolicTask"),
    "gsm8k": ("glore_jax.tasks.gsm8k", "Gsm8kTask"),
    "svamp": ("glore_jax.tasks.svamp", "SvampTask"),
}

TASK_NAMES = tuple(_TASKS)


def make_task(config: ConfigDict, faults: list[str] | None = None) -> Task:
    """The task that `config.name` names, made from `config` (the `task` section of the run's).

    `faults`: as of `Task`. No data are read yet; `Task.load` does that. UserError if the name is
    unknown.
    """
    name = config.get("name")
    if name not in _TASKS:
        raise UserError(f"task.name is {name!r}: choose one of {', '.join(TASK_NAMES)}")
    module, cls = _TASKS[name]
    return getattr(importlib.import_module(module), cls)(config, faults)
