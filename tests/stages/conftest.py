"""A run's context with the config of `configs/tiny.py`, and no model behind it."""

import pytest

from configs import tiny
from glore_jax.stages.context import Context


@pytest.fixture
def ctx(tmp_path) -> Context:
    return Context(tiny.get_config("smoke"), tmp_path / "work")
