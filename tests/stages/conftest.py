"""A run's context with the config of `configs/tiny.py`, and no model behind it."""

from collections.abc import Iterator

import pytest

from configs import tiny
from glore_jax.stages.context import Context


@pytest.fixture
def ctx(tmp_path) -> Iterator[Context]:
    made = Context(tiny.get_config("smoke"), tmp_path / "work")
    yield made
    made.board.close()
