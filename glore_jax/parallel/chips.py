"""Published numbers of TPU chips: what a program may be measured against."""

import dataclasses

import jax

GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Chip:
    """Published peaks of one chip, and what the compiler leaves a program of its memory.

    Attributes:
      kind: what its devices say that they are.
      flops: dense bfloat16 FLOP/s.
      bandwidth: bytes/s of HBM.
      links: bytes/s over all links to its neighbours.
      memory: bytes that a program can use.
      host: shape of the chips of one VM of a large slice.
      accelerator: how such a VM calls itself.
      alone: the most chips of a slice that is one VM.
      options: what the description of a slice needs beside its name.
    """

    kind: str
    flops: float
    bandwidth: float
    links: float
    memory: float
    host: str
    accelerator: str
    alone: int
    options: dict[str, str] = dataclasses.field(default_factory=dict)


CHIPS = {
    "v4": Chip(
        kind="TPU v4",
        flops=275e12,
        bandwidth=1228e9,
        links=300e9,
        memory=30.75 * GIB,
        host="2x2x1",
        accelerator="v4-8",
        alone=4,
        options={"chip_config_name": "megacore"},
    ),
    "v5e": Chip(
        kind="TPU v5 lite",
        flops=197e12,
        bandwidth=819e9,
        links=200e9,
        memory=15.75 * GIB,
        host="2x2",
        accelerator="v5litepod-4",
        alone=8,
    ),
    "v5p": Chip(
        kind="TPU v5",
        flops=459e12,
        bandwidth=2765e9,
        links=600e9,
        memory=95.74 * GIB,
        host="2x2x1",
        accelerator="v5p-8",
        alone=4,
    ),
    "v6e": Chip(
        kind="TPU v6 lite",
        flops=918e12,
        bandwidth=1640e9,
        links=448e9,
        memory=31.25 * GIB,
        host="2x2",
        accelerator="v6e-4",
        alone=8,
    ),
}


def memory_limit(device: jax.Device) -> int | None:
    """Bytes that programs can use of the memory of `device`; None if it does not say (a CPU).

    Of a device that is only described it is what the compiler allows.
    """
    try:
        stats = device.memory_stats()
    except jax.errors.JaxRuntimeError:  # a described device has no memory to look at
        stats = None
    if stats and "bytes_limit" in stats:
        return int(stats["bytes_limit"])
    known = (chip for chip in CHIPS.values() if chip.kind == device.device_kind)
    return next((int(chip.memory) for chip in known), None)
