"""The described programs are those that the stages run.

On fake devices they cost what their mathematics asks for.
"""

import dataclasses

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec
from tiny_llama import CONFIG, model

from glore_jax.errors import UserError
from glore_jax.models import attention, kernels
from glore_jax.parallel import chips
from glore_jax.planning import measure, programs, slices
from glore_jax.sampling import decode, scoring
from glore_jax.sampling.budget import Capacity
from glore_jax.sampling.engine import Engine


@pytest.fixture
def fake_devices(monkeypatch):
    """Fake devices for a slice: eight for v4:2x2x2, four for its host."""

    def describe(name):
        return jax.devices()[: 4 if name == "v4:2x2x1" else 8]

    monkeypatch.setattr(slices, "describe", describe)


@pytest.fixture
def config(config):
    config.mesh.fsdp = 4
    config.mesh.tensor = 2
    for generating in ("student.ei", "sample", "rollout", "refiner", "evaluate"):
        config.update_from_flattened_dict({f"{generating}.max_new": 40})
    config.rollout.k = 4
    for section in (config.student.sft, config.sorm.train, config.refiner.train):
        section.batch_size = 16
        section.row_length = 128
    return config


def built(name, config):
    return programs.build(name, config, CONFIG, "v4:2x2x2", tokens=32)


def measured(name, config):
    return measure.measure(built(name, config), chips.CHIPS["v4"])


@pytest.mark.parametrize(
    "name, layout",
    [("student", "4 rows of 128"), ("sorm", "4 rows of 128"), ("refiner", "8 rows of 128")],
)
def test_training_programs(name, layout, fake_devices, config):
    found = measured(name, config)
    assert found.layout.startswith(layout)  # 16 examples of 32 (64) tokens
    assert found.mesh == {"data": 1, "fsdp": 4, "tensor": 2}
    assert found.unaliased_bytes == 0 and found.open_loops == 0
    # Rematerialisation; the whole square of attention, of which half counts: at these sizes
    # attention weighs much.
    assert 1.2 < found.flops_ratio < 1.8
    assert "gathers_as_all_reduce" not in found.collectives


def test_a_decode_step_reads_weights_and_cache_about_once(fake_devices, config):
    program = built("rollout", config)
    assert program.function is decode.decode_round and program.turns == config.engine.round_steps
    assert dict(program.mesh.shape) == {"data": 2, "fsdp": 1, "tensor": 2}
    store = program.arguments[2].store
    rows = ("data", "fsdp")
    # [L, G, K, C, T] and [L, G, F, K, B, C].
    assert store.trunks.k.sharding.spec == PartitionSpec(None, rows, "tensor", None, None)
    suffix = store.suffix[0]
    assert suffix.k.sharding.spec == PartitionSpec(None, rows, None, "tensor", None, None)
    found = measured("rollout", config)
    assert found.open_loops == 1 and found.unaliased_bytes == 0
    assert 0.6 < found.flops_ratio < 1.3


@pytest.mark.parametrize(
    "name, function",
    [
        ("rollout/prefill", decode.prefill),
        ("score", scoring.values),
        ("likelihood", scoring.likelihoods),
    ],
)
def test_forward_programs(name, function, fake_devices, config):
    assert built(name, config).function is function
    assert measured(name, config).unaliased_bytes == 0


def test_every_program_of_a_config_has_a_name(fake_devices, config):
    names = programs.names(config)
    assert len(names) == len(set(names)) and names[-2:] == ["score", "likelihood"]
    # No worked example is shown, so no base is asked with one.
    assert "one-shot" not in names and {"ei", "dev/prefill", "refine", "orm/resume"} <= set(names)
    config.student.shot.question = "How many?"
    assert "one-shot/prefill" in programs.names(config)
    layouts = {name: built(name, config).layout for name in names}
    assert layouts["dev"] == layouts["drafts"] != layouts["refine"]


