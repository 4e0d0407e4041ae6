"""Hugging Face folders written: read again, in transformers, as a whole or not at all."""

import errno
import json
import os
import subprocess
import sys

import bucket as buckets
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hf_folders import TOKENS, assert_same, held, weights

from glore_jax.errors import UserError
from glore_jax.models import hf_export, hf_import, hf_names, reward, weight_files
from glore_jax.models.config import RopeScaling
from glore_jax.parallel import mesh as meshes
from glore_jax.parallel.lifeline import free_port

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
def test_policy_round_trip(tmp_path, tiny, fresh, changes):
    config = tiny(num_layers=3, **changes)
    model = fresh(config)
    hf_export.save_policy(tmp_path / "model", model, "float32")
    again = hf_import.read_policy(tmp_path / "model")
    assert again.config == config and again.graphdef == model.graphdef
    assert again.tokenizer.encode("a b") == model.tokenizer.encode("a b")
    assert_same(again.params, model.params)
    assert ("lm_head.weight" in weights(tmp_path / "model")) == (not config.tie_embeddings)


def test_reward_round_trip(tmp_path, tiny, fresh):
    model = fresh(tiny(), module=reward)
    hf_export.save_reward(tmp_path / "model", model, "float32")
    again = hf_import.read_reward_model(tmp_path / "model")
    assert again.config == tiny() and again.graphdef == model.graphdef
    assert_same(again.params, model.params)
    stored = weights(tmp_path / "model")
    assert stored["score.weight"].shape == (1, 32) and stored["score.bias"].shape == (1,)
    assert not any(name.startswith("lm_head") for name in stored)


def test_kernels_are_stored_out_by_in_layer_by_layer(folder, tiny, fresh):
    gate = fresh(tiny()).params["layers"]["mlp"]["gate"][...]
    stored = weights(folder)["model.layers.1.mlp.gate_proj.weight"]
    np.testing.assert_array_equal(stored, gate[1].T)


def test_bfloat16_on_disk_and_in_memory(tmp_path, tiny, fresh):
    model = fresh(tiny())
    hf_export.save_policy(tmp_path, model)
    assert json.loads((tmp_path / "config.json").read_text())["torch_dtype"] == "bfloat16"
    rounded = jax.tree.map(lambda x: x.astype(jnp.bfloat16), model.params)
    assert_same(hf_import.read_policy(tmp_path, param_dtype=jnp.bfloat16).params, rounded)
    widened = jax.tree.map(lambda x: x.astype(jnp.float32), rounded)
    assert_same(hf_import.read_policy(tmp_path).params, widened)


def test_many_files_with_an_index(tmp_path, tiny, fresh, monkeypatch):
    model = fresh(tiny())
    monkeypatch.setattr(hf_export, "_FILE_BYTES", 20_000)
    hf_export.save_policy(tmp_path, model, "float32")
    files = sorted(f.name for f in tmp_path.glob("*.safetensors"))
    assert len(files) > 2 and files[0] == f"model-00001-of-{len(files):05d}.safetensors"
    index = json.loads((tmp_path / hf_names.INDEX).read_text())
    assert index["metadata"]["total_size"] == 4 * model.num_params
    assert set(index["weight_map"].values()) == set(files)
    assert_same(hf_import.read_policy(tmp_path).params, model.params)
    (tmp_path / files[1]).unlink()
    with pytest.raises(UserError, match=files[1]):
        hf_import.read_policy(tmp_path)


def test_config_names_the_special_tokens(tmp_path, tiny, fresh, tokenizer):
    hf_export.save_policy(tmp_path, fresh(tiny()))
    config = json.loads((tmp_path / "config.json").read_text())
    assert (config["bos_token_id"], config["eos_token_id"]) == (tokenizer.bos_id, tokenizer.eos_id)
    assert "pad_token_id" not in config  # it is the end of text, which must keep its embedding


def test_unknown_dtype(tmp_path, tiny, fresh):
    with pytest.raises(ValueError, match="int8"):
        hf_export.save_policy(tmp_path, fresh(tiny()), "int8")


def test_the_host_never_holds_the_model(tmp_path, tiny, fresh):
    config = tiny(num_layers=12, hidden_size=128, intermediate_size=512, head_dim=32)
    mesh = meshes.make_mesh(fsdp=4, devices=jax.devices()[:4])
    model = fresh(config).on(mesh)
    size = 4 * model.num_params
    largest = 4 * 128 * 512

    def write():
        hf_export.save_policy(tmp_path / "model", model, "float32")

    assert 4 * largest < size / 10
    write()  # compiles
    assert held(write) < 4 * largest


# With transformers.


def test_our_policy_loads_there(tiny, fresh, run, in_transformers, torch_logits):
    model = fresh(tiny(rope_theta=3e4, head_dim=16))
    theirs = in_transformers(model)
    np.testing.assert_allclose(torch_logits(theirs, TOKENS), run(model, TOKENS), atol=1e-4)


def test_our_reward_model_loads_there_and_theirs_here(tmp_path, tiny, fresh, run, torch_logits):
    transformers = pytest.importorskip("transformers")
    model = fresh(tiny(), module=reward)
    hf_export.save_reward(tmp_path / "ours", model, "float32")
    theirs = transformers.AutoModelForTokenClassification.from_pretrained(tmp_path / "ours").eval()
    logits = run(model, TOKENS)
    np.testing.assert_allclose(torch_logits(theirs, TOKENS)[..., 0], logits, atol=1e-4)
    theirs.save_pretrained(tmp_path / "theirs")
    assert hf_import.read_config(tmp_path / "theirs") == tiny()
    _, shapes = reward.abstract(tiny())
    assert_same(hf_import.read_weights(tmp_path / "theirs", shapes), model.params)


