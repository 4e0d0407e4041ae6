"""The optimizer of every stage: cosine schedule, warm-up, clipping, AdamW, or Muon for the matrices of the layers."""

import jax
import optax
from optax import contrib

from glore_jax.errors import UserError


def cosine(lr: float, min_lr: float, steps: int, warmup: int) -> optax.Schedule:
    """Linear warm-up to `lr`, then cosine decay to `min_lr` at `steps` (paper table 4: cosine everywhere)."""
    warmup = min(warmup, max(steps - 1, 0))
    decay = optax.cosine_decay_schedule(lr, max(steps - warmup, 1), alpha=min_lr / lr)
    return optax.join_schedules(
        [optax.linear_schedule(lr / max(warmup, 1), lr, max(warmup, 1)), decay], [warmup]
    )


def make_optimizer(config, steps: int) -> tuple[optax.GradientTransformation, optax.Schedule]:
    """(transformation, learning-rate schedule) from a training section: optimizer, lr, min_lr, warmup, weight_decay, clip, head_scale.

    The value head of a reward model, which starts from nothing, learns at `head_scale` times the rate.
    `optimizer = "muon"`: the layers' matrices get Muon at `lr * muon_scale`, embeddings, norms and heads AdamW at `lr`.
    """
    if not config.lr > 0 or not 0 <= config.min_lr <= config.lr:
        raise UserError(
            f"learning rates lr={config.lr}, min_lr={config.min_lr}: need 0 <= min_lr <= lr, lr > 0"
        )
    schedule = cosine(config.lr, config.min_lr, steps, config.warmup)
    if config.optimizer == "adamw":
        tx = optax.adamw(schedule, b1=0.9, b2=0.95, weight_decay=config.weight_decay, mask=_decayed)
    elif config.optimizer == "muon":
        tx = contrib.muon(
            lambda step: config.muon_scale * schedule(step),
            weight_decay=config.weight_decay,
            adam_b2=0.95,
            adam_learning_rate=schedule,
            muon_weight_dimension_numbers=_muon_dimensions,
        )
    else:
        raise UserError(f"optimizer {config.optimizer!r} is not known: choose adamw or muon")
    head = optax.masked(optax.scale(config.head_scale), _is_value_head)
    return optax.chain(optax.clip_by_global_norm(config.clip), tx, head), schedule


def _is_value_head(params):
    return jax.tree_util.tree_map_with_path(
        lambda p, _: p[0].key in ("weight", "bias", "scale"), params
    )


def _is_layer_matrix(path, leaf) -> bool:
    return leaf.ndim == 3 and any(getattr(k, "key", None) == "layers" for k in path)


def _muon_dimensions(params):
    """Stacked kernels [layers, in, out]: each layer's matrix is orthogonalised on its own."""
    dims = contrib.MuonDimensionNumbers(reduction_axis=1, output_axis=2)
    return jax.tree_util.tree_map_with_path(
        lambda p, x: dims if _is_layer_matrix(p, x) else None, params
    )


def _decayed(params):
    """Weight decay for matrices, not for norms and biases ([layers, width] or [width])."""
    return jax.tree_util.tree_map_with_path(
        lambda p, x: x.ndim - any(getattr(k, "key", None) == "layers" for k in p) >= 2, params
    )
