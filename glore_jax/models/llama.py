"""LLaMA in Flax NNX: RMSNorm, rotary grouped-query attention, SwiGLU, with the layers stacked and scanned.

One model serves training, prefill and decoding: *how* a token attends is no part of it. Callers inject

    attend(q, k, v, layer_cache) -> (out, layer_out)

and the model only turns tokens into rotated q, k, v and mixes what comes back. `attention.py` has the plain
makers; the rollout engine brings its own that reads its caches.

Shapes: B rows, T tokens, D hidden, F intermediate, H query heads, K key/value heads, C head_dim, V words,
L layers. Every kernel is [in, out]. Every parameter carries logical axis names (metadata `out_sharding`) that
`glore_jax.parallel` maps to mesh axes; a stacked layer has "layers" in front.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from glore_jax.models.config import LlamaConfig
from glore_jax.parallel.mesh import over_rows

Array = jax.Array
normal = nnx.initializers.normal
# attend(q [B,T,H,C], k [B,T,K,C], v [B,T,K,C], layer_cache) -> (out [B,T,H,C], layer_out)
Attend = Callable[[Array, Array, Array, Any], tuple[Array, Any]]

INIT_STD = 0.02
_REMAT = {
    "none": None,
    "full": jax.checkpoint_policies.nothing_saveable,
    # Keep the results of the weight products, recompute the attention scores and everything elementwise.
    "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
}


def param(
    init: Callable[..., Array],
    rngs: nnx.Rngs,
    shape: tuple[int, ...],
    dtype: Any,
    axes: tuple[str, ...],
) -> nnx.Param:
    """A parameter with logical axis names. Placing it is the caller's business, no side effect here."""
    return nnx.Param(
        nnx.with_partitioning(init, axes, eager_sharding=False)(rngs.params(), shape, dtype)
    )


def project(x: Array, kernel: nnx.Param) -> Array:
    """x [..., in] @ kernel [in, out], computed in x's dtype."""
    # Rows and tokens become one axis: XLA's CPU backend needs twice the time for gradients of [B, T, in].
    flat = x.reshape(-1, x.shape[-1]) @ kernel[...].astype(x.dtype)
    return flat.reshape(*x.shape[:-1], -1)


class RMSNorm(nnx.Module):
    """x / rms(x) * scale over the last axis; the statistics are float32 whatever the compute dtype."""

    def __init__(self, config: LlamaConfig, *, rngs: nnx.Rngs, param_dtype: Any):
        self.eps = config.rms_norm_eps
        self.scale = param(
            nnx.initializers.ones, rngs, (config.hidden_size,), param_dtype, ("norm",)
        )

    def __call__(self, x: Array) -> Array:
        x32 = x.astype(jnp.float32)
        x32 = x32 * jax.lax.rsqrt(jnp.mean(x32 * x32, axis=-1, keepdims=True) + self.eps)
        return x32.astype(x.dtype) * self.scale[...].astype(x.dtype)


def rope_frequencies(config: LlamaConfig) -> np.ndarray:
    """Angular frequency of each rotated pair, float32 [C/2], Llama 3 scaling applied."""
    frequency = config.rope_theta ** -(
        np.arange(0, config.head_dim, 2, dtype=np.float64) / config.head_dim
    )
    scaling = config.rope_scaling
    if scaling is not None:
        # turns = how often the pair turns within the original context. Few: slower by `factor`; many: kept.
        turns = scaling.original_max_position * frequency / (2 * np.pi)
        keep = (turns - scaling.low_freq_factor) / (
            scaling.high_freq_factor - scaling.low_freq_factor
        )
        keep = np.clip(keep, 0.0, 1.0)
        frequency = keep * frequency + (1 - keep) * frequency / scaling.factor
    return frequency.astype(np.float32)


