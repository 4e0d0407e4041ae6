"""What transformers reads is compared, and a folder that it reads otherwise is refused."""

import json

import pytest
from etils import epath

from glore_jax.errors import UserError
from glore_jax.models.hf_names import LIKELIHOOD
from glore_jax.publish import check


@pytest.fixture(params=["refiner", "orm"])
def folder(request, workdir):
    return epath.Path(workdir / request.param / "hf")


def change(folder, **fields):
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


def test_the_same(folder):
    pytest.importorskip("torch")
    assert check.compare(folder).startswith("transformers computes the same")


def test_something_else(folder, monkeypatch):
    pytest.importorskip("torch")
    theirs = check._theirs
    monkeypatch.setattr(check, "_theirs", lambda *given: theirs(*given) * 1.01)
    with pytest.raises(UserError, match="transformers computes something else"):
        check.compare(folder)


def test_what_cannot_be_compared_is_said(folder, monkeypatch):
    change(folder, **{LIKELIHOOD: True})
    said = check.compare(folder)
    assert said.startswith("not compared with transformers: ")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert check.compare(folder).endswith("PyTorch is not installed")
