"""The key/value store of trunks and forks, and the attention that reads it.

A trunk (a question, or a question with a draft) is prefilled once into a *group*; its forks continue from any token of it in the
group's *slots*. The tree is one level deep, so no page table is needed:

    group g   trunk  k0 k1 k2 k3 k4 k5 k6 k7 .  .            written once, read by all slots as one matrix product
    slot 0    cut 5  x  x  x  x  x  |  own tokens s0 s1 s2   sees the trunk below its cut and its own suffix
    slot 1    cut 8  x  x  x  x  x  x  x  x  |  s0

A slot restarts from the last token under its cut (it is fed again), so that no logits of the trunk are kept.

Suffixes live in a ring of S columns that all slots share: at global step t every slot writes column t mod S. A column is valid
for a slot if it was written since the slot began. Keys carry their rotary positions, so their order in the ring means nothing:

    column     0  1  2  3  4  5          t = 8, S = 6: now writing column 2
    written    6  7 [8] 3  4  5   at step
    age 3 slot x  x  n  .  .  x          began at step 5: sees columns 5, 0, 1 and n, the token being fed

Shapes: L layers, G groups, F slots a group, K key/value heads, Q query heads that share one, C head width, T trunk length.
"""

import jax
import jax.numpy as jnp

_MASKED = -1e30


def empty(config, groups: int, slots: int, trunk: int, columns: int, dtype, listed: bool):
    """All zero. One store for all layers with a leading axis L, or (`listed`) a list of L: on a CPU a scan over a stacked store
    would copy each layer's part at every token, which costs more than the products do."""
    heads, width = config.num_kv_heads, config.head_dim

    def layer():
        return {
            "trunk_k": jnp.zeros((groups, heads, width, trunk), dtype),
            "trunk_v": jnp.zeros((groups, heads, trunk, width), dtype),
            "suffix_k": jnp.zeros((groups, slots, heads, columns, width), dtype),
            "suffix_v": jnp.zeros((groups, slots, heads, columns, width), dtype),
        }

    layers = [layer() for _ in range(config.num_layers)]
    return layers if listed else jax.tree.map(lambda *x: jnp.stack(x), *layers)


def empty_pending(config, groups: int, slots: int, dtype, listed: bool):
    """Keys and values of the newest token, (k, v) a layer, not yet stored."""
    shape = (groups, slots, config.num_kv_heads, 1, config.head_dim)
    if listed:
        return [(jnp.zeros(shape, dtype), jnp.zeros(shape, dtype)) for _ in range(config.num_layers)]
    return (jnp.zeros((config.num_layers, *shape), dtype),) * 2


def _each_layer(put, cache, new):
    if isinstance(cache, list):
        return [put(layer, n) for layer, n in zip(cache, new, strict=True)]
    return jax.vmap(put)(cache, new)


def put_trunks(cache, keys_values, groups):
    """Stores prefilled trunks: (keys, values), a layer's each [P, T, K, C], into groups int32 [P]; past the end is dropped."""

    def put(layer, new):
        k, v = new
        return layer | {
            "trunk_k": layer["trunk_k"].at[groups].set(k.transpose(0, 2, 3, 1), mode="drop"),
            "trunk_v": layer["trunk_v"].at[groups].set(v.transpose(0, 2, 1, 3), mode="drop"),
        }

    return _each_layer(put, cache, keys_values)


def put_column(cache, keys_values, column):
    """Stores one token a slot: (keys, values), a layer's each [G, F, K, 1, C], at ring column `column`."""

    def put(layer, new):
        at = (0, 0, 0, column, 0)
        names = ("suffix_k", "suffix_v")
        return layer | {
            n: jax.lax.dynamic_update_slice(layer[n], x.astype(layer[n].dtype), at)
            for n, x in zip(names, new, strict=True)
        }

    return _each_layer(put, cache, keys_values)


def attend_over(cut, age, column):
    """The `attend` of a decode step, one token a slot (q, k, v [G*F, 1, heads, C], slots in group order).

    cut int32 [G, F]: trunk tokens a slot sees. age int32 [G, F]: suffix tokens it has written before this one. column: the ring
    column that this step will write. The three parts (trunk, suffix, the token itself) are joined by one softmax, summed part by
    part under a common maximum.
    """

    def attend(q, k, v, layer):
        trunk_k, trunk_v, suffix_k, suffix_v = (
            layer[n] for n in ("trunk_k", "trunk_v", "suffix_k", "suffix_v")
        )
        groups, slots = cut.shape
        heads, width = k.shape[2], k.shape[3]
        shared = q.shape[2] // heads
        q = (q * width**-0.5).reshape(groups, slots, heads, shared, width)
        k, v = k.reshape(groups, slots, heads, 1, width), v.reshape(groups, slots, heads, 1, width)

        by_group = q.transpose(0, 2, 1, 3, 4).reshape(groups, heads, slots * shared, width)
        on_trunk = jnp.matmul(by_group, trunk_k.astype(q.dtype), preferred_element_type=jnp.float32)
        on_trunk = on_trunk.reshape(groups, heads, slots, shared, -1).transpose(0, 2, 1, 3, 4)
        seen = jnp.arange(on_trunk.shape[-1]) < cut[:, :, None]
        on_trunk = jnp.where(seen[:, :, None, None], on_trunk, _MASKED)

        columns = suffix_k.shape[-2]
        on_suffix = jnp.einsum("gskqc,gsknc->gskqn", q, suffix_k, preferred_element_type=jnp.float32)
        since = (
            column - jnp.arange(columns)
        ) % columns  # steps since the column was written; 0 is this step's own, still stale
        seen = (since > 0) & (since <= age[:, :, None])
        on_suffix = jnp.where(seen[:, :, None, None], on_suffix, _MASKED)

        on_self = jnp.sum(q.astype(jnp.float32) * k.astype(jnp.float32), -1, keepdims=True)
        top = jnp.maximum(
            jnp.maximum(on_trunk.max(-1, keepdims=True), on_suffix.max(-1, keepdims=True)), on_self
        )
        on_trunk, on_suffix, on_self = (jnp.exp(x - top) for x in (on_trunk, on_suffix, on_self))
        total = on_trunk.sum(-1, keepdims=True) + on_suffix.sum(-1, keepdims=True) + on_self

        by_group = (
            on_trunk.transpose(0, 2, 1, 3, 4).reshape(groups, heads, slots * shared, -1).astype(v.dtype)
        )
        out = jnp.matmul(by_group, trunk_v, preferred_element_type=jnp.float32)
        out = out.reshape(groups, heads, slots, shared, width).transpose(0, 2, 1, 3, 4)
        out += jnp.einsum(
            "gskqn,gsknc->gskqc", on_suffix.astype(v.dtype), suffix_v, preferred_element_type=jnp.float32
        )
        out = (out + on_self * v) / total
        return out.astype(v.dtype).reshape(groups * slots, 1, heads * shared, width), (k, v)

    return attend
