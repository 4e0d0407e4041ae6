"""The command: what it prints and writes, and one line for every mistake. With libtpu, tiny programs for described slices."""

import dataclasses
import importlib.util
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
from glore_jax.planning import measure


@pytest.fixture
def config():
    spec = importlib.util.spec_from_file_location("tiny", fake_stages.ROOT / "configs" / "tiny.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    c = module.get_config("smoke")
    c.model.remat, c.engine.tensor = "full", 2
    c.rollout.max_new = 64
    c.student.sft.optimizer = c.sorm.train.optimizer = c.refiner.train.optimizer = "adamw"
    return c


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setitem(shapes.SHAPES, "small", CONFIG)
    monkeypatch.setattr(chips, "describe", lambda name: jax.devices()[:4])


def test_figures_of_a_program(small, config):
    lines = []
    found = command.compile_all(config, "v5e:2x2", ["score"], "small", 32, lines.append)
    assert (
        found["topology"] == "v5e:2x2"
        and found["model"] == "small"
        and list(found["programs"]) == ["score"]
    )
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
    said = "RESOURCE_EXHAUSTED: the total memory required for HLO temporaries (33.03G) exceeds available HBM (15.75G)."
    monkeypatch.setattr(measure, "measure", lambda program, chip: measure.refused(said))
    lines = []
    found = command.compile_all(config, "v5e:2x2", ["student"], "small", 32, lines.append)
    assert not found["programs"]["student"]["fits"]
    assert "NO" in lines[2] and "33.03 GiB needed" in lines[2]
    assert "33.03G" in lines[3] and "--config.model.remat=full" in lines[3]


def test_bad_layouts_are_named_under_the_row(small, config):
    figures = command.compile_all(config, "v5e:2x2", ["score"], "small", 32, lambda line: None)[
        "programs"
    ]["score"]
    line = command.row("score", figures | {"unsharded": ["head"], "unaliased_bytes": 512})
    assert "whole on every chip: ['head']" in line and "donated in vain: 512" in line


def test_the_shape_of_a_model(config, tmp_path):
    assert command.shape_of(config, "llama2_7b") == (shapes.SHAPES["llama2_7b"], "llama2_7b")
    assert (
        command.shape_of(config, None)[0].hidden_size == 128
    )  # the config.json of the packaged base
    config.model.base = str(tmp_path / "llama-2-13b-hf")
    assert command.shape_of(config, None)[1] == "llama2_13b"
    config.model.base = str(tmp_path / "mine")
    with pytest.raises(UserError, match="give --model"):
        command.shape_of(config, None)


def test_an_unknown_program(small, config):
    with pytest.raises(
        UserError,
        match="'critic' is not known: choose from student, reward, refiner, rollout, prefill, score, all",
    ):
        command.compile_all(config, "v5e:2x2", ["critic"], "small", 32)


def run(*flags):
    environment = os.environ | {"PYTHONPATH": str(fake_stages.ROOT)}
    return subprocess.run(
        [sys.executable, "-m", "glore_jax.planning.compile", *flags],
        cwd=fake_stages.ROOT,
        env=environment,
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
    assert (
        done.returncode == 2 and message in done.stderr and done.stderr.startswith("glore: error: ")
    )
    assert len(done.stderr.splitlines()) == 1 and "Traceback" not in done.stderr


@pytest.mark.parametrize("topology", ["v5e:2x2", "v4:2x2x1"])
def test_for_a_slice(topology, config, monkeypatch):
    """The real compiler: all state donated, nothing whole but norms, weights gathered and not summed."""
    pytest.importorskip("libtpu")
    monkeypatch.setitem(shapes.SHAPES, "small", CONFIG)
    found = command.compile_all(
        config, topology, ["student", "rollout"], "small", 32, lambda line: None
    )["programs"]
    for figures in found.values():
        assert figures["fits"] and figures["unaliased_bytes"] == 0 and figures["unsharded"] == []
        assert "gathers_as_all_reduce" not in figures["collectives"]
    assert found["student"]["open_loops"] == 0 and found["rollout"]["open_loops"] == 1


def test_splash_attention_for_a_slice(config, monkeypatch):
    """The kernel compiles under a mesh that divides rows and heads, and its products are seen."""
    pytest.importorskip("libtpu")
    monkeypatch.setitem(
        shapes.SHAPES, "small", dataclasses.replace(CONFIG, head_dim=128, max_positions=1024)
    )
    config.mesh.fsdp, config.mesh.tensor = 2, 2
    config.refiner.train.row_length, config.refiner.train.batch_size = 1024, 16
    flops = []
    for attention in ("causal", "prefix"):
        config.refiner.attention = attention
        found = command.compile_all(config, "v5e:2x2", ["refiner"], "small", 512, lambda line: None)
        assert (
            found["programs"]["refiner"]["fits"]
            and found["programs"]["refiner"]["unaliased_bytes"] == 0
        )
        flops.append(found["programs"]["refiner"]["flops"])
    # Of 2 layers, 16 rows, 4 heads: a second call of the kernels, for the whole square, of 2 + 2 + 4 + 3 products.
    square = 2 * 2 * 16 * 4 * 1024**2 * 128 / 4
    assert flops[1] - flops[0] == 11 * square


def test_too_large_for_a_slice(config, monkeypatch):
    pytest.importorskip("libtpu")
    config.student.sft.batch_size, config.student.sft.row_length = 512, 4096
    found = command.compile_all(
        config, "v5e:2x2", ["student"], "llama2_7b", 4096, lambda line: None
    )
    student = found["programs"]["student"]
    assert (
        not student["fits"]
        and student["needed_bytes"] > 15.75 * 2**30
        and "RESOURCE_EXHAUSTED" in student["says"]
    )
