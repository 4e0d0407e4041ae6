"""The command: what it prints and writes, and one line for every mistake.

With libtpu, tiny programs are compiled for described slices.
"""

import dataclasses
import json
import os
import subprocess
import sys

import fake_stages
import jax
import pytest
from tiny_llama import CONFIG

from glore_jax.errors import UserError
from glore_jax.models import shapes
from glore_jax.parallel import chips
from glore_jax.planning import compile as command
from glore_jax.planning import measure, slices
from glore_jax.training import fitting


@pytest.fixture
def config(config):
    config.rollout.max_new = 64
    return config


@pytest.fixture
def small(monkeypatch):
    """A model called "small", and four fake devices for every slice."""
    monkeypatch.setitem(shapes.SHAPES, "small", CONFIG)
    monkeypatch.setattr(slices, "describe", lambda name: jax.devices()[:4])


def compiled(config, name, topology="v5e:2x2", model="small", tokens=32, say=lambda line: None):
    """What the command finds of one program."""
    found = command.compile_all(config, topology, [name], model, tokens, say)
    return found.programs[name]


def test_figures_of_a_program(small, config):
    lines = []
    found = command.compile_all(config, "v5e:2x2", ["score"], "small", 32, lines.append).to_json()
    assert found["topology"] == "v5e:2x2" and found["model"] == "small"
    assert list(found["programs"]) == ["score"]
    promised = {
        "fits",
        "peak_bytes",
        "argument_bytes",
        "temp_bytes",
        "flops",
        "flops_ratio",
        "bytes_accessed",
        "collectives",
    }
    assert promised <= set(found["programs"]["score"])
    assert "15.75 GiB" in lines[0] and lines[2].split()[:2] == ["score", "yes"]
    json.dumps(found)


def test_what_does_not_fit_is_said_with_a_way_out(small, config, monkeypatch):
    said = (
        "RESOURCE_EXHAUSTED: the total memory required for HLO temporaries (33.03G)"
        " exceeds available HBM (15.75G)."
    )

    def refuse(program, chip, known):
        return measure.refusal(measure.describe(program), said)

    monkeypatch.setattr(measure, "measure", refuse)
    lines = []
    found = compiled(config, "student", say=lines.append)
    assert not found.fits
    assert "NO" in lines[2] and "33.03 GiB needed" in lines[2]
    assert "33.03G" in lines[3] and "--config.model.remat=full" in lines[3]


def test_a_remat_that_was_chosen_is_not_chosen_again(small, config, monkeypatch):
    """To choose takes the compiler once for each choice, minutes each on a slice."""
    config.model.remat = "auto"
    chip = dataclasses.replace(chips.CHIPS["v5e"], memory=1)
    monkeypatch.setattr(slices, "chip_of", lambda topology: chip)
    known = {}
    arguments = config, "v5e:2x2", ["orm"], "small", 32, lambda line: None, known
    first = command.compile_all(*arguments).programs
    assert first["orm"].layout.endswith("remat=full")

    def again(lowered):
        raise AssertionError("compiled again")

    monkeypatch.setattr(fitting, "_compile", again)
    monkeypatch.setattr(measure, "_compile", again)
    assert command.compile_all(*arguments).programs == first
    config.orm.train.row_length = 64
    with pytest.raises(AssertionError, match="compiled again"):
        command.compile_all(*arguments)


def test_bad_layouts_are_named_under_the_row(small, config):
    figures = compiled(config, "score")
    bad = dataclasses.replace(figures, unsharded=["head"], unaliased_bytes=512)
    line = command.row("score", bad)
    assert "whole on every chip: ['head']" in line and "donated in vain: 512" in line


def test_the_shape_of_a_model(config, tmp_path):
    assert command.shape_of(config, "llama2_7b") == (shapes.SHAPES["llama2_7b"], "llama2_7b")
    # The config.json of the packaged base.
    assert command.shape_of(config, None)[0].hidden_size == 128
    config.model.base = str(tmp_path / "llama-2-13b-hf")
    assert command.shape_of(config, None)[1] == "llama2_13b"
    config.model.base = str(tmp_path / "mine")
    with pytest.raises(UserError, match="give --model"):
        command.shape_of(config, None)


def test_an_unknown_program(small, config):
    with pytest.raises(UserError, match="choose from student, student/start, student/resume, orm"):
        command.compile_all(config, "v5e:2x2", ["critic"], "small", 32)


def test_no_room_for_a_fork_is_an_answer(small, config, monkeypatch):
    config.engine.cache_bytes = "1"
    lines = []
    found = compiled(config, "refine", say=lines.append)
    assert not found.fits and "NO" in lines[2] and "engine.cache_bytes is 1" in lines[3]


def run(*flags):
    return subprocess.run(
        [sys.executable, "-m", "glore_jax.planning.compile", *flags],
        cwd=fake_stages.ROOT,
        env=os.environ | {"PYTHONPATH": str(fake_stages.ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.parametrize(
    "flags, message",
    [
        ([], "--config=configs/NAME.py and --topology=TYPE:AxB are needed"),
        (["--config=configs/tiny.py", "--topology=v5e-16"], "--topology='v5e-16' is not a slice"),
        (["--config=configs/none.py", "--topology=v5e:4x4"], "configs/none.py"),
    ],
)
def test_mistakes_are_one_line(flags, message):
    done = run(*flags)
    assert done.returncode == 2 and message in done.stderr
    assert done.stderr.startswith("glore: error: ")
    assert len(done.stderr.splitlines()) == 1 and "Traceback" not in done.stderr


@pytest.mark.parametrize("topology", ["v5e:2x2", "v4:2x2x1"])
def test_for_a_slice(topology, config, monkeypatch):
    """The real compiler: all state donated, only norms whole, weights gathered, not summed."""
    pytest.importorskip("libtpu")
    monkeypatch.setitem(shapes.SHAPES, "small", CONFIG)
    names = ["student", "rollout"]
    found = command.compile_all(config, topology, names, "small", 32, lambda line: None).programs
    for figures in found.values():
        assert figures.fits and figures.unaliased_bytes == 0 and figures.unsharded == []
        assert "gathers_as_all_reduce" not in figures.collectives
    assert found["student"].open_loops == 0 and found["rollout"].open_loops == 1


def test_splash_attention_for_a_slice(config, monkeypatch):
    """The kernel compiles under a mesh that divides rows and heads, and its products are seen."""
    pytest.importorskip("libtpu")
    shape = dataclasses.replace(CONFIG, head_dim=128, max_positions=1024)
    monkeypatch.setitem(shapes.SHAPES, "small", shape)
    config.mesh.fsdp = 2
    config.mesh.tensor = 2
    config.refiner.train.row_length = 1024
    config.refiner.train.batch_size = 16
    flops = []
    for attention in ("causal", "prefix"):
        config.refiner.attention = attention
        refiner = compiled(config, "refiner", tokens=512)
        assert refiner.fits and refiner.unaliased_bytes == 0
        flops.append(refiner.flops)
    # Of 2 layers, 16 rows, 4 heads: a second call of the kernels, for the whole square, of
    # 2 + 2 + 4 + 3 products.
    square = 2 * 2 * 16 * 4 * 1024**2 * 128 / 4
    assert flops[1] - flops[0] == 11 * square


def test_too_large_for_a_slice(config, monkeypatch):
    pytest.importorskip("libtpu")
    config.student.sft.batch_size = 512
    config.student.sft.row_length = 4096
    student = compiled(config, "student", model="llama2_7b", tokens=4096)
    assert not student.fits and student.needed_bytes > 15.75 * 2**30
    assert "RESOURCE_EXHAUSTED" in student.says
