"""The reward model: a LLaMA backbone and one scalar logit per token.

Outcome and stepwise reward models are this one model; only their labels differ (paper section 4.1, step 2).
The logit at the last token of a step says whether the prefix that ends there leads to a right answer.

It can also count how likely the backbone itself finds the solution so far. What a language model knows while it writes, that a
token was a guess, stands in its last layer, where no later token can attend to it; so a value read from the hidden state alone
learns of it hardly anything, least of all from a small model:

    tokens      q  q  | s1 s1 \n | s2 s2 \n        q: question, log p counts for nothing
    log p       .  .  | a  b  c  | d  e  f
    evidence at       |       a+b|       a+b+c+d+e   at a step's last token: all tokens of the solution before it
    logit       =  weight . hidden + bias + scale * evidence
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
    at zero, so a fresh model says probability 1/2 everywhere.

    likelihood: the logit also counts the log-likelihood of the solution (see above); the backbone then keeps its vocabulary head,
    and `scale` starts at 1: a fresh model says that its odds are the probability of the text.
    """

    def __init__(
        self,
        config: LlamaConfig,
        *,
        rngs: nnx.Rngs,
        param_dtype: Any = jnp.float32,
        likelihood: bool = False,
        **options: Any,
    ):
        if not likelihood:  # a tied backbone owns no vocabulary head, for which there is no use
            config = dataclasses.replace(config, tie_embeddings=True)
        self.backbone = Llama(config, rngs=rngs, param_dtype=param_dtype, **options)
        self.likelihood = likelihood
        self.weight = param(
            nnx.initializers.zeros, rngs, (config.hidden_size,), param_dtype, ("norm",)
        )
        self.bias = param(nnx.initializers.zeros, rngs, (1,), param_dtype, ("norm",))
        if likelihood:
            self.scale = param(nnx.initializers.ones, rngs, (1,), param_dtype, ("norm",))

    @property
    def kernel(self) -> Any:
        return self.backbone.kernel

    def __call__(
        self,
        tokens: Array,
        positions: Array,
        attend: Attend,
        cache: Any = None,
        solution: Array | None = None,
    ) -> tuple[Array, Any]:
        """(logits, cache_out): logits float32 [B, T], log-odds of being right; the rest as for `Llama`.

        solution: int or bool [B, T], the tokens whose likelihood counts; only, and always, for a model with `likelihood`.
        """
        hidden, cache_out = self.backbone(tokens, positions, attend, cache)
        logits = self.value(hidden)
        if self.likelihood:
            scale = self.scale[...].astype(jnp.float32)
            logits += scale * self.evidence(hidden, tokens, positions, solution)
        return logits, cache_out

    def evidence(self, hidden: Array, tokens: Array, positions: Array, solution: Array) -> Array:
        """float32 [B, T]: the sum of log p over the tokens under `solution` of the same text that stand before each token."""
        logits = self.backbone.logits(hidden[:, :-1])
        logp = jnp.take_along_axis(logits, tokens[:, 1:, None], axis=-1)[..., 0]
        counts = (solution[:, 1:] > 0) & (
            positions[:, 1:] > 0
        )  # nothing of its own text foretells a first token
        logp = jnp.where(counts, logp - jax.nn.logsumexp(logits, axis=-1), 0.0)
        before = jnp.cumsum(logp, axis=1)
        before = jnp.pad(before, ((0, 0), (2, 0)))[:, :-1]  # the token itself does not count
        # Where the text of a token starts in its packed row; padding may have any position.
        start = jnp.maximum(jnp.arange(tokens.shape[1]) - positions, 0)
        return before - jnp.take_along_axis(before, start, axis=1)

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


def from_policy(
    params: nnx.State,
    config: LlamaConfig,
    seed: int | Array = 0,
    std: float = 0.0,
    likelihood: bool = False,
) -> nnx.State:
    """Reward parameters that start from a policy's: its backbone, and a value head drawn from normal(`std`).

    Args:
      params: the policy's parameters (`llama.init`, `hf.load_policy_params`); arrays are shared, not copied.
      config: the policy's config.
      seed: integer or typed random key; plays no part when `std` is 0.
      std: 0 gives the zero head. The backbone's first gradient is then zero too; the head moves first.
      likelihood: see `RewardModel`.
    """
    weight = params["norm"]["scale"][...]
    _, state = abstract(config, param_dtype=weight.dtype, likelihood=likelihood)
    policy = jax.tree.map(lambda x: x, params)  # new containers, the same arrays
    for name in state["backbone"]:
        state["backbone"][name] = policy[name]
    key = jax.random.key(seed) if isinstance(seed, int) else seed
    head = normal(std)(key, weight.shape, weight.dtype) if std else jnp.zeros_like(weight)
    state["weight"] = state["weight"].replace(head)
    state["bias"] = state["bias"].replace(jnp.zeros((1,), weight.dtype))
    if likelihood:
        state["scale"] = state["scale"].replace(jnp.ones((1,), weight.dtype))
    return state
