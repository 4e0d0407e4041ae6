"""Models of the hub, fetched from a stand-in over HTTP: cached, pinned, offline, refused."""

import pytest
from hf_folders import assert_same

from glore_jax.errors import UserError
from glore_jax.models import hf_import, hub, sources

NAME = "some-org/tiny-llama"


@pytest.fixture
def offline(monkeypatch):
    """Says that there is no network, as HF_HUB_OFFLINE=1 does before a start."""
    return lambda: monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def test_a_model_of_the_hub_is_that_of_the_folder(hub_server, folder, tiny, fresh):
    (folder / "README.md").write_text("A tiny LLaMA.")
    (folder / "original").mkdir()
    for unwanted in ("pytorch_model.bin", "consolidated.safetensors", "original/params.json"):
        (folder / unwanted).write_text("large")
    commit = hub_server.publish(NAME, folder)
    found = sources.locate(f"hf://{NAME}")
    assert found.name == commit
    assert_same(hf_import.read_policy(found).params, fresh(tiny()).params)
    assert (found / "README.md").read_text() == "A tiny LLaMA."
    names = {path.name for path in found.iterdir()}
    assert not names & {"pytorch_model.bin", "consolidated.safetensors", "original"}


def test_what_is_cached_is_not_fetched_again(hub_server, folder, offline):
    hub_server.publish(NAME, folder)
    first = sources.locate(f"hf://{NAME}")
    hub_server.asked.clear()
    assert sources.locate(f"hf://{NAME}") == first
    assert not any("/resolve/" in path for path in hub_server.asked)
    offline()
    hub_server.asked.clear()
    assert sources.locate(f"hf://{NAME}") == first
    assert not hub_server.asked


def test_without_an_answer_the_cache_serves(hub_server, folder):
    hub_server.publish(NAME, folder)
    first = sources.locate(f"hf://{NAME}")
    hub_server.close()
    assert sources.locate(f"hf://{NAME}") == first


def test_a_revision_and_a_pin_stay_where_they_are(hub_server, folder):
    old = hub_server.publish(NAME, folder, "v1")
    hub_server.publish(NAME, folder)
    (folder / "README.md").write_text("changed")
    new = hub_server.publish(NAME, folder)
    assert old != new
    assert sources.locate(f"hf://{NAME}@v1").name == old
    pinned = hub.pin(f"hf://{NAME}")
    assert pinned == f"hf://{NAME}@{new}"
    (folder / "README.md").write_text("changed again")
    hub_server.publish(NAME, folder)
    assert sources.locate(pinned).name == new
    assert hub.pin(pinned) == pinned


def test_who_only_asks_what_it_is_gets_no_weights(hub_server, folder):
    hub_server.publish(NAME, folder)
    found = sources.locate(f"hf://{NAME}", weights=False)
    assert hf_import.read_config(found).num_layers == 2
    assert not (found / "model.safetensors").exists()
    assert (sources.locate(f"hf://{NAME}") / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("hf://tiny-llama", "ORG/NAME"),
        ("hf://some-org/tiny-llama/folder", "ORG/NAME"),
        ("hf://some-org/tiny-llama@", "ORG/NAME"),
        ("hf://some-org/mistyped", "no such model"),
        (f"hf://{NAME}@v7", "no such revision"),
        ("hf://some-org/closed", "on request"),
    ],
)
def test_refusals(hub_server, folder, name, said):
    hub_server.publish(NAME, folder)
    hub_server.publish("some-org/closed", folder)
    hub_server.gated.add("some-org/closed")
    with pytest.raises(UserError, match=said) as refused:
        sources.locate(name)
    assert name in str(refused.value) and "\n" not in str(refused.value)


def test_offline_and_not_in_the_cache(hub_server, offline):
    offline()
    with pytest.raises(UserError, match="not in the cache") as refused:
        sources.locate(f"hf://{NAME}")
    assert "\n" not in str(refused.value) and not hub_server.asked
