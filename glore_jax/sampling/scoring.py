"""Values of steps: one forward pass of a reward model gives the score of every step of a solution.

Shapes: B solutions, T tokens.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding
from jaxtyping import Array, Float32, Int32
from tqdm import tqdm

from glore_jax.errors import UserError
from glore_jax.models import kernels
from glore_jax.models.config import LlamaConfig
from glore_jax.models.model import Model
from glore_jax.parallel import mesh as meshes

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
    name: str = "score",
) -> list[np.ndarray]:
    """Scores of solutions, in the order given.

    Args:
      model: a reward model.
      items: (tokens, ends, source). `ends[i]` counts the tokens up to and including step i, the
        question included: step i is read at `ends[i] - 1`. `source` counts the question's.
      mesh: solutions are divided over its rows.
      rows: solutions in one call, at least.
      name: of the progress bar.

    Returns probabilities, float32 [steps] for each.

    Raises UserError if a solution exceeds the model's context.
    """
    if not items:
        return []
    longest = max(len(tokens) for tokens, *_ in items)
    context = model.config.max_positions
    if longest > context:
        raise UserError(f"a solution of {longest} tokens exceeds the model's context of {context}")
    rows, _ = batch_shape(rows, longest, model.config, mesh)
    # Those of like length together: the rows of a call are as wide as its longest.
    order = sorted(range(len(items)), key=lambda i: len(items[i][0]))
    scores: list[np.ndarray] = [np.zeros(0, np.float32)] * len(items)
    starts = range(0, len(order), rows)
    for start in tqdm(starts, desc=name, unit="batch", mininterval=2.0, dynamic_ncols=True):
        batch = order[start : start + rows]
        _, width = batch_shape(rows, len(items[batch[-1]][0]), model.config, mesh)
        arrays = _assemble([items[i] for i in batch], rows, width)
        placed = jax.device_put(arrays, NamedSharding(mesh, meshes.BATCH))
        found = np.asarray(values(model.graphdef, model.params, *placed))
        for row, i in enumerate(batch):
            _, ends, _ = items[i]
            scores[i] = found[row, np.asarray(ends, np.int64) - 1]
    return scores


def _assemble(
    items: list[tuple[list[int], list[int], int]], rows: int, width: int
) -> tuple[Int32[np.ndarray, "B T"], Int32[np.ndarray, " B"], Int32[np.ndarray, " B"]]:
    """(tokens, sources, lengths) of one call; rows without a solution hold one token."""
    tokens = np.zeros((rows, width), np.int32)
    sources = np.ones(rows, np.int32)
    lengths = np.ones(rows, np.int32)
    for row, (text, _, source) in enumerate(items):
        tokens[row, : len(text)] = text
        sources[row] = source
        lengths[row] = len(text)
    return tokens, sources, lengths
