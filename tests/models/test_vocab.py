"""More words for a policy: what is there stays, what is new is an average."""

import jax
import numpy as np
import pytest

from glore_jax.models import llama, vocab

TOKENS = np.random.default_rng(0).integers(0, 96, (1, 600))


@pytest.mark.parametrize("tie", [False, True])
def test_grow(tiny, fresh, run, tie):
    old = fresh(tiny(tie_embeddings=tie), remat="full")
    new = vocab.grow(old, 98)
    assert new.config.vocab_size == 98 and new.tokenizer is old.tokenizer
    graphdef, shapes = llama.abstract(new.config, remat="full")
    assert new.graphdef == graphdef
    assert jax.tree.structure(new.params) == jax.tree.structure(shapes)
    for made, expected in zip(jax.tree.leaves(new.params), jax.tree.leaves(shapes)):
        assert made.shape == expected.shape
    old_rows, rows = old.params["embedding"][...], new.params["embedding"][...]
    np.testing.assert_array_equal(rows[:96], old_rows)
    np.testing.assert_allclose(rows[96:], np.stack([old_rows.mean(0)] * 2), rtol=1e-5)
    before, after = run(old, TOKENS), run(new, TOKENS)
    np.testing.assert_allclose(after[..., :96], before, atol=1e-5)
    np.testing.assert_allclose(after[..., 97], before.mean(-1), atol=1e-5)  # an average logit
    assert old.params["embedding"][...].shape == (96, 32)  # the old ones are untouched


def test_bounds(tiny, fresh):
    policy = fresh(tiny())
    assert vocab.grow(policy, 96) is policy
    with pytest.raises(ValueError, match="96"):
        vocab.grow(policy, 95)
