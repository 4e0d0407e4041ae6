"""The losses by hand, and packing that changes nothing."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from flax import nnx
from tiny_llama import CONFIG, forward, fresh

from glore_jax.models import llama, reward
from glore_jax.training import batches, losses
from glore_jax.training.examples import Example, language_example

ROW = 24
LOSS = {
    "policy": (llama, losses.language_loss, {}),
    "reward": (reward, losses.reward_loss, {}),
    "likelihood": (reward, losses.reward_loss, {"likelihood": True}),
}


def assemble(examples, layout, rows=3):
    """A batch on the device."""
    return jax.tree.map(jnp.asarray, batches.assemble(examples, layout, rows, ROW))


def examples(kind, prefix=False):
    """Of 9, 5 and 8 tokens."""
    rng = np.random.default_rng(0)
    found = []
    for n in (9, 5, 8):
        tokens = rng.integers(0, 64, n)
        if kind == "policy":
            source, target = tokens[:3].tolist(), tokens[3:].tolist()
            found.append(language_example(source, target, prefix=prefix, source_weight=0.25))
        else:
            weights = (np.arange(n) % 3 == 1).astype(np.float32)
            labels = (rng.random(n) * weights).astype(np.float32)
            found.append(Example(tokens.astype(np.int32), weights, labels, source=n // 3))
    return found


@pytest.fixture(scope="module", params=LOSS)
def setting(request):
    """(kind, graphdef, params, function (params, batch) -> ((loss, metrics), gradient))."""
    module, loss_fn, options = LOSS[request.param]
    graphdef, params = fresh(module=module, **options)
    value = jax.jit(
        jax.value_and_grad(lambda p, batch: loss_fn(nnx.merge(graphdef, p), batch), has_aux=True)
    )
    return request.param, graphdef, params, value


def of_policy(example, out):
    """(term, weight, right, counted) of each target; the logits at t - 1 predict token t."""
    for t in range(1, len(example.tokens)):
        z = out[t - 1]
        term = np.log(np.exp(z - z.max()).sum()) + z.max() - z[example.tokens[t]]
        right = z.argmax() == example.tokens[t]
        yield term, example.weights[t], right, example.weights[t] == 1


def of_reward(example, out):
    """(term, weight, right, counted) of each token: its logit is the value of what ends there."""
    for t, label in enumerate(example.labels):
        p = 1 / (1 + np.exp(-out[t]))
        term = -(label * np.log(p) + (1 - label) * np.log(1 - p))
        yield term, example.weights[t], (p > 0.5) == (label > 0.5), example.weights[t] > 0


def test_by_hand(setting):
    kind, graphdef, params, value = setting
    items = examples(kind)
    (loss, metrics), _ = value(params, assemble(items, [[0], [1], [2]]))
    rows = []
    for e in items:
        row = np.zeros((1, ROW), np.int32)
        row[0, : len(e.tokens)] = e.tokens
        solution = None if kind == "policy" else np.arange(ROW)[None] >= e.source
        out = np.asarray(forward(graphdef, params, row, solution=solution), np.float64)[0]
        rows += (of_policy if kind == "policy" else of_reward)(e, out)
    terms, weights, right, counted = map(np.asarray, zip(*rows))
    assert float(loss) == pytest.approx(np.average(terms, weights=weights), rel=1e-4)
    assert float(metrics["loss"]) == float(loss) and loss.dtype == np.float32
    accuracy = metrics["token_accuracy" if kind == "policy" else "label_accuracy"]
    assert float(accuracy) == pytest.approx(np.mean(right[counted]))
    if kind != "policy":
        labels = np.concatenate([e.labels[e.weights > 0] for e in items])
        assert float(metrics["label_mean"]) == pytest.approx(labels.mean(), rel=1e-5)


def test_packed_equals_unpacked(setting):
    kind, _, params, value = setting
    prefixes = (False, True) if kind == "policy" else (False,)  # a reward model reads causally
    for prefix in prefixes:
        items = examples(kind, prefix)
        (loss, _), grads = value(params, assemble(items, [[0], [1], [2]]))
        # All in one row, and two rows of padding.
        (packed, _), packed_grads = value(params, assemble(items, [[2, 0, 1], []]))
        assert float(packed) == pytest.approx(float(loss), rel=1e-5)
        pairs = zip(jax.tree.leaves(packed_grads), jax.tree.leaves(grads), strict=True)
        for ours, theirs in pairs:
            close = 2e-6 + 1e-5 * float(np.abs(theirs).max())
            np.testing.assert_allclose(ours, theirs, atol=close)
        assert any(np.abs(g).max() > 1e-3 for g in jax.tree.leaves(grads))


def test_parts_of_a_batch_add_up_to_it(setting):
    kind, graphdef, params, value = setting
    loss_fn = LOSS[kind][1]
    whole = assemble(examples(kind), [[0], [1], [2]])
    (_, metrics), grads = value(params, whole)
    of_rows = jax.jit(
        jax.value_and_grad(
            lambda p, rows: loss_fn(nnx.merge(graphdef, p), rows, whole), has_aux=True
        )
    )
    parts = [of_rows(params, jax.tree.map(lambda x, i=i: x[i : i + 1], whole)) for i in range(3)]
    assert len({float(loss) for (loss, _), _ in parts}) == 3
    for name, x in metrics.items():
        assert float(sum(m[name] for (_, m), _ in parts)) == pytest.approx(float(x), rel=1e-5)
    summed = jax.tree.map(lambda *g: sum(g), *(g for _, g in parts))
    for ours, theirs in zip(jax.tree.leaves(summed), jax.tree.leaves(grads), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-6 + 1e-5 * float(np.abs(theirs).max()))


def test_padding_has_no_influence(setting):
    kind, _, params, value = setting
    batch = assemble(examples(kind), [[0], [1], [2]])
    (loss, _), grads = value(params, batch)
    padding = batch.segments == 0
    junk = np.random.default_rng(1).integers(1, 64, padding.shape, np.int32)
    changed = dataclasses.replace(
        batch,
        tokens=jnp.where(padding, junk, batch.tokens),
        targets=jnp.where(padding, junk, batch.targets),
        positions=jnp.where(padding, junk, batch.positions),
    )
    if kind != "policy":
        changed = dataclasses.replace(changed, labels=jnp.where(padding, 1.0, batch.labels))
    (other, _), other_grads = value(params, changed)
    assert float(other) == float(loss)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-7), other_grads, grads)


def test_prefix_is_read_both_ways():
    graphdef, params = fresh()
    loss = jax.jit(lambda p, batch: losses.language_loss(nnx.merge(graphdef, p), batch)[0])
    causal, both = (
        loss(params, assemble(examples("policy", prefix), [[0, 1, 2]], 1))
        for prefix in (False, True)
    )
    assert abs(float(causal) - float(both)) > 1e-3


def test_no_weight_is_no_loss(setting):
    kind, _, params, value = setting
    batch = assemble(examples(kind), [[0], [], []])
    batch = dataclasses.replace(batch, weights=jnp.zeros_like(batch.weights))
    (loss, _), grads = value(params, batch)
    assert float(loss) == 0 and not any(g.any() for g in jax.tree.leaves(grads))


def test_a_share_of_the_language_loss_beside_the_labels():
    """Of the solutions' tokens, each predicted from its own example alone."""
    graphdef, params = fresh(module=reward, language=True)
    policy_graphdef, _ = fresh()
    packed = assemble(examples("reward"), [[2, 0, 1], []], 2)
    alone = assemble(examples("reward"), [[0], [1], [2]])

    @functools.partial(jax.jit, static_argnames="share")
    def loss_of(batch, whole, share):
        return losses.reward_loss(nnx.merge(graphdef, params), batch, whole, language=share)

    weights = np.zeros((3, ROW), np.float32)
    targets = np.zeros((3, ROW), np.int32)
    for row, e in enumerate(examples("reward")):
        weights[row, e.source - 1 : len(e.tokens) - 1] = 1  # the first token of the solution too
        targets[row, : len(e.tokens) - 1] = e.tokens[1:]
    texts = dataclasses.replace(alone, targets=jnp.asarray(targets), weights=jnp.asarray(weights))
    language, _ = losses.language_loss(nnx.merge(policy_graphdef, params["backbone"]), texts)
    value, _ = loss_of(alone, alone, 0.0)

    for batch in (alone, packed):
        loss, metrics = loss_of(batch, batch, 0.25)
        assert float(loss) == pytest.approx(0.75 * float(value) + 0.25 * float(language), rel=1e-4)
        assert float(metrics["loss"]) == float(loss)
        assert float(metrics["reward_loss"]) == pytest.approx(float(value), rel=1e-4)
        assert float(metrics["language_loss"]) == pytest.approx(float(language), rel=1e-4)
    rows = [jax.tree.map(lambda x, i=i: x[i : i + 1], alone) for i in range(3)]
    parts = [float(loss_of(part, alone, 0.25)[0]) for part in rows]
    assert sum(parts) == pytest.approx(float(loss), rel=1e-4)


