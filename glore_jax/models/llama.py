"""LLaMA in Flax NNX: RMSNorm, rotary grouped-query attention, SwiGLU, layers stacked and scanned.

One model serves training, prefill and decoding: *how* a token attends is no part of it. Callers
inject

    attend(q, k, v, layer_cache) -> (out, layer_out)

and the model only turns tokens into rotated q, k, v and mixes what comes back. `attention.py` has
the plain makers of `attend` and `kernels.py` the fast ones; the rollout engine brings its own,
which reads its store.

Dimensions, one letter each in the whole room:

    B  rows of a batch      D  hidden size            H  query heads
    T  tokens of a row      F  intermediate size      K  key/value heads
    S  keys                 V  words                  G  H / K: query heads that share one
    L  layers               C  head_dim: width of one head

Every kernel is [in, out]. Every parameter carries logical axis names (metadata `out_sharding`)
that `glore_jax.parallel.mesh` maps to mesh axes; a stacked layer has "layers" in front.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jaxtyping import Float, Float32, Int, Key

from glore_jax.models import cpu, rope
from glore_jax.models.config import LlamaConfig
from glore_jax.parallel.mesh import over_rows

# attend(q [B, T, H, C], k [B, T, K, C], v [B, T, K, C], layer_cache)
#   -> (out [B, T, H, C], layer_out)
Attend = Callable[[Array, Array, Array, Any], tuple[Array, Any]]

INIT_STD = 0.02
# Name that makers of `attend` give their results (`jax.ad_checkpoint.checkpoint_name`), so that
# they can be kept. A kernel names what its backward pass reads instead.
ATTENTION = "attention"
_REMAT = {
    "none": None,
    "full": jax.checkpoint_policies.nothing_saveable,
    # Keep what attention gives, the dearest to compute again in long rows.
    "attention": jax.checkpoint_policies.save_only_these_names(ATTENTION),
    # Keep the results of the weight products; recompute the attention scores (products too, but
    # with batch dimensions) and everything elementwise.
    "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
}

normal = nnx.initializers.normal


def param(
    init: Callable[..., Array],
    rngs: nnx.Rngs,
    shape: tuple[int, ...],
    dtype: Any,
    axes: tuple[str, ...],
) -> nnx.Param:
    """A parameter with logical axis names. Placing it is the caller's business, not done here."""
    with_axes = nnx.with_partitioning(init, axes, eager_sharding=False)
    return nnx.Param(with_axes(rngs.params(), shape, dtype))


def project(x: Float[Array, "*rows inner"], kernel: nnx.Param) -> Float[Array, "*rows outer"]:
    """x [..., in] @ kernel [in, out], computed in x's dtype."""
    # Rows and tokens become one axis: XLA's CPU backend needs twice the time for gradients of
    # [B, T, in]; elsewhere it makes no difference.
    flat = x.reshape(-1, x.shape[-1]) @ kernel[...].astype(x.dtype)
    return flat.reshape(*x.shape[:-1], -1)


class RMSNorm(nnx.Module):
    """x / rms(x) * scale over the last axis; statistics in float32 whatever the compute dtype."""

    def __init__(self, width: int, eps: float, *, rngs: nnx.Rngs, param_dtype: Any):
        self.eps = eps
        self.scale = param(nnx.initializers.ones, rngs, (width,), param_dtype, ("norm",))

    def __call__(self, x: Float[Array, "*rows D"]) -> Float[Array, "*rows D"]:
        x32 = x.astype(jnp.float32)
        mean_square = jnp.mean(x32 * x32, axis=-1, keepdims=True)
        x32 = x32 * jax.lax.rsqrt(mean_square + self.eps)
        return x32.astype(x.dtype) * self.scale[...].astype(x.dtype)


