"""Figures of a compiled program, with fake devices in place of chips."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from glore_jax.parallel import chips
from glore_jax.parallel import mesh as meshes
from glore_jax.planning import measure

CHIP = chips.CHIPS["v5e"]


def program(donate=True, spec=("fsdp",), function=None, least=0):
    """w [1024, 512] += x [64, 1024].T @ (x @ w), on eight devices; w is the weight."""
    mesh = meshes.make_mesh(1, 8, 1)

    def placed(shape, *spec):
        return jax.ShapeDtypeStruct(
            shape, jnp.float32, sharding=NamedSharding(mesh, PartitionSpec(*spec))
        )

    w, x = {"w": placed((1024, 512), *spec)}, placed((64, 1024), "fsdp")
    step = function or (lambda w, x: ({"w": w["w"] + x.T @ (x @ w["w"])}, x.sum()))
    jitted = jax.jit(
        step,
        donate_argnums=(0,) if donate else (),
        out_shardings=None if function else ({"w": w["w"].sharding}, None),
    )
    return measure.Program(jitted, (w, x), (0,), w, 4.0 * 64 * 1024 * 512, mesh, "64 rows", least)


def test_figures_of_a_step():
    found = measure.measure(program(least=2**20), CHIP)
    assert found["fits"] and found["unsharded"] == [] and found["unaliased_bytes"] == 0
    assert found["argument_bytes"] == 4 * (1024 * 512 + 64 * 1024) // 8
    assert found["flops_ratio"] == pytest.approx(1.0)
    assert found["flops"] == 4 * 64 * 1024 * 512 / 8 and found["model_flops"] == found["flops"]
    assert found["bytes_ratio"] == found["bytes_accessed"] / 2**20
    assert found["seconds"]["compute"] == found["flops"] / 197e12
    assert found["seconds"]["links"] > 0 and found["collectives"]
    assert found["mesh"] == {"data": 1, "fsdp": 8, "tensor": 1}


def test_what_is_wrong_with_a_layout_is_named():
    found = measure.measure(program(donate=False, spec=()), CHIP)
    assert found["unsharded"] == ["w"]
    assert found["unaliased_bytes"] == 4 * 1024 * 512


def test_figures_are_those_of_one_turn():
    def until(w, x):
        return jax.lax.while_loop(lambda y: y.sum() > 0, lambda y: y @ w["w"] @ w["w"].T, x)

    mesh = meshes.single_device_mesh()
    w = {
        "w": jax.ShapeDtypeStruct(
            (32, 16), jnp.float32, sharding=NamedSharding(mesh, PartitionSpec())
        )
    }
    x = jax.ShapeDtypeStruct((8, 32), jnp.float32, sharding=NamedSharding(mesh, PartitionSpec()))
    found = measure.measure(
        measure.Program(jax.jit(until), (w, x), (), w, 4.0 * 8 * 32 * 16, mesh, "", 0, 5), CHIP
    )
    assert found["flops_ratio"] == pytest.approx(1.0) and found["unsharded"] == []


def test_no_room_is_an_answer():
    class Refused:
        def trace(self, *arguments):
            raise jax.errors.JaxRuntimeError(
                "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO temporaries (25.46G) exceeds "
                "available HBM (15.75G).\nmore"
            )

    found = measure.measure(dataclasses.replace(program(), function=Refused()), CHIP)
    assert not found["fits"] and found["needed_bytes"] == int(25.46 * 2**30)
    assert found["says"].startswith("RESOURCE_EXHAUSTED") and "more" not in found["says"]


def test_other_errors_are_not_swallowed():
    class Broken:
        def trace(self, *arguments):
            raise jax.errors.JaxRuntimeError("INTERNAL: a bug")

    with pytest.raises(jax.errors.JaxRuntimeError, match="a bug"):
        measure.measure(dataclasses.replace(program(), function=Broken()), CHIP)
