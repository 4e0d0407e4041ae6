"""Draws follow the distribution that was asked for, and nothing else can come out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glore_jax.sampling import keys, tokens
from glore_jax.sampling.tokens import Sampling

VOCAB, DRAWS = 50, 20_000
LOGITS = np.random.default_rng(0).standard_normal(VOCAB).astype(np.float32) * 2
draw = jax.jit(tokens.draw, static_argnums=(3, 4))


def softmax(x):
    p = np.exp(x.astype(np.float64) - x.max())
    return p / p.sum()


def wanted(temperature, top_k, top_p):
    """The distribution, step by step."""
    p = softmax(LOGITS / temperature)
    order = np.argsort(-p)
    if top_k:
        p[order[top_k:]] = 0
    p /= p.sum()
    before = np.cumsum(p[order]) - p[order]
    p[order[before >= top_p]] = 0
    return p / p.sum()


@pytest.mark.parametrize(
    "temperature, top_k, top_p",
    [(1.0, 0, 1.0), (0.5, 0, 1.0), (2.0, 0, 1.0), (1.0, 5, 1.0), (1.0, 0, 0.6), (0.7, 9, 0.8)],
)
def test_frequencies(temperature, top_k, top_p):
    # Uniforms on a grid: each token comes out as often as its probability says, to one draw at
    # each of its two edges.
    uniform = (np.arange(DRAWS, dtype=np.float32) + 0.5) / DRAWS
    logits = np.tile(LOGITS, (DRAWS, 1))
    drawn, logprob = draw(logits, uniform, np.float32(temperature), top_k, top_p)
    counts = np.bincount(drawn, minlength=VOCAB)
    expected = wanted(temperature, top_k, top_p)
    np.testing.assert_allclose(counts, DRAWS * expected, atol=2)
    assert not counts[expected == 0].any()
    assert drawn.dtype == jnp.int32 and logprob.dtype == jnp.float32
    # The log-probability is the model's own, whatever was cut off or sharpened.
    np.testing.assert_allclose(logprob, np.log(softmax(LOGITS))[np.asarray(drawn)], atol=1e-5)


def test_greedy_takes_the_largest():
    rows = np.random.default_rng(1).standard_normal((64, VOCAB)).astype(np.float32)
    uniform = np.random.default_rng(2).random(64, np.float32)
    for cut in ((0, 1.0), (5, 1.0), (0, 0.5)):
        drawn, _ = draw(rows, uniform, np.float32(0), *cut)
        np.testing.assert_array_equal(drawn, rows.argmax(1))


def test_what_has_no_weight_is_never_drawn():
    # Blocks of the two-level sum that hold nothing, a hole at each border, padding at the end;
    # uniforms at and beside every edge.
    vocab, rng = 300, np.random.default_rng(3)
    logits = rng.standard_normal(vocab).astype(np.float32) * 4
    for hole in (slice(0, 3), slice(30, 40), slice(64, 128), slice(159, 161), slice(250, 300)):
        logits[hole] = -np.inf
    weights = np.exp(logits - logits.max())
    edges = np.cumsum(weights / weights.sum(), dtype=np.float32)
    below_one = np.nextafter(np.float32(1), 0)
    beside = [np.nextafter(edges, 0), np.nextafter(edges, 1)]
    uniform = np.concatenate([edges, *beside, [0.0, below_one]])
    uniform = np.clip(uniform, 0, below_one).astype(np.float32)
    drawn, logprob = draw(np.tile(logits, (len(uniform), 1)), uniform, np.float32(1), 0, 1.0)
    assert np.isfinite(logits[np.asarray(drawn)]).all()
    assert np.isfinite(logprob).all()


@pytest.mark.parametrize("length", [1, 31, 32, 33, 64, 1000])
def test_two_levels_find_what_one_finds(length):
    rng = np.random.default_rng(length)
    weights, uniform = rng.random((200, length), np.float32), rng.random(200, np.float32)
    cumulated = np.cumsum(weights.astype(np.float64), axis=-1)
    expected = (cumulated > uniform[:, None] * cumulated[:, -1:]).argmax(-1)
    np.testing.assert_array_equal(jax.jit(tokens._invert)(weights, uniform), expected)


@pytest.mark.parametrize(
    "field",
    [dict(temperature=-1.0), dict(top_k=-1), dict(top_p=0.0), dict(top_p=1.1), dict(max_new=0)],
)
def test_impossible_settings(field):
    with pytest.raises(ValueError, match="needs temperature"):
        Sampling(**field)


# Keys.


def test_uniforms_of_many_forks_are_uniform_and_their_own():
    identities = np.stack(
        [
            keys.identity(f"q{q}", s, c, r)
            for q in range(8)
            for s in range(4)
            for c in range(4)
            for r in range(16)
        ]
    )
    data = keys.fork_keys(np.uint32(7), identities)
    index = np.zeros(len(identities), np.int32)
    first, second = (np.asarray(keys.uniforms(data, index + i)) for i in range(2))
    assert len(np.unique(first)) > 0.99 * len(first)  # every row of a batch has a stream of its own
    assert not np.any(first == second)  # and every position a number of its own
    for drawn in (first, second):
        assert drawn.min() >= 0 and drawn.max() < 1
        observed, expected = np.histogram(drawn, 16, (0, 1))[0], len(drawn) / 16
        chi_square = ((observed - expected) ** 2 / expected).sum()
        assert chi_square < 37.7  # 0.1 % at 15 degrees of freedom
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.1


def test_a_key_is_that_of_its_identity_alone():
    rows = [
        keys.identity("a", 0, 0, 0),
        keys.identity("b", 0, 0, 0),
        keys.identity("a", 1, 0, 0),
        keys.identity("a", 0, 1, 0),
        keys.identity("a", 0, 0, 1),
    ]
    together = np.asarray(keys.fork_keys(np.uint32(0), np.stack(rows)))
    assert len({tuple(k) for k in together}) == len(rows)
    for row, key in zip(rows[::-1], together[::-1], strict=True):
        np.testing.assert_array_equal(np.asarray(keys.fork_keys(np.uint32(0), row[None]))[0], key)
    assert not np.array_equal(
        np.asarray(keys.fork_keys(np.uint32(1), rows[0][None]))[0], together[0]
    )
