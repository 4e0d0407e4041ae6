"""Slices by name: what is known of their chips, and clear refusals."""

import importlib.util
import math

import pytest

from glore_jax.errors import UserError
from glore_jax.parallel import chips
from glore_jax.planning import slices


@pytest.mark.parametrize(
    "name", ["v5e-16", "v5litepod:4x4", "v7x:2x2x1", "v4:4", "v4:2x2x2x2", "v4", "v5e:4x", ""]
)
def test_names_that_are_no_slice(name):
    with pytest.raises(
        UserError, match="give TYPE:AxB or TYPE:AxBxC with one of v4, v5e, v5p, v6e"
    ):
        slices.describe(name)


def test_without_libtpu_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install -e '\.\[tpu\]'"):
        slices.describe("v5e:4x4")


def test_one_host_of_a_slice():
    assert slices.host_of("v5e:16x16") == "v5e:2x2" and slices.host_of("v4:2x2x4") == "v4:2x2x1"
    assert slices.host_of("v6e:4x4") == "v6e:2x2" and slices.host_of("v5p:2x2x2") == "v5p:2x2x1"


@pytest.mark.parametrize("name", ["v5e:1x1", "v5e:2x2", "v6e:2x4", "v4:2x2x1"])
def test_a_slice_that_is_one_host(name):
    assert slices.host_of(name) == name


def test_a_chip_is_faster_than_its_memory_and_its_memory_than_its_links():
    for chip in chips.CHIPS.values():
        assert chip.flops / chip.bandwidth > 100 and chip.bandwidth > 2 * chip.links
        assert 15 * chips.GIB < chip.memory < 96 * chips.GIB


@pytest.mark.parametrize("name", ["v5e:2x2", "v5e:16x16", "v4:2x2x4", "v5p:2x2x1", "v6e:4x4"])
def test_described_devices_are_chips(name):
    pytest.importorskip("libtpu")
    devices = slices.describe(name)
    assert len(devices) == math.prod(int(n) for n in name.partition(":")[2].split("x"))
    assert all(d.platform == "tpu" for d in devices)
    assert len(slices.describe(slices.host_of(name))) == 4


def test_a_slice_that_is_not_made():
    pytest.importorskip("libtpu")
    with pytest.raises(UserError, match="'v4:3x5x7': the compiler knows no such slice"):
        slices.describe("v4:3x5x7")
