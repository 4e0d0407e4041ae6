"""Attention of training, scoring and prefill by the fastest means of the chips.

Fused kernels on TPUs and NVIDIA GPUs, plain XLA (`attention.py`, the reference) everywhere else.
XLA makes products that write the scores of all heads to memory. Splash attention
(`jax.experimental.pallas.ops.tpu.splash_attention`) keeps a block of them on the chip, and so does
cuDNN's. In short rows all scores stay on a TPU anyway, and the kernel only keeps XLA from leaving
the rest there too. docs/pods.md has figures of TPUs, docs/training.md of a GPU.

`choose` decides, at the end of this file. Dimensions as in `llama.py`; "block" in a kernel's own
functions means what lies on one device.
"""

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import Array
from jax.ad_checkpoint import checkpoint_name
from jax.experimental.pallas.ops.tpu import splash_attention as splash
from jax.sharding import AbstractMesh, Mesh, PartitionSpec
from jaxtyping import Bool, Float, Int

from glore_jax.errors import UserError
from glore_jax.models import attention
from glore_jax.models.config import LlamaConfig
from glore_jax.models.llama import ATTENTION, Attend
from glore_jax.parallel import mesh as meshes

LANES = 128  # of a TPU's vector registers: lengths and head_dim are multiples of it
BLOCK = 512  # most queries, and most keys, of a block of scores
_OLDEST_GPU = 8.0  # compute capability that cuDNN's fused attention asks for


def causal(
    model: Any,
    segment_ids: Int[Array, "B T"],
    prefix_mask: Bool[Array, "B T"] | None = None,
    keep_kv: bool = False,
) -> Attend:
    """`attention.causal` by the kernel of `model`, a `Llama` or a `RewardModel`."""
    make = attention.causal if model.kernel is None else model.kernel.causal
    return make(segment_ids, prefix_mask=prefix_mask, keep_kv=keep_kv)


