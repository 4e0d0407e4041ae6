"""Shapes of published LLaMA models, for what needs their sizes and no weights."""

import re

from glore_jax.errors import UserError
from glore_jax.models.config import LlamaConfig

SHAPES = {
    "llama2_7b": LlamaConfig(32000, 4096, 11008, 32, 32, 32, 128, max_positions=4096),
    "llama2_13b": LlamaConfig(32000, 5120, 13824, 40, 40, 40, 128, max_positions=4096),
    "llama3_8b": LlamaConfig(
        128256, 4096, 14336, 32, 32, 8, 128, rope_theta=500000.0, max_positions=8192
    ),
    "llama3_70b": LlamaConfig(
        128256, 8192, 28672, 80, 64, 8, 128, rope_theta=500000.0, max_positions=8192
    ),
}


def named(name: str) -> LlamaConfig:
    """The shape called `name`. UserError with the known names if there is none."""
    if name not in SHAPES:
        raise UserError(f"model {name!r} has no known shape: choose one of {', '.join(SHAPES)}")
    return SHAPES[name]


def guess(folder: str) -> str | None:
    """The shape that the name of a checkpoint's folder speaks of ("llama-2-7b-hf": llama2_7b), None if it speaks of none."""
    plain = re.sub(r"[^a-z0-9]", "", folder.rstrip("/").rpartition("/")[2].lower())
    found = [name for name in SHAPES if name.replace("_", "") in plain]
    return found[0] if found else None
