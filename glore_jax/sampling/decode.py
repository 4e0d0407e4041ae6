"""What runs on the device: prefill of trunks, admission of forks, rounds of tokens.

    prefill          trunks into the store
    admit            new forks into slots, others out
    rotate_blocks    the first block of the suffix becomes its last (no copy, no program)
    decode_round     up to `steps` tokens for every live slot, in one compiled loop

All shapes are static and the state is donated: each program writes into the memory of the one
before.

Shapes: G groups, F slots a group, V words, P trunks of W tokens in a prefill.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Float32, Int32, UInt32

from glore_jax.models import kernels
from glore_jax.models.llama import Llama
from glore_jax.sampling import keys, pytree, tokens
from glore_jax.sampling.attention import attend_over
from glore_jax.sampling.state import Admissions, DecodeOptions, Slots, State


@functools.partial(jax.jit, static_argnames=("graphdef", "bidirectional"), donate_argnames="state")
def prefill(
    graphdef: nnx.GraphDef,
    params: nnx.State,
    state: State,
    trunks: Int32[Array, "P W"],
    lengths: Int32[Array, " P"],
    groups: Int32[Array, " P"],
    shelves: Int32[Array, " P"],
    bidirectional: bool = False,
) -> State:
    """Runs trunks and stores their keys and values.

    Args:
      graphdef, params: the policy.
      trunks: tokens, padded behind `lengths`.
      groups, shelves: where each goes. A group out of range marks a row of padding.
      bidirectional: the tokens of a trunk see each other both ways.
    """
    model = nnx.merge(graphdef, params)
    positions = jnp.broadcast_to(jnp.arange(trunks.shape[1], dtype=jnp.int32), trunks.shape)
    segments = (positions < lengths[:, None]).astype(jnp.int32)
    prefix = segments > 0 if bidirectional else None
    attend = kernels.causal(model, segments, prefix_mask=prefix, keep_kv=True)
    _, keys_values = model(trunks, positions, attend, state.store.unread())
    return dataclasses.replace(state, store=state.store.put_trunks(keys_values, groups, shelves))


@functools.partial(jax.jit, donate_argnames="state")
def admit(state: State, seed: UInt32[Array, ""], new: Admissions) -> State:
    """Begins the forks that are `fresh`, ends those under `stop`."""
    key = keys.fork_keys(seed, new.identity)
    slots = state.slots

    def put(old: Array, value: Any) -> Array:
        """`value` in fresh slots; both may have axes behind [G, F]."""
        fresh = new.fresh.reshape(new.fresh.shape + (1,) * (old.ndim - 2))
        return jnp.where(fresh, value, old)

    admitted = dataclasses.replace(
        slots,
        token=put(slots.token, new.token),
        start=put(slots.start, new.start),
        cut=put(slots.cut, new.cut),
        limit=put(slots.limit, new.limit),
        key=put(slots.key, key),
        age=put(slots.age, 0),
        ended=put(slots.ended, False),
        logprob=put(slots.logprob, 0.0),
        live=(slots.live & ~new.stop) | new.fresh,
    )
    return dataclasses.replace(state, slots=admitted)


def rotate_blocks(state: State, block: int) -> State:
    """The suffix without its first `block` columns; they are free at its end.

    No live slot may see them any more: `SuffixClock.may_rotate`.
    """
    return dataclasses.replace(state, store=state.store.rotated(), column=state.column - block)


@pytree.state
class Carry:
    """What the loop of a round hands from token to token.

    Attributes:
      done: tokens that this round has decoded.
      live_steps: the sum of live slots over them.
      block: of the store, the block that is written into.
      pending: `TokenKV` of the newest token, not yet stored.
      column: as `State.column`.
      slots: as `State.slots`.
    """

    done: Int32[Array, ""]
    live_steps: Int32[Array, ""]
    block: Any
    pending: Any
    column: Int32[Array, ""]
    slots: Slots


@functools.partial(jax.jit, static_argnames=("graphdef", "options"), donate_argnames="state")
def decode_round(
    graphdef: nnx.GraphDef,
    params: nnx.State,
    state: State,
    options: DecodeOptions,
    temperature: Float32[Array, ""],
    steps: Int32[Array, ""],
    until: Int32[Array, ""],
) -> tuple[State, Int32[Array, " 2"]]:
    """Up to `steps` tokens for every live slot.

    Returns early when no more than `until` slots live. The last block in use must have room for
    the steps: `SuffixClock.room`.

    Returns (state, [live slot-steps, steps]).
    """
    model = nnx.merge(graphdef, params)
    store = state.store
    last = options.blocks_in_use - 1
    read = store.before(last)
    first_column = last * store.columns  # of the block that is written into

    def newest(column: Int32[Array, ""]) -> Int32[Array, ""]:
        """Where the token before `column` lies in the last block; anywhere, if in none of it."""
        return jnp.maximum(column - first_column - 1, 0)

    def goes_on(carry: Carry) -> Bool[Array, ""]:
        return (carry.done < steps) & (carry.slots.live.sum() > until)

    def write_token(carry: Carry) -> Carry:
        # A token's keys and values are stored when the next one begins, before anything reads the
        # store: so XLA updates it in place. Storing them after the layers have read it would cost
        # a copy of the whole block at every token.
        block = store.put_column(carry.block, carry.pending, newest(carry.column))
        cache = read.with_block(last, block).layers()
        slots, pending = _next_token(model, cache, carry.column, carry.slots, options, temperature)
        return Carry(
            done=carry.done + 1,
            live_steps=carry.live_steps + carry.slots.live.sum(),
            block=block,
            pending=pending,
            column=carry.column + 1,
            slots=slots,
        )

    block = store.suffix[last]
    # What the first token stores again is what lies there already.
    pending = store.get_column(block, newest(state.column))
    begin = Carry(jnp.int32(0), jnp.int32(0), block, pending, state.column, state.slots)
    end = jax.lax.while_loop(goes_on, write_token, begin)
    block = store.put_column(end.block, end.pending, newest(end.column))
    state = State(store.with_block(last, block), end.column, end.slots)
    return state, jnp.stack([end.live_steps, end.done])


def _next_token(
    model: Llama,
    cache: Any,
    column: Int32[Array, ""],
    slots: Slots,
    options: DecodeOptions,
    temperature: Float32[Array, ""],
) -> tuple[Slots, Any]:
    """The slots after one more token, and the `TokenKV` of the token that was fed for it."""
    attend = attend_over(slots.start, slots.cut, slots.age, column)
    positions = (slots.cut + slots.age).reshape(-1, 1)
    hidden, pending = model(slots.token.reshape(-1, 1), positions, attend, cache)
    token, logprob = _draw(model, hidden[:, 0], slots, options, temperature)
    return _written(slots, token, logprob, options.eos_id), pending


def _draw(
    model: Llama,
    hidden: Float[Array, "GF D"],
    slots: Slots,
    options: DecodeOptions,
    temperature: Float32[Array, ""],
) -> tuple[Int32[Array, "G F"], Float32[Array, "G F"]]:
    """The next token of every slot and its log-probability."""
    logits = model.logits(hidden)
    if options.vocab_size < logits.shape[-1]:
        is_word = jnp.arange(logits.shape[-1]) < options.vocab_size
        logits = jnp.where(is_word, logits, -jnp.inf)
    uniform = keys.uniforms(slots.key.reshape(-1, 2), slots.age.reshape(-1))
    token, logprob = tokens.draw(logits, uniform, temperature, options.top_k, options.top_p)
    return token.reshape(slots.token.shape), logprob.reshape(slots.token.shape)


def _written(
    slots: Slots, token: Int32[Array, "G F"], logprob: Float32[Array, "G F"], eos_id: int
) -> Slots:
    """The slots after their live forks have written `token`; end-of-sequence counts as one."""
    live = slots.live
    ended = live & (token == eos_id)
    here = jnp.arange(slots.out.shape[-1]) == slots.age[:, :, None]
    age = jnp.where(live, slots.age + 1, slots.age)
    return dataclasses.replace(
        slots,
        token=token,
        age=age,
        out=jnp.where(here & live[:, :, None], token[:, :, None], slots.out),
        logprob=slots.logprob + jnp.where(live, logprob, 0.0),
        ended=slots.ended | ended,
        live=live & ~ended & (age < slots.limit),
    )
