"""Who sees whom: makers of the `attend` function that `llama.py` asks for, in plain XLA.

These are the reference for every faster kernel (`kernels.py`) and serve training, scoring and
prefill where there is none. Decoding over caches is the rollout engine's own `attend`.

Dimensions as in `llama.py`: B rows, T tokens, S keys, H query heads, K key/value heads,
G = H / K, C head_dim.
"""

import jax
import jax.numpy as jnp
from jax import Array
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Bool, Float, Float32, Int

from glore_jax.models.llama import ATTENTION, Attend

_MASKED = -1e30  # finite, so that even a score sum with it stays free of NaN

# Queries go in blocks of at least _BLOCK, and at most _BLOCKS blocks a row: each block is a part
# of the program, and small products are slow.
_BLOCK = 64
_BLOCKS = 8


def causal(
    segment_ids: Int[Array, "B T"],
    positions: Int[Array, "B T"] | None = None,
    prefix_mask: Bool[Array, "B T"] | None = None,
    keep_kv: bool = False,
) -> Attend:
    """Attention within segments, to the token itself and those before it.

    Two texts of 3 and 2 tokens packed in a row of 6 (`x`: the query on the left sees the key
    above):

        segment_ids  1 1 1 2 2 0        key  a b c D E .
                               query a       x
                                     b       x x
                                     c       x x x
                                     D             x
                                     E             x x
                                     .                 x    padding sees only padding,
                                                            and nobody sees it

    Args:
      segment_ids: int32 [B, T]; tokens see only their own segment. 0 is padding.
      positions: int32 [B, T]; when given, "before" goes by these instead of by the place in the
        row.
      prefix_mask: bool [B, T]; see `prefix_lm`.
      keep_kv: give back (k, v), each [B, T, K, C], as `layer_out`: a prefill. Otherwise
        `layer_out` is None.
    """
    triangular = positions is None and prefix_mask is None
    return masked(visible(segment_ids, positions, prefix_mask), keep_kv, triangular)


def prefix_lm(
    segment_ids: Int[Array, "B T"],
    prefix_mask: Bool[Array, "B T"],
    positions: Int[Array, "B T"] | None = None,
    keep_kv: bool = False,
) -> Attend:
    """Like `causal`, but the tokens under `prefix_mask` of one segment see each other both ways.

    The prefix LM of T5 (arXiv 1910.10683 section 3.2.1): a refiner reads its whole source before
    it writes.

        segment_ids  1 1 1 1 1 2 2      key  a b c d e F G
        prefix_mask  1 1 1 0 0 1 0
                               query a       x x x              source: all of it
                                     b       x x x
                                     c       x x x
                                     d       x x x x            target: the source and what is
                                     e       x x x x x                  written so far
                                     F                 x
                                     G                 x x
    """
    return causal(segment_ids, positions, prefix_mask, keep_kv)


def visible(
    segment_ids: Int[Array, "B T"],
    positions: Int[Array, "B T"] | None = None,
    prefix_mask: Bool[Array, "B T"] | None = None,
) -> Bool[Array, "B T T"]:
    """[b, t, s]: whether query t sees key s in `causal`; arguments as there."""
    order = jnp.arange(segment_ids.shape[1])[None] if positions is None else positions
    # Queries stand along the second axis (`[:, :, None]`), keys along the third (`[:, None, :]`).
    seen = order[:, None, :] <= order[:, :, None]
    if prefix_mask is not None:
        seen |= prefix_mask[:, None, :] & prefix_mask[:, :, None]
    return seen & (segment_ids[:, None, :] == segment_ids[:, :, None])


def masked(
    visible: Bool[Array, "#B T T"], keep_kv: bool = False, triangular: bool = False
) -> Attend:
    """Attention under a mask.

    Args:
      visible: bool [B or 1, T, T]; [b, t, s]: query t sees key s. Each query sees some key.
      keep_kv: as for `causal`.
      triangular: no query sees a key behind its own place. Then the queries go block by block,
        each with the keys up to its end:

            queries 0   x x                     x is computed, and masked
                    1   x x x x                 the rest is not
                    2   x x x x x x
    """
    bias = jnp.where(visible, 0.0, _MASKED)
    bias = bias[:, None, None]  # [B, 1, 1, T, T], made once for all layers

    def attend(
        q: Float[Array, "B T H C"],
        k: Float[Array, "B T K C"],
        v: Float[Array, "B T K C"],
        layer_cache: None,
    ) -> tuple[Float[Array, "B T H C"], tuple[Array, Array] | None]:
        del layer_cache
        out = checkpoint_name(_attend_in_blocks(q, k, v, bias, triangular), ATTENTION)
        return out, (k, v) if keep_kv else None

    return attend


def _attend_in_blocks(
    q: Float[Array, "B T H C"],
    k: Float[Array, "B T K C"],
    v: Float[Array, "B T K C"],
    bias: Float32[Array, "#B 1 1 T T"],
    triangular: bool,
) -> Float[Array, "B T H C"]:
    batch, length, heads, width = q.shape
    kv_heads = k.shape[2]
    groups = heads // kv_heads
    # Consecutive query heads share a key/value head, as in Hugging Face: head = kv_head * G + g.
    q = (q * width**-0.5).reshape(batch, length, kv_heads, groups, width)
    # Batch axes first: XLA's CPU backend is slow at products that it has to transpose.
    q_bkgtc = q.transpose(0, 2, 3, 1, 4)
    k_bkcs = k.transpose(0, 2, 3, 1)
    v_bksc = v.transpose(0, 2, 1, 3)

    block = max(_BLOCK, -(-length // _BLOCKS)) if triangular else length
    mixed = []
    for start in range(0, length, block):
        end = min(start + block, length)
        seen = end if triangular else length
        mixed.append(_attend_block(q_bkgtc, k_bkcs, v_bksc, bias, start, end, seen))
    out = jnp.concatenate(mixed, axis=3)
    out = out.transpose(0, 3, 1, 2, 4)  # [B, T, K, G, C]
    return out.reshape(batch, length, heads, width)


def _attend_block(
    q: Float[Array, "B K G T C"],
    k: Float[Array, "B K C S"],
    v: Float[Array, "B K S C"],
    bias: Float32[Array, "#B 1 1 T S"],
    start: int,
    end: int,
    seen: int,
) -> Float[Array, "B K G block C"]:
    """What the queries `start` to `end` - 1 get from the first `seen` keys."""
    batch, kv_heads, groups, _, width = q.shape
    # The G query heads of a key/value head become rows of one product, [G * block, C] x [C, seen];
    # k and v are never repeated.
    rows = q[:, :, :, start:end].reshape(batch, kv_heads, -1, width)
    scores = jnp.matmul(rows, k[..., :seen], preferred_element_type=jnp.float32)
    scores = scores.reshape(batch, kv_heads, groups, -1, seen)
    scores = scores + bias[..., start:end, :seen]
    # The softmax's division comes after the second product: of C numbers a query instead of one
    # for each key. The maximum only keeps `exp` in range and cancels out, so it has no gradient.
    most = jax.lax.stop_gradient(scores.max(axis=-1, keepdims=True))
    weights = jnp.exp(scores - most)
    total = weights.sum(axis=-1, keepdims=True)
    weights = weights.astype(v.dtype).reshape(batch, kv_heads, -1, seen)
    mixed = jnp.matmul(weights, v[:, :, :seen], preferred_element_type=jnp.float32)
    mixed = mixed.reshape(batch, kv_heads, groups, end - start, width) / total
    return mixed.astype(v.dtype)
