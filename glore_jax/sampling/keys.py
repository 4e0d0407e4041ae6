"""Randomness by identity: what a fork draws depends on who it is, never on where or when it runs.

    key(seed) <- question <- sample <- cut <- rollout          one threefry key a fork
    uniform(fold_in(key, i))                                   the draw of its token i

So its text is the same in another slot, batch, order or mesh, and after a restart. Keys are typed threefry2x32: other
generators give one stream to a whole vmapped batch.
"""

import hashlib

import jax
import jax.numpy as jnp
import numpy as np

IMPLEMENTATION = "threefry2x32"


def question_word(question_id: str) -> int:
    """31 bits that stand for a question."""
    return int.from_bytes(hashlib.sha256(question_id.encode()).digest()[:4], "big") >> 1


def identity(question_id: str, sample: int, cut: int, rollout: int) -> np.ndarray:
    """int32 [4]: the words that a fork's key is folded from."""
    return np.array([question_word(question_id), sample, cut, rollout], np.int32)


def fork_keys(seed, identities):
    """Raw key data uint32 [..., 2] for identities int32 [..., 4]."""

    def one(words):
        key = jax.random.key(seed, impl=IMPLEMENTATION)
        for i in range(words.shape[-1]):
            key = jax.random.fold_in(key, words[i])
        return jax.random.key_data(key)

    flat = identities.reshape(-1, identities.shape[-1])
    return jax.vmap(one)(flat).reshape(*identities.shape[:-1], 2)


def uniforms(key_data, index):
    """float32 [N] in [0, 1): draw number `index` int32 [N] of each key uint32 [N, 2]."""

    def one(data, i):
        key = jax.random.fold_in(jax.random.wrap_key_data(data, impl=IMPLEMENTATION), i)
        return jax.random.uniform(key, dtype=jnp.float32)

    return jax.vmap(one)(key_data, index)
