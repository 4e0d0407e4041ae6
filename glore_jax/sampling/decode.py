"""What runs on the device: prefill of trunks, admission of forks, and decode rounds. All shapes static, all state donated."""

import functools

import jax
import jax.numpy as jnp
from flax import nnx

from glore_jax.models import kernels
from glore_jax.sampling import keys, store, tokens


def empty_state(
    config,
    groups: int,
    slots: int,
    trunk: int,
    blocks: int,
    block: int,
    max_new: int,
    dtype,
    listed: bool,
) -> dict:
    """No live slot. `step` is the suffix column to write next. Per slot [G, F]: `token` to feed next, `start` and `cut` (trunk
    columns seen: start .. start + cut - 1), `age` (tokens written), `limit` (most tokens to add), `key`; what it has made so far:
    `out` tokens [G, F, max_new], `logprob`, `ended` (by end-of-sequence)."""
    per_slot = functools.partial(jnp.zeros, (groups, slots))
    return {
        "cache": store.empty(config, groups, slots, trunk, blocks, block, dtype, listed),
        "step": jnp.zeros((), jnp.int32),
        "token": per_slot(jnp.int32),
        "start": per_slot(jnp.int32),
        "cut": per_slot(jnp.int32),
        "age": per_slot(jnp.int32),
        "limit": per_slot(jnp.int32),
        "live": per_slot(bool),
        "ended": per_slot(bool),
        "logprob": per_slot(jnp.float32),
        "key": jnp.zeros((groups, slots, 2), jnp.uint32),
        "out": jnp.zeros((groups, slots, max_new), jnp.int32),
    }


@functools.partial(jax.jit, static_argnums=(0, 7), donate_argnums=2)
def prefill(graphdef, params, state, trunks, lengths, groups, shelves, bidirectional: bool = False):
    """Runs trunks int32 [P, W] into the cache. int32 [P] each: lengths, groups (out of range = padding row), shelves."""
    model = nnx.merge(graphdef, params)
    positions = jnp.broadcast_to(jnp.arange(trunks.shape[1], dtype=jnp.int32), trunks.shape)
    segments = (positions < lengths[:, None]).astype(jnp.int32)
    layers = [None] * model.config.num_layers if isinstance(state["cache"], list) else None
    prefix = segments > 0 if bidirectional else None
    attend = kernels.causal(model, segments, prefix_mask=prefix, keep_kv=True)
    _, keys_values = model(trunks, positions, attend, layers)
    return state | {"cache": store.put_trunks(state["cache"], keys_values, groups, shelves)}


@functools.partial(jax.jit, donate_argnums=0)
def admit(state, seed, new, stop):
    """Starts forks where new["fresh"] [G, F] (`token`, `start`, `cut`, `limit`, `identity` [G, F, 4]), ends those under `stop`."""
    fresh = new["fresh"]
    key = keys.fork_keys(seed, new["identity"])

    def put(name, value):
        mask = fresh.reshape(fresh.shape + (1,) * (state[name].ndim - 2))
        return jnp.where(mask, value, state[name])

    return state | {
        "token": put("token", new["token"]),
        "start": put("start", new["start"]),
        "cut": put("cut", new["cut"]),
        "limit": put("limit", new["limit"]),
        "key": put("key", key),
        "age": put("age", 0),
        "ended": put("ended", False),
        "logprob": put("logprob", 0.0),
        "live": (state["live"] & ~stop) | fresh,
    }


def rotate_blocks(state, block: int) -> dict:
    """The suffix without its first `block` columns, which no live slot may see any more; they are free at its end."""
    return state | {"cache": store.rotate_blocks(state["cache"]), "step": state["step"] - block}


@functools.partial(jax.jit, static_argnums=(0, 3, 4, 5, 6, 7), donate_argnums=2)
def decode_round(
    graphdef,
    params,
    state,
    used: int,
    vocab: int,
    eos: int,
    top_k: int,
    top_p: float,
    temperature,
    steps,
    until,
):
    """Up to `steps` tokens for every live slot; returns early when no more than `until` slots live. Ids from `vocab` up are
    padding, never drawn. `used`: blocks of the suffix in use, of which the last has room for the round.

    Returns (state, int32 [2]: live slot-steps, steps).
    """
    model = nnx.merge(graphdef, params)
    groups, slots, longest = state["out"].shape
    cache = state["cache"]
    read, written = store.split(cache, used)
    full = (used - 1) * store.columns(written)

    def newest(s):
        """The column, in the block that is written, of the token before this step's; any where there is none."""
        return jnp.maximum(s["step"] - full - 1, 0)

    def step(carry):
        done, work, block, pending, s = carry
        live, age = s["live"], s["age"]
        positions = (s["cut"] + age).reshape(-1, 1)
        # The keys and values of a step are stored when the next begins, before anything reads the store: so XLA updates it
        # in place. Storing them after the layers have read it would cost a copy of the whole block at every token.
        block = store.put_column(block, pending, newest(s))
        attend = store.attend_over(s["start"], s["cut"], age, s["step"])
        hidden, pending = model(
            s["token"].reshape(-1, 1), positions, attend, store.join(read, block, used)
        )
        logits = model.logits(hidden[:, 0])
        if vocab < logits.shape[-1]:
            logits = jnp.where(jnp.arange(logits.shape[-1]) < vocab, logits, -jnp.inf)
        uniform = keys.uniforms(s["key"].reshape(-1, 2), age.reshape(-1))
        token, logprob = (
            x.reshape(groups, slots)
            for x in tokens.draw(logits, uniform, temperature, top_k, top_p)
        )
        ended = live & (token == eos)
        at = jnp.arange(longest) == age[:, :, None]
        age = jnp.where(live, age + 1, age)
        s = s | {
            "step": s["step"] + 1,
            "token": token,
            "age": age,
            "out": jnp.where(at & live[:, :, None], token[:, :, None], s["out"]),
            "logprob": s["logprob"] + jnp.where(live, logprob, 0.0),
            "ended": s["ended"] | ended,
            "live": live & ~ended & (age < s["limit"]),
        }
        return done + 1, work + live.sum(), block, pending, s

    # What the first step stores again is what lies there already.
    small = {k: v for k, v in state.items() if k != "cache"}
    start = jnp.int32(0), jnp.int32(0), written, store.get_column(written, newest(state)), small
    done, work, block, pending, small = jax.lax.while_loop(
        lambda c: (c[0] < steps) & (c[4]["live"].sum() > until), step, start
    )
    block = store.put_column(block, pending, newest(small))
    return small | {"cache": store.join(cache, block, used)}, jnp.stack([work, done])
