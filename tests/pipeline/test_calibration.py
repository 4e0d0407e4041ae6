"""The rates of this machine: whatever they are, more rows go faster, and nothing is left out."""

from tiny_llama import CONFIG

from glore_jax.pipeline import calibration


def test_rates_are_possible():
    rates = calibration.measure(CONFIG, "float32", forks=1)
    assert 1e5 < rates.few_rows < 1e15
    assert 1e5 < rates.many_rows < 1e15


def test_every_product_counts():
    import jax.numpy as jnp

    x = jnp.ones((2, 3))
    weights = jnp.stack([jnp.full((3, 4), 1.0), jnp.full((3, 4), 10.0)])
    # (1 x 3) = 3, then (1 + 3) x 3 x 10
    assert calibration._products(x, weights) == 120
