"""From logits to the next token: temperature, top-k, top-p, or greedy."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Float32, Int32

_WIDTH = 32  # words of a block of the two-level sum


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How tokens are drawn.

    Attributes:
      temperature: 0 is greedy.
      top_k: most words that are kept; 0 keeps all.
      top_p: the most likely words are kept until their probabilities reach it; 1 keeps all.
      max_new: most tokens that a fork adds.
      stop: texts that end a completion; they are cut off.

    Raises ValueError for what no draw can be made of.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    max_new: int = 300
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        possible = (
            self.temperature >= 0 and self.top_k >= 0 and 0 < self.top_p <= 1 and self.max_new >= 1
        )
        if not possible:
            raise ValueError(
                f"{self}: needs temperature >= 0, top_k >= 0, 0 < top_p <= 1, max_new >= 1"
            )


def draw(
    logits: Float32[Array, "N V"],
    uniform: Float32[Array, " N"],
    temperature: Float32[Array, ""],
    top_k: int,
    top_p: float,
) -> tuple[Int32[Array, " N"], Float32[Array, " N"]]:
    """Next tokens, and their log-probabilities under the model itself.

    The token is the first whose cumulated probability exceeds `uniform`, in [0, 1); the most
    likely one at temperature 0. The log-probability is that at temperature 1 with nothing cut off.
    """
    below_top = logits - logits.max(-1, keepdims=True)

    def greedy() -> Int32[Array, " N"]:
        return jnp.argmax(logits, -1).astype(jnp.int32)

    def sample() -> Int32[Array, " N"]:
        scaled = below_top / temperature
        if top_k or top_p < 1:
            scaled = jnp.where(scaled < _floor(scaled, top_k, top_p), -jnp.inf, scaled)
        return _invert(jnp.exp(scaled), uniform)

    token = jax.lax.cond(temperature == 0, greedy, sample)
    chosen = jnp.take_along_axis(below_top, token[:, None], axis=-1)[:, 0]
    return token, chosen - jnp.log(jnp.exp(below_top).sum(-1))


def _invert(
    weights: Float32[Array, "N V"], uniform: Float32[Array, " N"], width: int = _WIDTH
) -> Int32[Array, " N"]:
    """First index at which the cumulated `weights` exceed the share `uniform` of their sum.

    In two levels, first among blocks of `width`, then inside one: a cumulative sum over the whole
    vocabulary takes longer than the model's own products on a CPU.
    """
    rows, length = weights.shape
    blocks = jnp.pad(weights, ((0, 0), (0, -length % width))).reshape(rows, -1, width)
    mass = blocks.sum(-1)
    before = jnp.cumsum(mass, axis=-1)
    goal = uniform[:, None] * before[:, -1:]
    block = _first(mass, before, goal)[:, None]

    # What the blocks in front hold is taken off; the rest of the goal lies inside the block.
    goal = goal - jnp.take_along_axis(before - mass, block, axis=-1)
    inside = jnp.take_along_axis(blocks, block[:, :, None], axis=1)[:, 0]
    return block[:, 0] * width + _first(inside, jnp.cumsum(inside, axis=-1), goal)


def _first(
    weights: Float32[Array, "N M"], cumulated: Float32[Array, "N M"], goal: Float32[Array, "N 1"]
) -> Int32[Array, " N"]:
    """First index of a weight whose cumulated sum exceeds `goal`, else the last above zero.

    Rounding must not lead to a token without weight, neither where two blocks meet nor past the
    end.
    """
    index = jnp.arange(weights.shape[-1], dtype=jnp.int32)
    reached = jnp.where((cumulated > goal) & (weights > 0), index, index[-1])
    return jnp.minimum(reached.min(-1), jnp.where(weights > 0, index, 0).max(-1))


def _floor(scaled: Float[Array, "N V"], top_k: int, top_p: float) -> Float[Array, "N 1"]:
    """The smallest logit that is kept. Ties at the edge are kept."""
    ordered = -jnp.sort(-scaled, axis=-1)
    keep = jnp.ones(ordered.shape, bool)
    if top_k:
        keep &= jnp.arange(ordered.shape[-1]) < top_k
    if top_p < 1:
        probabilities = jax.nn.softmax(jnp.where(keep, ordered, -jnp.inf), axis=-1)
        # The sum before a word: so the one that crosses `top_p` is kept too.
        before = jnp.cumsum(probabilities, axis=-1) - probabilities
        keep &= before < top_p
    return jnp.min(jnp.where(keep, ordered, jnp.inf), axis=-1, keepdims=True)
