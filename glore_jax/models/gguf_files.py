"""GGUF files of llama.cpp: a LLaMA's sizes, tokenizer and weights in one file on a disk.

The library `gguf` says what lies where; its NumPy code turns the blocks of a quantised tensor into
numbers. llama.cpp turns neighbours into pairs where Hugging Face turns halves (`rope.py`), so the
rows of q and k lie in another order:

    of a head of width C, row     0   1        2   3            ...
    is Hugging Face's row         0   C/2      1   C/2 + 1      ...
"""

import dataclasses
import functools
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from etils import epath

from glore_jax import storage
from glore_jax.errors import UserError
from glore_jax.models import gguf_tokenizer, rope
from glore_jax.models.config import LlamaConfig, RopeScaling
from glore_jax.models.weight_files import PLAIN, Encoding, Stored

# llama.cpp's name of a tensor -> Hugging Face's.
_NAMES = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
    "attn_norm.weight": "input_layernorm.weight",
    "attn_q.weight": "self_attn.q_proj.weight",
    "attn_k.weight": "self_attn.k_proj.weight",
    "attn_v.weight": "self_attn.v_proj.weight",
    "attn_output.weight": "self_attn.o_proj.weight",
    "ffn_norm.weight": "post_attention_layernorm.weight",
    "ffn_gate.weight": "mlp.gate_proj.weight",
    "ffn_up.weight": "mlp.up_proj.weight",
    "ffn_down.weight": "mlp.down_proj.weight",
}
_IN_LAYER = re.compile(r"blk\.(?P<layer>\d+)\.(?P<name>.+)")
_TURNED = {"attn_q.weight": "num_heads", "attn_k.weight": "num_kv_heads"}

# A file has the frequencies that a scaling makes, not the scaling. Those that models have:
_FREQUENCIES = "rope_freqs.weight"
_SCALINGS = (
    RopeScaling(8.0, 1.0, 4.0, 8192),  # LLaMA 3.1
    RopeScaling(32.0, 1.0, 4.0, 8192),  # LLaMA 3.2
)

# Our field -> key of a LLaMA's metadata.
_SIZES = {
    "hidden_size": "embedding_length",
    "intermediate_size": "feed_forward_length",
    "num_layers": "block_count",
    "num_heads": "attention.head_count",
    "max_positions": "context_length",
}


@dataclasses.dataclass(frozen=True)
class Blocks:
    """Numbers in blocks of equal size, quantised in one of llama.cpp's ways.

    Attributes:
      kind: `gguf.GGMLQuantizationType`.
      numbers, bytes: of one block.
    """

    kind: Any
    numbers: int
    bytes: int
    numpy_dtype: np.dtype = np.dtype("float32")

    def bytes_of(self, width: int) -> int:
        return width // self.numbers * self.bytes

    def decode(self, raw: np.ndarray) -> np.ndarray:
        return _library().quants.dequantize(raw, self.kind)


def is_one(source: epath.PathLike) -> bool:
    """Whether `source` is a GGUF file, by its name."""
    return os.fspath(source).endswith(".gguf")


def read_config(file: epath.Path) -> LlamaConfig:
    """The sizes in the metadata of `file`.

    Raises:
      UserError: the file cannot be read, or is not a LLaMA that we compute.
    """
    reader = _reader(file)
    try:
        return _config(reader)
    except UserError as error:
        raise UserError(f"{file}: {error}") from None


def tensors(file: epath.Path) -> list[Stored]:
    """The tensors of `file` under Hugging Face's names, as they lie there. Errors as above."""
    config = read_config(file)
    found = [_stored(file, config, tensor) for tensor in _reader(file).tensors]
    return sorted((s for s in found if s.name != _FREQUENCIES), key=lambda stored: stored.start)


def read_tokenizer(file: epath.Path) -> Any:
    """The tokenizer of `file` as one of transformers' own.

    UserError if the file cannot be read, or its tokenizer is of a kind that is not known.
    """
    values = _Values(_reader(file))
    try:
        return gguf_tokenizer.from_values(values)
    except UserError as error:
        raise UserError(f"{file}: {error}") from None


