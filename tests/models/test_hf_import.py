"""Hugging Face folders read: from transformers, spread over devices, refused by name."""

import json

import jax
import numpy as np
import pytest
import safetensors.numpy
from hf_folders import TOKENS, assert_same, held, rewrite, weights
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from glore_jax.errors import UserError
from glore_jax.models import hf_export, hf_import, hf_names, llama, reward
from glore_jax.models.model import Model
from glore_jax.parallel import mesh as meshes

# Options.


def test_options_are_those_of_the_module(folder, tiny):
    options = dict(dtype="bfloat16", remat="dots", unroll=True)
    model = hf_import.read_policy(folder, **options)
    assert model.graphdef == llama.abstract(tiny(), **options)[0]
    assert {x.dtype for x in jax.tree.leaves(model.params)} == {np.dtype("float32")}


# Spread over devices.


@pytest.mark.parametrize("module", [llama, reward])
def test_reading_onto_a_mesh(tmp_path, tiny, fresh, module):
    model = fresh(tiny(), module=module)
    save, read = {
        llama: (hf_export.save_policy, hf_import.read_policy),
        reward: (hf_export.save_reward, hf_import.read_reward_model),
    }[module]
    save(tmp_path / "model", model, "float32")
    mesh = meshes.make_mesh(data=2, fsdp=2, tensor=2)
    loaded = read(tmp_path / "model", mesh=mesh)
    assert_same(loaded.params, model.params)
    shardings = meshes.param_shardings(module.abstract(tiny())[1], mesh)
    jax.tree.map(lambda x, s: np.testing.assert_equal(x.sharding, s), loaded.params, shardings)
    save(tmp_path / "again", loaded, "float32")  # and from a mesh
    assert_same(read(tmp_path / "again").params, model.params)


def test_layers_over_devices(tmp_path, tiny, fresh):
    """Nothing in the reader assumes that a device holds every layer."""
    model = fresh(tiny(num_layers=4))
    hf_export.save_policy(tmp_path, model, "float32")
    mesh = Mesh(np.asarray(jax.devices()[:4]), "x", axis_types=(AxisType.Auto,))
    over, whole = NamedSharding(mesh, PartitionSpec("x")), NamedSharding(mesh, PartitionSpec())
    shardings = jax.tree.map(lambda x: over if x.shape[0] == 4 else whole, model.params)
    _, shapes = llama.abstract(model.config)
    assert_same(hf_import.read_weights(tmp_path, shapes, shardings), model.params)


def test_the_host_never_holds_the_model(tmp_path, tiny, fresh):
    config = tiny(num_layers=12, hidden_size=128, intermediate_size=512, head_dim=32)
    mesh = meshes.make_mesh(fsdp=4, devices=jax.devices()[:4])
    model = fresh(config)
    hf_export.save_policy(tmp_path / "model", model, "float32")
    size = 4 * model.num_params
    largest = 4 * 128 * 512
    _, shapes = llama.abstract(config)
    shardings = meshes.param_shardings(shapes, mesh)

    def read():
        hf_import.read_weights(tmp_path / "model", shapes, shardings)

    assert 4 * largest < size / 10
    read()  # compiles
    assert held(read) < 4 * largest


# From transformers.


@pytest.mark.parametrize("tie", [False, True])
def test_their_policy_loads_here(tmp_path, run, torch_logits, tie):
    transformers = pytest.importorskip("transformers")
    sizes = dict(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        vocab_size=96,
    )
    theirs = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            **sizes,
            num_key_value_heads=2,
            initializer_range=0.2,
            tie_word_embeddings=tie,
            rope_parameters={"rope_type": "default", "rope_theta": 3e4},
        )
    ).eval()
    theirs.save_pretrained(tmp_path, max_shard_size="30KB")  # several files and an index
    config = hf_import.read_config(tmp_path)
    assert config.rope_theta == 3e4 and config.tie_embeddings == tie
    graphdef, shapes = llama.abstract(config)
    ours = Model(graphdef, hf_import.read_weights(tmp_path, shapes), config, None)
    np.testing.assert_allclose(run(ours, TOKENS), torch_logits(theirs, TOKENS), atol=1e-4)


