"""Attention of training, scoring and prefill by the fastest means of the chips: a fused kernel on TPUs, plain XLA elsewhere.

`attention.py` is the reference. Of it XLA:TPU makes products that write the scores of all heads to memory. Splash attention
(`jax.experimental.pallas.ops.tpu.splash_attention`) keeps a block of them on the chip. In short rows all scores stay on the chip
anyway, and the kernel only keeps XLA from leaving the rest there too. docs/pods.md has figures.

On GPUs it is XLA too: cuDNN's fused attention takes the lengths of rows, and packed rows only as a mask of [T, T].

Shapes as in `llama.py`.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental.pallas.ops.tpu import splash_attention as splash
from jax.sharding import AbstractMesh, Mesh, PartitionSpec

from glore_jax.errors import UserError
from glore_jax.models import attention
from glore_jax.models.config import LlamaConfig
from glore_jax.models.llama import Array, Attend
from glore_jax.parallel import mesh as meshes

LANES = 128  # of a TPU's vector registers: lengths and head_dim are multiples of it
BLOCK = 512  # most queries, and most keys, of a block of scores


def choose(kernel: str, config: LlamaConfig, mesh: Mesh) -> Splash | None:
    """What `config.model.kernel` comes to for a model of `config` on `mesh`: a kernel, or None for plain XLA.

    "auto": splash on TPUs if `head_dim` is a multiple of 128, plain XLA everywhere else. "xla", "splash": that one.

    Raises UserError if splash is asked for where it cannot run.
    """
    platform = mesh.devices.flat[0].platform
    able = platform == "tpu" and config.head_dim % LANES == 0
    if kernel == "splash" and not able:
        raise UserError(
            f"config.model.kernel is 'splash', for TPUs and a head_dim that {LANES} divides: here are {platform} devices and "
            f"head_dim {config.head_dim}; choose auto"
        )
    return Splash(mesh.abstract_mesh) if able and kernel != "xla" else None


def causal(model: Any, segment_ids: Array, prefix_mask: Array | None = None, keep_kv: bool = False) -> Attend:
    """`attention.causal` by the kernel of `model`, a `Llama` or a `RewardModel`; arguments as there."""
    make = attention.causal if model.kernel is None else model.kernel.causal
    return make(segment_ids, prefix_mask=prefix_mask, keep_kv=keep_kv)


@dataclasses.dataclass(frozen=True)
class Splash:
    """Splash attention on the chips of `mesh`, each with its own rows and heads; in rows of less than `shortest` tokens plain XLA.
    interpret: emulate it, on any device."""

    mesh: AbstractMesh
    interpret: bool = False
    shortest: int = 512

    def causal(self, segment_ids: Array, prefix_mask: Array | None = None, keep_kv: bool = False) -> Attend:
        """As `attention.causal`; "before" goes by the place in the row."""
        if segment_ids.shape[1] < self.shortest:
            return attention.causal(segment_ids, prefix_mask=prefix_mask, keep_kv=keep_kv)
        masks = (segment_ids,) if prefix_mask is None else (segment_ids, prefix_mask)

        def attend(
            q: Array, k: Array, v: Array, layer_cache: None
        ) -> tuple[Array, tuple[Array, Array] | None]:
            del layer_cache
            # A key/value head stays with the query heads that share it; where the mesh does not divide them, all lie whole.
            heads = meshes.spec_of(("rows", None, "kv_heads", None), k.shape, self.mesh)
            rows = PartitionSpec(heads[0])
            mine = jax.shard_map(
                self._attend,
                mesh=self.mesh,
                in_specs=(heads,) * 3 + (rows,) * len(masks),
                out_specs=heads,
                check_vma=False,  # the kernel does not say over which axes its results differ
            )
            return mine(q, k, v, *masks), (k, v) if keep_kv else None

        return attend

    def _attend(self, q: Array, k: Array, v: Array, segments: Array, prefix: Array | None = None) -> Array:
        """The rows and heads of one chip."""
        length, width = q.shape[1], q.shape[3]
        room = -length % LANES
        q, k, v = (
            jnp.pad(x, ((0, 0), (0, room), (0, 0), (0, 0))).swapaxes(1, 2) for x in (q * width**-0.5, k, v)
        )
        segments = jnp.pad(segments, ((0, 0), (0, room)))
        out = self._kernel(splash.CausalMask, q, k, v, segments)
        if prefix is not None:
            # All rows share the kernel's mask; segments alone narrow it. So it runs twice, and each query takes what is its own:
            #
            #     prefix      causal      without a mask      taken
            #     1  a        x           x x                 x x
            #     1  b        x x         x x                 x x
            #     0  c        x x x           x x             x x x
            #     0  d        x x x x         x x             x x x x
            prefix = jnp.pad(prefix, ((0, 0), (0, room)))
            both_ways = self._kernel(splash.FullMask, q, k, v, jnp.where(prefix, segments, -1))
            out = jnp.where(prefix[:, None, :, None], both_ways, out)
        return out.swapaxes(1, 2)[:, :length]

    def _kernel(self, mask: type, q: Array, k: Array, v: Array, segments: Array) -> Array:
        """[B, H, T, C] of q [B, H, T, C], k and v [B, K, T, C], within segments and `mask`."""
        _, heads, length, _ = q.shape
        block = next(b for b in range(min(BLOCK, length), 0, -LANES) if length % b == 0)
        blocks = splash.BlockSizes(
            block_q=block, block_kv=block, block_q_dkv=block, block_kv_dkv=block, block_q_dq=block, block_kv_dq=block
        )  # fmt: skip
        kernel = splash.make_splash_mha(
            splash.MultiHeadMask([mask((length, length))] * heads),
            block_sizes=blocks,
            head_shards=1,
            q_seq_shards=1,
            interpret=self.interpret,
        )
        return jax.vmap(kernel)(q, k, v, splash.SegmentIds(segments, segments))
