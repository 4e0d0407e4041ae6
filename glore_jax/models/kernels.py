"""Attention of training, scoring and prefill by the fastest means of the chips: fused kernels on TPUs and NVIDIA GPUs, else plain XLA.

`attention.py` is the reference. Of it XLA makes products that write the scores of all heads to memory. Splash attention
(`jax.experimental.pallas.ops.tpu.splash_attention`) keeps a block of them on the chip, and so does cuDNN's. In short rows all scores
stay on a TPU anyway, and the kernel only keeps XLA from leaving the rest there too. docs/pods.md has figures of TPUs,
docs/training.md of a GPU.

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


def choose(kernel: str, config: LlamaConfig, mesh: Mesh, dtype: Any) -> Kernel | None:
    """What `config.model.kernel` comes to for a model of `config` that computes in `dtype` on `mesh`: a kernel, or None for plain XLA.

    "auto": splash on TPUs if `head_dim` is a multiple of 128; cuDNN on NVIDIA GPUs of compute capability 8.0 and up if `dtype` has 16
    bits and `head_dim` is a multiple of 8 up to 128; plain XLA everywhere else. "xla", "splash", "cudnn": that one.

    Raises UserError if a kernel is asked for where it cannot run.
    """
    device, width = mesh.devices.flat[0], config.head_dim
    kinds = {
        "splash": (
            Splash,
            device.platform == "tpu" and width % LANES == 0,
            f"TPUs and a head_dim that {LANES} divides",
        ),
        "cudnn": (
            Cudnn,
            _has_cudnn(device)
            and jnp.dtype(dtype).itemsize == 2
            and width % 8 == 0
            and width <= 128,
            "NVIDIA GPUs, bfloat16 or float16, and a head_dim up to 128 that 8 divides",
        ),
    }
    for name, (kind, able, needs) in kinds.items():
        if able and kernel in ("auto", name):
            return kind(mesh.abstract_mesh)
        if kernel == name:
            raise UserError(
                f"config.model.kernel is {kernel!r}, for {needs}: here are {device.platform} devices, {jnp.dtype(dtype).name} and "
                f"head_dim {width}; choose auto"
            )
    return None


def _has_cudnn(device: Any) -> bool:
    """Whether it is an NVIDIA GPU that cuDNN's fused attention runs on."""
    capability = getattr(device, "compute_capability", "0.0")  # of an AMD GPU it is a name
    return device.platform == "gpu" and capability[:1].isdigit() and float(capability) >= 8.0


def causal(
    model: Any, segment_ids: Array, prefix_mask: Array | None = None, keep_kv: bool = False
) -> Attend:
    """`attention.causal` by the kernel of `model`, a `Llama` or a `RewardModel`; arguments as there."""
    make = attention.causal if model.kernel is None else model.kernel.causal
    return make(segment_ids, prefix_mask=prefix_mask, keep_kv=keep_kv)


@dataclasses.dataclass(frozen=True)
class Kernel:
    """A fused attention on the devices of `mesh`, each with its own rows and heads; in rows of less than `shortest` tokens plain XLA."""

    mesh: AbstractMesh
    shortest: int = 0

    def causal(
        self, segment_ids: Array, prefix_mask: Array | None = None, keep_kv: bool = False
    ) -> Attend:
        """As `attention.causal`; "before" goes by the place in the row."""
        if segment_ids.shape[1] < self.shortest:
            return attention.causal(segment_ids, prefix_mask=prefix_mask, keep_kv=keep_kv)
        masks = self._masks(segment_ids, prefix_mask)

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

    def _masks(self, segments: Array, prefix: Array | None) -> tuple[Array, ...]:
        """What `_attend` gets to know of who sees whom, made once for all layers: arrays with B rows."""
        return (segments,) if prefix is None else (segments, prefix)

    def _attend(self, q: Array, k: Array, v: Array, *masks: Array) -> Array:
        """[b, T, h, C] of the rows and heads of one device."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class Cudnn(Kernel):
    """cuDNN's fused attention on NVIDIA GPUs. Packed rows are a mask of [T, T] to it, one for all heads: it reads that, but keeps the
    scores on the chip. implementation: "xla" computes the same without cuDNN, on any device."""

    implementation: str = "cudnn"

    def _masks(self, segments: Array, prefix: Array | None) -> tuple[Array, ...]:
        return (attention.visible(segments, prefix_mask=prefix),)

    def _attend(self, q: Array, k: Array, v: Array, visible: Array) -> Array:
        length = q.shape[1]
        room = length % 2  # with a mask it has gradients for even lengths only
        q, k, v = (jnp.pad(x, ((0, 0), (0, room), (0, 0), (0, 0))) for x in (q, k, v))
        visible = jnp.pad(visible, ((0, 0), (0, room), (0, room)))[:, None]
        out = jax.nn.dot_product_attention(
            q, k, v, mask=visible, implementation=self.implementation
        )
        return out[:, :length]


@dataclasses.dataclass(frozen=True)
class Splash(Kernel):
    """Splash attention on TPUs. interpret: emulate it, on any device."""

    shortest: int = 512
    interpret: bool = False

    def _attend(
        self, q: Array, k: Array, v: Array, segments: Array, prefix: Array | None = None
    ) -> Array:
        length, width = q.shape[1], q.shape[3]
        room = -length % LANES
        q, k, v = (
            jnp.pad(x, ((0, 0), (0, room), (0, 0), (0, 0))).swapaxes(1, 2)
            for x in (q * width**-0.5, k, v)
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
            block_q=block,
            block_kv=block,
            block_q_dkv=block,
            block_kv_dkv=block,
            block_q_dq=block,
            block_kv_dq=block,
        )
        kernel = splash.make_splash_mha(
            splash.MultiHeadMask([mask((length, length))] * heads),
            block_sizes=blocks,
            head_shards=1,
            q_seq_shards=1,
            interpret=self.interpret,
        )
        return jax.vmap(kernel)(q, k, v, splash.SegmentIds(segments, segments))
