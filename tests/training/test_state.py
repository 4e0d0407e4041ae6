"""What lies on disk has the names that older runs gave it."""

import jax
import numpy as np
import optax
import pytest
from orbax import checkpoint as ocp
from tiny_llama import fresh

from glore_jax.config import training
from glore_jax.errors import UserError
from glore_jax.training.checkpoints import Checkpoints
from glore_jax.training.optimizer import make_optimizer
from glore_jax.training.state import Tail, TrainState, from_tree, to_tree


def state_and_tail(seed):
    _, params = fresh(seed=seed)
    tail = Tail.of(["loss", "gradient_norm"])
    tail.add({"loss": 0.5 + seed, "gradient_norm": 2.0})
    return TrainState(params, optax.adam(1e-3).init(params)), tail


def leaves(tree):
    return {jax.tree_util.keystr(p): x for p, x in jax.tree_util.tree_leaves_with_path(tree)}


def assert_same(a, b):
    found = leaves(a)
    wanted = leaves(b)
    assert found.keys() == wanted.keys()
    for name, x in found.items():
        np.testing.assert_array_equal(x, wanted[name], err_msg=name)
        assert x.dtype == wanted[name].dtype, name


def test_a_checkpoint_of_plain_dicts_is_read(tmp_path):
    """As runs wrote it before the state was a class: the keys are spelled out here."""
    state, tail = state_and_tail(3)
    checkpoints = Checkpoints(tmp_path)
    sums = {"loss": np.array(3.5), "gradient_norm": np.array(2.0)}
    checkpoints.save(
        7,
        {
            "params": state.params,
            "opt_state": state.opt_state,
            "tail": {"count": np.array(1), "sums": sums},
        },
    )
    checkpoints.close()
    shapes, empty = state_and_tail(0)
    done, tree = Checkpoints(tmp_path).restore(to_tree(jax.eval_shape(lambda: shapes), empty))
    restored, restored_tail = from_tree(tree)
    assert done == 7
    assert_same(restored, state)
    assert restored_tail.count == 1 and restored_tail.means() == tail.means()
    restored_tail.add({"loss": 1.5, "gradient_norm": 0.0})
    assert restored_tail.means() == {"loss": 2.5, "gradient_norm": 1.0}


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_the_state_of_each_optimizer_is_read_back(tmp_path, kind):
    """Also where it holds nothing for some of the parameters."""
    config = training(1e-3, 1e-4, 8, 1)
    config.optimizer = kind
    tx, _ = make_optimizer(config, 10)
    _, tail = state_and_tail(0)
    _, params = fresh()
    state = TrainState(params, jax.tree.map(lambda x: x + 1, tx.init(params)))
    checkpoints = Checkpoints(tmp_path / "run")
    checkpoints.save(1, to_tree(state, tail))
    checkpoints.close()
    shapes = jax.eval_shape(lambda: state)
    done, tree = Checkpoints(tmp_path / "run").restore(to_tree(shapes, tail))
    assert done == 1
    assert_same(from_tree(tree)[0], state)
    other = training(1e-3, 1e-4, 8, 1)
    other.optimizer = {"adamw": "muon", "muon": "adamw"}[kind]
    shapes = jax.eval_shape(make_optimizer(other, 10)[0].init, params)
    with pytest.raises(UserError, match="is of another training: opt_state"):
        Checkpoints(tmp_path / "run").restore(to_tree(TrainState(params, shapes), tail))


def test_names_on_disk(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(2, to_tree(*state_and_tail(1)))
    checkpoints.close()
    metadata = ocp.StandardCheckpointHandler().metadata(tmp_path / "2" / "default")
    on_disk = metadata.tree if hasattr(metadata, "tree") else metadata
    assert set(on_disk) == {"params", "opt_state", "tail"}
    assert set(on_disk["tail"]) == {"count", "sums"}
    assert set(on_disk["tail"]["sums"]) == {"loss", "gradient_norm"}
    assert "embedding" in on_disk["params"] and "layers" in on_disk["params"]


def test_a_save_under_way_does_not_change():
    """Orbax writes in the background, while the run goes on."""
    state, tail = state_and_tail(0)
    tree = to_tree(state, tail)
    tail.add({"loss": 9.0, "gradient_norm": 9.0})
    assert tree["tail"]["count"] == 1 and tree["tail"]["sums"]["loss"] == 0.5
    assert tail.means() == pytest.approx({"loss": 4.75, "gradient_norm": 5.5})


def test_an_empty_tail_has_no_means():
    assert Tail.of(["loss"]).means() == {}
