"""From logits to the next token: temperature, top-k, top-p, or greedy."""

import dataclasses

import jax
import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How a token is drawn. temperature 0 is greedy; top_k 0 and top_p 1 keep the whole vocabulary. max_new: tokens a fork may add."""

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    max_new: int = 300
    stop: tuple[str, ...] = ()  # texts that end a completion; they are cut off

    def __post_init__(self):
        if self.temperature < 0 or self.top_k < 0 or not 0 < self.top_p <= 1 or self.max_new < 1:
            raise ValueError(
                f"{self}: needs temperature >= 0, top_k >= 0, 0 < top_p <= 1, max_new >= 1"
            )


def draw(logits, uniform, temperature, top_k: int, top_p: float):
    """Next tokens int32 [N] and their log-probabilities float32 [N] under the model itself (temperature 1, nothing cut).

    logits float32 [N, V]; uniform float32 [N] in [0, 1); temperature float32 scalar, 0 = greedy. The token is the first whose
    cumulated probability exceeds `uniform`.
    """
    below_top = logits - logits.max(-1, keepdims=True)

    def sample():
        scaled = below_top / temperature
        if top_k or top_p < 1:
            scaled = jnp.where(scaled < _floor(scaled, top_k, top_p), -jnp.inf, scaled)
        return _invert(jnp.exp(scaled), uniform)

    token = jax.lax.cond(temperature == 0, lambda: jnp.argmax(logits, -1).astype(jnp.int32), sample)
    chosen = jnp.take_along_axis(below_top, token[:, None], axis=-1)[:, 0]
    return token, chosen - jnp.log(jnp.exp(below_top).sum(-1))


def _invert(weights, uniform, width: int = 32):
    """int32 [N]: first index at which the cumulated `weights` [N, V] exceed the share `uniform` [N] of their sum.

    In two levels, first among blocks of `width`, then inside one: a cumulative sum over the whole vocabulary takes longer than
    the model's own products on a CPU.
    """
    rows, length = weights.shape
    blocks = jnp.pad(weights, ((0, 0), (0, -length % width))).reshape(rows, -1, width)
    mass = blocks.sum(-1)
    before = jnp.cumsum(mass, axis=-1)
    goal = uniform[:, None] * before[:, -1:]
    block = _first(mass, before, goal)[:, None]
    goal = goal - jnp.take_along_axis(before - mass, block, axis=-1)
    inside = jnp.take_along_axis(blocks, block[:, :, None], axis=1)[:, 0]
    return block[:, 0] * width + _first(inside, jnp.cumsum(inside, axis=-1), goal)


def _first(weights, cumulated, goal):
    """int32 [N]: first index of a weight whose cumulated sum exceeds `goal` [N, 1], else the last of those above zero: rounding
    must not lead to a token without weight, neither where two blocks meet nor past the end."""
    index = jnp.arange(weights.shape[-1], dtype=jnp.int32)
    reached = jnp.where((cumulated > goal) & (weights > 0), index, index[-1])
    return jnp.minimum(reached.min(-1), jnp.where(weights > 0, index, 0).max(-1))


def _floor(scaled, top_k: int, top_p: float):
    """[N, 1]: the smallest logit that is kept. Ties at the edge are kept."""
    ordered = -jnp.sort(-scaled, axis=-1)
    keep = jnp.ones(ordered.shape, bool)
    if top_k:
        keep &= jnp.arange(ordered.shape[-1]) < top_k
    if top_p < 1:
        probabilities = jax.nn.softmax(jnp.where(keep, ordered, -jnp.inf), axis=-1)
        keep &= (
            jnp.cumsum(probabilities, axis=-1) - probabilities < top_p
        )  # keeps the token that crosses top_p
    return jnp.min(jnp.where(keep, ordered, jnp.inf), axis=-1, keepdims=True)
