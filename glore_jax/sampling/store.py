"""The key/value store of trunks and forks, and the attention that reads it.

A trunk (a question, or a question with a draft) is prefilled once onto a shelf of a *group*; its forks continue from any token of
it in the group's *slots*. The tree is one level deep, so no page table is needed. A group of two shelves and three slots:

                 shelf 0          shelf 1          suffix columns
    group g   a0 a1 a2 a3 a4 | b0 b1 b2 .  . |                          written once, read by all slots as one matrix product
    slot 0    x  x  x  x                     |  s  s  s  s  n           a fork of trunk a that keeps 4 tokens, in its 5th
    slot 1    x  x                           |           s  n           another, in its 2nd
    slot 2                     x  x  x       |              n           a fork of trunk b, in its first

A slot restarts from the last token under its cut (it is fed again), so that no logits of the trunk are kept.

All slots write the same suffix column at a step, the next one at the next: one update in place for the whole store. A slot sees
the last `age` columns, those written since it began, and n, the token being fed. Columns lie in blocks; a step reads whole blocks,
those in use and no others, and writes into the last of them. When no live slot sees the first block any more, it becomes the last
and the steps are counted from the next, without moving a byte (keys carry their rotary positions, so where they lie means nothing):

                 block 0        block 1        block 2
    in use    .  .  .  s  |  s  s  s  n  |                      step 7, the oldest live slot is of age 4: two blocks are read
              .  .  .  .  |  .  s  s  s  |  s  n  .  .          step 9
    becomes   .  s  s  s  |  s  n  .  .  |                      step 5

Keys of a suffix block lie as [B, C], or turned, as [C, B], in a `listed` store: XLA's CPU backend takes two to three times as long for
a product that it has to turn one side of, while a TPU stores a column of [C, B] by writing all of it again.

Shapes: L layers, G groups, F slots a group, K key/value heads, Q query heads that share one, C head width, T trunk columns (all
shelves of a group), B columns a block.
"""

import jax
import jax.numpy as jnp

from glore_jax.parallel import mesh as meshes

_MASKED = -1e30
_COLUMNS = {"k": -2, "v": -2, "k_turned": -1}  # the axis of a block along which its columns lie


