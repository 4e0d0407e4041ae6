"""What runs on the device: prefill of trunks, admission of forks, and decode rounds. All shapes static, all state donated."""

import functools

import jax
import jax.numpy as jnp
from flax import nnx

from glore_jax.models import attention
from glore_jax.sampling import cache as caching
from glore_jax.sampling import keys, tokens


def empty_state(config, groups: int, slots: int, trunk: int, columns: int, dtype, listed: bool) -> dict:
    """No live slot. Per slot [G, F]: `token` to feed next, `cut` (trunk tokens seen), `age` (tokens written), `limit` (most
    tokens to add), `key`; what it has made so far: `out` tokens [G, F, S], `logprob`, `ended` (by end-of-sequence)."""
    per_slot = functools.partial(jnp.zeros, (groups, slots))
    return {
        "cache": caching.empty(config, groups, slots, trunk, columns, dtype, listed),
        "pending": caching.empty_pending(config, groups, slots, dtype, listed),
        "step": jnp.zeros((), jnp.int32),
        "token": per_slot(jnp.int32),
        "cut": per_slot(jnp.int32),
        "age": per_slot(jnp.int32),
        "limit": per_slot(jnp.int32),
        "live": per_slot(bool),
        "ended": per_slot(bool),
        "logprob": per_slot(jnp.float32),
        "key": jnp.zeros((groups, slots, 2), jnp.uint32),
        "out": jnp.zeros((groups, slots, columns), jnp.int32),
    }


@functools.partial(jax.jit, static_argnums=(0, 6), donate_argnums=2)
def prefill(graphdef, params, state, trunks, lengths, groups, bidirectional: bool = False):
    """Runs trunks int32 [P, T] (lengths int32 [P], groups int32 [P], out of range = padding row) into the cache."""
    model = nnx.merge(graphdef, params)
    positions = jnp.broadcast_to(jnp.arange(trunks.shape[1], dtype=jnp.int32), trunks.shape)
    segments = (positions < lengths[:, None]).astype(jnp.int32)
    layers = [None] * model.config.num_layers if isinstance(state["cache"], list) else None
    prefix = segments > 0 if bidirectional else None
    _, keys_values = model(
        trunks, positions, attention.causal(segments, prefix_mask=prefix, keep_kv=True), layers
    )
    return state | {"cache": caching.put_trunks(state["cache"], keys_values, groups)}


@functools.partial(jax.jit, donate_argnums=0)
def admit(state, seed, new, stop):
    """Starts the forks under mask new["start"] [G, F] (`token`, `cut`, `limit`, `identity` [G, F, 4]) and ends those under `stop`."""
    start = new["start"]
    key = keys.fork_keys(seed, new["identity"])

    def put(name, value):
        mask = start.reshape(start.shape + (1,) * (state[name].ndim - 2))
        return jnp.where(mask, value, state[name])

    return state | {
        "token": put("token", new["token"]),
        "cut": put("cut", new["cut"]),
        "limit": put("limit", new["limit"]),
        "key": put("key", key),
        "age": put("age", 0),
        "ended": put("ended", False),
        "logprob": put("logprob", 0.0),
        "live": (state["live"] & ~stop) | start,
    }


@functools.partial(jax.jit, static_argnums=(0, 3, 4, 5, 6, 7), donate_argnums=2)
def decode_round(
    graphdef, params, state, steps: int, vocab: int, eos: int, top_k: int, top_p: float, temperature=1.0
):
    """Up to `steps` tokens for every live slot; returns early when none is left. Ids from `vocab` up are padding, never drawn.

    Returns (state, live slot-steps).
    """
    model = nnx.merge(graphdef, params)
    groups, slots, columns = state["out"].shape

    def step(carry):
        done, work, s = carry
        column = s["step"] % columns
        live, age = s["live"], s["age"]
        positions = (s["cut"] + age).reshape(-1, 1)
        # The keys and values of a step are stored when the next begins, before anything reads the store: so XLA updates it
        # in place. Storing them after the layers have read it would cost a copy of the whole store at every token.
        cache = caching.put_column(s["cache"], s["pending"], (column - 1) % columns)
        attend = caching.attend_over(s["cut"], age, column)
        hidden, pending = model(s["token"].reshape(-1, 1), positions, attend, cache)
        logits = model.logits(hidden[:, 0])
        logits = jnp.where(jnp.arange(logits.shape[-1]) < vocab, logits, -jnp.inf)
        uniform = keys.uniforms(s["key"].reshape(-1, 2), age.reshape(-1))
        token, logprob = (
            x.reshape(groups, slots) for x in tokens.draw(logits, uniform, temperature, top_k, top_p)
        )
        ended = live & (token == eos)
        at = jnp.arange(columns) == age[:, :, None]
        age = jnp.where(live, age + 1, age)
        s = s | {
            "cache": cache,
            "pending": pending,
            "step": s["step"] + 1,
            "token": token,
            "age": age,
            "out": jnp.where(at & live[:, :, None], token[:, :, None], s["out"]),
            "logprob": s["logprob"] + jnp.where(live, logprob, 0.0),
            "ended": s["ended"] | ended,
            "live": live & ~ended & (age < s["limit"]),
        }
        return done + 1, work + live.sum(), s

    _, work, state = jax.lax.while_loop(
        lambda c: (c[0] < steps) & c[2]["live"].any(), step, (jnp.int32(0), jnp.int32(0), state)
    )
    return state, work
