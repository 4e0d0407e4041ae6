"""A policy and a tokenizer small enough for the tests of sampling, training and stages."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from glore_jax.models import attention, llama
from glore_jax.models.config import LlamaConfig
from glore_jax.models.model import Model

# Fewer key/value heads than heads, and more rows in the embedding than the tokenizer has ids.
CONFIG = LlamaConfig(
    vocab_size=64,
    hidden_size=32,
    intermediate_size=48,
    num_layers=2,
    num_heads=4,
    num_kv_heads=2,
    head_dim=8,
    max_positions=160,
)


class Characters:
    """One token a character; ids 0 to 2 are begin, end and [BAD]."""

    alphabet = "\n 0123456789+-*/=#<>[]?:.,abcdefghijklmnopqrstuvwxyzABCD"
    bos_id, eos_id, pad_id, bad_id = 0, 1, 1, 2
    vocab_size = 3 + len(alphabet)

    def encode(self, text: str) -> list[int]:
        return [3 + self.alphabet.index(c) for c in text]

    def begun(self, text: str) -> list[int]:
        return [self.bos_id, *self.encode(text)]

    def decode(self, ids) -> str:
        return "".join("[BAD]" if i == self.bad_id else self.alphabet[i - 3] for i in ids if i > 1)


assert Characters.vocab_size < CONFIG.vocab_size


def fresh(config=CONFIG, seed=0, module=llama, **options):
    """(graphdef, params) drawn by NumPy, which compiles nothing.

    Kernels are large, so that what a token sees matters.
    """
    graphdef, shapes = module.abstract(config, **options)
    draw = np.random.default_rng(seed).standard_normal

    def values(path, shape):
        middle = 1 if "scale" in jax.tree_util.keystr(path) else 0
        return jnp.asarray(draw(shape.shape) * 0.25 + middle, shape.dtype)

    return graphdef, jax.tree_util.tree_map_with_path(values, shapes)


def model(config=CONFIG, seed=0, module=llama, tokenizer=None, **options) -> Model:
    """`fresh` as a whole model, with `Characters` for a tokenizer."""
    return Model(*fresh(config, seed, module, **options), config, tokenizer or Characters())


@functools.partial(jax.jit, static_argnums=0)
def forward(graphdef, params, tokens, prefix=None, solution=None):
    """Logits float32 [B, T, ...] of whole rows of a policy or a reward model.

    `prefix` bool [B, T] sees both ways; `solution` counts for a reward model with likelihood.
    """
    model = nnx.merge(graphdef, params)
    positions = jnp.broadcast_to(jnp.arange(tokens.shape[1]), tokens.shape)
    attend = attention.causal(jnp.ones_like(tokens), prefix_mask=prefix)
    if isinstance(model, llama.Llama):
        return model.logits(model(tokens, positions, attend)[0])
    return model(tokens, positions, attend, solution=solution)[0]
