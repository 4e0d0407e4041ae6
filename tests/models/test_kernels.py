"""The kernels against their reference, emulated on fake devices and on a GPU if there is one.

And when they are chosen.
"""

import dataclasses
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from tiny_llama import CONFIG

from glore_jax.errors import UserError
from glore_jax.models import attention, kernels, shapes
from glore_jax.parallel import mesh as meshes

LENGTH, WIDTH = 151, 128  # no multiple of what the kernels take


def draw(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def packed():
    """Segments and prefixes of two rows: two texts and padding, one text and padding."""
    segments = np.zeros((2, LENGTH), np.int32)
    segments[0, :70] = 1
    segments[0, 70:131] = 2
    segments[1, :140] = 1
    prefix = np.zeros((2, LENGTH), bool)
    prefix[0, :30] = prefix[0, 70:90] = prefix[1, :129] = True
    return jnp.asarray(segments), jnp.asarray(prefix)


def emulated(mesh):
    return {
        "splash": kernels.Splash(mesh.abstract_mesh, interpret=True, shortest=0),
        "cudnn": kernels.Cudnn(mesh.abstract_mesh, implementation="xla"),
    }


@pytest.mark.parametrize("name", ["splash", "cudnn"])
@pytest.mark.parametrize("prefixed, kv_heads", [(False, 2), (True, 1)])
def test_agrees_with_the_reference(prefixed, kv_heads, name):
    """Outputs and gradients, packed, four heads to fewer of keys and values.

    One key/value head cannot be divided over the mesh.
    """
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
    (_, found), found_gradients = run(emulated(mesh)[name].causal)(
        *(jax.device_put(x, spread) for x in arrays)
    )
    np.testing.assert_allclose(found, expected, atol=1e-5)
    for a, b in zip(found_gradients, gradients):
        np.testing.assert_allclose(a, b, atol=1e-4)


_ON_GPU = """
import types

import jax
import jax.numpy as jnp
import numpy as np

from glore_jax.models import attention, kernels
from glore_jax.parallel import mesh as meshes

if jax.default_backend() != "gpu":
    raise SystemExit(3)
mesh, draw = meshes.single_device_mesh(), np.random.default_rng(0).standard_normal
kernel = kernels.choose("cudnn", types.SimpleNamespace(head_dim=64), mesh, "bfloat16")
segments = np.zeros((2, 384), np.int32)
segments[0, :70], segments[0, 70:131], segments[1, :380] = 1, 2, 1
prefix = np.zeros((2, 384), bool)
prefix[0, :30] = prefix[0, 70:90] = prefix[1, :129] = True
arrays = [jnp.asarray(draw((2, 384, h, 64)), jnp.bfloat16) for h in (4, 2, 2)]
weights = draw((2, 384, 4, 64)) * (segments > 0)[:, :, None, None]


def run(make, prefix, arrays):
    def loss(q, k, v):
        out, _ = make(segments, prefix_mask=prefix)(q, k, v, None)
        return jnp.sum(out * weights)

    return jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2)))(*arrays)


for mask in (None, prefix):
    expected = run(attention.causal, mask, [x.astype(jnp.float32) for x in arrays])
    found = run(kernel.causal, mask, arrays)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected)):
        difference = (a - b).astype(jnp.float32)
        error = float(jnp.linalg.norm(difference.ravel()) / jnp.linalg.norm(b.ravel()))
        assert error < 0.02, (mask is not None, a.shape, error)
"""


def test_cudnn_itself_agrees_with_the_reference():
    """bfloat16 on the GPU against float32, outputs and gradients, with and without a prefix."""
    plain = {k: v for k, v in os.environ.items() if k not in ("JAX_PLATFORMS", "XLA_FLAGS")}
    done = subprocess.run(
        [sys.executable, "-c", _ON_GPU], env=plain, capture_output=True, text=True
    )
    if done.returncode == 3:
        pytest.skip("no GPU here")
    assert done.returncode == 0, done.stderr[-2000:]


def test_keep_kv_gives_them_back():
    kernel = kernels.Splash(meshes.single_device_mesh().abstract_mesh, interpret=True, shortest=0)
    q, kv = draw(0, 1, 128, 2, WIDTH), draw(1, 1, 128, 1, WIDTH)
    attend = kernel.causal(jnp.ones((1, 128), jnp.int32), keep_kv=True)
    out, (k, v) = jax.jit(lambda q, kv: attend(q, kv, kv + 1, None))(q, kv)
    np.testing.assert_array_equal(k, kv)
    np.testing.assert_array_equal(v, kv + 1)
    # The first token sees only itself.
    np.testing.assert_allclose(out[:, 0], np.repeat(kv[:, 0] + 1, 2, axis=1), atol=1e-6)


def test_short_rows_are_left_to_xla():
    # Without `interpret` the kernel itself cannot run here.
    kernel = kernels.Splash(meshes.single_device_mesh().abstract_mesh)
    q, kv = draw(0, 1, 128, 2, WIDTH), draw(1, 1, 128, 1, WIDTH)
    segments = jnp.ones((1, 128), jnp.int32)

    def run(make):
        attend = make(segments)
        return jax.jit(lambda q, kv: attend(q, kv, kv, None)[0])(q, kv)

    np.testing.assert_array_equal(run(kernel.causal), run(attention.causal))


@dataclasses.dataclass(frozen=True)
class FakeDevice:
    """As much of a device as a mesh and `choose` ask for."""

    platform: str
    compute_capability: str = ""
    device_kind: str = "fake"
    num_cores: int = 1
    process_index: int = 0


def on(platform, **about):
    """A mesh of one device of `platform`."""
    device = np.array([[[FakeDevice(platform, **about)]]])
    return Mesh(device, meshes.AXES, axis_types=(AxisType.Auto,) * 3)


LARGE = shapes.named("llama2_7b")
HOPPER, TURING = on("gpu", compute_capability="9.0"), on("gpu", compute_capability="7.5")
AMD = on("gpu", compute_capability="gfx942")


def test_chosen_by_platform_head_dim_and_dtype():
    splash, cudnn = kernels.Splash(on("tpu").abstract_mesh), kernels.Cudnn(HOPPER.abstract_mesh)
    assert kernels.choose("auto", LARGE, on("tpu"), "bfloat16") == splash
    assert kernels.choose("splash", LARGE, on("tpu"), "float32") == splash
    assert kernels.choose("auto", LARGE, HOPPER, "bfloat16") == cudnn
    assert kernels.choose("cudnn", CONFIG, HOPPER, "float16") == cudnn
    for kernel, config, mesh, dtype in [
        ("xla", LARGE, on("tpu"), "bfloat16"),
        ("xla", LARGE, HOPPER, "bfloat16"),
        ("auto", LARGE, HOPPER, "float32"),
        ("auto", LARGE, TURING, "bfloat16"),
        ("auto", LARGE, AMD, "bfloat16"),
        ("auto", CONFIG, on("tpu"), "bfloat16"),  # head_dim 8
        ("auto", LARGE, on("cpu"), "bfloat16"),
    ]:
        assert kernels.choose(kernel, config, mesh, dtype) is None


@pytest.mark.parametrize(
    "kernel, config, mesh, dtype",
    [
        ("splash", LARGE, on("cpu"), "bfloat16"),
        ("splash", CONFIG, on("tpu"), "bfloat16"),
        ("cudnn", LARGE, on("tpu"), "bfloat16"),
        ("cudnn", LARGE, HOPPER, "float32"),
        ("cudnn", LARGE, TURING, "bfloat16"),
    ],
)
def test_asked_for_where_it_cannot_run(kernel, config, mesh, dtype):
    platform = mesh.devices.flat[0].platform
    here = f"{platform} devices, {dtype} and head_dim {config.head_dim}"
    message = f"model.kernel is '{kernel}'.* {here}"
    with pytest.raises(UserError, match=message):
        kernels.choose(kernel, config, mesh, dtype)
