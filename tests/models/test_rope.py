"""Rotary positions: every field of the scaling counts, and the rotation is one.

That they are those of transformers is shown in test_llama.py.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from glore_jax.models import rope


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("factor", 9.0),
        ("low_freq_factor", 2.0),
        ("high_freq_factor", 8.0),
        ("original_max_position", 64),
    ],
)
def test_every_rope_scaling_field_is_consumed(tiny, llama3_scaling, field, value):
    before = tiny(rope_scaling=llama3_scaling)
    after = tiny(rope_scaling=dataclasses.replace(llama3_scaling, **{field: value}))
    assert np.abs(rope.frequencies(before) / rope.frequencies(after) - 1).max() > 0.01


def test_each_pair_turns_by_its_own_angle(tiny):
    """Pair i is (x[i], x[i + C/2]): one number of each pair set, its angle can be read off."""
    config = tiny(head_dim=8)
    positions = jnp.asarray([[0, 3, 7]])
    ones = jnp.concatenate([jnp.ones((1, 3, 1, 4)), jnp.zeros((1, 3, 1, 4))], axis=-1)
    turned = np.asarray(rope.rotate(ones, *rope.angles(config, positions)))[0, :, 0]
    expected = np.outer([0, 3, 7], rope.frequencies(config))
    np.testing.assert_allclose(turned[:, :4], np.cos(expected), atol=1e-6)
    np.testing.assert_allclose(turned[:, 4:], np.sin(expected), atol=1e-6)
