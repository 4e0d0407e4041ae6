"""What only a CPU needs computes what the scanned model does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glore_jax.models import cpu, rope


def test_angles_from_the_table(tiny, llama3_scaling):
    config = tiny(rope_scaling=llama3_scaling)
    positions = jnp.asarray([[0, 1, 2, 3], [900, 0, 1023, 5]])
    found = jax.jit(lambda p: cpu.angles_from_table(config, p))(positions)
    for a, b in zip(found, rope.angles(config, positions)):
        np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.parametrize("unroll", [False, True])
def test_unstacked_layers_are_those_of_the_stack(tiny, fresh, unroll):
    model = fresh(tiny(num_layers=3), unroll=unroll)
    apart = cpu.unstack(model)
    assert apart.num_params == model.num_params
    stacked = model.params["layers"]["attention"]["q"][...]
    for i in range(3):
        own = apart.params["layers"][i]["attention"]["q"][...]
        np.testing.assert_array_equal(own, stacked[i])
    assert model.merge().stacked and not apart.merge().stacked


def test_caches_are_one_for_each_layer(tiny, fresh):
    module = cpu.unstack(fresh(tiny(num_layers=3))).merge()
    zeros = jnp.zeros((1, 4), jnp.int32)
    seen = []

    def attend(q, k, v, cache):
        seen.append(cache)
        return q, None

    jax.eval_shape(lambda: module(zeros, zeros, attend, ["a", "b", "c"])[0])
    assert seen == ["a", "b", "c"]
    with pytest.raises(ValueError, match="shorter"):
        jax.eval_shape(lambda: module(zeros, zeros, attend, ["a", "b"])[0])
