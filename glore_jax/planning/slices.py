"""TPU slices that are only described: their devices, for the compiler without a TPU.

A slice is named `TYPE:AxB` or `TYPE:AxBxC`, the shape of its chips (v5e:4x4 is what Cloud sells as
v5litepod-16, v4:2x2x4 as v4-32).
"""

import importlib.util
import math
import os
import re

import jax
from jax.experimental import topologies

from glore_jax.errors import UserError
from glore_jax.parallel.chips import CHIPS, Chip


def chip_of(topology: str) -> Chip:
    """The chip of a slice. UserError if its name is malformed or its type unknown."""
    kind, _, shape = topology.partition(":")
    if kind not in CHIPS or not re.fullmatch(r"\d+x\d+(x\d+)?", shape):
        known = ", ".join(CHIPS)
        raise UserError(
            f"--topology={topology!r} is not a slice: give TYPE:AxB or TYPE:AxBxC"
            f" with one of {known}, such as v5e:4x4 or v4:2x2x4"
        )
    return CHIPS[kind]


def count(topology: str) -> int:
    """How many chips a slice has."""
    _, _, shape = topology.partition(":")
    return math.prod(int(size) for size in shape.split("x"))


def host_of(topology: str) -> str:
    """The name of one host's part of a slice.

    Generation runs on one host's chips, and the compiler takes whole slices only. v5e:16x16 gives
    v5e:2x2, as its VMs have four chips each; v5e:2x4 stays, as Cloud makes it as one VM of eight.
    """
    chip = chip_of(topology)
    if count(topology) <= chip.alone:
        return topology
    kind, _, _ = topology.partition(":")
    return f"{kind}:{chip.host}"


def describe(topology: str) -> list[jax.Device]:
    """The devices of a slice, for a mesh to compile for; nothing can be run on them.

    No TPU of this machine is touched. UserError if libtpu, which holds the compiler, is not
    installed, or there is no such slice.
    """
    chip = chip_of(topology)
    if importlib.util.find_spec("libtpu") is None:
        raise UserError("libtpu, the compiler for TPUs, is not installed: pip install -e '.[tpu]'")
    _keep_libtpu_from_looking(chip)
    try:
        found = topologies.get_topology_desc(platform="tpu", topology_name=topology, **chip.options)
    except Exception as e:  # the plugin raises several kinds
        reason = " ".join(str(e).split())[:200]
        raise UserError(
            f"--topology={topology!r}: the compiler knows no such slice: {reason}"
        ) from e
    if len(found.devices) != count(topology):
        raise UserError(
            f"--topology={topology!r} has {len(found.devices)} devices:"
            " one for each chip was expected"
        )
    return list(found.devices)


def _keep_libtpu_from_looking(chip: Chip) -> None:
    """Sets the environment variables of libtpu that the user has not set.

    Else it would look for a TPU of this machine, and let only one process in.
    """
    variables = {
        "TPU_SKIP_MDS_QUERY": "1",
        "TPU_WORKER_HOSTNAMES": "localhost",
        "TPU_WORKER_ID": "0",
        "TPU_ACCELERATOR_TYPE": chip.accelerator,
        "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
        "TPU_STDERR_LOG_LEVEL": "3",
        "TPU_MIN_LOG_LEVEL": "3",
    }
    for name, value in variables.items():
        os.environ.setdefault(name, value)
