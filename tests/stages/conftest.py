"""A run's context with the config of `configs/tiny.py`, and no model behind it."""

import importlib.util

import fake_stages
import pytest

from glore_jax.stages.context import Context


@pytest.fixture
def ctx(tmp_path) -> Context:
    spec = importlib.util.spec_from_file_location("tiny", fake_stages.ROOT / "configs" / "tiny.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return Context(module.get_config("smoke"), tmp_path / "work")