# As a whole or not at all.


def test_saving_replaces_the_whole_folder(folder, tiny, fresh):
    (folder / "left-over.txt").write_text("from the old model")
    model = fresh(tiny(), seed=1)
    hf_export.save_policy(folder, model, "float32")
    assert not (folder / "left-over.txt").exists()
    assert_same(hf_import.read_policy(folder).params, model.params)
    assert [f.name for f in folder.parent.iterdir()] == ["model"]


def test_a_failed_save_leaves_the_old_folder(folder, tiny, fresh, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(UserError, match="No space left") as error:
            hf_export.save_policy(folder, fresh(tiny(), seed=1))
    assert str(folder.parent) in str(error.value)
    assert_same(hf_import.read_policy(folder).params, fresh(tiny()).params)
    assert [f.name for f in folder.parent.iterdir()] == ["model"]


# In a bucket.


def test_a_bucket_gets_the_files_of_a_disk(bucket, tmp_path, tiny, fresh, monkeypatch):
    monkeypatch.setattr(hf_export, "_FILE_BYTES", 20_000)
    model = fresh(tiny())
    bucket.put("models/base/left-over.txt", b"from an old model")
    bucket.put("models/base/config.json", b"{}")
    hf_export.save_policy(f"{bucket.url}/models/base", model, "float32")
    hf_export.save_policy(tmp_path / "base", model, "float32")
    local = {f"models/base/{f.name}": f.stat().st_size for f in (tmp_path / "base").iterdir()}
    assert bucket.objects() == local and len(local) > 5
    again = hf_import.read_policy(f"{bucket.url}/models/base")
    assert again.config == tiny()
    assert_same(again.params, model.params)


def test_an_export_ended_half_way_is_none(bucket, tiny, fresh, monkeypatch):
    """Neither the old nor the new one: but the next is whole."""
    folder = f"{bucket.url}/models/base"
    monkeypatch.setattr(hf_export, "_FILE_BYTES", 20_000)
    hf_export.save_policy(folder, fresh(tiny()), "float32")
    gathered = []

    def killed(x, to_host=hf_export._to_host):
        gathered.append(x)
        if len(gathered) > 12:
            raise KeyboardInterrupt
        return to_host(x)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(hf_export, "_to_host", killed)
        hf_export.save_policy(folder, fresh(tiny(), seed=1), "float32")
    assert 0 < len(bucket.objects()) < 5  # whole weight files
    assert not hf_import.is_export(folder)
    with pytest.raises(UserError, match=r"config\.json: no such file"):
        hf_import.read_policy(folder)
    hf_export.save_policy(folder, fresh(tiny(), seed=1), "float32")
    assert_same(hf_import.read_policy(folder).params, fresh(tiny(), seed=1).params)


# Several processes.

WORKER = """
import sys, jax
rank, port, folder = int(sys.argv[1]), sys.argv[2], sys.argv[3]
jax.distributed.initialize(
    f"127.0.0.1:{port}", num_processes=2, process_id=rank, initialization_timeout=60
)
from glore_jax.models import hf_export, hf_import
from glore_jax.parallel import mesh as meshes
model = hf_import.read_policy(folder, mesh=meshes.make_mesh(fsdp=2, tensor=2))
assert not model.params["embedding"][...].is_fully_addressable
hf_export.save_policy(folder + "-again", model, "float32")
"""


def weight_bytes(door) -> int:
    """Received of weight files."""
    return sum(r.received for r in door.requests if r.method == "GET" and "safetensors?" in r.path)


def test_two_processes_read_a_half_each_and_one_writes(bucket, tiny, fresh):
    folder = f"{bucket.url}/model"
    model = fresh(tiny(vocab_size=94))  # does not divide by the four devices
    hf_export.save_policy(folder, model, "float32")
    size = bucket.objects()["model/model.safetensors"]
    bucket.door.requests.clear()
    assert_same(hf_import.read_policy(folder).params, model.params)
    header = size - 4 * model.num_params
    assert size <= weight_bytes(bucket.door) <= size + 2 * max(header, weight_files.HEADER_BYTES)

    port = str(free_port())
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    doors = [buckets.Door(bucket.server) for _ in range(2)]
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(rank), port, folder],
            env=os.environ | flags | buckets.variables(door.address),
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank, door in enumerate(doors)
    ]
    try:
        errors = [worker.communicate(timeout=300)[1] for worker in workers]
    finally:
        for worker in workers:
            worker.kill()  # not terminate: jax.distributed catches SIGTERM
    assert [worker.returncode for worker in workers] == [0, 0], "\n".join(errors)
    again = hf_import.read_policy(f"{folder}-again")
    assert_same(again.params, model.params)
    written = [sum(r.sent for r in door.requests if "upload" in r.path) for door in doors]
    assert written[0] > size and written[1] == 0
    # The header, as much as one request asks for of a file so small, and a half.
    half = 4 * model.num_params / 2
    for door in doors:
        door.shutdown()
        first = min(size, weight_files.HEADER_BYTES)
        assert abs(weight_bytes(door) - first - half) < 0.05 * half
