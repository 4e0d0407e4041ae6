"""The losses by hand, and packing that changes nothing."""

import dataclasses

import jax
import numpy as np
import pytest
from flax import nnx
from tiny_llama import CONFIG, forward, fresh

from glore_jax.models import llama, reward
from glore_jax.training import losses
from glore_jax.training.batches import Example, assemble, language_example

ROW = 24
LOSS = {
    "policy": (llama, losses.language_loss, {}),
    "reward": (reward, losses.reward_loss, {}),
    "likelihood": (reward, losses.reward_loss, {"likelihood": True}),
}


def examples(kind, prefix=False):
    rng, out = np.random.default_rng(0), []
    for n in (9, 5, 8):
        tokens = rng.integers(0, 64, n)
        if kind == "policy":
            out.append(
                language_example(
                    tokens[:3].tolist(), tokens[3:].tolist(), prefix=prefix, source_weight=0.25
                )
            )
        else:
            weights = (np.arange(n) % 3 == 1).astype(np.float32)
            out.append(
                Example(
                    tokens.astype(np.int32),
                    weights,
                    (rng.random(n) * weights).astype(np.float32),
                    source=n // 3,
                )
            )
    return out


@pytest.fixture(scope="module", params=LOSS)
def setting(request):
    """(kind, params, function (params, batch) -> ((loss, metrics), gradient))."""
    module, loss_fn, options = LOSS[request.param]
    graphdef, params = fresh(module=module, **options)
    value = jax.jit(
        jax.value_and_grad(lambda p, batch: loss_fn(nnx.merge(graphdef, p), batch), has_aux=True)
    )
    return request.param, graphdef, params, value


def test_by_hand(setting):
    kind, graphdef, params, value = setting
    items = examples(kind)
    (loss, metrics), _ = value(params, assemble(items, [[0], [1], [2]], 3, ROW))
    terms, weights, right, counted = [], [], [], []
    for e in items:
        row = np.zeros((1, ROW), np.int32)
        row[0, : len(e.tokens)] = e.tokens
        solution = None if kind == "policy" else np.arange(ROW)[None] >= e.source
        out = np.asarray(forward(graphdef, params, row, solution=solution), np.float64)[
            0, : len(e.tokens)
        ]
        for t in range(len(e.tokens)):
            if kind == "policy" and t:  # logits at t - 1 predict token t
                z = out[t - 1]
                terms.append(np.log(np.exp(z - z.max()).sum()) + z.max() - z[e.tokens[t]])
                right.append(z.argmax() == e.tokens[t])
                counted.append(e.weights[t] == 1)
                weights.append(e.weights[t])
            elif kind != "policy":  # the logit at t is the value of what ends at t
                p = 1 / (1 + np.exp(-out[t]))
                terms.append(-(e.labels[t] * np.log(p) + (1 - e.labels[t]) * np.log(1 - p)))
                right.append((p > 0.5) == (e.labels[t] > 0.5))
                counted.append(e.weights[t] > 0)
                weights.append(e.weights[t])
    assert float(loss) == pytest.approx(np.average(terms, weights=weights), rel=1e-4)
    assert float(metrics["loss"]) == float(loss) and loss.dtype == np.float32
    accuracy = metrics["token_accuracy" if kind == "policy" else "label_accuracy"]
    assert float(accuracy) == pytest.approx(np.mean(np.asarray(right)[np.asarray(counted)]))
    if kind != "policy":
        labels = np.concatenate([e.labels[e.weights > 0] for e in items])
        assert float(metrics["label_mean"]) == pytest.approx(labels.mean(), rel=1e-5)


def test_packed_equals_unpacked(setting):
    kind, _, params, value = setting
    for prefix in (False, True) if kind == "policy" else (False,):  # a reward model reads causally
        items = examples(kind, prefix)
        (loss, _), grads = value(params, assemble(items, [[0], [1], [2]], 3, ROW))
        (packed, _), packed_grads = value(
            params, assemble(items, [[2, 0, 1], []], 3, ROW)
        )  # two padding rows
        assert float(packed) == pytest.approx(float(loss), rel=1e-5)
        pairs = zip(jax.tree.leaves(packed_grads), jax.tree.leaves(grads), strict=True)
        for ours, theirs in pairs:
            np.testing.assert_allclose(ours, theirs, atol=2e-6 + 1e-5 * float(np.abs(theirs).max()))
        assert any(np.abs(g).max() > 1e-3 for g in jax.tree.leaves(grads))


def test_parts_of_a_batch_add_up_to_it(setting):
    kind, graphdef, params, value = setting
    loss_fn = LOSS[kind][1]
    whole = assemble(examples(kind), [[0], [1], [2]], 3, ROW)
    (_, metrics), grads = value(params, whole)
    one = jax.jit(
        jax.value_and_grad(
            lambda p, part: loss_fn(nnx.merge(graphdef, p), part, whole), has_aux=True
        )
    )
    parts = [one(params, {k: v[i : i + 1] for k, v in whole.items()}) for i in range(3)]
    assert len({float(loss) for (loss, _), _ in parts}) == 3
    for name, x in metrics.items():
        assert float(sum(m[name] for (_, m), _ in parts)) == pytest.approx(float(x), rel=1e-5)
    summed = jax.tree.map(lambda *g: sum(g), *(g for _, g in parts))
    for ours, theirs in zip(jax.tree.leaves(summed), jax.tree.leaves(grads), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-6 + 1e-5 * float(np.abs(theirs).max()))


