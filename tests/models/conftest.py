"""Tiny models, and the same models in transformers where it is installed."""

import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tokenizers
from flax import nnx

from glore_jax.models import attention, hf_export, hf_import, llama
from glore_jax.models.config import LlamaConfig, RopeScaling
from glore_jax.models.model import Model
from glore_jax.models.tokenizer import Tokenizer

LLAMA3 = RopeScaling(
    factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position=128
)


GOLDEN = pathlib.Path(__file__).parent.parent / "golden"


@pytest.fixture(scope="session")
def golden():
    """golden(name, module=llama) -> (model of the folder, content of its golden.npz)."""

    def read(name, module=llama):
        config = hf_import.read_config(GOLDEN / name)
        graphdef, shapes = module.abstract(config)
        params = hf_import.read_weights(GOLDEN / name, shapes)
        return Model(graphdef, params, config, None), np.load(GOLDEN / name / "golden.npz")

    return read


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
def fresh(tokenizer):
    """fresh(config, seed=0, module=llama, **options) -> Model.

    Drawn by NumPy, which compiles nothing; kernels are large enough for attention to be far from
    uniform, and norms differ from one, as in a trained model.
    """

    def make(config, seed=0, module=llama, **options):
        graphdef, shapes = module.abstract(config, **options)
        draw = np.random.default_rng(seed).standard_normal

        def values(path, shape):
            middle = 1 if "scale" in jax.tree_util.keystr(path) else 0
            return jnp.asarray(draw(shape.shape) * 0.2 + middle, shape.dtype)

        params = jax.tree_util.tree_map_with_path(values, shapes)
        return Model(graphdef, params, config, tokenizer)

    return make


@functools.partial(jax.jit, static_argnums=0)
def forward(graphdef, params, tokens, positions, segments):
    model = nnx.merge(graphdef, params)
    out, _ = model(tokens, positions, attention.causal(segments))
    return model.logits(out) if isinstance(model, llama.Llama) else out


@pytest.fixture(scope="session")
def run():
    """run(model, tokens [B, T], positions, segments) -> logits of a policy or reward model."""

    def call(model, tokens, positions=None, segments=None):
        tokens = jnp.asarray(tokens, jnp.int32)
        if positions is None:
            positions = jnp.broadcast_to(jnp.arange(tokens.shape[1]), tokens.shape)
        if segments is None:
            segments = jnp.ones_like(tokens)
        return forward(model.graphdef, model.params, tokens, positions, segments)

    return call


@pytest.fixture(scope="session")
def tokenizer():
    """A newline and 91 printable characters, one token each, then <s> and </s>; fits 96 words."""
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
    """logits(model, tokens [B, T]) of a transformers model; skips where it is not installed."""
    torch = pytest.importorskip("torch")

    def logits(model, tokens):
        with torch.no_grad():
            return model(torch.from_numpy(np.asarray(tokens, np.int64))).logits.numpy()

    return logits


@pytest.fixture
def in_transformers(tmp_path):
    """load(policy) -> the same weights as a LlamaForCausalLM of transformers."""
    pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")

    def load(policy):
        folder = tmp_path / "for_transformers"
        hf_export.save_policy(folder, policy, "float32")
        theirs = transformers.AutoModelForCausalLM.from_pretrained(folder)
        return theirs.eval().float()

    return load


@pytest.fixture
def folder(tmp_path, tiny, fresh):
    """The folder of a policy, as it is exported."""
    hf_export.save_policy(tmp_path / "model", fresh(tiny()), "float32")
    return tmp_path / "model"
