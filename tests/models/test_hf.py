"""Hugging Face folders: out and in again, to and from transformers, spread over devices, refused by name."""

import json
import os
import socket
import subprocess
import sys
import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from jax.sharding import NamedSharding, PartitionSpec

from glore_jax.errors import UserError
from glore_jax.models import hf, llama, reward
from glore_jax.models.config import RopeScaling
from glore_jax.models.model import Model
from glore_jax.parallel import mesh as meshes

TOKENS = np.random.default_rng(0).integers(0, 96, (1, 600))


def assert_same(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(np.testing.assert_array_equal, a, b)


def weights(folder):
    return safetensors.numpy.load_file(folder / "model.safetensors")


def rewrite(folder, change):
    tensors = weights(folder)
    change(tensors)
    safetensors.numpy.save_file(tensors, folder / "model.safetensors")


# Out and in again.


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"tie_embeddings": True},
        {"head_dim": 16, "num_kv_heads": 1},
        {"rope_scaling": RopeScaling(4.0, 1.0, 4.0, 128)},
    ],
    ids=str,
)
def test_policy_round_trip(tmp_path, tiny, fresh, tokenizer, changes):
    config = tiny(num_layers=3, **changes)
    _, params = fresh(config)
    hf.save_policy(tmp_path / "model", Model(None, params, config, tokenizer), "float32")
    assert hf.read_config(tmp_path / "model") == config
    assert_same(hf.load_policy_params(tmp_path / "model", config), params)
    assert ("lm_head.weight" in weights(tmp_path / "model")) == (not config.tie_embeddings)


def test_reward_round_trip(tmp_path, tiny, fresh, tokenizer):
    _, params = fresh(tiny(), module=reward)
    hf.save_reward(tmp_path / "model", Model(None, params, tiny(), tokenizer), "float32")
    assert hf.read_config(tmp_path / "model") == tiny()
    assert_same(hf.load_reward_params(tmp_path / "model", tiny()), params)
    stored = weights(tmp_path / "model")
    assert stored["score.weight"].shape == (1, 32) and stored["score.bias"].shape == (1,)
    assert not any(name.startswith("lm_head") for name in stored)


def test_kernels_are_stored_out_by_in_layer_by_layer(tmp_path, tiny, fresh, tokenizer):
    _, params = fresh(tiny())
    hf.save_policy(tmp_path, Model(None, params, tiny(), tokenizer), "float32")
    gate = params["layers"]["mlp"]["gate"][...]
    np.testing.assert_array_equal(
        weights(tmp_path)["model.layers.1.mlp.gate_proj.weight"], gate[1].T
    )


def test_bfloat16_on_disk_and_in_memory(tmp_path, tiny, fresh, tokenizer):
    _, params = fresh(tiny())
    hf.save_policy(tmp_path, Model(None, params, tiny(), tokenizer))
    assert json.loads((tmp_path / "config.json").read_text())["torch_dtype"] == "bfloat16"
    rounded = jax.tree.map(lambda x: x.astype(jnp.bfloat16), params)
    assert_same(hf.load_policy_params(tmp_path, tiny(), jnp.bfloat16), rounded)
    assert_same(
        hf.load_policy_params(tmp_path, tiny()),
        jax.tree.map(lambda x: x.astype(jnp.float32), rounded),
    )


def test_many_files_with_an_index(tmp_path, tiny, fresh, tokenizer, monkeypatch):
    _, params = fresh(tiny())
    monkeypatch.setattr(hf, "_FILE_BYTES", 20_000)
    hf.save_policy(tmp_path, Model(None, params, tiny(), tokenizer), "float32")
    files = sorted(f.name for f in tmp_path.glob("*.safetensors"))
    assert len(files) > 2 and files[0] == f"model-00001-of-{len(files):05d}.safetensors"
    index = json.loads((tmp_path / hf.INDEX).read_text())
    assert index["metadata"]["total_size"] == 4 * sum(x.size for x in jax.tree.leaves(params))
    assert set(index["weight_map"].values()) == set(files)
    assert_same(hf.load_policy_params(tmp_path, tiny()), params)
    (tmp_path / files[1]).unlink()
    with pytest.raises(UserError, match=files[1]):
        hf.load_policy_params(tmp_path, tiny())


def test_config_names_the_special_tokens(tmp_path, tiny, fresh, tokenizer):
    hf.save_policy(tmp_path, Model(None, fresh(tiny())[1], tiny(), tokenizer))
    config = json.loads((tmp_path / "config.json").read_text())
    assert (config["bos_token_id"], config["eos_token_id"]) == (tokenizer.bos_id, tokenizer.eos_id)
    assert "pad_token_id" not in config  # it is the end of text, which must keep its embedding


