"""More words for a policy: rows of the embedding and columns of the head for new tokens."""

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jaxtyping import Float

from glore_jax.models.model import Model


def grow(policy: Model, new_size: int) -> Model:
    """The policy with `new_size` words; its tokenizer stays as it is.

    A new word starts as the mean of all old ones, in the embedding and in the head, so its first
    logit is an average one instead of an outlier. The same object comes back if there is nothing
    to add.

    Raises:
      ValueError: `new_size` is smaller than the vocabulary.
    """
    extra = new_size - policy.config.vocab_size
    if extra < 0:
        raise ValueError(
            f"the vocabulary has {policy.config.vocab_size} tokens already; "
            f"it cannot become {new_size}"
        )
    if extra == 0:
        return policy
    config = dataclasses.replace(policy.config, vocab_size=new_size)
    module = policy.merge()
    module.config = config
    params = jax.tree.map(lambda x: x, policy.params)  # new containers, the same arrays
    # The embedding is [V, D], the head [D, V]; tied embeddings have no head.
    for name, axis in (("embedding", 0), ("head", 1)):
        if name in params:
            variable = params[name]
            params[name] = variable.replace(_with_means(variable[...], extra, axis))
    return Model(nnx.graphdef(module), params, config, policy.tokenizer)


def _with_means(old: Float[Array, "_ _"], extra: int, axis: int) -> Float[Array, "_ _"]:
    """`old` with `extra` more rows (axis 0) or columns (axis 1), each the mean of the old ones."""
    mean = jnp.mean(old, axis=axis, keepdims=True, dtype=jnp.float32).astype(old.dtype)
    new = jnp.repeat(mean, extra, axis=axis)
    return jnp.concatenate([old, new], axis=axis)