@dataclasses.dataclass(frozen=True)
class Kernel:
    """A fused attention on the devices of `mesh`, each with its own rows and heads.

    Rows of less than `shortest` tokens go through plain XLA.
    """

    mesh: AbstractMesh
    shortest: int = 0

    def causal(
        self,
        segment_ids: Int[Array, "B T"],
        prefix_mask: Bool[Array, "B T"] | None = None,
        keep_kv: bool = False,
    ) -> Attend:
        """As `attention.causal`; "before" goes by the place in the row."""
        if segment_ids.shape[1] < self.shortest:
            return attention.causal(segment_ids, prefix_mask=prefix_mask, keep_kv=keep_kv)
        masks = self._masks(segment_ids, prefix_mask)

        def attend(
            q: Float[Array, "B T H C"],
            k: Float[Array, "B T K C"],
            v: Float[Array, "B T K C"],
            layer_cache: None,
        ) -> tuple[Float[Array, "B T H C"], tuple[Array, Array] | None]:
            del layer_cache
            # A key/value head stays with the query heads that share it, so the spec of k serves
            # for q too; where the mesh does not divide the key/value heads, all heads lie whole.
            heads = meshes.spec_of(("rows", None, "kv_heads", None), k.shape, self.mesh)
            rows = PartitionSpec(heads[0])
            on_each_device = jax.shard_map(
                self._attend,
                mesh=self.mesh,
                in_specs=(heads, heads, heads) + (rows,) * len(masks),
                out_specs=heads,
                check_vma=False,  # the kernel does not say over which axes its results differ
            )
            return on_each_device(q, k, v, *masks), (k, v) if keep_kv else None

        return attend

    def _masks(
        self, segments: Int[Array, "B T"], prefix: Bool[Array, "B T"] | None
    ) -> tuple[Array, ...]:
        """What `_attend` gets to know of who sees whom, made once for all layers, B rows each."""
        return (segments,) if prefix is None else (segments, prefix)

    def _attend(
        self,
        q: Float[Array, "b T h C"],
        k: Float[Array, "b T k C"],
        v: Float[Array, "b T k C"],
        *masks: Array,
    ) -> Float[Array, "b T h C"]:
        """Attention of the rows and heads of one device."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class Cudnn(Kernel):
    """cuDNN's fused attention on NVIDIA GPUs.

    Packed rows are a mask of [T, T] to it, one for all heads: it reads that, but keeps the scores
    on the chip. implementation: "xla" computes the same without cuDNN, on any device.
    """

    implementation: Literal["cudnn", "xla"] = "cudnn"

    def _masks(
        self, segments: Int[Array, "B T"], prefix: Bool[Array, "B T"] | None
    ) -> tuple[Array, ...]:
        return (attention.visible(segments, prefix_mask=prefix),)

    def _attend(
        self,
        q: Float[Array, "b T h C"],
        k: Float[Array, "b T k C"],
        v: Float[Array, "b T k C"],
        *masks: Array,
    ) -> Float[Array, "b T h C"]:
        (visible,) = masks
        length = q.shape[1]
        room = length % 2  # with a mask cuDNN has gradients for even lengths only
        q, k, v = (_pad_tokens(x, room) for x in (q, k, v))
        visible = jnp.pad(visible, ((0, 0), (0, room), (0, room)))
        out = jax.nn.dot_product_attention(
            q,
            k,
            v,
            mask=visible[:, None],  # [b, 1, T, T]: the same for all heads
            implementation=self.implementation,
        )
        return checkpoint_name(out[:, :length], ATTENTION)


@dataclasses.dataclass(frozen=True)
class Splash(Kernel):
    """Splash attention on TPUs. interpret: emulate it, on any device."""

    shortest: int = 512
    interpret: bool = False

    def _attend(
        self,
        q: Float[Array, "b T h C"],
        k: Float[Array, "b T k C"],
        v: Float[Array, "b T k C"],
        *masks: Array,
    ) -> Float[Array, "b T h C"]:
        segments, *prefixes = masks
        length, width = q.shape[1], q.shape[3]
        room = -length % LANES
        scaled = q * width**-0.5  # the kernel does not scale
        q, k, v = (_pad_tokens(x, room).swapaxes(1, 2) for x in (scaled, k, v))
        segments = jnp.pad(segments, ((0, 0), (0, room)))
        out = self._kernel(splash.CausalMask, q, k, v, segments)
        for prefix in prefixes:  # one or none
            # All rows share the kernel's mask; segments alone narrow it. So it runs twice, and
            # each query takes what is its own:
            #
            #     prefix      causal      without a mask      taken
            #     1  a        x           x x                 x x
            #     1  b        x x         x x                 x x
            #     0  c        x x x           x x             x x x
            #     0  d        x x x x         x x             x x x x
            prefix = jnp.pad(prefix, ((0, 0), (0, room)))
            apart = jnp.where(prefix, segments, -1)  # targets in a segment of their own
            both_ways = self._kernel(splash.FullMask, q, k, v, apart)
            out = jnp.where(prefix[:, None, :, None], both_ways, out)
        return out.swapaxes(1, 2)[:, :length]

    def _kernel(
        self,
        mask: type,
        q: Float[Array, "b h T C"],
        k: Float[Array, "b k T C"],
        v: Float[Array, "b k T C"],
        segments: Int[Array, "b T"],
    ) -> Float[Array, "b h T C"]:
        """Attention within segments and under `mask`, heads before tokens as the kernel has it."""
        _, heads, length, _ = q.shape
        # The largest block of whole registers that divides the row.
        sizes = range(min(BLOCK, length), 0, -LANES)
        block = next(size for size in sizes if length % size == 0)
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
            # What its backward pass reads beside q, k and v, so that `remat` can keep it.
            residual_checkpoint_name=ATTENTION,
            interpret=self.interpret,
        )
        return jax.vmap(kernel)(q, k, v, splash.SegmentIds(segments, segments))


def _pad_tokens(x: Float[Array, "b T _ C"], room: int) -> Float[Array, "b padded _ C"]:
    """x with `room` more tokens, zeros, at the end of each row."""
    return jnp.pad(x, ((0, 0), (0, room), (0, 0), (0, 0)))


def choose(kernel: str, config: LlamaConfig, mesh: Mesh, dtype: Any) -> Kernel | None:
    """What `config.model.kernel` comes to for a model of `config` in `dtype` on `mesh`.

    A kernel, or None for plain XLA. "xla", "splash", "cudnn": that one. "auto":

        TPU                                     splash if 128 divides `head_dim`
        NVIDIA GPU, compute capability 8.0 up   cudnn if `dtype` has 16 bits and `head_dim` is a
                                                multiple of 8 up to 128
        everything else                         plain XLA

    Raises:
      UserError: a kernel is asked for where it cannot run.
    """
    device = mesh.devices.flat[0]
    width = config.head_dim
    dtype = jnp.dtype(dtype)
    splash_runs = device.platform == "tpu" and width % LANES == 0
    short_heads = width % 8 == 0 and width <= 128
    cudnn_runs = _has_cudnn(device) and dtype.itemsize == 2 and short_heads
    kinds = {
        "splash": (Splash, splash_runs, f"TPUs and a head_dim that {LANES} divides"),
        "cudnn": (
            Cudnn,
            cudnn_runs,
            "NVIDIA GPUs, bfloat16 or float16, and a head_dim up to 128 that 8 divides",
        ),
    }
    for name, (kind, runs, needs) in kinds.items():
        if runs and kernel in ("auto", name):
            return kind(mesh.abstract_mesh)
        if kernel == name:
            raise UserError(
                f"config.model.kernel is {kernel!r}, for {needs}: here are {device.platform} "
                f"devices, {dtype.name} and head_dim {width}; choose auto"
            )
    return None


def _has_cudnn(device: Any) -> bool:
    """Whether it is an NVIDIA GPU that cuDNN's fused attention runs on."""
    if device.platform != "gpu":
        return False
    capability = getattr(device, "compute_capability", "0.0")  # of an AMD GPU it is a name
    return capability[:1].isdigit() and float(capability) >= _OLDEST_GPU
