"""Models of the work directory, and the packaged base."""

import dataclasses

import jax
import numpy as np
import pytest
from tiny_llama import CONFIG, model

from configs import tiny
from glore_jax.models import hf_export, hf_import
from glore_jax.models.tokenizer import Tokenizer
from glore_jax.parallel import mesh as meshes
from glore_jax.stages import models, pretrain, rewards


def test_options_of_training_do_not_reach_inference(ctx):
    ctx.config.model.remat = "full"
    assert models.options(ctx, CONFIG, True)["remat"] == "full"
    assert models.options(ctx, CONFIG, False)["remat"] == "none"


def test_the_packaged_base_is_ready_to_train(ctx):
    """`[BAD]` has a row of the embedding, padding is sharded with the rest."""
    base = models.base_start(ctx).loaded()
    assert base.tokenizer.bad_id is not None and base.tokenizer.vocab_size <= base.config.vocab_size
    assert base.config.vocab_size % ctx.config.model.vocab_multiple == 0
    leaves = jax.tree.leaves(base.params)
    assert all(x.dtype == np.float32 and x.sharding.mesh.shape["fsdp"] == 8 for x in leaves)
    assert any(x.shape[0] == base.config.vocab_size for x in leaves if x.ndim == 2)


def grown(ctx):
    ctx.config.model.vocab_multiple = 100  # more rows than the packaged base has
    return models.base_start(ctx)


def exported(ctx, dtype="bfloat16", config=CONFIG):
    tokenizer = Tokenizer.load(models.base_folder(ctx.config))
    hf_export.save_policy(ctx.folder("student", "hf"), model(config, tokenizer=tokenizer), dtype)
    return models.policy_start(ctx, "student", "hf")


def _of_pretraining(ctx):
    ctx.config = tiny.get_config("base")
    return ctx


STARTS = {
    "base, grown": grown,
    "policy": exported,
    "policy to generate with": lambda ctx: (
        exported(ctx) and models.policy_start(ctx, "student", "hf", training=False)
    ),
    "reward model": lambda ctx: rewards.start(ctx, exported(ctx)),
    "reward model with likelihood": lambda ctx: rewards.start(ctx, exported(ctx), likelihood=True),
    "reward model that learns to write": lambda ctx: rewards.start(
        ctx, exported(ctx), seed=3, std=0.1, language=True
    ),
    "reward model of a tied policy": lambda ctx: rewards.start(
        ctx, exported(ctx, config=dataclasses.replace(CONFIG, tie_embeddings=True)), likelihood=True
    ),
    "random weights": lambda ctx: pretrain.from_nothing(_of_pretraining(ctx)),
}


@pytest.mark.parametrize("name", STARTS)
@pytest.mark.parametrize("sizes", [(1, 8, 1), (2, 2, 2)], ids=str)
def test_a_start_describes_what_it_loads(ctx, name, sizes):
    ctx.mesh = meshes.make_mesh(*sizes)
    start = STARTS[name](ctx)
    described = jax.tree_util.tree_leaves_with_path(start.model.params)
    loaded = jax.tree_util.tree_leaves_with_path(start.load())
    assert len(described) == len(loaded) > 5
    for (path, shape), (same_path, array) in zip(described, loaded):
        assert isinstance(shape, jax.ShapeDtypeStruct) and isinstance(array, jax.Array)
        assert path == same_path
        assert (shape.shape, shape.dtype) == (array.shape, array.dtype), path
        assert shape.sharding.is_equivalent_to(array.sharding, array.ndim), path
    # The description computes what the loaded model computes.
    module = start.loaded().merge()
    backbone = getattr(module, "backbone", module)
    assert backbone.embedding.shape[0] == start.model.config.vocab_size


def test_a_grown_base_has_the_old_rows_and_their_mean(ctx):
    old = hf_import.read_policy(models.base_folder(ctx.config))
    new = grown(ctx).loaded()
    size = old.config.vocab_size
    before, after = (np.asarray(m.params["embedding"][...]) for m in (old, new))
    assert after.shape[0] > size
    np.testing.assert_array_equal(after[:size], before)
    np.testing.assert_allclose(
        after[size:], before.mean(0)[None].repeat(len(after) - size, 0), atol=1e-6
    )
