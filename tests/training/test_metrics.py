"""What is written is what TensorBoard reads, and work is counted as on paper."""

import json
from types import SimpleNamespace

import jax
import pytest
from tensorboard_files import read_events

from glore_jax.models.config import LlamaConfig
from glore_jax.training.metrics import PEAK_FLOPS, Writer, peak_flops, training_flops


def test_scalars_are_read_back_with_their_steps(tmp_path):
    writer = Writer(tmp_path / "run")
    for step in (0, 7):
        writer.scalars({"loss": 0.5 + step, "learning_rate": 2e-4}, step)
    writer.close()
    events = read_events(tmp_path / "run")
    found = {(v.tag, e.step): v.simple_value for e in events for v in e.summary.value}
    expected = {
        ("loss", 0): 0.5,
        ("loss", 7): 7.5,
        ("learning_rate", 0): 2e-4,
        ("learning_rate", 7): 2e-4,
    }
    assert found == pytest.approx(expected)


def texts(folder) -> dict[str, str]:
    return {
        v.tag.removesuffix("/text_summary"): v.tensor.string_val[0].decode()
        for e in read_events(folder)
        for v in e.summary.value
    }


def test_hyperparameters_are_shown_as_text(tmp_path):
    section = {"lr": 2e-4, "batch_size": 16, "profile_steps": None}
    writer = Writer(tmp_path / "run", section)
    writer.text("chains-dev-00003", "2+3=5 ✓", 4)
    writer.close()
    found = texts(tmp_path / "run")
    assert found["chains-dev-00003"] == "2+3=5 ✓"
    shown = found["hyperparameters"].removeprefix("```json").removesuffix("```")
    assert json.loads(shown) == section


def test_other_processes_write_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    writer = Writer(tmp_path / "run", {"lr": 1.0})
    writer.scalars({"loss": 1.0}, 0)
    writer.text("a", "b", 0)
    writer.close()
    assert not (tmp_path / "run").exists()


def test_training_flops_by_hand():
    """Backward is twice as much as forward.

    Forward, per token: 2 N in the products; with half the square, T/2 keys of width 32 in 2
    layers, each read twice at 2 FLOP a number.
    """
    config = LlamaConfig(64, 32, 48, num_layers=2, num_heads=4, num_kv_heads=2, head_dim=8)
    forward = 2 * 1000 + 2 * (16 / 2 * 32 * 2 * 2)
    assert training_flops(1000, config, tokens=48, row_length=16) == 48 * 3 * forward


@pytest.mark.parametrize(
    "kind, peak",
    [
        ("TPU v5 lite", 197e12),
        ("TPU v5", 459e12),
        ("TPU v5p", 459e12),
        ("TPU v4", 275e12),
        ("NVIDIA H100 80GB HBM3", 989e12),
    ],
)
def test_published_peaks_go_to_the_longest_name(kind, peak, monkeypatch):
    monkeypatch.setattr(jax, "devices", lambda: [SimpleNamespace(device_kind=kind)])
    assert peak_flops.__wrapped__() == peak


def test_the_peak_of_a_cpu_is_measured():
    assert jax.devices()[0].device_kind not in PEAK_FLOPS
    assert 1e8 < peak_flops() < 1e15
