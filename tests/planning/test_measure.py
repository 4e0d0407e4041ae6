"""Figures of a compiled program, with fake devices in place of chips."""

import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from glore_jax.parallel import chips
from glore_jax.parallel import mesh as meshes
from glore_jax.planning import measure

CHIP = chips.CHIPS["v5e"]


def placed(shape, mesh, *spec):
    """A described float32 array."""
    sharding = NamedSharding(mesh, PartitionSpec(*spec))
    return jax.ShapeDtypeStruct(shape, jnp.float32, sharding=sharding)


@dataclasses.dataclass(frozen=True)
class Chip:
    """A device with the name of another."""

    name: str
    device_kind: str = "TPU v4"

    def __str__(self):
        return self.name


def program(donate=True, spec=("fsdp",), least=0):
    """w [1024, 512] += x [64, 1024].T @ (x @ w), on eight devices; w is the weight."""
    mesh = meshes.make_mesh(1, 8, 1)
    w = {"w": placed((1024, 512), mesh, *spec)}
    x = placed((64, 1024), mesh, "fsdp")
    step = jax.jit(
        lambda w, x: ({"w": w["w"] + x.T @ (x @ w["w"])}, x.sum()),
        donate_argnums=(0,) if donate else (),
        out_shardings=({"w": w["w"].sharding}, None),
    )
    return measure.Program(
        function=step,
        arguments=(w, x),
        donated=(0,),
        weights=w,
        model_flops=4.0 * 64 * 1024 * 512,
        mesh=mesh,
        layout="64 rows",
        least_bytes=least,
    )


def test_figures_of_a_step():
    found = measure.measure(program(least=2**20), CHIP)
    assert found.fits and found.unsharded == [] and found.unaliased_bytes == 0
    assert found.argument_bytes == 4 * (1024 * 512 + 64 * 1024) // 8
    assert found.flops_ratio == pytest.approx(1.0)
    assert found.flops == 4 * 64 * 1024 * 512 / 8 and found.model_flops == found.flops
    assert found.bytes_ratio == found.bytes_accessed / 2**20
    assert found.seconds["compute"] == found.flops / 197e12
    assert found.seconds["links"] > 0 and found.collectives
    assert found.mesh == {"data": 1, "fsdp": 8, "tensor": 1}


def test_a_program_for_other_chips_is_another_program():
    """A v4 and a v5p of one shape name their chips alike."""
    known = {}
    here = program()
    measure.measure(here, CHIP, known)
    assert measure.recall(here, known) == measure.measure(here, CHIP, known)

    others = np.array([Chip(str(device)) for device in here.mesh.devices.flat])
    elsewhere = dataclasses.replace(here, mesh=SimpleNamespace(devices=others))
    assert measure._digest(elsewhere, measure._lowered(here)) not in known


def test_what_is_wrong_with_a_layout_is_named():
    found = measure.measure(program(donate=False, spec=()), CHIP)
    assert found.unsharded == ["w"]
    assert found.unaliased_bytes == 4 * 1024 * 512


def test_figures_are_those_of_one_turn():
    mesh = meshes.single_device_mesh()
    w = {"w": placed((32, 16), mesh)}
    x = placed((8, 32), mesh)

    @jax.jit
    def until(w, x):
        return jax.lax.while_loop(lambda y: y.sum() > 0, lambda y: y @ w["w"] @ w["w"].T, x)

    described = measure.Program(
        function=until,
        arguments=(w, x),
        donated=(),
        weights=w,
        model_flops=4.0 * 8 * 32 * 16,
        mesh=mesh,
        layout="",
        turns=5,
    )
    found = measure.measure(described, CHIP)
    assert found.flops_ratio == pytest.approx(1.0) and found.unsharded == []


def test_the_form_of_the_figures():
    """What docs/pods.json and `--json` hold, in this order."""
    found = measure.measure(program(), CHIP)
    form = found.to_json()
    assert list(form) == [
        "working_bytes",
        "digest",
        "mesh",
        "layout",
        "unsharded",
        "model_flops",
        "fits",
        "argument_bytes",
        "temp_bytes",
        "total_bytes",
        "peak_bytes",
        "unaliased_bytes",
        "flops",
        "flops_ratio",
        "bytes_accessed",
        "bytes_ratio",
        "collectives",
        "open_loops",
        "seconds",
    ]
    kind, sent = next(iter(found.collectives.items()))
    assert form["collectives"][kind] == {"count": sent.count, "bytes": sent.bytes}
    assert form["bytes_ratio"] is None and list(form["seconds"]) == ["compute", "memory", "links"]


def refusing(reason):
    """The program, and a compiler that says `reason`."""

    class Refused:
        def trace(self, *arguments):
            return self

        def lower(self):
            return self

        def as_text(self):
            return "a program"

        def compile(self):
            raise jax.errors.JaxRuntimeError(reason)

    return dataclasses.replace(program(), function=Refused())


def test_no_room_is_an_answer():
    said = (
        "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO"
        " temporaries (25.46G) exceeds available HBM (15.75G).\nmore"
    )
    found = measure.measure(refusing(said), CHIP)
    assert not found.fits and found.needed_bytes == int(25.46 * 2**30)
    assert found.says.startswith("RESOURCE_EXHAUSTED") and "more" not in found.says
    assert list(found.to_json())[-3:] == ["fits", "says", "needed_bytes"]


def test_a_refusal_without_a_size():
    found = measure.measure(refusing("RESOURCE_EXHAUSTED: no"), CHIP)
    assert found.needed_bytes is None
    assert list(found.to_json())[-2:] == ["fits", "says"]


def test_other_errors_are_not_swallowed():
    with pytest.raises(jax.errors.JaxRuntimeError, match="a bug"):
        measure.measure(refusing("INTERNAL: a bug"), CHIP)


def test_what_the_compiler_says_is_needed():
    said = (
        "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO"
        " temporaries (25.46G) exceeds available HBM (15.75G)"
    )
    assert measure.needed_bytes(said) == int(25.46 * 2**30)
    said = "Ran out of memory in memory space hbm. Used 17.29G of 15.75G hbm."
    assert measure.needed_bytes(said) == int(17.29 * 2**30)
    assert measure.needed_bytes("something else") is None
