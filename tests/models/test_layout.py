"""Weights in another layout are the same weights, and only those that need it are moved."""

import jax
import numpy as np
from tiny_llama import CONFIG, model

from glore_jax.models import layout
from glore_jax.parallel import mesh as meshes
from glore_jax.sampling.budget import Capacity
from glore_jax.sampling.engine import Engine, Fork, Job
from glore_jax.sampling.tokens import Sampling


def orders(policy):
    return {x.format.layout.major_to_minor for x in jax.tree.leaves(policy.params) if x.ndim == 3}


def turned(x):
    """x [L, in, out] with its last two axes changed over in memory, as a TPU may keep it."""
    if x.ndim < 3:
        return x
    format_ = layout.Format(layout.Layout((0, 2, 1)), x.sharding)
    return jax.device_put(x, format_)


def placed():
    return model().on(meshes.single_device_mesh())


def says(policy):
    """What a fork writes, and its log-probability."""
    engine = Engine(policy, Capacity(1, 2, 1, max_trunk=32, max_new=8))
    (job,) = engine.run([Job("q", [3, 5, 8], [Fork(3)])], Sampling(max_new=8))
    (done,) = job.completions.values()
    return done.tokens, done.logprob


def test_every_matrix_lies_row_by_row():
    as_on_tpu = placed()
    as_on_tpu = as_on_tpu.with_params(jax.tree.map(turned, as_on_tpu.params))
    assert orders(as_on_tpu) == {(0, 2, 1)}
    values = [np.asarray(x) for x in jax.tree.leaves(as_on_tpu.params)]
    laid = layout.row_major(as_on_tpu)
    assert orders(laid) == {(0, 1, 2)}
    for old, new in zip(values, jax.tree.leaves(laid.params), strict=True):
        np.testing.assert_array_equal(old, new)
    tokens, logprob = says(laid)
    assert (tokens, round(logprob, 4)) == (says(placed())[0], round(says(placed())[1], 4))


def test_what_fills_the_lanes_stays(monkeypatch):
    monkeypatch.setattr(layout, "LANES", 1)
    policy = placed()
    before = jax.tree.leaves(policy.params)
    after = jax.tree.leaves(layout.row_major(policy).params)
    assert all(old is new for old, new in zip(before, after, strict=True))


def test_shapes_say_how_their_arrays_will_lie():
    described = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), placed().params
    )
    laid = layout.row_major(placed().with_params(described))
    formats = {x.format.layout.major_to_minor for x in jax.tree.leaves(laid.params) if x.ndim == 3}
    assert formats == {(0, 1, 2)} and CONFIG.num_layers > 0


def test_other_devices_are_left_alone():
    policy = placed()
    assert layout.for_decoding(policy) is policy
