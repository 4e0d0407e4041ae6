"""What is minimised: next-token cross-entropy, and binary cross-entropy of values of steps.

Each loss takes the rows of a batch, or some of them: then `whole` is the batch that they belong
to. Means are taken over the weights of the whole, so that losses, metrics and gradients of
microbatches add up to those of the batch.

Shapes: R rows of T tokens, V words.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Float, Float32, Int32

from glore_jax.models import kernels
from glore_jax.models.llama import Attend, Llama
from glore_jax.models.reward import RewardModel
from glore_jax.training.batches import Batch

Array = jax.Array
Loss = Float32[Array, ""]
Metrics = dict[str, Float32[Array, ""]]

# loss(model, rows, whole) -> (loss, metrics)
LossFunction = Callable[[Any, Batch, Batch], tuple[Loss, Metrics]]


def attend_for(model: Llama | RewardModel, batch: Batch) -> Attend:
    """The attention of packed rows; positions in a `prefix` see each other both ways."""
    return kernels.causal(model, batch.segments, prefix_mask=batch.prefix)


def language_loss(model: Llama, batch: Batch, whole: Batch | None = None) -> tuple[Loss, Metrics]:
    """Mean over weighted targets of -log p(target).

    Returns (loss, metrics `loss`, `token_accuracy`).
    """
    whole = batch if whole is None else whole
    hidden, _ = model(batch.tokens, batch.positions, attend_for(model, batch))
    return _language(model.logits(hidden), batch.targets, batch.weights, whole.weights)


def reward_loss(
    model: RewardModel, batch: Batch, whole: Batch | None = None, language: float = 0.0
) -> tuple[Loss, Metrics]:
    """Binary cross-entropy of the value logit at weighted positions against labels in 0..1.

    Paper section 2 and appendix F.

    `language`, 0..1, is the share of the next-token cross-entropy of the solutions, right and
    wrong ones alike: they are the student's own, so this holds the backbone to the student while
    it learns to judge. The model then has its vocabulary head (`RewardModel`).

    Returns (loss, metrics `loss`, `label_accuracy`, `label_mean`; with `language` also
    `reward_loss`, `language_loss`).
    """
    assert batch.labels is not None, "the batch of a reward model has labels"
    whole = batch if whole is None else whole
    attend = attend_for(model, batch)
    hidden, _ = model.backbone(batch.tokens, batch.positions, attend)
    logits = model.judged(hidden, batch.tokens, batch.positions, batch.solution)
    value, metrics = _reward(logits, batch.labels, batch.weights, whole.weights)
    if not language:
        return value, metrics
    targets, weights = _solution_targets(batch)
    words = model.backbone.logits(hidden)
    written, _ = _language(words, targets, weights, _solution_targets(whole)[1])
    loss = (1 - language) * value + language * written
    return loss, metrics | {"loss": loss, "reward_loss": value, "language_loss": written}


def _solution_targets(
    batch: Batch,
) -> tuple[Int32[Array, "rows tokens"], Float32[Array, "rows tokens"]]:
    """(the next token, 1 where it belongs to the solution of the same example) of each token."""
    assert batch.solution is not None, "the batch of a reward model knows its solutions"
    end = ((0, 0), (0, 1))  # nothing comes after a row's last token
    same = batch.segments[:, 1:] == batch.segments[:, :-1]
    weights = (batch.solution[:, 1:] * same).astype(jnp.float32)
    return jnp.pad(batch.tokens[:, 1:], end), jnp.pad(weights, end)


def joint_loss(
    model: RewardModel,
    batch: Batch,
    whole: Batch | None = None,
    depth: int = 0,
    share: float = 0.0,
) -> tuple[Loss, Metrics]:
    """The loss of a `RewardModel` with tied embeddings that also learns to write.

    Next-token cross-entropy, and `batch.judging` times the cross-entropy of its value against
    `labels`, weighted by `label_weights`.

    A `share` of the same loss is taken after the first `depth` layers already. Only what stands in
    a lower layer can be attended to from a higher one: that a token is not the one to be expected
    must be seen early, or no later token learns of it.

    Returns (loss, the metrics of both losses, `language_loss` and `reward_loss`); the metrics are
    those of the last layer.
    """
    whole = batch if whole is None else whole
    attend = attend_for(model, batch)
    if not share:
        hidden, _ = model.backbone(batch.tokens, batch.positions, attend)
        return _joint(model, hidden, batch, whole)
    early, hidden = model.backbone.hidden_at(batch.tokens, batch.positions, attend, depth)
    early_loss, _ = _joint(model, early, batch, whole)
    loss, metrics = _joint(model, hidden, batch, whole)
    return loss + share * early_loss, metrics


def _language(
    logits: Float32[Array, "rows tokens words"],
    targets: Int32[Array, "rows tokens"],
    weights: Float32[Array, "rows tokens"],
    weights_of_whole: Float32[Array, "all_rows tokens"],
) -> tuple[Loss, Metrics]:
    each = optax.softmax_cross_entropy_with_integer_labels(logits, targets)
    right = (logits.argmax(-1) == targets).astype(jnp.float32)
    # The accuracy is of whole targets; what counts less (the source, say) is left out of it.
    counted = (weights >= 1.0).astype(jnp.float32)
    counted_of_whole = (weights_of_whole >= 1.0).astype(jnp.float32)
    loss = _mean(each, weights, weights_of_whole)
    return loss, {"loss": loss, "token_accuracy": _mean(right, counted, counted_of_whole)}


def _reward(
    logits: Float32[Array, "rows tokens"],
    labels: Float32[Array, "rows tokens"],
    weights: Float32[Array, "rows tokens"],
    weights_of_whole: Float32[Array, "all_rows tokens"],
) -> tuple[Loss, Metrics]:
    loss = _mean(optax.sigmoid_binary_cross_entropy(logits, labels), weights, weights_of_whole)
    right = ((logits > 0) == (labels > 0.5)).astype(jnp.float32)
    return loss, {
        "loss": loss,
        "label_accuracy": _mean(right, weights, weights_of_whole),
        "label_mean": _mean(labels, weights, weights_of_whole),
    }


def _joint(
    model: RewardModel,
    hidden: Float[Array, "rows tokens hidden"],
    batch: Batch,
    whole: Batch,
) -> tuple[Loss, Metrics]:
    assert batch.labels is not None and batch.judging is not None
    assert batch.label_weights is not None and whole.label_weights is not None
    logits = model.backbone.logits(hidden)
    language, written = _language(logits, batch.targets, batch.weights, whole.weights)
    reward, judged = _reward(
        model.value(hidden), batch.labels, batch.label_weights, whole.label_weights
    )
    loss = language + batch.judging[0] * reward  # every row holds the same number
    both = {"loss": loss, "language_loss": language, "reward_loss": reward}
    return loss, judged | written | both


def _mean(
    values: Float32[Array, "rows tokens"],
    weights: Float32[Array, "rows tokens"],
    weights_of_whole: Float32[Array, "all_rows tokens"],
) -> Float32[Array, ""]:
    # The bound keeps a batch without any weight from dividing by 0.
    return jnp.sum(values * weights) / jnp.maximum(jnp.sum(weights_of_whole), 1e-6)
