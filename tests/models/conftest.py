"""Tiny models, and the same models in transformers where it is installed."""

import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tokenizers
from flax import nnx

from glore_jax.models import attention, hf, llama
from glore_jax.models.config import LlamaConfig, RopeScaling
from glore_jax.models.model import Model
from glore_jax.models.tokenizer import Tokenizer

LLAMA3 = RopeScaling(
    factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position=128
)


@pytest.fixture(scope="session")
def golden():
    return pathlib.Path(__file__).parent.parent / "golden"


@pytest.fixture(scope="session")
def tiny():
    """make(**changes) -> LlamaConfig: 2 layers, hidden 32."""

    def make(**changes):
        sizes = dict(
            vocab_size=96,
            hidden_size=32,
            intermediate_size=48,
            num_layers=2,
            num_heads=4,
            num_kv_heads=2,
            head_dim=8,
            max_positions=1024,
        )
        return LlamaConfig(**{**sizes, **changes})

    return make


@pytest.fixture(scope="session")
def llama3_scaling():
    return LLAMA3


@pytest.fixture(scope="session")
def fresh():
    """fresh(config, seed=0, module=llama, **options) -> (graphdef, params).

    Drawn by NumPy, which compiles nothing; kernels are large enough for attention to be far from uniform, and
    norms differ from one, as in a trained model.
    """

    def make(config, seed=0, module=llama, **options):
        graphdef, shapes = module.abstract(config, **options)
        draw = np.random.default_rng(seed).standard_normal

        def values(path, shape):
            value = draw(shape.shape) * 0.2 + (1 if "scale" in jax.tree_util.keystr(path) else 0)
            return jnp.asarray(value, shape.dtype)

        return graphdef, jax.tree_util.tree_map_with_path(values, shapes)

    return make


@functools.partial(jax.jit, static_argnums=0)
def forward(graphdef, params, tokens, positions, segments):
    model = nnx.merge(graphdef, params)
    out, _ = model(tokens, positions, attention.causal(segments))
    return model.logits(out) if isinstance(model, llama.Llama) else out


@pytest.fixture(scope="session")
def run():
    """run(graphdef, params, tokens [B, T], positions, segments) -> logits of a policy or reward model."""

    def call(graphdef, params, tokens, positions=None, segments=None):
        tokens = jnp.asarray(tokens, jnp.int32)
        if positions is None:
            positions = jnp.broadcast_to(jnp.arange(tokens.shape[1]), tokens.shape)
        return forward(
            graphdef,
            params,
            tokens,
            positions,
            jnp.ones_like(tokens) if segments is None else segments,
        )

    return call


@pytest.fixture(scope="session")
def tokenizer():
    """A newline and 91 printable characters, one token each, then <s> and </s>: fits a vocabulary of 96."""
    alphabet = ["\n", *map(chr, range(32, 32 + 91))]
    backend = tokenizers.Tokenizer(
        tokenizers.models.BPE({c: i for i, c in enumerate(alphabet)}, [])
    )
    backend.pre_tokenizer = tokenizers.pre_tokenizers.Split(tokenizers.Regex("."), "isolated")
    backend.decoder = tokenizers.decoders.Fuse()
    backend.add_special_tokens(["<s>", "</s>"])
    return Tokenizer(backend, bos_id=92, eos_id=93)


@pytest.fixture
def torch_logits():
    """logits(model, tokens [B, T]) of a transformers model; skips the test where it is not installed."""
    torch = pytest.importorskip("torch")

    def logits(model, tokens):
        with torch.no_grad():
            return model(torch.from_numpy(np.asarray(tokens, np.int64))).logits.numpy()

    return logits


@pytest.fixture
def in_transformers(tmp_path, tokenizer):
    """load(config, params) -> the same weights as a LlamaForCausalLM of transformers."""
    pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")

    def load(config, params):
        hf.save_policy(
            tmp_path / "for_transformers", Model(None, params, config, tokenizer), "float32"
        )
        return (
            transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "for_transformers")
            .eval()
            .float()
        )

    return load