def rope_angles(config: LlamaConfig, positions: Array) -> tuple[Array, Array]:
    """(cos, sin), each float32 [B, T, 1, C/2], for integer positions [B, T]."""
    angles = positions[..., None, None].astype(jnp.float32) * rope_frequencies(config)
    return jnp.cos(angles), jnp.sin(angles)


def rotate(x: Array, cos: Array, sin: Array) -> Array:
    """Rotates x [B, T, heads, C]: pair i is (x[i], x[i + C/2]), the half-split layout of Hugging Face."""
    a, b = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    return jnp.concatenate((a * cos - b * sin, b * cos + a * sin), axis=-1).astype(x.dtype)


class Attention(nnx.Module):
    """Projections and rotary positions around the injected `attend`."""

    def __init__(self, config: LlamaConfig, *, rngs: nnx.Rngs, param_dtype: Any):
        self.heads, self.kv_heads, self.head_dim = (
            config.num_heads,
            config.num_kv_heads,
            config.head_dim,
        )
        d, q, kv = config.hidden_size, self.heads * self.head_dim, self.kv_heads * self.head_dim
        out_std = INIT_STD / (2 * config.num_layers) ** 0.5
        self.q = param(normal(INIT_STD), rngs, (d, q), param_dtype, ("embed", "heads"))
        self.k = param(normal(INIT_STD), rngs, (d, kv), param_dtype, ("embed", "kv_heads"))
        self.v = param(normal(INIT_STD), rngs, (d, kv), param_dtype, ("embed", "kv_heads"))
        self.o = param(normal(out_std), rngs, (q, d), param_dtype, ("heads", "embed"))

    def __call__(
        self, x: Array, cos: Array, sin: Array, attend: Attend, layer_cache: Any
    ) -> tuple[Array, Any]:
        batch, length, _ = x.shape
        q = project(x, self.q).reshape(batch, length, self.heads, self.head_dim)
        k = project(x, self.k).reshape(batch, length, self.kv_heads, self.head_dim)
        v = project(x, self.v).reshape(batch, length, self.kv_heads, self.head_dim)
        out, layer_out = attend(rotate(q, cos, sin), rotate(k, cos, sin), v, layer_cache)
        return project(out.reshape(batch, length, -1), self.o), layer_out


class MLP(nnx.Module):
    """SwiGLU: down(silu(gate(x)) * up(x))."""

    def __init__(self, config: LlamaConfig, *, rngs: nnx.Rngs, param_dtype: Any):
        d, f = config.hidden_size, config.intermediate_size
        out_std = INIT_STD / (2 * config.num_layers) ** 0.5
        self.gate = param(normal(INIT_STD), rngs, (d, f), param_dtype, ("embed", "mlp"))
        self.up = param(normal(INIT_STD), rngs, (d, f), param_dtype, ("embed", "mlp"))
        self.down = param(normal(out_std), rngs, (f, d), param_dtype, ("mlp", "embed"))

    def __call__(self, x: Array) -> Array:
        return project(nnx.silu(project(x, self.gate)) * project(x, self.up), self.down)


class Layer(nnx.Module):
    """One pre-norm block."""

    def __init__(self, config: LlamaConfig, *, rngs: nnx.Rngs, param_dtype: Any):
        self.attention_norm = RMSNorm(config, rngs=rngs, param_dtype=param_dtype)
        self.attention = Attention(config, rngs=rngs, param_dtype=param_dtype)
        self.mlp_norm = RMSNorm(config, rngs=rngs, param_dtype=param_dtype)
        self.mlp = MLP(config, rngs=rngs, param_dtype=param_dtype)

    def __call__(
        self, x: Array, cos: Array, sin: Array, attend: Attend, layer_cache: Any
    ) -> tuple[Array, Any]:
        mixed, layer_out = self.attention(self.attention_norm(x), cos, sin, attend, layer_cache)
        x = x + mixed
        return x + self.mlp(self.mlp_norm(x)), layer_out


