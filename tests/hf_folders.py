"""What the tests of Hugging Face folders share: their files, their parameters, their memory."""

import tracemalloc

import jax
import numpy as np
import safetensors.numpy

TOKENS = np.random.default_rng(0).integers(0, 96, (1, 600))


def assert_same(a, b):
    """Two trees of parameters are equal, number for number."""
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(np.testing.assert_array_equal, a, b)


def weights(folder):
    """{name: tensor} of a folder with one weight file."""
    return safetensors.numpy.load_file(folder / "model.safetensors")


def rewrite(folder, change):
    """Calls `change` with the tensors of `folder` and writes them back."""
    tensors = weights(folder)
    change(tensors)
    safetensors.numpy.save_file(tensors, folder / "model.safetensors")


def held(function) -> int:
    """The most bytes that Python and NumPy held while `function` ran; devices do not count."""
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
