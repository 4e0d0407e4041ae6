"""Who sees whom: makers of the `attend` function that `llama.py` asks for, in plain XLA.

These are the reference for every faster kernel (`kernels.py`) and serve training, scoring and prefill where there is none.
Decoding over caches is the rollout engine's own `attend`.

Shapes as in `llama.py`: B rows, T tokens, H query heads, K key/value heads, G = H / K, C head_dim.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from glore_jax.models.llama import Array, Attend

_MASKED = -1e30  # finite, so that even a score sum with it stays free of NaN
_BLOCK, _BLOCKS = 64, 8  # fewest queries of a block, most blocks of a row


def causal(
    segment_ids: Array,
    positions: Array | None = None,
    prefix_mask: Array | None = None,
    keep_kv: bool = False,
) -> Attend:
    """Attention within segments, to the token itself and those before it.

    Two texts of 3 and 2 tokens packed in a row of 6 (`x`: the query on the left sees the key above):

        segment_ids  1 1 1 2 2 0        key  a b c D E .
                               query a       x
                                     b       x x
                                     c       x x x
                                     D             x
                                     E             x x
                                     .                 x    padding sees only padding, and nobody sees it

    Args:
      segment_ids: int32 [B, T]; tokens see only their own segment. 0 is padding.
      positions: int32 [B, T]; when given, "before" goes by these instead of by the place in the row.
      prefix_mask: bool [B, T]; see `prefix_lm`.
      keep_kv: give back (k, v), each [B, T, K, C], as `layer_out`: a prefill. Otherwise `layer_out` is None.
    """
    triangular = positions is None and prefix_mask is None
    return masked(visible(segment_ids, positions, prefix_mask), keep_kv, triangular)


def visible(
    segment_ids: Array, positions: Array | None = None, prefix_mask: Array | None = None
) -> Array:
    """bool [B, T, T]: whether query t sees key s in `causal`; arguments as there."""
    order = jnp.arange(segment_ids.shape[1])[None] if positions is None else positions
    seen = order[:, None, :] <= order[:, :, None]
    if prefix_mask is not None:
        seen |= prefix_mask[:, None, :] & prefix_mask[:, :, None]
    return seen & (segment_ids[:, None, :] == segment_ids[:, :, None])


def prefix_lm(
    segment_ids: Array, prefix_mask: Array, positions: Array | None = None, keep_kv: bool = False
) -> Attend:
    """Like `causal`, but the tokens under `prefix_mask` (bool [B, T]) of one segment see each other in both
    directions (the prefix LM of T5, arXiv 1910.10683 section 3.2.1): a refiner reads its whole source before
    it writes.

        segment_ids  1 1 1 1 1 2 2      key  a b c d e F G
        prefix_mask  1 1 1 0 0 1 0
                               query a       x x x              source: all of it
                                     b       x x x
                                     c       x x x
                                     d       x x x x            target: the source and what is written so far
                                     e       x x x x x
                                     F                 x
                                     G                 x x
    """
    return causal(segment_ids, positions, prefix_mask, keep_kv)


def masked(visible: Array, keep_kv: bool = False, triangular: bool = False) -> Attend:
    """Attention under a mask: bool [B or 1, T, T], [b, t, s] = query t sees key s, and each sees some.

    triangular: no query sees a key behind its own place. Then the queries go block by block, each with the keys up to its end:

        queries 0   x x                     x is computed, and masked
                1   x x x x                 the rest is not
                2   x x x x x x
    """
    bias = jnp.where(visible, 0.0, _MASKED)[
        :, None, None
    ]  # [B, 1, 1, T, T], made once for all layers

    def attend(
        q: Array, k: Array, v: Array, layer_cache: None
    ) -> tuple[Array, tuple[Array, Array] | None]:
        del layer_cache
        batch, length, heads, width = q.shape
        kv_heads = k.shape[2]
        groups = heads // kv_heads
        # The G query heads that share a key/value head become rows of one product, [G*block, C] x [C, T]; k and v
        # are never repeated. Batch axes first: XLA's CPU backend is slow at products it has to transpose.
        q = (q * width**-0.5).reshape(batch, length, kv_heads, groups, width)
        q = q.transpose(0, 2, 3, 1, 4)
        k_bkct, v_bktc = k.transpose(0, 2, 3, 1), v.transpose(0, 2, 1, 3)
        block = max(_BLOCK, -(-length // _BLOCKS)) if triangular else length
        out = []
        for start in range(0, length, block):
            end = min(start + block, length)
            seen = end if triangular else length
            rows = q[:, :, :, start:end].reshape(batch, kv_heads, -1, width)
            scores = jnp.matmul(rows, k_bkct[..., :seen], preferred_element_type=jnp.float32)
            scores = scores.reshape(batch, kv_heads, groups, -1, seen) + bias[..., start:end, :seen]
            # The softmax's division comes after the product: of C numbers a query instead of one for each key.
            most = jax.lax.stop_gradient(scores.max(axis=-1, keepdims=True))
            weights = jnp.exp(scores - most)
            total = weights.sum(axis=-1, keepdims=True)
            weights = weights.astype(v.dtype).reshape(batch, kv_heads, -1, seen)
            mixed = jnp.matmul(weights, v_bktc[:, :, :seen], preferred_element_type=jnp.float32)
            mixed = mixed.reshape(batch, kv_heads, groups, end - start, width) / total
            out.append(mixed.astype(v.dtype))
        out = jnp.concatenate(out, axis=3).transpose(0, 3, 1, 2, 4)
        return out.reshape(batch, length, heads, width), (k, v) if keep_kv else None

    return attend