def both_kinds(judging):
    """(a batch of texts with labels for them, the batch of its labels alone)."""
    layout = [[0], [1], [2]]
    texts, values = (assemble(examples(kind), layout) for kind in ("policy", "reward"))
    joint = dataclasses.replace(
        texts,
        labels=values.labels,
        label_weights=values.weights,
        judging=jnp.full(3, judging, jnp.float32),
    )
    same_texts = dataclasses.replace(
        values, tokens=texts.tokens, positions=texts.positions, segments=texts.segments
    )
    return joint, same_texts


def test_joint_loss_is_the_sum_of_both():
    tied = dataclasses.replace(CONFIG, tie_embeddings=True)
    graphdef, params = fresh(tied, module=reward)
    policy_graphdef, _ = fresh(tied)
    joint, values = both_kinds(0.3)
    loss, metrics = losses.joint_loss(nnx.merge(graphdef, params), joint)
    halves = (jax.tree.map(lambda x, s=s: x[s], joint) for s in (slice(0, 1), slice(1, 3)))
    parts = [losses.joint_loss(nnx.merge(graphdef, params), half, joint)[0] for half in halves]
    assert float(sum(parts)) == pytest.approx(float(loss), rel=1e-5)
    language, _ = losses.language_loss(nnx.merge(policy_graphdef, params["backbone"]), joint)
    value, _ = losses.reward_loss(nnx.merge(graphdef, params), values)
    expected = float(language) + 0.3 * float(value)
    assert float(value) > 0.1 and float(loss) == pytest.approx(expected, rel=1e-5)
    assert float(metrics["loss"]) == float(loss)
    assert float(metrics["language_loss"]) == pytest.approx(float(language), rel=1e-5)
    assert float(metrics["reward_loss"]) == pytest.approx(float(value), rel=1e-5)