def suffix_blocks(max_new: int) -> tuple[int, int]:
    """(blocks, columns of each) for suffixes of up to `max_new` tokens: few, since each number of blocks in use is a program of
    its own. One more than the tokens fill, because the oldest fork may have begun anywhere in its first block."""
    block = max(32, -(-max_new // 4 // 16) * 16)
    return -(-max_new // block) + 1, block


def empty(
    config, groups: int, slots: int, trunk: int, blocks: int, block: int, dtype, listed: bool
):
    """All zero. One store for all layers with a leading axis L, or (`listed`) a list of L: on a CPU a scan over a stacked store
    would copy each layer's part at every token, which costs more than the products do."""
    heads, width = config.num_kv_heads, config.head_dim

    def layer():
        tall, wide = (groups, slots, heads, block, width), (groups, slots, heads, width, block)
        keys = {"k_turned": jnp.zeros(wide, dtype)} if listed else {"k": jnp.zeros(tall, dtype)}
        suffix = [
            jax.tree.map(jnp.copy, keys) | {"v": jnp.zeros(tall, dtype)} for _ in range(blocks)
        ]
        return {
            "trunk_k": jnp.zeros((groups, heads, width, trunk), dtype),
            "trunk_v": jnp.zeros((groups, heads, trunk, width), dtype),
            "suffix": suffix,
        }

    layers = [layer() for _ in range(config.num_layers)]
    return layers if listed else jax.tree.map(lambda *x: jnp.stack(x), *layers)


def specs(cache, mesh):
    """A tree of PartitionSpec beside `cache`: groups over the mesh's rows, heads beside the weights that make them."""
    stacked = () if isinstance(cache, list) else ("layers",)

    def spec(leaf):
        trunk = leaf.ndim - len(stacked) == 4
        names = (
            ("rows", "kv_heads", None, None) if trunk else ("rows", None, "kv_heads", None, None)
        )
        return meshes.spec_of(stacked + names, leaf.shape, mesh)

    return jax.tree.map(spec, cache)


def _layers(cache) -> list:
    return cache if isinstance(cache, list) else [cache]


def rotate_blocks(cache):
    """The first block of every layer becomes the last."""
    turned = [
        layer | {"suffix": layer["suffix"][1:] + layer["suffix"][:1]} for layer in _layers(cache)
    ]
    return turned if isinstance(cache, list) else turned[0]


def split(cache, used: int):
    """(what a step with `used` blocks in use only reads, the block it writes into), each a layer's or a list of layers'."""
    read = [layer | {"suffix": layer["suffix"][: used - 1]} for layer in _layers(cache)]
    written = [layer["suffix"][used - 1] for layer in _layers(cache)]
    return (read, written) if isinstance(cache, list) else (read[0], written[0])


def join(cache, written, used: int):
    """`cache` with the block `written` put back; the inverse of `split`."""
    blocks = written if isinstance(cache, list) else [written]
    joined = [
        layer | {"suffix": [*layer["suffix"][: used - 1], block, *layer["suffix"][used:]]}
        for layer, block in zip(_layers(cache), blocks, strict=True)
    ]
    return joined if isinstance(cache, list) else joined[0]


def put_trunks(cache, keys_values, groups, shelves):
    """Stores prefilled trunks: (keys, values), a layer's each [P, W, K, C], into groups int32 [P] (past the end: dropped), on
    shelves int32 [P] of W columns."""

    def put(layer, new):
        k, v = new
        trunk_k, trunk_v = layer["trunk_k"], layer["trunk_v"]
        (rows, heads, width, _), shelf = trunk_k.shape, k.shape[1]
        on_shelves_k = trunk_k.reshape(rows, heads, width, -1, shelf)
        on_shelves_v = trunk_v.reshape(rows, heads, -1, shelf, width)
        on_shelves_k = on_shelves_k.at[groups, :, :, shelves].set(
            k.transpose(0, 2, 3, 1), mode="drop"
        )
        on_shelves_v = on_shelves_v.at[groups, :, shelves].set(v.transpose(0, 2, 1, 3), mode="drop")
        return layer | {
            "trunk_k": on_shelves_k.reshape(trunk_k.shape),
            "trunk_v": on_shelves_v.reshape(trunk_v.shape),
        }

    if isinstance(cache, list):
        return [put(layer, new) for layer, new in zip(cache, keys_values, strict=True)]
    return jax.vmap(put)(cache, keys_values)


def columns(block) -> int:
    """How many columns a block of `split` has."""
    return _layers(block)[0]["v"].shape[-2]


def get_column(block, column):
    """{"k", "v"}: the keys and values [..., 1, C] in column `column` of the block of every layer."""

    def get(one):
        found = {n: jax.lax.dynamic_slice_in_dim(x, column, 1, _COLUMNS[n]) for n, x in one.items()}
        return {n.removesuffix("_turned"): x.mT if n == "k_turned" else x for n, x in found.items()}

    return [get(one) for one in block] if isinstance(block, list) else get(block)


def put_column(block, keys_values, column):
    """Stores one token a slot, {"k", "v"} [..., 1, C], in column `column` of the block of every layer."""

    def put(one, new):
        new = {n: new["k"].mT if n == "k_turned" else new[n] for n in one}
        return {
            n: jax.lax.dynamic_update_slice_in_dim(x, new[n].astype(x.dtype), column, _COLUMNS[n])
            for n, x in one.items()
        }

    if isinstance(block, list):
        return [put(one, new) for one, new in zip(block, keys_values, strict=True)]
    return put(block, keys_values)


def attend_over(start, cut, age, column):
    """The `attend` of a decode step, one token a slot (q, k, v [G*F, 1, heads, C], slots in group order).

    start, cut int32 [G, F]: a slot sees trunk columns start .. start + cut - 1. age int32 [G, F]: suffix tokens it has written
    before this one. column: the suffix column that this step's token will take. The parts (trunk, suffix, the token itself)
    are joined by one softmax: the exponentials of each are taken below a common maximum.
    """
    groups, slots = cut.shape

    def attend(q, k, v, layer):
        heads, width = k.shape[2], k.shape[3]
        shared = q.shape[2] // heads
        q = (q * width**-0.5).reshape(groups, slots, heads, shared, width)
        k, v = k.reshape(groups, slots, heads, 1, width), v.reshape(groups, slots, heads, 1, width)

        # All slots of a group become rows of one product with its trunks.
        def by_group(x):
            return x.transpose(0, 2, 1, 3, 4).reshape(groups, heads, slots * shared, -1)

        def by_slot(x):
            return x.reshape(groups, heads, slots, shared, -1).transpose(0, 2, 1, 3, 4)

        def by_block(equation, x, y):
            def product(x, y):
                return jnp.einsum(equation, x, y, preferred_element_type=jnp.float32)

            if shared > 1 or x.dtype == jnp.float32:
                return product(x, y)

            # A product with a single row is no product to XLA's CPU backend but a loop, which it fuses with what follows and then
            # runs anew for every element of it; in bfloat16 that took ten times as long. A second row, a copy, keeps it a product.
            # On a GPU the loop is what reads the store fastest.
            def two_rows(x, y):
                return product(jnp.repeat(x, 2, axis=3), y)[:, :, :, :1]

            return jax.lax.platform_dependent(x, y, cuda=product, default=two_rows)

        at = jnp.arange(layer["trunk_k"].shape[-1]) - start[:, :, None]
        seen = jnp.repeat((at >= 0) & (at < cut[:, :, None]), shared, axis=1)[:, None]
        on_trunk = jnp.matmul(by_group(q), layer["trunk_k"], preferred_element_type=jnp.float32)
        on_trunk = jnp.where(seen, on_trunk, _MASKED)

        on_suffix, first = [], 0
        for block in layer["suffix"]:
            since = column - first - jnp.arange(block["v"].shape[-2])
            seen = ((since > 0) & (since <= age[:, :, None]))[:, :, None, None]
            keys = block["k_turned"] if "k_turned" in block else block["k"].mT
            on_suffix.append(jnp.where(seen, by_block("gskqc,gskcn->gskqn", q, keys), _MASKED))
            first += block["v"].shape[-2]
        on_self = jnp.sum(q.astype(jnp.float32) * k.astype(jnp.float32), -1, keepdims=True)

        top = jnp.maximum(on_self, by_slot(on_trunk.max(-1, keepdims=True)))
        for scores in on_suffix:
            top = jnp.maximum(top, scores.max(-1, keepdims=True))
        weights = jnp.exp(on_trunk - by_group(top))
        total = by_slot(weights.sum(-1, keepdims=True))
        out = by_slot(
            jnp.matmul(
                weights.astype(v.dtype), layer["trunk_v"], preferred_element_type=jnp.float32
            )
        )
        for block, scores in zip(layer["suffix"], on_suffix, strict=True):
            weights = jnp.exp(scores - top)
            total += weights.sum(-1, keepdims=True)
            out += by_block("gskqn,gsknc->gskqc", weights.astype(v.dtype), block["v"])
        weights = jnp.exp(on_self - top)
        out = (out + weights * v) / (total + weights)
        return out.astype(v.dtype).reshape(groups * slots, 1, heads * shared, width), {
            "k": k,
            "v": v,
        }

    return attend
