"""The optimizer of every stage: cosine schedule, warm-up, clipping, and AdamW or Muon.

    gradients ─► clip to norm `clip` ─► AdamW, or Muon for the matrices of the layers
              ─► value head at a rate of its own ─► added to the parameters

A leaf of the parameters is known by its path: ("layers", ...) is stacked [layers, ...], and a
value head's arrays ("weight", "bias", "scale") lie at the top.

The rate of a value head. An update of Adam moves each weight by about the learning rate, whatever
its gradient. So a logit, the sum of D weights times hidden values of about 1, moves by lr * D:

    width D                        64          128        4096
    logit, an update at 2e-6       .0001       .0003      .008      a hundred updates: nothing
    the same at 6e-4               .04         .08        2.5       learns at one width only

A head that starts from nothing has to come to logits of 1 or 2 within some dozens of updates, and
no rate of the backbone, which starts from a trained model, does that at every width. So the head's
weights move by `head_step` / D, and a logit by about `head_step`, .3 say, at any width and any rate
(as under muP; multiplying the head's output by a constant, `head_step` / (D * lr), is the same to
Adam). The schedule is the backbone's.
"""

from typing import Any

import jax
import optax
from jax.sharding import AbstractMesh, Mesh, NamedSharding, PartitionSpec
from optax import contrib

from glore_jax.config import AnyConfig
from glore_jax.errors import UserError

# What the evidence of a model with likelihood is a sum over, as a logit is one over the width.
SOLUTION_TOKENS = 100


def cosine(lr: float, min_lr: float, updates: int, warmup_share: int | float) -> optax.Schedule:
    """Linear warm-up to `lr` over a share of the updates, then cosine decay to `min_lr` at the end.

    Paper table 4: cosine everywhere.
    """
    warmup = min(round(warmup_share * updates), max(updates - 1, 0))
    # A schedule of 0 updates is none; two that are joined need one of 1 at least.
    rise = optax.linear_schedule(lr / max(warmup, 1), lr, max(warmup, 1))
    decay = optax.cosine_decay_schedule(lr, max(updates - warmup, 1), alpha=min_lr / lr)
    return optax.join_schedules([rise, decay], [warmup])


def make_optimizer(
    config: AnyConfig, updates: int
) -> tuple[optax.GradientTransformation, optax.Schedule]:
    """(transformation, learning-rate schedule) for a run of so many updates.

    `optimizer = "muon"`: the layers' matrices get Muon at `lr * muon_scale`, embeddings and norms
    AdamW at `lr`. A value head moves by `head_step` (see above).

    Args:
      config: a training section, such as `config.student.sft`: optimizer, lr, min_lr, warmup_share,
        weight_decay, clip, head_step, muon_scale.
      updates: how many the schedule is for.

    Raises:
      UserError: rates that no schedule goes through, or an optimizer that is not known.
    """
    if not config.lr > 0 or not 0 <= config.min_lr <= config.lr:
        raise UserError(
            f"learning rates lr={config.lr}, min_lr={config.min_lr}: need 0 <= min_lr <= lr, lr > 0"
        )
    schedule = cosine(config.lr, config.min_lr, updates, config.warmup_share)
    if config.optimizer == "adamw":
        inner = optax.adamw(
            schedule, b1=0.9, b2=0.95, weight_decay=config.weight_decay, mask=_decayed
        )
    elif config.optimizer == "muon":
        inner = contrib.muon(
            lambda update: config.muon_scale * schedule(update),
            weight_decay=config.weight_decay,
            adam_b2=0.95,
            adam_learning_rate=schedule,
            muon_weight_dimension_numbers=_muon_dimensions,
        )
    else:
        raise UserError(f"optimizer {config.optimizer!r} is not known: choose adamw or muon")
    factor = config.head_step / config.lr
    head = optax.stateless(lambda updates, _: _scale_value_head(updates, factor))
    return optax.chain(optax.clip_by_global_norm(config.clip), inner, head), schedule


def _scale_value_head(updates: Any, factor: float) -> Any:
    """`updates` of parameters, each about the learning rate: those of a value head times `factor`
    over the number of terms that they are summed with in a logit."""
    by_path = jax.tree_util.tree_leaves_with_path(updates)
    width = max((x.size for path, x in by_path if path[0].key == "weight"), default=1)
    # The bias is one more weight, of an input that is always 1.
    terms = {"weight": width, "bias": width, "scale": SOLUTION_TOKENS}
    return jax.tree_util.tree_map_with_path(
        lambda path, x: x * (factor / terms[path[0].key]) if path[0].key in terms else x, updates
    )


def state_shardings(
    tx: optax.GradientTransformation,
    opt_state: optax.OptState,
    shardings: Any,
    mesh: Mesh | AbstractMesh,
) -> Any:
    """A tree of NamedSharding beside `opt_state`, a state of `tx` as arrays or shapes.

    What belongs to a parameter (a moment) lies as the parameter does, by the tree `shardings`;
    everything else (counts, Muon's coefficients) is whole on every device.
    """
    whole = NamedSharding(mesh, PartitionSpec())
    return optax.tree.map_params(
        tx,
        # A masked transformation keeps an empty node in place of what is not its business.
        lambda moment, sharding: moment if _is_masked(moment) else sharding,
        opt_state,
        shardings,
        transform_non_params=lambda _: whole,
        is_leaf=_is_masked,
    )


def _is_masked(node: Any) -> bool:
    return isinstance(node, optax.MaskedNode)


def _is_stacked(path: jax.tree_util.KeyPath) -> bool:
    """Whether the array at `path` has the layers as its first axis."""
    return any(getattr(key, "key", None) == "layers" for key in path)


def _muon_dimensions(params: Any) -> Any:
    """A tree of dimension numbers beside `params`, None for what is not Muon's.

    Stacked kernels are [layers, in, out]: each layer's matrix is orthogonalised on its own.
    """
    matrix = contrib.MuonDimensionNumbers(reduction_axis=1, output_axis=2)
    return jax.tree_util.tree_map_with_path(
        lambda path, x: matrix if _is_stacked(path) and x.ndim == 3 else None, params
    )


def _decayed(params: Any) -> Any:
    """A tree of bool beside `params`: weight decay is for matrices, not for norms and biases.

    Those are [layers, width] where they are stacked, else [width].
    """
    return jax.tree_util.tree_map_with_path(lambda path, x: x.ndim - _is_stacked(path) >= 2, params)
