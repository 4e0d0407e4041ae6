"""The reward model: a LLaMA backbone and one scalar logit per token.

Outcome and stepwise reward models are this one model; only their labels differ (paper section 4.1, step 2).
The logit at the last token of a step says whether the prefix that ends there leads to a right answer.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from glore_jax.models import llama
from glore_jax.models.config import LlamaConfig
from glore_jax.models.llama import Array, Attend, Llama, normal, param


class RewardModel(nnx.Module):
    """Llama with a value head instead of the vocabulary head. Arguments as for `Llama`; the value head starts
    at zero, so a fresh model says probability 1/2 everywhere."""

    def __init__(
        self, config: LlamaConfig, *, rngs: nnx.Rngs, param_dtype: Any = jnp.float32, **options: Any
    ):
        # A tied backbone owns no vocabulary head, which a reward model has no use for.
        tied = dataclasses.replace(config, tie_embeddings=True)
        self.backbone = Llama(tied, rngs=rngs, param_dtype=param_dtype, **options)
        self.weight = param(nnx.initializers.zeros, rngs, (config.hidden_size,), param_dtype, ("norm",))
        self.bias = param(nnx.initializers.zeros, rngs, (1,), param_dtype, ("norm",))

    @property
    def kernel(self) -> Any:
        return self.backbone.kernel

    def __call__(
        self, tokens: Array, positions: Array, attend: Attend, cache: Any = None
    ) -> tuple[Array, Any]:
        """(logits, cache_out): logits float32 [B, T], log-odds of being right; the rest as for `Llama`."""
        hidden, cache_out = self.backbone(tokens, positions, attend, cache)
        return self.value(hidden), cache_out

    def value(self, hidden: Array) -> Array:
        """Logits float32 [B, T] of final hidden states [B, T, hidden_size]."""
        # The product and its sum in float32: with one output there is nothing to gain from a lower precision.
        logits = jnp.sum(hidden.astype(jnp.float32) * self.weight[...].astype(jnp.float32), axis=-1)
        return logits + self.bias[...].astype(jnp.float32)


def init(config: LlamaConfig, seed: int | Array, **options: Any) -> tuple[nnx.GraphDef, nnx.State]:
    """(graphdef, params) of a fresh RewardModel; arguments as for `llama.init`."""
    return llama.init(config, seed, RewardModel, **options)


def abstract(config: LlamaConfig, **options: Any) -> tuple[nnx.GraphDef, nnx.State]:
    """Like `init`, with `jax.ShapeDtypeStruct` in place of every array."""
    return llama.abstract(config, RewardModel, **options)


def from_policy(params: nnx.State, config: LlamaConfig, seed: int | Array = 0, std: float = 0.0) -> nnx.State:
    """Reward parameters that start from a policy's: its backbone, and a value head drawn from normal(`std`).

    Args:
      params: the policy's parameters (`llama.init`, `hf.load_policy_params`); arrays are shared, not copied.
      config: the policy's config.
      seed: integer or typed random key; plays no part when `std` is 0.
      std: 0 gives the zero head. The backbone's first gradient is then zero too; the head moves first.
    """
    weight = params["norm"]["scale"][...]
    _, state = abstract(config, param_dtype=weight.dtype)
    policy = jax.tree.map(lambda x: x, params)  # new containers, the same arrays
    for name in state["backbone"]:
        state["backbone"][name] = policy[name]
    key = jax.random.key(seed) if isinstance(seed, int) else seed
    head = normal(std)(key, weight.shape, weight.dtype) if std else jnp.zeros_like(weight)
    state["weight"] = state["weight"].replace(head)
    state["bias"] = state["bias"].replace(jnp.zeros((1,), weight.dtype))
    return state
