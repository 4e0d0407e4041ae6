"""GLoRe on JAX: train a student, reward models and a refiner, and evaluate them together.

from glore_jax import load_policy, load_reward_model, load_choices, Engine
"""

__version__ = "0.1.0"
__all__ = ["Engine", "load_choices", "load_policy", "load_reward_model"]


def __getattr__(name: str):
    """Imports on first use, so that `import glore_jax` alone does not start JAX."""
    if name in ("load_choices", "load_policy", "load_reward_model"):
        from glore_jax import api

        return getattr(api, name)
    if name == "Engine":
        from glore_jax.sampling.engine import Engine

        return Engine
    raise AttributeError(f"module 'glore_jax' has no attribute {name!r}")
