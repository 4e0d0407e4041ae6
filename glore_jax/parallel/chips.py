"""Published numbers of TPU chips: what a program may be measured against."""

import dataclasses

GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Chip:
    """Published peaks of one chip, and what the compiler leaves a program of its memory.

    flops: dense bfloat16 FLOP/s. bandwidth: bytes/s of HBM. links: bytes/s over all links to its neighbours. memory: bytes.
    host: shape of the chips of one VM of a large slice. accelerator: how such a VM calls itself. alone: the most chips of a slice that is one VM.
    options: what the description of a slice needs beside its name.
    """

    flops: float
    bandwidth: float
    links: float
    memory: float
    host: str
    accelerator: str
    alone: int
    options: dict = dataclasses.field(default_factory=dict)


CHIPS = {
    "v4": Chip(
        275e12, 1228e9, 300e9, 30.75 * GIB, "2x2x1", "v4-8", 4, {"chip_config_name": "megacore"}
    ),
    "v5e": Chip(197e12, 819e9, 200e9, 15.75 * GIB, "2x2", "v5litepod-4", 8),
    "v5p": Chip(459e12, 2765e9, 600e9, 95.74 * GIB, "2x2x1", "v5p-8", 4),
    "v6e": Chip(918e12, 1640e9, 448e9, 31.25 * GIB, "2x2", "v6e-4", 8),
}
