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
    logits = model.logits(hidden)
    nll = optax.softmax_cross_entropy_with_integer_labels(logits, batch["targets"])
    right = (logits.argmax(-1) == batch["targets"]).astype(jnp.float32)
    full = (batch["weights"] >= 1.0).astype(jnp.float32)
    loss = _mean(nll, batch["weights"])
    return loss, {"loss": loss, "token_accuracy": _mean(right, full)}


def reward_loss(model, batch):
    """Binary cross-entropy of the value logit at weighted positions against labels in 0..1 (paper section 2, appendix F)."""
    logits, _ = model(batch["tokens"], batch["positions"], attend_for(model, batch))
    loss = _mean(optax.sigmoid_binary_cross_entropy(logits, batch["labels"]), batch["weights"])
    right = ((logits > 0) == (batch["labels"] > 0.5)).astype(jnp.float32)
    return loss, {
        "loss": loss,
        "label_accuracy": _mean(right, batch["weights"]),
        "label_mean": _mean(batch["labels"], batch["weights"]),
    }