def test_what_a_training_begins_with_and_goes_on_with(fake_devices, config):
    """The state of the optimizer is made beside the parameters; a checkpoint is read into both."""
    update = measured("student", config)
    start = measured("student/start", config)
    resume = measured("student/resume", config)
    weights = start.argument_bytes
    assert resume.argument_bytes == pytest.approx(3 * weights, rel=0.01)
    assert start.total_bytes == pytest.approx(resume.total_bytes, rel=0.05)
    assert resume.total_bytes < update.total_bytes
    assert start.unaliased_bytes == resume.unaliased_bytes == 0


@pytest.mark.parametrize("memory, remat", [(2**34, "none"), (1, "full")])
def test_remat_auto_is_what_fits(memory, remat, fake_devices, config, monkeypatch):
    config.model.remat = "auto"
    small = dataclasses.replace(chips.CHIPS["v4"], memory=memory)
    monkeypatch.setattr(slices, "chip_of", lambda topology: small)
    program = built("student", config)
    assert program.layout.endswith(f"remat={remat}") and program.compiled is not None


def test_programs_that_are_the_same_are_compiled_once(fake_devices, config, monkeypatch):
    compiled = []
    real = measure._compile

    def compile_(program, lowered, chip):
        compiled.append(program.layout)
        return real(program, lowered, chip)

    monkeypatch.setattr(measure, "_compile", compile_)
    known = {}
    chip = chips.CHIPS["v4"]
    found = [measure.measure(built(n, config), chip, known) for n in ("dev", "drafts", "refine")]
    assert len(compiled) == 2 and found[0] == found[1] != found[2]


PREFILLS = ("ei/prefill", "dev/prefill", "rollout/prefill", "refine/prefill")
FORWARD = (*PREFILLS, "score", "likelihood")


@pytest.mark.parametrize("name", ["student", "orm", "sorm", "refiner", *FORWARD])
def test_every_program_attends_by_the_kernel_of_its_devices(
    name, fake_devices, config, monkeypatch
):
    made = []

    @dataclasses.dataclass(frozen=True)
    class Kernel:
        mesh: object

        def causal(self, segment_ids, prefix_mask=None, keep_kv=False):
            made.append((self.mesh, prefix_mask is not None))
            return attention.causal(segment_ids, prefix_mask=prefix_mask, keep_kv=keep_kv)

    def choose(kernel, shape, mesh, dtype):
        return Kernel(mesh) if kernel == "auto" else None

    monkeypatch.setattr(kernels, "choose", choose)
    config.refiner.attention = "prefix"
    program = built(name, config)
    program.function.trace(*program.arguments)
    assert made == [(program.mesh, name.startswith("refine"))]


def test_the_engine_is_described_as_it_is_made():
    made = Engine(model(), Capacity(3, 2, 1, max_trunk=32, max_new=40))
    described = jax.tree.map(lambda x: (x.shape, x.dtype, x.sharding), made.state_shapes())
    assert described == jax.tree.map(lambda x: (x.shape, x.dtype, x.sharding), made.fresh_state())


def test_parameters_have_the_dtype_they_are_loaded_in(fake_devices, config):
    config.model.dtype = "bfloat16"
    dtypes = {}
    for name in ("student", "rollout", "score"):
        leaves = jax.tree.leaves(built(name, config).weights)
        dtypes[name] = {np.dtype(x.dtype).name for x in leaves}
    assert dtypes == {
        "student": {"float32"},
        "rollout": {"bfloat16"},
        "score": {"bfloat16", "float32"},  # the value head keeps its precision
    }


def test_layers_written_out_are_refused(config):
    config.model.unroll_layers = True
    with pytest.raises(UserError, match="--config.model.unroll_layers=false"):
        built("student", config)


def test_a_mesh_that_does_not_fit(fake_devices, config):
    config.mesh.fsdp = 3
    with pytest.raises(UserError, match="does not cover 8 devices"):
        built("student", config)
