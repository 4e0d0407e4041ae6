"""What a forward pass says of solutions: a reward model's score of every step, or how likely a
policy finds the whole.

Shapes: B solutions, T tokens.
"""

import functools
from collections.abc import Callable, Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding
from jaxtyping import Array, Float32, Int32

from glore_jax.errors import UserError
from glore_jax.models import kernels
from glore_jax.models.config import LlamaConfig
from glore_jax.models.model import Model
from glore_jax.parallel import mesh as meshes
from glore_jax.progress import Piece

ROWS = 16  # solutions in one call
_BUCKET = 64  # row lengths are rounded up to it, so that few programs are compiled


@functools.partial(jax.jit, static_argnames="graphdef")
def values(
    graphdef: nnx.GraphDef,
    params: nnx.State,
    tokens: Int32[Array, "B T"],
    sources: Int32[Array, " B"],
    lengths: Int32[Array, " B"],
) -> Float32[Array, "B T"]:
    """Probabilities of a `RewardModel` at every token of texts.

    tokens: padded behind `lengths`. sources: how many tokens at the start are the question.
    """
    positions = jnp.broadcast_to(jnp.arange(tokens.shape[1], dtype=jnp.int32), tokens.shape)
    segments = (positions < lengths[:, None]).astype(jnp.int32)
    model = nnx.merge(graphdef, params)
    solution = segments * (positions >= sources[:, None])
    logits, _ = model(tokens, positions, kernels.causal(model, segments), solution=solution)
    return jax.nn.sigmoid(logits)


@functools.partial(jax.jit, static_argnames=("graphdef", "vocab_size"))
def likelihoods(
    graphdef: nnx.GraphDef,
    params: nnx.State,
    tokens: Int32[Array, "B T"],
    sources: Int32[Array, " B"],
    lengths: Int32[Array, " B"],
    vocab_size: int,
) -> Float32[Array, " B"]:
    """Natural logarithm of the probability of each solution under a `Llama`, at temperature 1.

    Arguments as of `values`; ids from `vocab_size` on pad the embedding and are no words.
    """
    positions = jnp.broadcast_to(jnp.arange(tokens.shape[1], dtype=jnp.int32), tokens.shape)
    segments = (positions < lengths[:, None]).astype(jnp.int32)
    model = nnx.merge(graphdef, params)
    hidden, _ = model(tokens, positions, kernels.causal(model, segments))
    # What stands at t says how likely token t + 1 is.
    logits = model.logits(hidden)[:, :-1]
    is_word = jnp.arange(logits.shape[-1]) < vocab_size
    logits = jnp.where(is_word, logits, -jnp.inf)
    # Not by `log_softmax`, which would hold another array of that size.
    of_next = jnp.take_along_axis(logits, tokens[:, 1:, None], axis=-1)[..., 0]
    of_next -= jax.nn.logsumexp(logits, axis=-1)
    counted = (positions >= sources[:, None]) & (positions < lengths[:, None])
    return jnp.sum(jnp.where(counted[:, 1:], of_next, 0.0), axis=-1)


def batch_shape(rows: int, longest: int, config: LlamaConfig, mesh: Mesh) -> tuple[int, int]:
    """(rows, width) of a call for at least `rows` solutions of up to `longest` tokens."""
    devices = mesh.shape["data"] * mesh.shape["fsdp"]
    width = -(-longest // _BUCKET) * _BUCKET
    return -(-rows // devices) * devices, min(width, config.max_positions)


def score_steps(
    model: Model,
    items: Sequence[tuple[list[int], list[int], int]],
    *,
    mesh: Mesh,
    rows: int = ROWS,
    piece: Piece | None = None,
) -> list[np.ndarray]:
    """Scores of solutions, in the order given.

    Args:
      model: a reward model.
      items: (tokens, ends, source). `ends[i]` counts the tokens up to and including step i, the
        question included: step i is read at `ends[i] - 1`. `source` counts the question's.
      mesh: solutions are divided over its rows.
      rows: solutions in one call, at least.
      piece: counts the solutions.

    Returns probabilities, float32 [steps] for each.

    Raises UserError if a solution exceeds the model's context.
    """
    scores: list[np.ndarray] = [np.zeros(0, np.float32)] * len(items)
    texts = [(tokens, source) for tokens, _, source in items]
    for i, row in _read(values, model, texts, mesh, rows, piece):
        _, ends, _ = items[i]
        scores[i] = row[np.asarray(ends, np.int64) - 1]
    return scores


def log_likelihoods(
    model: Model,
    items: Sequence[tuple[list[int], int]],
    *,
    mesh: Mesh,
    rows: int = ROWS,
) -> list[float]:
    """Natural logarithm of the probability of each text under a policy, in the order given.

    Args:
      model: a policy.
      items: (tokens, source): the first `source` tokens are given, the others counted.
      mesh, rows: as of `score_steps`.

    Raises UserError if a text exceeds the model's context.
    """
    found = [0.0] * len(items)
    program = functools.partial(likelihoods, vocab_size=model.tokenizer.vocab_size)
    for i, value in _read(program, model, items, mesh, rows):
        found[i] = float(value)
    return found


def _read(
    program: Callable[..., jax.Array],
    model: Model,
    texts: Sequence[tuple[list[int], int]],
    mesh: Mesh,
    rows: int,
    piece: Piece | None = None,
) -> Iterator[tuple[int, np.ndarray]]:
    """(index, what `program` gives for it) of each of the (tokens, source), in any order."""
    if not texts:
        return
    longest = max(len(tokens) for tokens, _ in texts)
    context = model.config.max_positions
    if longest > context:
        raise UserError(f"a solution of {longest} tokens exceeds the model's context of {context}")
    rows, _ = batch_shape(rows, longest, model.config, mesh)
    # Those of like length together: the rows of a call are as wide as its longest.
    order = sorted(range(len(texts)), key=lambda i: len(texts[i][0]))
    for start in range(0, len(order), rows):
        batch = order[start : start + rows]
        _, width = batch_shape(rows, len(texts[batch[-1]][0]), model.config, mesh)
        arrays = _assemble([texts[i] for i in batch], rows, width)
        placed = jax.device_put(arrays, NamedSharding(mesh, meshes.BATCH))
        found = np.asarray(program(model.graphdef, model.params, *placed))
        if piece:
            piece.reach(start + len(batch))
        yield from zip(batch, found, strict=False)


def _assemble(
    items: list[tuple[list[int], int]], rows: int, width: int
) -> tuple[Int32[np.ndarray, "B T"], Int32[np.ndarray, " B"], Int32[np.ndarray, " B"]]:
    """(tokens, sources, lengths) of one call; rows without a solution hold one token."""
    tokens = np.zeros((rows, width), np.int32)
    sources = np.ones(rows, np.int32)
    lengths = np.ones(rows, np.int32)
    for row, (text, source) in enumerate(items):
        tokens[row, : len(text)] = text
        sources[row] = source
        lengths[row] = len(text)
    return tokens, sources, lengths