FAMILIES = {
    "mistral": dict(sliding_window=None),
    "qwen2": dict(tie_word_embeddings=True),
    "qwen3": dict(head_dim=16),
    "llama": dict(
        rope_parameters={
            "rope_type": "llama3",
            "rope_theta": 5e5,
            "factor": 4.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 128,
        }
    ),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_as_transformers_saves_it(tmp_path, run, torch_logits, family):
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    config = transformers.AutoConfig.for_model(
        family,
        vocab_size=96,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        initializer_range=0.2,
        **FAMILIES[family],
    )
    theirs = transformers.AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():  # biases and norms are drawn as 0 and 1
        for values in theirs.parameters():
            if values.ndim == 1:
                values.add_(0.3 * torch.randn(values.shape))
    theirs.save_pretrained(tmp_path)
    read = hf_import.read_config(tmp_path)
    graphdef, shapes = llama.abstract(read)
    ours = Model(graphdef, hf_import.read_weights(tmp_path, shapes), read, None)
    np.testing.assert_allclose(run(ours, TOKENS), torch_logits(theirs, TOKENS), atol=2e-4)


def test_harmless_extras_are_accepted(tmp_path, folder, tiny, fresh):
    constant = {"model.layers.0.self_attn.rotary_emb.inv_freq": np.ones(4, np.float32)}
    rewrite(folder, lambda tensors: tensors.update(constant))
    assert_same(hf_import.read_policy(folder).params, fresh(tiny()).params)
    tied = fresh(tiny(tie_embeddings=True))
    hf_export.save_policy(tmp_path / "tied", tied, "float32")
    rewrite(
        tmp_path / "tied",
        lambda tensors: tensors.update({"lm_head.weight": tensors["model.embed_tokens.weight"]}),
    )
    assert_same(hf_import.read_policy(tmp_path / "tied").params, tied.params)


# Refusals.


def refused(folder, config, *named, module=llama):
    """Reading the weights of a model of `config` fails in one line that has `named` in it."""
    _, shapes = module.abstract(config)
    with pytest.raises(UserError) as error:
        hf_import.read_weights(folder, shapes)
    for name in (str(folder), *named):
        assert name in str(error.value)
    assert "\n" not in str(error.value)


def test_no_config(tmp_path):
    with pytest.raises(UserError, match=r"nowhere/config\.json"):
        hf_import.read_config(tmp_path / "nowhere")


@pytest.mark.parametrize("content", ["{", "[1]", '{"model_type": "gpt2"}'])
def test_bad_config(folder, content):
    (folder / "config.json").write_text(content)
    with pytest.raises(UserError, match=r"config\.json"):
        hf_import.read_config(folder)


def test_no_tokenizer(folder):
    (folder / "tokenizer.json").unlink()
    with pytest.raises(UserError, match=r"tokenizer\.json"):
        hf_import.read_policy(folder)


def test_no_weights(folder, tiny):
    (folder / "model.safetensors").unlink()
    refused(folder, tiny(), "no weights")
    (folder / "pytorch_model.bin").write_text("")
    refused(folder, tiny(), "pytorch_model.bin")


def test_missing_tensor(folder, tiny):
    rewrite(folder, lambda tensors: tensors.pop("model.layers.1.mlp.up_proj.weight"))
    refused(folder, tiny(), "model.layers.1.mlp.up_proj.weight")


def test_unknown_tensor(folder, tiny):
    bias = {"model.layers.0.self_attn.q_proj.bias": np.zeros(32, np.float32)}
    rewrite(folder, lambda tensors: tensors.update(bias))
    refused(folder, tiny(), "unknown", "model.layers.0.self_attn.q_proj.bias")


def test_more_layers_than_the_config_says(folder, tiny):
    refused(folder, tiny(num_layers=1), "unknown", "model.layers.1.", "and 4 more")


def test_wrong_shape(folder, tiny):
    refused(folder, tiny(vocab_size=97), "model.embed_tokens.weight", "[96, 32]", "[97, 32]")


def test_transposed_kernel(folder, tiny):
    name = "model.layers.0.mlp.up_proj.weight"
    rewrite(folder, lambda tensors: tensors.update({name: np.ascontiguousarray(tensors[name].T)}))
    refused(folder, tiny(), name, "[32, 48]", "[48, 32]")


def test_quantised_tensor(folder, tiny):
    rewrite(folder, lambda tensors: tensors.update({"model.norm.weight": np.ones(32, np.int8)}))
    refused(folder, tiny(), "model.norm.weight", "I8")


def test_damaged_file(folder, tiny):
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    refused(folder, tiny(), "model.safetensors", "damaged")


def in_two_files(folder):
    """Divides the weights of `folder`; the names of the files and of a tensor of the second."""
    tensors = weights(folder)
    names = sorted(tensors)
    parts = {"model-1.safetensors": names[::2], "model-2.safetensors": names[1::2]}
    for file, inside in parts.items():
        safetensors.numpy.save_file({name: tensors[name] for name in inside}, folder / file)
    places = {name: file for file, inside in parts.items() for name in inside}
    (folder / hf_names.INDEX).write_text(json.dumps({"weight_map": places}))
    (folder / "model.safetensors").unlink()
    return (*parts, names[1])


def test_an_index_that_names_what_its_file_lacks(folder, tiny):
    _, second, name = in_two_files(folder)
    tensors = safetensors.numpy.load_file(folder / second)
    del tensors[name]
    safetensors.numpy.save_file(tensors, folder / second)
    refused(folder, tiny(), str(folder / second), name)


def test_a_tensor_in_two_files_is_that_of_the_index(folder, tiny, fresh):
    first, second, name = in_two_files(folder)
    tensors = safetensors.numpy.load_file(folder / first)
    wrong = np.zeros_like(safetensors.numpy.load_file(folder / second)[name])
    safetensors.numpy.save_file({**tensors, name: wrong}, folder / first)
    assert_same(hf_import.read_policy(folder).params, fresh(tiny()).params)


def test_one_file_is_taken_before_an_index(folder, tiny, fresh):
    """An index that a conversion to one file left behind."""
    left_over = {"weight_map": {"model.norm.weight": "model-1.safetensors"}}
    (folder / hf_names.INDEX).write_text(json.dumps(left_over))
    assert_same(hf_import.read_policy(folder).params, fresh(tiny()).params)


def test_a_file_that_git_has_not_fetched(folder, tiny):
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")
    refused(folder, tiny(), "model.safetensors", "git lfs pull")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("adapter_config.json", "adapter"),
        ("consolidated.00.pth", "Hugging Face form"),
        ("llama-Q4_1.gguf", "llama-Q4_1.gguf"),
    ],
)
def test_weights_in_another_form(folder, tiny, name, said):
    (folder / "model.safetensors").unlink()
    (folder / name).write_text("")
    refused(folder, tiny(), said)


def test_damaged_index(folder, tiny):
    (folder / "model.safetensors").unlink()
    (folder / hf_names.INDEX).write_text('{"metadata": {}}')
    refused(folder, tiny(), hf_names.INDEX)


def test_policy_for_reward_and_the_reverse(tmp_path, folder, tiny, fresh):
    refused(folder, tiny(), "score.weight", module=reward)
    hf_export.save_reward(tmp_path / "reward", fresh(tiny(), module=reward))
    refused(tmp_path / "reward", tiny(), "lm_head.weight")
    refused(tmp_path / "reward", tiny(tie_embeddings=True), "unknown", "score.weight")
