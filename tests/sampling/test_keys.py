"""What a fork draws depends on who it is: on every word of its identity, and on nothing else."""

import itertools

import jax
import numpy as np
import pytest

from glore_jax.sampling.keys import fork_keys, identity, question_word, uniforms

IDENTITIES = np.stack(
    [
        identity(f"question {q}", *rest)
        for q, *rest in itertools.product(range(3), range(2), range(3), range(2))
    ]
)


@pytest.fixture(scope="module")
def keys():
    return np.asarray(fork_keys(np.uint32(0), IDENTITIES))


def distinct(rows) -> int:
    return len({tuple(row) for row in np.asarray(rows).tolist()})


def test_every_word_changes_the_key(keys):
    assert keys.shape == (36, 2) and keys.dtype == np.uint32
    assert distinct(keys) == len(IDENTITIES)


def test_the_seed_changes_every_key(keys):
    others = np.asarray(fork_keys(np.uint32(1), IDENTITIES))
    assert distinct([*keys, *others]) == 2 * len(IDENTITIES)


def test_the_order_of_the_words_matters():
    words = np.array([[5, 1, 2, 3], [5, 2, 1, 3], [5, 3, 2, 1], [1, 5, 2, 3]], np.int32)
    assert distinct(fork_keys(np.uint32(0), words)) == len(words)


def test_a_key_does_not_depend_on_its_batch(keys):
    np.testing.assert_array_equal(fork_keys(np.uint32(0), IDENTITIES[::-1]), keys[::-1])
    # As the engine asks, by group and slot.
    grid = jax.jit(fork_keys)(np.uint32(0), IDENTITIES.reshape(4, 9, 4))
    np.testing.assert_array_equal(grid, keys.reshape(4, 9, 2))
    np.testing.assert_array_equal(fork_keys(np.uint32(0), IDENTITIES[7:8]), keys[7:8])


def test_a_draw_does_not_depend_on_its_batch(keys):
    index = np.arange(36, dtype=np.int32) % 5
    together = np.asarray(uniforms(keys, index))
    np.testing.assert_array_equal(uniforms(keys[::-1], index[::-1]), together[::-1])
    np.testing.assert_array_equal(uniforms(keys[20:21], index[20:21]), together[20:21])


def test_draws_of_a_fork_are_uniform_and_independent(keys):
    a, b = (
        np.asarray(uniforms(np.tile(k, (4000, 1)), np.arange(4000, dtype=np.int32)))
        for k in keys[:2]
    )
    assert a.dtype == np.float32 and a.min() >= 0 and a.max() < 1 and len(set(a.tolist())) > 3990
    for draws in (a, b):
        # To five standard deviations.
        assert np.histogram(draws, 10, (0, 1))[0] == pytest.approx(400, abs=100)
    pairs = {"next": (a[:-1], a[1:]), "other fork": (a, b)}
    assert all(abs(np.corrcoef(x, y)[0, 1]) < 0.08 for x, y in pairs.values())


def test_question_words_fit_into_an_int32():
    words = [question_word(f"chains-train-{i:05d}") for i in range(2000)]
    assert len(set(words)) == 2000 and all(0 <= w < 2**31 for w in words)
    assert identity("überfüllt ☕", 0, 0, 0).dtype == np.int32


def test_golden_values():
    """A change of these changes every text that a seed gives: runs under way could not go on."""
    assert identity("chains-train-00000", 3, 2, 1).tolist() == [37941749, 3, 2, 1]
    key = np.asarray(fork_keys(np.uint32(7), identity("chains-train-00000", 3, 2, 1)))
    assert key.tolist() == [1726902248, 3659152263]
    draws = uniforms(np.tile(key, (3, 1)), np.arange(3, dtype=np.int32))
    expected = [0.6085563898, 0.4450771809, 0.8885111809]
    assert np.asarray(draws).tolist() == pytest.approx(expected, abs=1e-7)
