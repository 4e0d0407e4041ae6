"""The tiny base is of one task only."""

from types import SimpleNamespace

import pytest
from ml_collections import ConfigDict

from glore_jax.errors import UserError
from glore_jax.stages import pretrain


def test_only_chains_have_a_base_of_their_own():
    ctx = SimpleNamespace(config=ConfigDict({"task": {"name": "gsm8k"}, "pretrain": {}}))
    with pytest.raises(UserError, match="makes the base of the task chains, not of gsm8k"):
        pretrain.run(ctx)
