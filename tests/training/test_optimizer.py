"""The schedule, and which parameter gets which update."""

import jax
import numpy as np
import pytest
from tiny_llama import CONFIG, fresh

from glore_jax.config import training
from glore_jax.errors import UserError
from glore_jax.models import llama, reward
from glore_jax.training import optimizer


def section(**changes):
    config = training(1e-2, 1e-3, 8, 1)
    config.update(changes)
    return config


def named(tree):
    return {jax.tree_util.keystr(p): x for p, x in jax.tree_util.tree_flatten_with_path(tree)[0]}


def first_update(tx, grads, params):
    return jax.jit(lambda g, p: tx.update(g, tx.init(p), p))(grads, params)


def test_cosine():
    schedule = optimizer.cosine(1e-2, 1e-3, 110, 1 / 11)
    values = np.array([schedule(n) for n in range(111)])
    assert values[0] == pytest.approx(1e-3) and values[10] == pytest.approx(1e-2)
    assert (np.diff(values[:11]) > 0).all() and (np.diff(values[10:]) < 0).all()
    assert values[60] == pytest.approx((1e-2 + 1e-3) / 2)  # half way
    assert values[110] == pytest.approx(1e-3)
    assert float(schedule(500)) == pytest.approx(1e-3)


@pytest.mark.parametrize("updates, share", [(1, 0.5), (1, 1.0), (5, 1.0), (5, 0.1), (5, 0)])
def test_short_runs_have_a_schedule(updates, share):
    schedule = optimizer.cosine(1e-2, 1e-3, updates, share)
    values = [float(schedule(n)) for n in range(updates)]
    assert all(0 < v <= 1e-2 * 1.0001 for v in values) and np.isfinite(values).all()


HEAD = ("['weight']", "['bias']", "['scale']")


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_a_value_head_learns_at_its_own_rate(kind):
    shapes = {"weight": (8,), "bias": (1,), "scale": (1,), "backbone": (4, 8)}
    params = {name: np.ones(shape, np.float32) for name, shape in shapes.items()}
    grads = params

    def updates(**changes):
        tx, _ = optimizer.make_optimizer(section(optimizer=kind, **changes), 100)
        return named(first_update(tx, grads, params)[0])

    one = updates(head_step=0.1)
    more = updates(head_step=0.5)
    slower = updates(head_step=0.1, lr=1e-3, min_lr=1e-4)
    for path, update in one.items():
        of_head = path.startswith(HEAD)
        np.testing.assert_allclose(more[path], (5 if of_head else 1) * update, rtol=1e-5)
        np.testing.assert_allclose(slower[path], (1 if of_head else 0.1) * update, rtol=1e-4)


@pytest.mark.parametrize("width", [64, 4096])
@pytest.mark.parametrize("lr", [2e-6, 6e-4])
def test_an_update_moves_a_logit_by_head_step_at_any_width_and_rate(width, lr):
    hidden = np.random.default_rng(0).standard_normal(width)
    tree = {"weight": np.float32(hidden), "bias": np.ones(1, np.float32)}
    config = section(lr=lr, min_lr=lr / 10, head_step=0.3, warmup_share=0)
    updates, _ = first_update(optimizer.make_optimizer(config, 100)[0], tree, tree)
    moved = float(updates["weight"] @ hidden + updates["bias"][0])
    assert moved == pytest.approx(-0.3 * np.abs(hidden).mean(), rel=0.1)


KERNELS = {
    "['layers']['attention']['q']",
    "['layers']['attention']['k']",
    "['layers']['attention']['v']",
    "['layers']['attention']['o']",
    "['layers']['mlp']['gate']",
    "['layers']['mlp']['up']",
    "['layers']['mlp']['down']",
}


def which(tree):
    """Names without what NNX puts behind them."""
    return {name.replace(".value", "").removeprefix("['backbone']") for name in tree}


@pytest.mark.parametrize("module", [llama, reward], ids=["policy", "reward"])
def test_weight_decay_spares_norms_and_biases(module):
    _, params = module.abstract(CONFIG)
    decayed = which(name for name, on in named(optimizer._decayed(params)).items() if on)
    assert decayed == KERNELS | {"['embedding']"} | ({"['head']"} if module is llama else set())


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_decay_alone(kind):
    """Without a gradient only decayed weights move, and they shrink."""
    _, params = fresh()
    tx, schedule = optimizer.make_optimizer(section(optimizer=kind, weight_decay=0.1), 10)
    updates, _ = first_update(tx, jax.tree.map(np.zeros_like, params), params)
    for name, update in named(updates).items():
        if "norm" in name:
            assert not update.any(), name
        elif kind == "adamw":
            expected = -float(schedule(0)) * 0.1 * named(params)[name]
            np.testing.assert_allclose(update, expected, rtol=1e-5)


def test_muon_is_for_layer_matrices():
    _, params = fresh()
    dims = jax.tree_util.tree_flatten_with_path(
        optimizer._muon_dimensions(params), is_leaf=lambda x: hasattr(x, "reduction_axis")
    )[0]
    assert which(jax.tree_util.keystr(p) for p, _ in dims) == KERNELS
    config = section(optimizer="muon", muon_scale=5.0, clip=1e9)
    tx, schedule = optimizer.make_optimizer(config, 10)
    rng = np.random.default_rng(0)

    def uneven(x):
        """A gradient whose directions differ tenfold in size."""
        return (rng.standard_normal(x.shape) * np.logspace(0, 1, x.shape[-1])).astype(x.dtype)

    # Muon moves all directions alike, each layer on its own.
    grads = jax.tree.map(uneven, params)
    updates, _ = first_update(tx, grads, params)
    rate = float(schedule(0))
    for name, update in named(updates).items():
        if name.replace(".value", "") in KERNELS:
            sizes = np.linalg.svd(np.asarray(update, np.float64), compute_uv=False)
            assert sizes.shape[0] == CONFIG.num_layers
            assert (sizes.max(-1) / sizes.min(-1)).max() < 4, name
            assert 0.5 * 5 * rate < sizes.max() < 3 * 5 * rate, name
        else:
            # Adam's first one is alike for all entries (1 - b1^2 over 1 - b1 of it, by Nesterov).
            size = np.abs(np.asarray(update))
            np.testing.assert_allclose(size, size.flat[0], rtol=1e-2, err_msg=name)
            assert rate < size.flat[0] < 2 * rate, name


def test_adam_first_update_and_clip():
    _, params = fresh()
    tx, schedule = optimizer.make_optimizer(section(clip=1.0), 10)
    grads = jax.tree.map(lambda x: np.full(x.shape, 1e3, x.dtype), params)
    updates, state = first_update(tx, grads, params)
    for name, update in named(updates).items():
        np.testing.assert_allclose(update, -float(schedule(0)), rtol=1e-3, err_msg=name)
    moments = [np.asarray(x) for name, x in named(state).items() if ".mu" in name]
    assert len(moments) == len(named(params))
    # Clipped to norm 1 over all parameters together, then (1 - b1) of it.
    assert np.sqrt(sum((m**2).sum() for m in moments)) == pytest.approx(0.1, rel=1e-3)


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(optimizer="sgd"), "optimizer 'sgd' is not known: choose adamw or muon"),
        (dict(lr=0.0), "lr=0.0"),
        (dict(lr=1e-3, min_lr=2e-3), "min_lr=0.002"),
        (dict(lr=float("nan")), "lr=nan"),
    ],
)
def test_impossible_settings(changes, message):
    with pytest.raises(UserError, match=message):
        optimizer.make_optimizer(section(**changes), 10)