def test_padding_has_no_influence(setting):
    kind, _, params, value = setting
    batch = assemble(examples(kind), [[0], [1], [2]], 3, ROW)
    (loss, _), grads = value(params, batch)
    padding = batch["segments"] == 0
    junk = np.random.default_rng(1).integers(1, 64, padding.shape)
    changed = batch | {
        k: np.where(padding, junk, batch[k]).astype(np.int32)
        for k in ("tokens", "targets", "positions")
    }
    if kind != "policy":
        changed["labels"] = np.where(padding, 1.0, batch["labels"]).astype(np.float32)
    (other, _), other_grads = value(params, changed)
    assert float(other) == float(loss)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-7), other_grads, grads)


def test_prefix_is_read_both_ways():
    graphdef, params = fresh()
    loss = jax.jit(lambda p, batch: losses.language_loss(nnx.merge(graphdef, p), batch)[0])
    causal, both = (
        loss(params, assemble(examples("policy", prefix), [[0, 1, 2]], 1, ROW))
        for prefix in (False, True)
    )
    assert abs(float(causal) - float(both)) > 1e-3


def test_no_weight_is_no_loss(setting):
    kind, _, params, value = setting
    batch = assemble(examples(kind), [[0]], 1, ROW)
    batch["weights"] = np.zeros_like(batch["weights"])
    batch = {
        k: np.concatenate([v, *[np.zeros_like(v)] * 2]) for k, v in batch.items()
    }  # the shape of the other tests
    (loss, _), grads = value(params, batch)
    assert float(loss) == 0 and not any(g.any() for g in jax.tree.leaves(grads))


def test_joint_loss_is_the_sum_of_both():
    tied = dataclasses.replace(CONFIG, tie_embeddings=True)
    graphdef, params = fresh(tied, module=reward)
    policy_graphdef, _ = fresh(tied)
    layout = [[0], [1], [2]]
    batch, values = (assemble(examples(kind), layout, 3, ROW) for kind in ("policy", "reward"))
    values |= {k: batch[k] for k in ("tokens", "positions", "segments")}
    joint = batch | {"labels": values["labels"], "label_weights": values["weights"]}
    joint["judging"] = np.full(3, 0.3, np.float32)
    loss, metrics = losses.joint_loss(nnx.merge(graphdef, params), joint)
    halves = ({k: v[i:j] for k, v in joint.items()} for i, j in ((0, 1), (1, 3)))
    parts = [losses.joint_loss(nnx.merge(graphdef, params), half, joint)[0] for half in halves]
    assert float(sum(parts)) == pytest.approx(float(loss), rel=1e-5)
    language, _ = losses.language_loss(nnx.merge(policy_graphdef, params["backbone"]), batch)
    value, _ = losses.reward_loss(nnx.merge(graphdef, params), values)
    assert float(value) > 0.1 and float(loss) == pytest.approx(
        float(language) + 0.3 * float(value), rel=1e-5
    )
    assert float(metrics["loss"]) == float(loss)
    assert float(metrics["language_loss"]) == pytest.approx(float(language), rel=1e-5)
    assert float(metrics["reward_loss"]) == pytest.approx(float(value), rel=1e-5)


def test_a_share_of_the_joint_loss_is_that_of_the_lower_layers():
    tied = dataclasses.replace(CONFIG, tie_embeddings=True, num_layers=3)
    graphdef, params = fresh(tied, module=reward)
    batch, values = (
        assemble(examples(kind), [[0], [1], [2]], 3, ROW) for kind in ("policy", "reward")
    )
    batch |= {
        "labels": values["labels"],
        "label_weights": values["weights"],
        "judging": np.ones(3, np.float32),
    }
    whole, metrics = losses.joint_loss(nnx.merge(graphdef, params), batch)
    both, same = losses.joint_loss(nnx.merge(graphdef, params), batch, depth=2, share=0.5)
    shallow = jax.tree.map(lambda x: x, params)
    shallow["backbone"]["layers"] = jax.tree.map(lambda w: w[:2], params["backbone"]["layers"])
    short_graphdef, _ = fresh(dataclasses.replace(tied, num_layers=2), module=reward)
    foretaste, _ = losses.joint_loss(nnx.merge(short_graphdef, shallow), batch)
    assert float(both) == pytest.approx(float(whole) + 0.5 * float(foretaste), rel=1e-5)
    assert float(foretaste) != pytest.approx(float(whole), rel=1e-3)
    assert float(same["language_loss"]) == pytest.approx(float(metrics["language_loss"]), rel=1e-5)
