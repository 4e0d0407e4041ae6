"""Published numbers of TPU chips: what a program may be measured against."""

import dataclasses

GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Chip:
    """Published peaks of one chip, and what the compiler leaves a program of its memory.

    Attributes:
      flops: dense bfloat16 FLOP/s.
      bandwidth: bytes/s of HBM.
      links: bytes/s over all links to its neighbours.
      memory: bytes that a program can use.
      host: shape of the chips of one VM of a large slice.
      accelerator: how such a VM calls itself.
      alone: the most chips of a slice that is one VM.
      options: what the description of a slice needs beside its name.
    """

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
        flops=197e12,
        bandwidth=819e9,
        links=200e9,
        memory=15.75 * GIB,
        host="2x2",
        accelerator="v5litepod-4",
        alone=8,
    ),
    "v5p": Chip(
        flops=459e12,
        bandwidth=2765e9,
        links=600e9,
        memory=95.74 * GIB,
        host="2x2x1",
        accelerator="v5p-8",
        alone=4,
    ),
    "v6e": Chip(
        flops=918e12,
        bandwidth=1640e9,
        links=448e9,
        memory=31.25 * GIB,
        host="2x2",
        accelerator="v6e-4",
        alone=8,
    ),
}