class Attention(nnx.Module):
    """Projections and rotary positions around the injected `attend`."""

    def __init__(self, config: LlamaConfig, *, rngs: nnx.Rngs, param_dtype: Any):
        self.heads = config.num_heads
        self.kv_heads = config.num_kv_heads
        self.head_dim = config.head_dim
        d = config.hidden_size
        q = self.heads * self.head_dim  # may differ from d
        kv = self.kv_heads * self.head_dim
        out_std = residual_std(config)
        self.q = param(normal(INIT_STD), rngs, (d, q), param_dtype, ("embed", "heads"))
        self.k = param(normal(INIT_STD), rngs, (d, kv), param_dtype, ("embed", "kv_heads"))
        self.v = param(normal(INIT_STD), rngs, (d, kv), param_dtype, ("embed", "kv_heads"))
        self.o = param(normal(out_std), rngs, (q, d), param_dtype, ("heads", "embed"))
        self.qkv_bias = config.qkv_bias
        if config.qkv_bias:
            zeros = nnx.initializers.zeros
            self.q_bias = param(zeros, rngs, (q,), param_dtype, ("heads",))
            self.k_bias = param(zeros, rngs, (kv,), param_dtype, ("kv_heads",))
            self.v_bias = param(zeros, rngs, (kv,), param_dtype, ("kv_heads",))
        self.qk_norm = config.qk_norm
        if config.qk_norm:
            norm = functools.partial(RMSNorm, self.head_dim, config.rms_norm_eps)
            self.q_norm = norm(rngs=rngs, param_dtype=param_dtype)
            self.k_norm = norm(rngs=rngs, param_dtype=param_dtype)

    def __call__(
        self,
        x: Float[Array, "B T D"],
        cos: Float32[Array, "#B T 1 half"],
        sin: Float32[Array, "#B T 1 half"],
        attend: Attend,
        layer_cache: Any,
    ) -> tuple[Float[Array, "B T D"], Any]:
        batch, length, _ = x.shape
        q, k, v = project(x, self.q), project(x, self.k), project(x, self.v)
        if self.qkv_bias:
            q = q + self.q_bias[...].astype(x.dtype)
            k = k + self.k_bias[...].astype(x.dtype)
            v = v + self.v_bias[...].astype(x.dtype)
        if length == 1:
            # A decoded token. XLA:TPU would have the result lie as suits the rotation, and to that
            # end keep turned copies of both kernels, of all layers, beside the weights.
            q, k = jax.lax.optimization_barrier((q, k))
        q = q.reshape(batch, length, self.heads, self.head_dim)
        k = k.reshape(batch, length, self.kv_heads, self.head_dim)
        v = v.reshape(batch, length, self.kv_heads, self.head_dim)
        if self.qk_norm:
            q, k = self.q_norm(q), self.k_norm(k)
        q = rope.rotate(q, cos, sin)
        k = rope.rotate(k, cos, sin)
        out, layer_out = attend(q, k, v, layer_cache)
        return project(out.reshape(batch, length, -1), self.o), layer_out