@pytest.mark.parametrize("module", [llama, reward])
def test_loading_onto_a_mesh(tmp_path, tiny, fresh, tokenizer, module):
    config = tiny()
    _, params = fresh(config, module=module)
    save, load = (
        (hf.save_policy, hf.load_policy_params)
        if module is llama
        else (hf.save_reward, hf.load_reward_params)
    )
    save(tmp_path, config, params, tokenizer, "float32")
    shardings = meshes.param_shardings(
        module.abstract(config)[1], meshes.make_mesh(data=2, fsdp=2, tensor=2)
    )
    loaded = load(tmp_path, config, shardings=shardings)
    assert_same(loaded, params)
    jax.tree.map(lambda x, s: np.testing.assert_equal(x.sharding, s), loaded, shardings)
    save(tmp_path / "again", config, loaded, tokenizer, "float32")  # and from a mesh
    assert_same(load(tmp_path / "again", config), params)


def test_layers_over_devices(tmp_path, tiny, fresh, tokenizer):
    """Nothing in the reader assumes that a device holds every layer."""
    config = tiny(num_layers=4)
    _, params = fresh(config)
    hf.save_policy(tmp_path, Model(None, params, config, tokenizer), "float32")
    mesh = jax.make_mesh((4,), ("x",), devices=jax.devices()[:4])
    over, whole = NamedSharding(mesh, PartitionSpec("x")), NamedSharding(mesh, PartitionSpec())
    shardings = jax.tree.map(lambda x: over if x.shape[0] == 4 else whole, params)
    assert_same(hf.load_policy_params(tmp_path, config, shardings=shardings), params)


def held(function) -> int:
    """The most bytes that Python and NumPy held while `function` ran; arrays on devices do not count."""
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_the_host_never_holds_the_model(tmp_path, tiny, fresh, tokenizer):
    config = tiny(num_layers=12, hidden_size=128, intermediate_size=512, head_dim=32)
    _, params = fresh(config)
    shardings = meshes.param_shardings(
        llama.abstract(config)[1], meshes.make_mesh(fsdp=4, devices=jax.devices()[:4])
    )
    params = jax.device_put(params, shardings)
    size = 4 * sum(x.size for x in jax.tree.leaves(params))
    largest = 4 * 128 * 512

    def write():
        hf.save_policy(tmp_path / "model", Model(None, params, config, tokenizer), "float32")

    def read():
        hf.load_policy_params(tmp_path / "model", config, shardings=shardings)

    assert 4 * largest < size / 10
    for function in (write, read):
        function()  # compiles
        assert held(function) < 4 * largest


# With transformers, both ways.


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
    config = hf.read_config(tmp_path)
    assert config.rope_theta == 3e4 and config.tie_embeddings == tie
    logits = run(llama.abstract(config)[0], hf.load_policy_params(tmp_path, config), TOKENS)
    np.testing.assert_allclose(logits, torch_logits(theirs, TOKENS), atol=1e-4)


def test_our_policy_loads_there(tiny, fresh, run, in_transformers, torch_logits):
    config = tiny(rope_theta=3e4, head_dim=16)
    graphdef, params = fresh(config)
    theirs = in_transformers(config, params)
    np.testing.assert_allclose(
        torch_logits(theirs, TOKENS), run(graphdef, params, TOKENS), atol=1e-4
    )


def test_our_reward_model_loads_there_and_theirs_here(
    tmp_path, tiny, fresh, run, tokenizer, torch_logits
):
    transformers = pytest.importorskip("transformers")
    graphdef, params = fresh(tiny(), module=reward)
    hf.save_reward(tmp_path / "ours", Model(None, params, tiny(), tokenizer), "float32")
    theirs = transformers.AutoModelForTokenClassification.from_pretrained(tmp_path / "ours").eval()
    logits = run(graphdef, params, TOKENS)
    np.testing.assert_allclose(torch_logits(theirs, TOKENS)[..., 0], logits, atol=1e-4)
    theirs.save_pretrained(tmp_path / "theirs")
    config = hf.read_config(tmp_path / "theirs")
    assert config == tiny()
    assert_same(hf.load_reward_params(tmp_path / "theirs", config), params)


# Refusals.


@pytest.fixture
def folder(tmp_path, tiny, fresh, tokenizer):
    hf.save_policy(tmp_path / "model", Model(None, fresh(tiny())[1], tiny(), tokenizer), "float32")
    return tmp_path / "model"


