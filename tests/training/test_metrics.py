"""Work is counted as on paper."""

from types import SimpleNamespace

import jax
import pytest

from glore_jax.models.config import LlamaConfig
from glore_jax.training.metrics import PEAK_FLOPS, peak_flops, training_flops


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
