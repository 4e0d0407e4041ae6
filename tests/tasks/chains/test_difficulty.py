"""The generator's knobs."""

import pytest
from chain_config import make_config

from glore_jax.errors import UserError
from glore_jax.tasks.chains.difficulty import difficulty_of
from glore_jax.tasks.chains.task import ChainsTask


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(steps=(4, 3)), r"task.steps = \(4, 3\): needs 1 <= low <= high"),
        (dict(factor=(1, 3)), r"task.factor = \(1, 3\): needs 2 <= low <= high"),
        (dict(max_value=50), "task.max_value = 50 is less than the largest operand 99"),
    ],
)
def test_knobs_out_of_bounds(changes, message):
    config = make_config(**changes)
    with pytest.raises(UserError, match=message):
        difficulty_of(config)
    with pytest.raises(UserError, match=message):
        ChainsTask(config).load("dev")
