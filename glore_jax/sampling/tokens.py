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
            raise ValueError(f"{self}: needs temperature >= 0, top_k >= 0, 0 < top_p <= 1, max_new >= 1")


def draw(logits, uniform, temperature, top_k: int, top_p: float):
    """Next tokens int32 [N] and their log-probabilities float32 [N] under the model itself (temperature 1, nothing cut).

    logits float32 [N, V]; uniform float32 [N] in [0, 1); temperature float32 scalar, 0 = greedy. The token is the first whose
    cumulated probability exceeds `uniform`.
    """
    greedy = temperature == 0
    scaled = logits / jnp.where(greedy, 1.0, temperature)
    if top_k or top_p < 1:
        scaled = jnp.where(scaled < _floor(scaled, top_k, top_p), -jnp.inf, scaled)
    weights = jnp.exp(scaled - scaled.max(-1, keepdims=True))
    total = _cumulate(weights)
    # Rounding must not lead to a token of zero weight, neither where blocks of the sum meet nor, close to 1, past the end.
    reached = (total > uniform[:, None] * total[:, -1:]) & (weights > 0)
    last = logits.shape[-1] - 1 - jnp.argmax(weights[:, ::-1] > 0, axis=-1, keepdims=True)
    drawn = jnp.min(jnp.where(reached, jnp.arange(logits.shape[-1]), last), axis=-1)
    token = jnp.where(greedy, jnp.argmax(logits, -1), drawn).astype(jnp.int32)
    logprob = jnp.take_along_axis(jax.nn.log_softmax(logits), token[:, None], axis=-1)[:, 0]
    return token, logprob


def _cumulate(x, width: int = 32):
    """Cumulative sum over the last axis, in two levels: XLA's own is quadratic in the length on a CPU."""
    rows, length = x.shape
    blocks = jnp.pad(x, ((0, 0), (0, -length % width))).reshape(rows, -1, width)
    inside = jnp.cumsum(blocks, axis=-1)
    before = jnp.cumsum(inside[..., -1], axis=-1) - inside[..., -1]
    return (inside + before[..., None]).reshape(rows, -1)[:, :length]


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
