"""What is minimised: next-token cross-entropy, and binary cross-entropy of the value at the end of steps.

Each loss takes the rows of a batch, or a part of them: then `whole` is the batch that they belong to. Means are taken over its weights,
so that losses, metrics and gradients of the parts add up to those of the batch.
"""

import jax.numpy as jnp
import optax

from glore_jax.models import kernels


def attend_for(model, batch):
    """The attention of packed rows; positions in a `prefix`, if the batch has one, see each other both ways."""
    return kernels.causal(model, batch["segments"], prefix_mask=batch.get("prefix"))


def _mean(values, weights, of_whole):
    return jnp.sum(values * weights) / jnp.maximum(jnp.sum(of_whole), 1e-6)


def language_loss(model, batch, whole=None):
    """Mean over weighted targets of -log p(target). Returns (loss, metrics), all float32 scalars."""
    hidden, _ = model(batch["tokens"], batch["positions"], attend_for(model, batch))
    return _language(model.logits(hidden), batch, whole or batch)


def _language(logits, batch, whole):
    nll = optax.softmax_cross_entropy_with_integer_labels(logits, batch["targets"])
    right = (logits.argmax(-1) == batch["targets"]).astype(jnp.float32)
    full, of_whole = ((b["weights"] >= 1.0).astype(jnp.float32) for b in (batch, whole))
    loss = _mean(nll, batch["weights"], whole["weights"])
    return loss, {"loss": loss, "token_accuracy": _mean(right, full, of_whole)}


def reward_loss(model, batch, whole=None):
    """Binary cross-entropy of the value logit at weighted positions against labels in 0..1 (paper section 2, appendix F)."""
    read = batch["tokens"], batch["positions"], attend_for(model, batch)
    logits, _ = model(*read, solution=batch["solution"])
    return _reward(logits, batch["labels"], batch["weights"], (whole or batch)["weights"])


def _reward(logits, labels, weights, of_whole):
    loss = _mean(optax.sigmoid_binary_cross_entropy(logits, labels), weights, of_whole)
    right = ((logits > 0) == (labels > 0.5)).astype(jnp.float32)
    return loss, {
        "loss": loss,
        "label_accuracy": _mean(right, weights, of_whole),
        "label_mean": _mean(labels, weights, of_whole),
    }


def joint_loss(model, batch, whole=None, depth: int = 0, share: float = 0.0):
    """The loss of a `RewardModel` with tied embeddings that also learns to write: next-token cross-entropy, and `judging` (the same
    number for each row) times the cross-entropy of its value against `labels`, weighted by `label_weights`.

    A `share` of the same loss is taken after the first `depth` layers already. Only what stands in a lower layer can be
    attended to from a higher one: that a token is not the one to be expected must be seen early, or no later token learns of it.
    """
    read = batch["tokens"], batch["positions"], attend_for(model, batch)
    whole = whole or batch
    if not share:
        return _joint(model, model.backbone(*read)[0], batch, whole)
    early, hidden = model.backbone.hidden_at(*read, depth)
    foretaste, _ = _joint(model, early, batch, whole)
    loss, metrics = _joint(model, hidden, batch, whole)
    return loss + share * foretaste, metrics


def _joint(model, hidden, batch, whole):
    language, metrics = _language(model.backbone.logits(hidden), batch, whole)
    weights = batch["label_weights"], whole["label_weights"]
    reward, verdicts = _reward(model.value(hidden), batch["labels"], *weights)
    loss = language + batch["judging"][0] * reward
    return loss, verdicts | metrics | {
        "loss": loss,
        "language_loss": language,
        "reward_loss": reward,
    }
