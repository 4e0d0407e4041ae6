"""Files of a model for others: rows that mean nothing are gone, all else is there byte for byte."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from etils import epath

from glore_jax import storage
from glore_jax.errors import UserError
from glore_jax.models import hf_export, hf_import
from glore_jax.models.hf_names import INDEX
from glore_jax.models.weight_files import read_header
from glore_jax.publish import folder

IDS = 50


def copied(source, target):
    rows = folder.write(epath.Path(source), epath.Path(target), "# A card")
    assert rows == IDS
    assert (target / "README.md").read_text() == "# A card"
    return hf_import.read_policy(target)


def assert_cut(before, after):
    """`after` has the parameters of `before`, but for rows behind the last id."""
    assert after.config == dataclasses.replace(before.config, vocab_size=IDS)
    pairs = zip(jax.tree.leaves(before.params), jax.tree.leaves(after.params), strict=True)
    cut = 0
    for old, new in pairs:
        kept = tuple(slice(0, size) for size in new.shape)
        cut += old.shape != new.shape
        np.testing.assert_array_equal(old[kept], new)
    assert cut == (1 if before.config.tie_embeddings else 2)


@pytest.mark.parametrize("tied", [False, True])
def test_rows_without_an_id_are_left_out(tmp_path, make_model, tied):
    model = make_model()
    model = make_model(config=dataclasses.replace(model.config, tie_embeddings=tied))
    hf_export.save_policy(tmp_path / "hf", model, "float32")
    assert_cut(model, copied(tmp_path / "hf", tmp_path / "out"))


def test_several_files(tmp_path, make_model, monkeypatch):
    monkeypatch.setattr(hf_export, "_FILE_BYTES", 6000)
    monkeypatch.setattr(folder, "_CHUNK", 100)  # of a tensor: it comes in pieces
    model = make_model()
    hf_export.save_policy(tmp_path / "hf", model, "float32")
    assert_cut(model, copied(tmp_path / "hf", tmp_path / "out"))
    index = json.loads((tmp_path / "out" / INDEX).read_text())
    files = sorted(set(index["weight_map"].values()))
    assert len(files) > 1
    tensors = [t for f in files for t in read_header(epath.Path(tmp_path / "out" / f)).values()]
    assert index["metadata"]["total_size"] == sum(tensor.bytes for tensor in tensors)
    for file in files:  # which readers map into memory
        length = int.from_bytes((tmp_path / "out" / file).read_bytes()[:8], "little")
        assert length % 8 == 0


def test_in_a_bucket(workdir, bucket, tmp_path):
    there = storage.path(f"{bucket.url}/out")
    folder.write(epath.Path(workdir / "refiner" / "hf"), there, "# A card")
    theirs = hf_import.read_policy(there)
    ours = copied(workdir / "refiner" / "hf", tmp_path / "out")
    jax.tree.map(np.testing.assert_array_equal, theirs.params, ours.params)


@pytest.mark.parametrize("left", [40, -100])  # inside the header, inside the last tensor
def test_a_damaged_source_makes_no_model(workdir, tmp_path, left):
    weights = workdir / "refiner" / "hf" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:left])
    with pytest.raises(UserError, match="model.safetensors"):
        copied(workdir / "refiner" / "hf", tmp_path / "out")
    assert not (tmp_path / "out" / "config.json").exists()