class MLP(nnx.Module):
    """SwiGLU: down(silu(gate(x)) * up(x))."""

    def __init__(self, config: LlamaConfig, *, rngs: nnx.Rngs, param_dtype: Any):
        d = config.hidden_size
        f = config.intermediate_size
        out_std = residual_std(config)
        self.gate = param(normal(INIT_STD), rngs, (d, f), param_dtype, ("embed", "mlp"))
        self.up = param(normal(INIT_STD), rngs, (d, f), param_dtype, ("embed", "mlp"))
        self.down = param(normal(out_std), rngs, (f, d), param_dtype, ("mlp", "embed"))

    def __call__(self, x: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
        gated = nnx.silu(project(x, self.gate)) * project(x, self.up)
        return project(gated, self.down)


def residual_std(config: LlamaConfig) -> float:
    """Of what adds to the residual stream, twice a layer: so that the sum keeps its size."""
    return INIT_STD / (2 * config.num_layers) ** 0.5


class Layer(nnx.Module):
    """One pre-norm block."""

    def __init__(self, config: LlamaConfig, *, rngs: nnx.Rngs, param_dtype: Any):
        norm = functools.partial(RMSNorm, config.hidden_size, config.rms_norm_eps)
        self.attention_norm = norm(rngs=rngs, param_dtype=param_dtype)
        self.attention = Attention(config, rngs=rngs, param_dtype=param_dtype)
        self.mlp_norm = norm(rngs=rngs, param_dtype=param_dtype)
        self.mlp = MLP(config, rngs=rngs, param_dtype=param_dtype)

    def __call__(
        self,
        x: Float[Array, "B T D"],
        cos: Float32[Array, "#B T 1 half"],
        sin: Float32[Array, "#B T 1 half"],
        attend: Attend,
        layer_cache: Any,
    ) -> tuple[Float[Array, "B T D"], Any]:
        mixed, layer_out = self.attention(self.attention_norm(x), cos, sin, attend, layer_cache)
        x = x + mixed
        return x + self.mlp(self.mlp_norm(x)), layer_out


class Llama(nnx.Module):
    """The decoder without an opinion on attention.

    Args:
      config: sizes.
      rngs: stream `params` initialises the weights.
      dtype: compute dtype of the matrix products; norm statistics, angles and logits are float32
        regardless.
      param_dtype: dtype the weights are kept in.
      remat: what the backward pass recomputes: "none", "full" (all), "dots" (all but the weight
        products), "attention" (all but the outputs of attention); "auto": who compiles decides
        (`training/fitting.py`), and until then nothing can be computed with gradients.
      unroll: for CPUs: write the layers out in the program (`cpu.py`).
      kernel: for who makes `attend` (`kernels.py`): what to make it of, or None for plain XLA.
        The model itself only keeps it.

    Raises:
      ValueError: an unknown `remat`.
    """

    def __init__(
        self,
        config: LlamaConfig,
        *,
        rngs: nnx.Rngs,
        dtype: Any = jnp.float32,
        param_dtype: Any = jnp.float32,
        remat: str = "none",
        unroll: bool = False,
        kernel: Any = None,
    ):
        if remat not in (*_REMAT, "auto"):
            raise ValueError(f"remat must be one of {sorted(_REMAT)} or auto, found {remat!r}")
        self.config = config
        self.dtype = jnp.dtype(dtype)
        self.remat = remat
        self.unroll = unroll
        self.kernel = kernel
        self.stacked = True  # whether a weight of all layers is one array; see `cpu.unstack`
        d, vocab = config.hidden_size, config.vocab_size
        self.embedding = param(normal(INIT_STD), rngs, (vocab, d), param_dtype, ("vocab", "embed"))

        @nnx.split_rngs(splits=config.num_layers)
        @nnx.vmap(transform_metadata={nnx.PARTITION_NAME: "layers"})
        def stack(rngs: nnx.Rngs) -> Layer:
            return Layer(config, rngs=rngs, param_dtype=param_dtype)

        self.layers = stack(rngs)
        self.norm = RMSNorm(d, config.rms_norm_eps, rngs=rngs, param_dtype=param_dtype)
        if not config.tie_embeddings:
            self.head = param(normal(INIT_STD), rngs, (d, vocab), param_dtype, ("embed", "vocab"))

    @property
    def options(self) -> dict[str, Any]:
        """What `init` and `abstract` take to make another model that computes in the same way."""
        return {
            "dtype": self.dtype,
            "remat": self.remat,
            "unroll": self.unroll,
            "kernel": self.kernel,
        }

    def __call__(
        self,
        tokens: Int[Array, "B T"],
        positions: Int[Array, "B T"],
        attend: Attend,
        cache: Any = None,
    ) -> tuple[Float[Array, "B T D"], Any]:
        """Runs the layers.

        Args:
          tokens: int32 [B, T].
          positions: int32 [B, T], each token's place in its own text (restarts at 0 in packed
            rows).
          attend: see the module docstring; q and k arrive already rotated.
          cache: any pytree whose leaves have a leading axis L, or None; `attend` gets layer i's
            slice. Of an unstacked model (`cpu.py`): a list of L trees.

        Returns:
          (hidden, cache_out): hidden is `dtype` [B, T, D] after the final norm; cache_out is what
          `attend` returned as `layer_out`, stacked to a leading axis L (None if it returned None),
          or a list as `cache` is.

        Raises:
          ValueError: rows longer than `config.max_positions`.
        """
        x = self._embed(tokens)
        layer, weights = self._prepare_layers(positions, attend)
        if self.stacked:
            x, cache_out = jax.lax.scan(layer, x, (weights, cache), unroll=self.unroll)
        else:
            x, cache_out = cpu.run_layers(layer, x, weights, cache)
        return self.norm(x), cache_out

    def hidden_at(
        self,
        tokens: Int[Array, "B T"],
        positions: Int[Array, "B T"],
        attend: Attend,
        depth: int,
    ) -> tuple[Float[Array, "B T D"], Float[Array, "B T D"]]:
        """Hidden states after the first `depth` layers and after all, both after the final norm.

        `logits` reads either (deep supervision: what early layers know is there for later ones to
        attend to). Arguments as for the whole model, which must be stacked.
        """
        x = self._embed(tokens)
        layer, weights = self._prepare_layers(positions, attend)
        below = jax.tree.map(lambda w: w[:depth], weights)
        above = jax.tree.map(lambda w: w[depth:], weights)
        early, _ = jax.lax.scan(layer, x, (below, None), unroll=self.unroll)
        x, _ = jax.lax.scan(layer, early, (above, None), unroll=self.unroll)
        return self.norm(early), self.norm(x)

    def logits(self, hidden: Float[Array, "*rows D"]) -> Float32[Array, "*rows V"]:
        """Next-token logits, float32 [..., V], of hidden states [..., D]."""
        head = self.embedding[...].T if self.config.tie_embeddings else self.head[...]
        return jnp.matmul(hidden, head.astype(hidden.dtype), preferred_element_type=jnp.float32)

    def _embed(self, tokens: Int[Array, "B T"]) -> Float[Array, "B T D"]:
        limit = self.config.max_positions
        if tokens.shape[1] > limit:
            raise ValueError(f"rows of {tokens.shape[1]} tokens exceed max_positions {limit}")
        return over_rows(self.embedding[...][tokens].astype(self.dtype))

    def _prepare_layers(
        self, positions: Int[Array, "B T"], attend: Attend
    ) -> tuple[Callable[..., Any], Any]:
        """(layer, weights): layer(x, (weights of one, its cache)) -> (x, layer_out) is what a scan
        over the stacked weights calls."""
        angles = cpu.angles_from_table if self.unroll else rope.angles
        cos, sin = angles(self.config, positions)

        # lax.scan over the split state: nnx.scan would stack the unchanged weights as an output.
        split: Callable[..., Any] = nnx.split if self.stacked else cpu.split_layers
        graphdef, weights = split(self.layers)

        def layer(x: Float[Array, "B T D"], inputs: tuple) -> tuple[Float[Array, "B T D"], Any]:
            own_weights, own_cache = inputs
            module = nnx.merge(graphdef, own_weights)
            x, layer_out = module(x, cos, sin, attend, own_cache)
            return over_rows(x), layer_out

        if self.remat == "none":
            return layer, weights
        if self.remat == "auto":
            raise ValueError("remat=auto is decided before the model computes: `Model.with_remat`")
        # What is recomputed must not be merged with the first pass again. A scan keeps XLA from
        # that by itself; where the layers are written out it takes a barrier.
        barrier = self.unroll
        layer = jax.checkpoint(layer, policy=_REMAT[self.remat], prevent_cse=barrier)
        return layer, weights


def init(
    config: LlamaConfig,
    seed: int | Key[Array, ""],
    module: Callable[..., nnx.Module] = Llama,
    **options: Any,
) -> tuple[nnx.GraphDef[Any], nnx.State]:
    """(graphdef, params) of a fresh model; `nnx.merge(graphdef, params)` inside jit gives it back.

    Args:
      config: sizes.
      seed: an integer, or a typed random key (so that the call can be jitted with
        `out_shardings`).
      module: the class to make.
      options: `dtype`, `param_dtype`, `remat`, `unroll`, `kernel`, as for `Llama`.
    """

    @jax.jit
    def make(key: Key[Array, ""]) -> nnx.State:
        return nnx.state(module(config, rngs=nnx.Rngs(params=key), **options))

    params = make(jax.random.key(seed) if isinstance(seed, int) else seed)
    graphdef, _ = abstract(config, module, **options)
    return graphdef, params


def abstract(
    config: LlamaConfig, module: Callable[..., nnx.Module] = Llama, **options: Any
) -> tuple[nnx.GraphDef[Any], nnx.State]:
    """Like `init`, with `jax.ShapeDtypeStruct` in place of every array: nothing is computed."""
    return nnx.split(nnx.eval_shape(lambda: module(config, rngs=nnx.Rngs(params=0), **options)))
