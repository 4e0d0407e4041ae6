"""Values of steps: one forward pass of a reward model gives the score of every step of a solution."""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import NamedSharding
from tqdm import tqdm

from glore_jax.errors import UserError
from glore_jax.models import kernels
from glore_jax.models.model import Model
from glore_jax.parallel import mesh as meshes

ROWS = 16  # solutions in one call
_BUCKET = 64  # row lengths are rounded up to it, so that few programs are compiled


@functools.partial(jax.jit, static_argnums=0)
def values(graphdef, params, tokens, sources, lengths):
    """Probabilities float32 [B, T] of a RewardModel at every token of texts int32 [B, T] of `lengths` int32 [B], of which the first
    `sources` int32 [B] are the question."""
    positions = jnp.broadcast_to(jnp.arange(tokens.shape[1], dtype=jnp.int32), tokens.shape)
    segments = (positions < lengths[:, None]).astype(jnp.int32)
    model = nnx.merge(graphdef, params)
    solution = segments * (positions >= sources[:, None])
    logits, _ = model(tokens, positions, kernels.causal(model, segments), solution=solution)
    return jax.nn.sigmoid(logits)


def batch_shape(rows: int, longest: int, config, mesh) -> tuple[int, int]:
    """(rows, width) of a call for at least `rows` solutions of up to `longest` tokens."""
    devices = mesh.shape["data"] * mesh.shape["fsdp"]
    return -(-rows // devices) * devices, min(
        -(-longest // _BUCKET) * _BUCKET, config.max_positions
    )


def score_steps(
    model: Model,
    items: Sequence[tuple[list[int], list[int], int]],
    *,
    mesh,
    rows: int = ROWS,
    name: str = "score",
) -> list[np.ndarray]:
    """Scores of solutions, in the order given.

    items: (tokens, ends, source); `ends[i]` counts the tokens up to and including step i (question included), so step i is read at
    `ends[i] - 1`; `source` counts those of the question. Returns float32 [steps] arrays of probabilities. UserError if a solution exceeds the model's context.
    """
    if not items:
        return []
    longest = max(len(tokens) for tokens, *_ in items)
    if longest > model.config.max_positions:
        raise UserError(
            f"a solution of {longest} tokens exceeds the model's context of {model.config.max_positions}"
        )
    order = sorted(range(len(items)), key=lambda i: len(items[i][0]))
    rows, _ = batch_shape(rows, longest, model.config, mesh)
    out: list[np.ndarray] = [np.zeros(0, np.float32)] * len(items)
    for start in tqdm(
        range(0, len(order), rows), desc=name, unit="batch", mininterval=2.0, dynamic_ncols=True
    ):
        part = order[start : start + rows]
        _, width = batch_shape(rows, len(items[part[-1]][0]), model.config, mesh)
        tokens, (sources, lengths) = np.zeros((rows, width), np.int32), np.ones((2, rows), np.int32)
        for row, i in enumerate(part):
            text, _, sources[row] = items[i]
            tokens[row, : len(text)], lengths[row] = text, len(text)
        arrays = jax.device_put((tokens, sources, lengths), NamedSharding(mesh, meshes.BATCH))
        found = np.asarray(values(model.graphdef, model.params, *arrays))
        for row, i in enumerate(part):
            out[i] = found[row, np.asarray(items[i][1], np.int64) - 1]
    return out
