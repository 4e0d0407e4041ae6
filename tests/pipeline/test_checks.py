"""Which base a run starts from: one commit of a model of the hub, whatever becomes of the model."""

import pytest

from glore_jax import config as schema
from glore_jax import storage
from glore_jax.errors import UserError
from glore_jax.pipeline import checks

NAME = "hf://some-org/tiny-llama"


@pytest.fixture
def publish(hub_server, tmp_path):
    """publish(text) -> NAME at the commit of a model that says so."""
    folder = tmp_path / "model"
    folder.mkdir()

    def make(text):
        (folder / "README.md").write_text(text)
        return f"{NAME}@{hub_server.publish('some-org/tiny-llama', folder)}"

    return make


def pinned(base, workdir):
    config = schema.default()
    config.model.base = base
    checks.pin_base(config, workdir)
    return config.model.base


def test_a_run_keeps_to_the_commit_that_it_began_with(publish, tmp_path):
    workdir = storage.path(tmp_path / "run")
    old = publish("first")
    assert pinned(NAME, workdir) == old
    storage.write_json(workdir / "config.json", {"config": {"model": {"base": old}}})
    new = publish("second")
    assert pinned(NAME, workdir) == pinned(old, workdir) == old
    # Who asks for another gets it, and `check_identity` refuses it.
    assert pinned(f"{NAME}@main", workdir) == new
    assert pinned(NAME, storage.path(tmp_path / "another")) == new


@pytest.mark.parametrize("content", [[], {"config": {"model": {"base": "tiny"}}}])
def test_a_work_directory_that_knows_no_commit(publish, tmp_path, content):
    storage.write_json(tmp_path / "config.json", content)
    new = publish("first")
    assert pinned(NAME, storage.path(tmp_path)) == new


def test_a_folder_stays_as_it_is(tmp_path):
    assert pinned("checkpoints/llama", storage.path(tmp_path)) == "checkpoints/llama"


def test_a_model_that_is_not_there(hub_server, tmp_path):
    with pytest.raises(UserError, match="no such model"):
        pinned(NAME, storage.path(tmp_path))
