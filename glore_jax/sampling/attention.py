"""Attention of a decoded token over the store: its fork's trunk, its own suffix, and itself.

The keys of the three parts lie in different places and are never brought together. Each part gives
scores, the exponentials of all are taken below one common maximum, and sums and mixed values of the
parts are added: one softmax, as if all keys lay side by side.

    part      keys                        product                           slots see
    trunk     shared by a group           slots x heads as rows of one      start .. start + cut - 1
    suffix    a slot's own, in blocks     one for each slot and block       the last `age` columns
    self      the token being fed         elementwise                       always

Reading a trunk once for all slots of a group, and joining the parts by their sums of exponentials,
is the decomposition of Hydragen (arXiv 2402.05099).

Shapes: G groups, F slots a group, K key/value heads, Q query heads that share one, C head width,
T trunk columns of a group, B columns of a block of the suffix.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float, Float32, Int32

from glore_jax.models.llama import Attend
from glore_jax.sampling.cpu import products
from glore_jax.sampling.store import Block, Layer, TokenKV, Trunks

_MASKED = -1e30  # finite, so that a part of which nothing is seen stays free of NaN

Scores = Float32[Array, "G F K Q N"]


def attend_over(
    start: Int32[Array, "G F"],
    cut: Int32[Array, "G F"],
    age: Int32[Array, "G F"],
    column: Int32[Array, ""],
) -> Attend:
    """The `attend` of a decoded token, for `Llama`.

    Args:
      start, cut: a slot sees trunk columns start .. start + cut - 1.
      age: suffix tokens that a slot has written before this one.
      column: the suffix column that this token will take.

    Returns:
      attend(q [G*F, 1, K*Q, C], k [G*F, 1, K, C], v [G*F, 1, K, C], layer) -> (out, new): one token
      a slot, slots in group order. `layer` is a `store.Layer`; out [G*F, 1, K*Q, C] in v's dtype;
      new, the `TokenKV` to be stored.
    """
    groups, slots = cut.shape

    def attend(
        q: Float[Array, "GF 1 H C"],
        k: Float[Array, "GF 1 K C"],
        v: Float[Array, "GF 1 K C"],
        layer: Layer,
    ) -> tuple[Float[Array, "GF 1 H C"], TokenKV]:
        heads, width = k.shape[2:]
        shared = q.shape[2] // heads
        q = (q * width**-0.5).reshape(groups, slots, heads, shared, width)
        k = k.reshape(groups, slots, heads, 1, width)
        v = v.reshape(groups, slots, heads, 1, width)

        on_trunk = _trunk_scores(q, layer.trunks, start, cut)
        on_suffix = _suffix_scores(q, layer.suffix, age, column)
        on_self = _self_scores(q, k)
        out = _mix(on_trunk, on_suffix, on_self, layer, v)
        return out.reshape(groups * slots, 1, heads * shared, width), TokenKV(k, v)

    return attend


def _trunk_scores(
    q: Float[Array, "G F K Q C"],
    trunks: Trunks,
    start: Int32[Array, "G F"],
    cut: Int32[Array, "G F"],
) -> Float32[Array, "G K FQ T"]:
    """Scores of the trunk columns. All slots of a group are rows of one product with its trunks."""
    shared = q.shape[3]
    after_start = jnp.arange(trunks.k.shape[-1]) - start[:, :, None]
    seen = (after_start >= 0) & (after_start < cut[:, :, None])
    # As the rows lie: the Q heads of a slot together, the same for every key/value head.
    seen = jnp.repeat(seen, shared, axis=1)[:, None]
    scores = jnp.matmul(_by_group(q), trunks.k, preferred_element_type=jnp.float32)
    return jnp.where(seen, scores, _MASKED)


def _suffix_scores(
    q: Float[Array, "G F K Q C"],
    suffix: tuple[Block, ...],
    age: Int32[Array, "G F"],
    column: Int32[Array, ""],
) -> list[Scores]:
    """Scores of the suffix columns, N = B of each block."""
    scores = []
    first = 0  # column of the block
    for block in suffix:
        # How many tokens ago a column was written: 1 is the newest, 0 and less are not there yet.
        since = column - first - jnp.arange(block.columns)
        seen = ((since > 0) & (since <= age[:, :, None]))[:, :, None, None]
        product = _by_slot_product("gskqc,gskcn->gskqn", q, block.turned_keys)
        scores.append(jnp.where(seen, product, _MASKED))
        first += block.columns
    return scores


def _self_scores(
    q: Float[Array, "G F K Q C"], k: Float[Array, "G F K 1 C"]
) -> Float32[Array, "G F K Q 1"]:
    """Scores of the token being fed, which is not in the store yet."""
    return jnp.sum(q.astype(jnp.float32) * k.astype(jnp.float32), -1, keepdims=True)


def _mix(
    on_trunk: Float32[Array, "G K FQ T"],
    on_suffix: list[Scores],
    on_self: Float32[Array, "G F K Q 1"],
    layer: Layer,
    v: Float[Array, "G F K 1 C"],
) -> Float[Array, "G F K Q C"]:
    """The values of trunk, suffix and the token itself (`v`), mixed by one softmax over all scores.

    The sums are in float32; the division comes last.
    """
    _, slots, _, shared, _ = on_self.shape

    top = jnp.maximum(on_self, _by_slot(on_trunk.max(-1, keepdims=True), slots, shared))
    for scores in on_suffix:
        top = jnp.maximum(top, scores.max(-1, keepdims=True))

    weights = jnp.exp(on_trunk - _by_group(top))
    total = _by_slot(weights.sum(-1, keepdims=True), slots, shared)
    mixed = jnp.matmul(weights.astype(v.dtype), layer.trunks.v, preferred_element_type=jnp.float32)
    out = _by_slot(mixed, slots, shared)

    for block, scores in zip(layer.suffix, on_suffix, strict=True):
        weights = jnp.exp(scores - top)
        total += weights.sum(-1, keepdims=True)
        out += _by_slot_product("gskqn,gsknc->gskqc", weights.astype(v.dtype), block.v)

    weights = jnp.exp(on_self - top)
    out = (out + weights * v) / (total + weights)
    return out.astype(v.dtype)


def _by_group(x: Float[Array, "G F K Q N"]) -> Float[Array, "G K FQ N"]:
    """The slots of a group as rows, the Q heads of a slot together."""
    groups, slots, heads, shared, _ = x.shape
    return x.transpose(0, 2, 1, 3, 4).reshape(groups, heads, slots * shared, -1)


def _by_slot(x: Float[Array, "G K FQ N"], slots: int, shared: int) -> Float[Array, "G F K Q N"]:
    """The inverse of `_by_group`."""
    groups, heads, _, _ = x.shape
    return x.reshape(groups, heads, slots, shared, -1).transpose(0, 2, 1, 3, 4)


def _by_slot_product(
    equation: str, x: Float[Array, "G F K Q M"], y: Float[Array, "G F K M N"]
) -> Float32[Array, "G F K Q N"]:
    """The Q rows of each slot and key/value head, times what that slot alone has."""

    def product(x: Array, y: Array) -> Array:
        return jnp.einsum(equation, x, y, preferred_element_type=jnp.float32)

    if x.shape[3] == 1 and x.dtype != jnp.float32:
        return products.of_one_row(product, x, y)
    return product(x, y)