class Llama(nnx.Module):
    """The decoder without an opinion on attention.

    Args:
      config: sizes.
      rngs: stream `params` initialises the weights.
      dtype: compute dtype of the matrix products; norm statistics, angles and logits are float32 regardless.
      param_dtype: dtype the weights are kept in.
      remat: what the backward pass recomputes: "none", "full" (all), "dots" (all but the weight products).
      unroll: write the layers out in the program instead of scanning them: a tenth faster to train on a CPU,
        where the scan copies what the backward pass keeps; large models take far longer to compile that way.
      kernel: for who makes `attend` (`kernels.py`): what to make it of, or None for plain XLA. The model itself only keeps it.
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
        if remat not in _REMAT:
            raise ValueError(f"remat must be one of {sorted(_REMAT)}, found {remat!r}")
        self.config, self.dtype, self.remat, self.unroll = config, jnp.dtype(dtype), remat, unroll
        self.kernel = kernel
        d, vocab = config.hidden_size, config.vocab_size
        self.embedding = param(normal(INIT_STD), rngs, (vocab, d), param_dtype, ("vocab", "embed"))

        @nnx.split_rngs(splits=config.num_layers)
        @nnx.vmap(transform_metadata={nnx.PARTITION_NAME: "layers"})
        def stacked(rngs: nnx.Rngs) -> Layer:
            return Layer(config, rngs=rngs, param_dtype=param_dtype)

        self.layers = stacked(rngs)
        self.norm = RMSNorm(config, rngs=rngs, param_dtype=param_dtype)
        if not config.tie_embeddings:
            self.head = param(normal(INIT_STD), rngs, (d, vocab), param_dtype, ("embed", "vocab"))

    def __call__(
        self, tokens: Array, positions: Array, attend: Attend, cache: Any = None
    ) -> tuple[Array, Any]:
        """Runs the layers.

        Args:
          tokens: int32 [B, T].
          positions: int32 [B, T], each token's place in its own text (restarts at 0 in packed rows).
          attend: see the module docstring; q and k arrive already rotated.
          cache: any pytree whose leaves have a leading axis L, or None; `attend` gets layer i's slice.
            Or a list of L trees: the layers are then written out, nothing is sliced or copied, and cache_out
            is a list too.

        Returns:
          (hidden, cache_out): hidden is `dtype` [B, T, D] after the final norm; cache_out is what `attend`
          returned as `layer_out`, stacked to a leading axis L (None if it returned None).

        Raises:
          ValueError: rows longer than `config.max_positions`.
        """
        x, layer, weights = self._start(tokens, positions, attend)
        if isinstance(cache, list):
            cache_out = []
            for i, layer_cache in enumerate(cache):
                own = (
                    weights[i]
                    if isinstance(weights, list)
                    else jax.tree.map(lambda w: w[i], weights)
                )  # noqa: B023
                x, layer_out = layer(x, (own, layer_cache))
                cache_out.append(layer_out)
        else:
            x, cache_out = jax.lax.scan(layer, x, (weights, cache), unroll=self.unroll)
        return self.norm(x), cache_out

    def hidden_at(
        self, tokens: Array, positions: Array, attend: Attend, depth: int
    ) -> tuple[Array, Array]:
        """Hidden states [B, T, D] after the first `depth` layers and after all, both after the final norm: `logits` reads either
        (deep supervision: what early layers know is there for later ones to attend to)."""
        x, layer, weights = self._start(tokens, positions, attend)
        below, above = (
            jax.tree.map(lambda w, part=part: w[part], weights)
            for part in (slice(depth), slice(depth, None))
        )
        early, _ = jax.lax.scan(layer, x, (below, None), unroll=self.unroll)
        x, _ = jax.lax.scan(layer, early, (above, None), unroll=self.unroll)
        return self.norm(early), self.norm(x)

    def _start(
        self, tokens: Array, positions: Array, attend: Attend
    ) -> tuple[Array, Callable, Any]:
        """(embedded tokens, a layer as a function to scan, the weights of the layers: stacked, or a list if they are apart)."""
        if tokens.shape[1] > self.config.max_positions:
            raise ValueError(
                f"rows of {tokens.shape[1]} tokens exceed max_positions {self.config.max_positions}"
            )
        x = over_rows(self.embedding[...][tokens].astype(self.dtype))
        cos, sin = self._angles(positions)

        # lax.scan over the split state: nnx.scan would also stack the unchanged weights as an output.
        if isinstance(self.layers, nnx.List):
            graphdef, weights = (
                nnx.graphdef(self.layers[0]),
                [nnx.state(own) for own in self.layers],
            )
        else:
            graphdef, weights = nnx.split(self.layers)

        def layer(x: Array, inputs: tuple[Any, Any]) -> tuple[Array, Any]:
            layer_weights, layer_cache = inputs
            x, layer_out = nnx.merge(graphdef, layer_weights)(x, cos, sin, attend, layer_cache)
            return over_rows(x), layer_out

        if self.remat != "none":
            # A scan keeps XLA from merging the recomputation with the first pass; unrolled, a barrier does.
            layer = jax.checkpoint(layer, policy=_REMAT[self.remat], prevent_cse=self.unroll)
        return x, layer, weights

    def _angles(self, positions: Array) -> tuple[Array, Array]:
        """`rope_angles`; where the layers are written out, read from a table: XLA would compute them again in each of them."""
        if not self.unroll:
            return rope_angles(self.config, positions)
        with jax.ensure_compile_time_eval():
            table = rope_angles(self.config, jnp.arange(self.config.max_positions)[None])
        return tuple(x[0].at[positions].get(mode="promise_in_bounds") for x in table)

    def logits(self, hidden: Array) -> Array:
        """Next-token logits, float32 [..., V], of hidden states [..., D]."""
        head = self.embedding[...].T if self.config.tie_embeddings else self.head[...]
        return jnp.matmul(hidden, head.astype(hidden.dtype), preferred_element_type=jnp.float32)


def init(
    config: LlamaConfig,
    seed: int | Array,
    module: Callable[..., nnx.Module] = Llama,
    **options: Any,
) -> tuple[nnx.GraphDef, nnx.State]:
    """(graphdef, params) of a fresh model; `nnx.merge(graphdef, params)` inside jit gives it back.

    Args:
      config: sizes.
      seed: an integer, or a typed random key (so that the call can be jitted with `out_shardings`).
      module: the class to make.
      options: `dtype`, `param_dtype`, `remat`, `unroll`, `kernel`, as for `Llama`.
    """
    make = jax.jit(lambda key: nnx.state(module(config, rngs=nnx.Rngs(params=key), **options)))
    params = make(jax.random.key(seed) if isinstance(seed, int) else seed)
    return abstract(config, module, **options)[0], params


def abstract(
    config: LlamaConfig, module: Callable[..., nnx.Module] = Llama, **options: Any
) -> tuple[nnx.GraphDef, nnx.State]:
    """Like `init`, with `jax.ShapeDtypeStruct` in place of every array: nothing is computed or allocated."""
    return nnx.split(nnx.eval_shape(lambda: module(config, rngs=nnx.Rngs(params=0), **options)))


def unstack(graphdef: nnx.GraphDef, params: nnx.State) -> tuple[nnx.GraphDef, nnx.State]:
    """The same policy with the weights of each layer as arrays of their own; it takes only lists as `cache`.

    A loop that takes layers out of stacked weights copies all of them each time it goes round. Costs a second copy of the
    layers' weights for as long as both are held.
    """
    model = nnx.merge(graphdef, params)
    one, weights = nnx.split(model.layers)
    model.layers = nnx.List(
        [
            nnx.merge(one, jax.tree.map(lambda w: w[i], weights))
            for i in range(model.config.num_layers)
        ]  # noqa: B023
    )
    return nnx.split(model)
