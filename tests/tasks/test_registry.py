"""Names in configs and the tasks they stand for."""

import ml_collections
import pytest

from glore_jax.errors import UserError
from glore_jax.tasks import registry
from glore_jax.tasks.base import Task


@pytest.mark.parametrize("name", registry.TASK_NAMES)
def test_names_make_their_tasks(name):
    task = registry.make_task(ml_collections.ConfigDict({"name": name}))
    assert isinstance(task, Task) and task.name == name
    assert {"train", "dev", "test"} <= set(task.splits)


@pytest.mark.parametrize("config", [{"name": "gsm9k"}, {}])
def test_unknown_name(config):
    with pytest.raises(
        UserError, match=r"task\.name is .*: choose one of chains, gsm_symbolic, gsm8k, svamp"
    ):
        registry.make_task(ml_collections.ConfigDict(config))
