"""Models of the work directory, and the packaged base."""

import jax
import numpy as np
from tiny_llama import CONFIG

from glore_jax.stages import models


def test_options_of_training_do_not_reach_inference(ctx):
    ctx.config.model.remat = "full"
    assert models.options(ctx, CONFIG, True)["remat"] == "full"
    assert models.options(ctx, CONFIG, False)["remat"] == "none"


def test_the_packaged_base_is_ready_to_train(ctx):
    """`[BAD]` has a row of the embedding, padding is sharded with the rest."""
    base = models.load_base(ctx)
    assert base.tokenizer.bad_id is not None and base.tokenizer.vocab_size <= base.config.vocab_size
    assert base.config.vocab_size % ctx.config.model.vocab_multiple == 0
    leaves = jax.tree.leaves(base.params)
    assert all(x.dtype == np.float32 and x.sharding.mesh.shape["fsdp"] == 8 for x in leaves)
    assert any(x.shape[0] == base.config.vocab_size for x in leaves if x.ndim == 2)
