"""The kernel against its reference, emulated on fake devices, and when it is chosen."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec
from tiny_llama import CONFIG

from glore_jax.errors import UserError
from glore_jax.models import attention, kernels, shapes
from glore_jax.parallel import mesh as meshes

LENGTH, WIDTH = 150, 128  # no multiple of what the kernel takes


def draw(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def packed():
    """Segments and prefixes of two rows: two texts and padding, one text and padding."""
    segments, prefix = np.zeros((2, LENGTH), np.int32), np.zeros((2, LENGTH), bool)
    segments[0, :70], segments[0, 70:131], segments[1, :140] = 1, 2, 1
    prefix[0, :30] = prefix[0, 70:90] = prefix[1, :129] = True
    return segments, prefix


@pytest.mark.parametrize("prefixed, kv_heads", [(False, 2), (True, 1)])
def test_agrees_with_the_reference(prefixed, kv_heads):
    """Outputs and gradients, packed, four heads to fewer of keys and values; one of these cannot be divided over the mesh."""
    mesh = meshes.make_mesh(1, 2, 2, jax.devices()[:4])
    segments, prefix = packed()
    prefix = prefix if prefixed else None
    weights = draw(3, 2, LENGTH, 4, WIDTH)

    def run(make):
        def loss(q, k, v):
            out, kept = make(segments, prefix_mask=prefix)(q, k, v, None)
            assert kept is None
            return jnp.sum(out * weights), out

        return jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True))

    arrays = [draw(i, 2, LENGTH, 4 if i == 0 else kv_heads, WIDTH) for i in range(3)]
    (_, expected), gradients = run(attention.causal)(*arrays)
    spread = NamedSharding(mesh, PartitionSpec("fsdp"))
    (_, found), found_gradients = run(kernels.Splash(mesh.abstract_mesh, interpret=True, shortest=0).causal)(
        *(jax.device_put(x, spread) for x in arrays)
    )
    np.testing.assert_allclose(found, expected, atol=1e-5)
    for a, b in zip(found_gradients, gradients):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_keep_kv_gives_them_back():
    kernel = kernels.Splash(meshes.single_device_mesh().abstract_mesh, interpret=True, shortest=0)
    q, kv = draw(0, 1, 128, 2, WIDTH), draw(1, 1, 128, 1, WIDTH)
    attend = kernel.causal(jnp.ones((1, 128), jnp.int32), keep_kv=True)
    out, (k, v) = jax.jit(lambda q, kv: attend(q, kv, kv + 1, None))(q, kv)
    np.testing.assert_array_equal(k, kv)
    np.testing.assert_array_equal(v, kv + 1)
    np.testing.assert_allclose(
        out[:, 0], np.repeat(kv[:, 0] + 1, 2, axis=1), atol=1e-6
    )  # it sees only itself


def test_short_rows_are_left_to_xla():
    # Without `interpret` the kernel itself cannot run here.
    kernel = kernels.Splash(meshes.single_device_mesh().abstract_mesh)
    q, kv, segments = draw(0, 1, 128, 2, WIDTH), draw(1, 1, 128, 1, WIDTH), jnp.ones((1, 128), jnp.int32)
    found, _ = jax.jit(lambda q, kv: kernel.causal(segments)(q, kv, kv, None))(q, kv)
    np.testing.assert_array_equal(
        found, jax.jit(lambda q, kv: attention.causal(segments)(q, kv, kv, None)[0])(q, kv)
    )


def on(platform):
    device = types.SimpleNamespace(platform=platform)
    return types.SimpleNamespace(
        devices=np.array([[[device]]]), abstract_mesh=meshes.single_device_mesh().abstract_mesh
    )


def test_chosen_by_platform_and_head_dim():
    large = shapes.named("llama2_7b")
    assert kernels.choose("auto", large, on("tpu")) == kernels.Splash(on("tpu").abstract_mesh)
    assert kernels.choose("splash", large, on("tpu")) == kernels.choose("auto", large, on("tpu"))
    assert kernels.choose("xla", large, on("tpu")) is None
    assert kernels.choose("auto", large, on("gpu")) is None
    assert kernels.choose("auto", CONFIG, on("tpu")) is None  # head_dim 8
    assert kernels.choose("xla", CONFIG, on("cpu")) is None


@pytest.mark.parametrize("config, platform", [(shapes.named("llama2_7b"), "cpu"), (CONFIG, "tpu")])
def test_splash_where_it_cannot_run(config, platform):
    with pytest.raises(
        UserError, match=f"model.kernel is 'splash'.* {platform} devices and head_dim {config.head_dim}"
    ):
        kernels.choose("splash", config, on(platform))
