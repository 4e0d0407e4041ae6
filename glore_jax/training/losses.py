"""What is minimised: next-token cross-entropy, and binary cross-entropy of the value at the end of steps."""

import jax.numpy as jnp
import optax

from glore_jax.models import kernels


def attend_for(model, batch):
    """The attention of packed rows; positions in a `prefix`, if the batch has one, see each other both ways."""
    return kernels.causal(model, batch["segments"], prefix_mask=batch.get("prefix"))


def _mean(values, weights):
    return jnp.sum(values * weights) / jnp.maximum(jnp.sum(weights), 1e-6)


def language_loss(model, batch):
    """Mean over weighted targets of -log p(target). Returns (loss, metrics), all float32 scalars."""
    hidden, _ = model(batch["tokens"], batch["positions"], attend_for(model, batch))
    return _language(model.logits(hidden), batch)


def _language(logits, batch):
    nll = optax.softmax_cross_entropy_with_integer_labels(logits, batch["targets"])
    right = (logits.argmax(-1) == batch["targets"]).astype(jnp.float32)
    full = (batch["weights"] >= 1.0).astype(jnp.float32)
    loss = _mean(nll, batch["weights"])
    return loss, {"loss": loss, "token_accuracy": _mean(right, full)}


def reward_loss(model, batch):
    """Binary cross-entropy of the value logit at weighted positions against labels in 0..1 (paper section 2, appendix F)."""
    read = batch["tokens"], batch["positions"], attend_for(model, batch)
    logits, _ = model(*read, solution=batch["solution"])
    return _reward(logits, batch["labels"], batch["weights"])


def _reward(logits, labels, weights):
    loss = _mean(optax.sigmoid_binary_cross_entropy(logits, labels), weights)
    right = ((logits > 0) == (labels > 0.5)).astype(jnp.float32)
    return loss, {
        "loss": loss,
        "label_accuracy": _mean(right, weights),
        "label_mean": _mean(labels, weights),
    }


def joint_loss(model, batch, depth: int = 0, share: float = 0.0):
    """The loss of a `RewardModel` with tied embeddings that also learns to write: next-token cross-entropy, and `judging` (the same
    number for each row) times the cross-entropy of its value against `labels`, weighted by `label_weights`.

    A `share` of the same loss is taken after the first `depth` layers already. Only what stands in a lower layer can be
    attended to from a higher one: that a token is not the one to be expected must be seen early, or no later token learns of it.
    """
    read = batch["tokens"], batch["positions"], attend_for(model, batch)
    if not share:
        return _joint(model, model.backbone(*read)[0], batch)
    early, hidden = model.backbone.hidden_at(*read, depth)
    foretaste, _ = _joint(model, early, batch)
    loss, metrics = _joint(model, hidden, batch)
    return loss + share * foretaste, metrics


def _joint(model, hidden, batch):
    language, metrics = _language(model.backbone.logits(hidden), batch)
    reward, verdicts = _reward(model.value(hidden), batch["labels"], batch["label_weights"])
    loss = language + batch["judging"][0] * reward
    return loss, verdicts | metrics | {"loss": loss, "language_loss": language, "reward_loss": reward}