def test_a_share_of_the_joint_loss_is_that_of_the_lower_layers():
    tied = dataclasses.replace(CONFIG, tie_embeddings=True, num_layers=3)
    graphdef, params = fresh(tied, module=reward)
    batch, _ = both_kinds(1.0)
    whole, metrics = losses.joint_loss(nnx.merge(graphdef, params), batch)
    both, same = losses.joint_loss(nnx.merge(graphdef, params), batch, depth=2, share=0.5)
    shallow = jax.tree.map(lambda x: x, params)
    shallow["backbone"]["layers"] = jax.tree.map(lambda w: w[:2], params["backbone"]["layers"])
    short_graphdef, _ = fresh(dataclasses.replace(tied, num_layers=2), module=reward)
    early, _ = losses.joint_loss(nnx.merge(short_graphdef, shallow), batch)
    assert float(both) == pytest.approx(float(whole) + 0.5 * float(early), rel=1e-5)
    assert float(early) != pytest.approx(float(whole), rel=1e-3)
    assert float(same["language_loss"]) == pytest.approx(float(metrics["language_loss"]), rel=1e-5)


def test_shapes_are_checked():
    """Labels of another row length would be broadcast, or read at the wrong token, in silence."""
    values = jnp.zeros((3, 8), jnp.float32)
    with pytest.raises(jaxtyping.TypeCheckError, match="weights"):
        losses._mean(values, values[:, :1], values)
    with pytest.raises(jaxtyping.TypeCheckError, match="labels"):
        losses._reward(values, jnp.zeros((3, 8), jnp.int32), values, values)
