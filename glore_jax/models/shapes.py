"""Shapes of published LLaMA models, for what needs their sizes and no weights."""

import re

from glore_jax.errors import UserError
from glore_jax.models.config import LlamaConfig

SHAPES = {
    "llama2_7b": LlamaConfig(
        vocab_size=32000,
        hidden_size=4096,
        intermediate_size=11008,
        num_layers=32,
        num_heads=32,
        num_kv_heads=32,
        head_dim=128,
        max_positions=4096,
    ),
    "llama2_13b": LlamaConfig(
        vocab_size=32000,
        hidden_size=5120,
        intermediate_size=13824,
        num_layers=40,
        num_heads=40,
        num_kv_heads=40,
        head_dim=128,
        max_positions=4096,
    ),
    "llama3_8b": LlamaConfig(
        vocab_size=128256,
        hidden_size=4096,
        intermediate_size=14336,
        num_layers=32,
        num_heads=32,
        num_kv_heads=8,
        head_dim=128,
        rope_theta=500000.0,
        max_positions=8192,
    ),
    "llama3_70b": LlamaConfig(
        vocab_size=128256,
        hidden_size=8192,
        intermediate_size=28672,
        num_layers=80,
        num_heads=64,
        num_kv_heads=8,
        head_dim=128,
        rope_theta=500000.0,
        max_positions=8192,
    ),
}


def named(name: str) -> LlamaConfig:
    """The shape called `name`. UserError with the known names if there is none."""
    if name not in SHAPES:
        raise UserError(f"model {name!r} has no known shape: choose one of {', '.join(SHAPES)}")
    return SHAPES[name]


def guess(folder: str) -> str | None:
    """The shape that the name of a checkpoint's folder speaks of, None if it speaks of none.

    "checkpoints/llama-2-7b-hf": "llama2_7b".
    """
    last = folder.rstrip("/").rpartition("/")[2]
    plain = re.sub(r"[^a-z0-9]", "", last.lower())
    found = [name for name in SHAPES if name.replace("_", "") in plain]
    return found[0] if found else None
