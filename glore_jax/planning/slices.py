"""TPU slices that are only described: their devices, for the compiler without a TPU.

A slice is named `TYPE:AxB` or `TYPE:AxBxC`, the shape of its chips (v5e:4x4 is what Cloud sells as
v5litepod-16, v4:2x2x4 as v4-32).
"""

import importlib.util
import math
import os
import re

from glore_jax.errors import UserError
from glore_jax.parallel.chips import CHIPS, Chip


def chip_of(topology: str) -> Chip:
    """The chip of a slice called `topology`. UserError if the name is malformed or its type unknown."""
    kind, _, shape = topology.partition(":")
    if kind not in CHIPS or not re.fullmatch(r"\d+x\d+(x\d+)?", shape):
        raise UserError(
            f"--topology={topology!r} is not a slice: give TYPE:AxB or TYPE:AxBxC with one of {', '.join(CHIPS)}, such as v5e:4x4 or v4:2x2x4"
        )
    return CHIPS[kind]


def describe(topology: str) -> list:
    """The devices of a slice, for a mesh to compile for; nothing can be run on them, and no TPU is touched.

    Raises UserError if libtpu, which holds the compiler, is not installed, or there is no such slice.
    """
    chip = chip_of(topology)
    if importlib.util.find_spec("libtpu") is None:
        raise UserError("libtpu, the compiler for TPUs, is not installed: pip install -e '.[tpu]'")
    # libtpu would look for a TPU of this machine, and let only one process in; values that the user has set stay.
    for name, value in {
        "TPU_SKIP_MDS_QUERY": "1",
        "TPU_WORKER_HOSTNAMES": "localhost",
        "TPU_WORKER_ID": "0",
        "TPU_ACCELERATOR_TYPE": chip.accelerator,
        "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
        "TPU_STDERR_LOG_LEVEL": "3",
        "TPU_MIN_LOG_LEVEL": "3",
    }.items():
        os.environ.setdefault(name, value)
    from jax.experimental import topologies

    try:
        devices = topologies.get_topology_desc(
            platform="tpu", topology_name=topology, **chip.options
        ).devices
    except Exception as e:  # the plugin raises several kinds
        reason = " ".join(str(e).split())[:200]
        raise UserError(
            f"--topology={topology!r}: the compiler knows no such slice: {reason}"
        ) from e
    if len(devices) != count(topology):
        raise UserError(
            f"--topology={topology!r} has {len(devices)} devices: one for each chip was expected"
        )
    return list(devices)


def host_of(topology: str) -> str:
    """The name of one host's part of a slice: the compiler takes whole slices only, and generation runs on one host's chips.

    v5e:16x16 -> v5e:2x2, as its VMs have four chips each; v5e:2x4 -> v5e:2x4, which Cloud makes as one VM of eight.
    """
    chip = chip_of(topology)
    return (
        topology if count(topology) <= chip.alone else f"{topology.partition(':')[0]}:{chip.host}"
    )


def count(topology: str) -> int:
    """How many chips the slice called `topology` has."""
    return math.prod(int(n) for n in topology.partition(":")[2].split("x"))
