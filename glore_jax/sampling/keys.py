"""Randomness by identity: what a fork draws depends on who it is, never on where or when it runs.

    key(seed) <- question <- sample <- cut <- rollout          one threefry key a fork
    uniform(fold_in(key, i))                                   the draw of its token i

So its text is the same in another slot, batch, order or mesh, and after a restart. Keys are typed
threefry2x32: other generators give one stream to a whole vmapped batch.
"""

import hashlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32, Int32, UInt32

AnyArray = Array | np.ndarray  # as a program has it, or the host
IMPLEMENTATION = "threefry2x32"
WORDS = 4  # of an identity


def question_word(question_id: str) -> int:
    """31 bits that stand for a question."""
    digest = hashlib.sha256(question_id.encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def identity(question_id: str, sample: int, cut: int, rollout: int) -> Int32[np.ndarray, " 4"]:
    """The words that a fork's key is folded from."""
    return np.array([question_word(question_id), sample, cut, rollout], np.int32)


def fork_keys(
    seed: UInt32[Array, ""] | np.uint32, identities: Int32[AnyArray, "*forks words"]
) -> UInt32[Array, "*forks 2"]:
    """Raw data of the keys of forks with these identities."""

    def one(words: Int32[AnyArray, " words"]) -> UInt32[Array, " 2"]:
        key = jax.random.key(seed, impl=IMPLEMENTATION)
        for i in range(words.shape[-1]):
            key = jax.random.fold_in(key, words[i])
        return jax.random.key_data(key)

    flat = identities.reshape(-1, identities.shape[-1])
    return jax.vmap(one)(flat).reshape(*identities.shape[:-1], 2)


def uniforms(
    key_data: UInt32[AnyArray, "N 2"], index: Int32[AnyArray, " N"]
) -> Float32[Array, " N"]:
    """In [0, 1): draw number `index` of each key."""

    def one(data: Any, i: Any) -> Float32[Array, ""]:
        key = jax.random.fold_in(jax.random.wrap_key_data(data, impl=IMPLEMENTATION), i)
        return jax.random.uniform(key, dtype=jnp.float32)

    return jax.vmap(one)(key_data, index)