def refused(folder, config, *named, load=hf.load_policy_params):
    with pytest.raises(UserError) as error:
        load(folder, config)
    for name in (str(folder), *named):
        assert name in str(error.value)
    assert "\n" not in str(error.value)


def test_no_config(tmp_path):
    with pytest.raises(UserError, match=r"nowhere/config\.json"):
        hf.read_config(tmp_path / "nowhere")


@pytest.mark.parametrize("content", ["{", "[1]", '{"model_type": "gpt2"}'])
def test_bad_config(folder, content):
    (folder / "config.json").write_text(content)
    with pytest.raises(UserError, match=r"config\.json"):
        hf.read_config(folder)


def test_no_weights(folder, tiny):
    (folder / "model.safetensors").unlink()
    refused(folder, tiny(), "no weights")
    (folder / "pytorch_model.bin").write_text("")
    refused(folder, tiny(), "pytorch_model.bin")


def test_missing_tensor(folder, tiny):
    rewrite(folder, lambda tensors: tensors.pop("model.layers.1.mlp.up_proj.weight"))
    refused(folder, tiny(), "model.layers.1.mlp.up_proj.weight")


def test_unknown_tensor(folder, tiny):
    rewrite(
        folder,
        lambda tensors: tensors.update(
            {"model.layers.0.self_attn.q_proj.bias": np.zeros(32, np.float32)}
        ),
    )
    refused(folder, tiny(), "unknown", "model.layers.0.self_attn.q_proj.bias")


def test_more_layers_than_the_config_says(folder, tiny):
    refused(folder, tiny(num_layers=1), "unknown", "model.layers.1.", "and 4 more")


def test_wrong_shape(folder, tiny):
    refused(folder, tiny(vocab_size=97), "lm_head.weight", "[96, 32]", "[97, 32]")


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


def test_damaged_index(folder, tiny):
    (folder / hf.INDEX).write_text('{"metadata": {}}')
    refused(folder, tiny(), hf.INDEX)


def test_policy_for_reward_and_the_reverse(tmp_path, folder, tiny, fresh, tokenizer):
    refused(folder, tiny(), "score.weight", load=hf.load_reward_params)
    hf.save_reward(
        tmp_path / "reward", Model(None, fresh(tiny(), module=reward)[1], tiny(), tokenizer)
    )
    refused(tmp_path / "reward", tiny(), "lm_head.weight")
    refused(tmp_path / "reward", tiny(tie_embeddings=True), "unknown", "score.weight")


def test_harmless_extras_are_accepted(tmp_path, folder, tiny, fresh, tokenizer):
    rewrite(
        folder,
        lambda t: t.update(
            {"model.layers.0.self_attn.rotary_emb.inv_freq": np.ones(4, np.float32)}
        ),
    )
    assert_same(hf.load_policy_params(folder, tiny()), fresh(tiny())[1])
    tied = tiny(tie_embeddings=True)
    hf.save_policy(tmp_path / "tied", Model(None, fresh(tied)[1], tied, tokenizer), "float32")
    rewrite(
        tmp_path / "tied", lambda t: t.update({"lm_head.weight": t["model.embed_tokens.weight"]})
    )
    assert_same(hf.load_policy_params(tmp_path / "tied", tied), fresh(tied)[1])


def test_unknown_dtype(tmp_path, tiny, fresh, tokenizer):
    with pytest.raises(ValueError, match="int8"):
        hf.save_policy(tmp_path, Model(None, fresh(tiny())[1], tiny(), tokenizer), "int8")


# Atomic.


def test_saving_replaces_the_whole_folder(folder, tiny, fresh, tokenizer):
    (folder / "left-over.txt").write_text("from the old model")
    _, params = fresh(tiny(), seed=1)
    hf.save_policy(folder, Model(None, params, tiny(), tokenizer), "float32")
    assert not (folder / "left-over.txt").exists()
    assert_same(hf.load_policy_params(folder, tiny()), params)
    assert [f.name for f in folder.parent.iterdir()] == ["model"]


def test_a_failed_save_leaves_the_old_folder(folder, tiny, fresh, tokenizer, monkeypatch):
    monkeypatch.setattr(hf, "open", lambda *_: open("/dev/full", "wb"), raising=False)
    with pytest.raises(UserError, match="No space left") as error:
        hf.save_policy(folder, Model(None, fresh(tiny(), seed=1)[1], tiny(), tokenizer))
    assert str(folder) in str(error.value)
    assert_same(hf.load_policy_params(folder, tiny()), fresh(tiny())[1])
    assert [f.name for f in folder.parent.iterdir()] == ["model"]


