"""Which of the sampled questions are variations of one story, for stages that do not read the task.

Kept in `sample/variations.json`, question id -> name of its story, without those that have no
variations. So nothing that was made from samples depends on the task's data once more.
"""

from collections.abc import Mapping, Sequence

from glore_jax import storage
from glore_jax.parallel import coordinator, processes
from glore_jax.stages.context import Context
from glore_jax.tasks.base import Problem

_FILE = ("sample", "variations.json")


def write(ctx: Context, problems: Sequence[Problem]) -> None:
    """Keeps the stories of `problems`."""
    found = {p.id: p.variation_of for p in problems if p.variation_of}
    processes.on_main(storage.write_json, ctx.folder(*_FILE), found)


def read(ctx: Context) -> Mapping[str, str]:
    """What `write` kept; empty where samples were drawn without it."""
    file = ctx.folder(*_FILE)
    if not coordinator.from_main("variations are kept", lambda: storage.exists(file)):
        return {}
    return storage.read_json(file)