def _config(reader: Any) -> LlamaConfig:
    values = _Values(reader)
    family = values.get("general.architecture")
    if family != "llama":
        raise UserError(f"a GGUF file of architecture {family!r}; only 'llama' is supported")
    of_model = {key[6:]: values[key] for key in values if key.startswith("llama.")}
    for key in ("expert_count", "rope.scaling.factor"):
        if of_model.get(key):
            raise UserError(f"llama.{key}={of_model[key]!r} is not supported")
    if values.get("split.count", 1) > 1:
        raise UserError("one of several parts; join them with llama-gguf-split --merge")
    known = {tensor.name: tensor for tensor in reader.tensors}
    for name in ("token_embd.weight", "blk.0.attn_q.weight"):
        if name not in known:
            raise UserError(f"has no tensor {name}")
    sizes = {field: _value(of_model, key) for field, key in _SIZES.items()}
    width = int(known["blk.0.attn_q.weight"].shape[1]) // sizes["num_heads"]
    if of_model.get("rope.dimension_count", width) != width:
        raise UserError("only a part of each head turns, which is not supported")
    config = LlamaConfig(
        **sizes,
        vocab_size=int(known["token_embd.weight"].shape[1]),
        num_kv_heads=of_model.get("attention.head_count_kv", sizes["num_heads"]),
        head_dim=width,
        rope_theta=of_model.get("rope.freq_base", 10000.0),
        rms_norm_eps=_short(_value(of_model, "attention.layer_norm_rms_epsilon")),
        tie_embeddings="output.weight" not in known,
    )
    if _FREQUENCIES not in known:
        return config
    return _scaled(config, np.asarray(known[_FREQUENCIES].data, np.float32))


def _value(of_model: dict[str, Any], key: str) -> Any:
    if isinstance(of_model.get(key), list | None):
        raise UserError(f"llama.{key} is {of_model.get(key)!r}: must be one number")
    return of_model[key]


def _short(value: Any) -> Any:
    """A float32 as it was written: 1e-5, not 9.999999747378752e-06."""
    return float(f"{value:.7g}") if isinstance(value, float) else value


def _scaled(config: LlamaConfig, slower: np.ndarray) -> LlamaConfig:
    """The config with the scaling that makes the frequencies slower, each by so many times."""
    for scaling in _SCALINGS:
        scaled = dataclasses.replace(config, rope_scaling=scaling)
        ratio = rope.frequencies(config) / rope.frequencies(scaled)
        if ratio.shape == slower.shape and np.allclose(ratio, slower, rtol=1e-3):
            return scaled
    raise UserError(f"{_FREQUENCIES} is of no scaling of positions that is known")


def _stored(file: epath.Path, config: LlamaConfig, tensor: Any) -> Stored:
    match = _IN_LAYER.fullmatch(tensor.name)
    inner = match["name"] if match else tensor.name
    name = _NAMES.get(inner, inner)
    heads = _TURNED.get(inner)
    return Stored(
        file,
        f"model.layers.{match['layer']}.{name}" if match else name,
        tensor.tensor_type.name,
        tuple(int(size) for size in reversed(tensor.shape)),
        int(tensor.data_offset),
        _encoding(tensor),
        getattr(config, heads) if heads else 0,
    )


def _encoding(tensor: Any) -> Encoding | None:
    """How its numbers are written; None if the library cannot read them."""
    kind = tensor.tensor_type
    if kind.name in PLAIN:
        return PLAIN[kind.name]
    numbers, size = _library().constants.GGML_QUANT_SIZES[kind]
    blocks = Blocks(kind, numbers, size)
    try:
        blocks.decode(np.zeros((1, size), np.uint8))
    except NotImplementedError:
        return None
    return blocks if len(tensor.shape) > 1 else None


class _Values(Mapping[str, Any]):
    """The metadata of a file by key, each made a number, a text or a list when it is asked for."""

    def __init__(self, reader: Any):
        self._fields = reader.fields

    def __getitem__(self, key: str) -> Any:
        return self._fields[key].contents()

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)


def _reader(file: epath.Path) -> Any:
    """`gguf.GGUFReader` of a file. UserError if it cannot be read."""
    if storage.is_remote(file):
        raise UserError(f"{file}: a GGUF file is read from a disk: copy it to one")
    if not storage.exists(file):
        raise UserError(f"{file}: no such file")
    return _opened(os.fspath(file), file.stat().mtime)


@functools.lru_cache(maxsize=1)
def _opened(file: str, changed: int | float | None) -> Any:
    library = _library()
    try:
        return library.GGUFReader(file)
    except Exception as error:  # of many kinds, for a file that is none or is cut off
        raise UserError(f"{file}: not a whole GGUF file ({error}); download it again") from error


def _library() -> Any:
    try:
        import gguf
    except ImportError:
        raise UserError("GGUF files are read by a library: pip install 'glore-jax[gguf]'") from None
    return gguf