def test_object_store(tmp_path, folder, tiny, fresh, tokenizer, monkeypatch):
    """gs:// through fsspec, here over a local folder: config.json goes last, files are fetched to read."""
    fsspec = pytest.importorskip("fsspec")
    local = pytest.importorskip("fsspec.implementations.local")
    written, bucket = [], tmp_path / "bucket"

    class FakeStore(local.LocalFileSystem):
        protocol = ("gs", "gcs")
        cachable = False

        @classmethod
        def _strip_protocol(cls, path, **_):
            path = str(path)
            return str(bucket / path.removeprefix("gs://")) if path.startswith("gs://") else path

        def _open(self, path, mode="rb", **options):
            if "w" in mode:
                written.append(path.rsplit("/", 1)[-1])
            return super()._open(path, mode, **options)

    monkeypatch.setattr(fsspec, "filesystem", lambda name, **_: FakeStore())
    monkeypatch.setattr(hf, "_FILE_BYTES", 20_000)
    bucket.mkdir()
    _, params = fresh(tiny())
    hf.save_policy("gs://models/base", Model(None, params, tiny(), tokenizer), "float32")
    assert written[-1] == "config.json" and len(written) > 5
    assert (bucket / "models" / "base" / "config.json").exists()
    assert hf.read_config("gs://models/base") == tiny()
    assert_same(hf.load_policy_params("gs://models/base", tiny()), params)


# Several processes.

WORKER = """
import sys, jax, jax.numpy as jnp
rank, port, folder = int(sys.argv[1]), sys.argv[2], sys.argv[3]
jax.distributed.initialize(f"127.0.0.1:{port}", num_processes=2, process_id=rank, initialization_timeout=60)
from glore_jax.models import hf, llama
from glore_jax.models.model import Model
from glore_jax.models.tokenizer import Tokenizer
from glore_jax.parallel import mesh as meshes
config = hf.read_config(folder)
shardings = meshes.param_shardings(llama.abstract(config)[1], meshes.make_mesh(fsdp=2, tensor=1))
params = hf.load_policy_params(folder, config, shardings=shardings)
assert not params["embedding"][...].is_fully_addressable
hf.save_policy(folder + "-again", Model(None, params, config, Tokenizer.load(folder)), "float32")
"""


def test_two_processes_read_their_parts_and_one_writes(folder, tiny, fresh):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=1"}
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(rank), str(port), str(folder)],
            env=env,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        errors = [worker.communicate(timeout=300)[1] for worker in workers]
    finally:
        for worker in workers:
            worker.kill()  # not terminate: jax.distributed catches SIGTERM
    assert [worker.returncode for worker in workers] == [0, 0], "\n".join(errors)
    assert_same(hf.load_policy_params(f"{folder}-again", tiny()), fresh(tiny())[1])
    assert sorted(f.name for f in folder.parent.iterdir()) == ["model", "model-again"]


# One more token.


@pytest.mark.parametrize("tie", [False, True])
def test_grow_vocab(tiny, fresh, run, tie):
    config = tiny(tie_embeddings=tie)
    graphdef, params = fresh(config)
    grown, larger = hf.grow_vocab(params, config, 98)
    assert larger.vocab_size == 98
    new_graphdef, shapes = llama.abstract(larger)
    assert jax.tree.structure(grown) == jax.tree.structure(shapes)
    assert [x.shape for x in jax.tree.leaves(grown)] == [x.shape for x in jax.tree.leaves(shapes)]
    old_rows, rows = params["embedding"][...], grown["embedding"][...]
    np.testing.assert_array_equal(rows[:96], old_rows)
    np.testing.assert_allclose(rows[96:], np.stack([old_rows.mean(0)] * 2), rtol=1e-5)
    before, after = run(graphdef, params, TOKENS), run(new_graphdef, grown, TOKENS)
    np.testing.assert_allclose(after[..., :96], before, atol=1e-5)
    np.testing.assert_allclose(after[..., 97], before.mean(-1), atol=1e-5)  # an average logit
    assert params["embedding"][...].shape == (96, 32)  # the old ones are untouched


def test_grow_vocab_bounds(tiny, fresh):
    _, params = fresh(tiny())
    assert hf.grow_vocab(params, tiny(), 96) == (params, tiny())
    with pytest.raises(ValueError, match="96"):
        hf.grow_vocab(params, tiny(), 95)
