"""`glore publish`: to a folder, to the hub, and refused in one line."""

import pytest

from glore_jax import publish
from glore_jax.models import hf_import, sources


def run(*arguments):
    return publish.main([*arguments, "--no-check"])


def test_a_folder(workdir, tmp_path, capsys):
    out = tmp_path / "out"
    assert publish.main([f"--workdir={workdir}", "--stage=refiner", f"--folder={out}"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == f"{out}: the model of stage refiner, a vocabulary of 50"
    assert "compare" in second or "the same" in second
    assert hf_import.is_export(out) and "| task | gsm8k |" in (out / "README.md").read_text()


def test_the_hub(workdir, hub_server, tmp_path, capsys):
    given = (f"--workdir={workdir}", "--stage=orm", "--push=hf://some-org/orm")
    assert run(*given, "--private") == 0
    commit = capsys.readouterr().out.strip().removeprefix("hf://some-org/orm@")
    found = sources.locate("hf://some-org/orm")
    assert found.name == commit and hub_server.private == {"some-org/orm"}
    assert hf_import.read_config(found).vocab_size == 50
    assert "# base: orm" in (found / "README.md").read_text()
    hub_server.publish("some-org/orm", write(tmp_path / "old", "model-00001-of-00002.safetensors"))
    assert run(*given) == 0
    capsys.readouterr()
    again = sources.locate("hf://some-org/orm")
    assert not (again / "model-00001-of-00002.safetensors").exists() and hf_import.is_export(again)


def write(folder, name):
    folder.mkdir()
    (folder / name).write_text("old")
    return folder


def test_what_is_public_is_not_taken_for_private(workdir, hub_server, tmp_path, capsys):
    hub_server.publish("some-org/orm", write(tmp_path / "theirs", "README.md"))
    given = (f"--workdir={workdir}", "--stage=orm", "--push=hf://some-org/orm")
    assert run(*given, "--private") == 2
    assert "is there already, and public" in capsys.readouterr().err
    assert (sources.locate("hf://some-org/orm") / "README.md").read_text() == "old"


def test_without_a_hub(workdir, hub_server, capsys):
    hub_server.close()
    assert run(f"--workdir={workdir}", "--stage=orm", "--push=hf://some-org/orm") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "not pushed; it takes a network and a token" in line


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"--folder": ""}, "say where to: --folder=DIR, --push=hf://ORG/NAME or both"),
        ({"--stage": "rollout"}, "invalid choice: 'rollout'"),
        ({"--stage": "sorm"}, "has the stage sorm of this run ended?"),
        ({"--folder": "taken"}, "taken is not empty: name another folder"),
        ({"--push": "hf://some-org/x@v1"}, "leave @... out"),
        ({"--push": "some-org/x"}, "is written hf://ORG/NAME"),
        ({"--folder": "hf://some-org/x"}, "is a model of the hub: give it as --push"),
        ({"--push": "hf://some-org/x", "--folder": "gs://b/x"}, "leave --folder out"),
    ],
)
def test_refusals(workdir, tmp_path, capsys, monkeypatch, changes, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine.txt").write_text("mine")
    given = {"--workdir": str(workdir), "--stage": "refiner", "--folder": "out"} | changes
    assert run(*(f"{name}={value}" for name, value in given.items())) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("glore: error: ") and said in line
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_a_hub_that_refuses(workdir, hub_server, tmp_path, capsys):
    hub_server.read_only = True
    given = (f"--workdir={workdir}", "--stage=orm", f"--folder={tmp_path / 'out'}")
    assert run(*given, "--push=hf://some-org/orm") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert not list((tmp_path / "out").iterdir())
    hub_server.read_only = False
    assert run(*given, "--push=hf://some-org/orm") == 0  # the same command
    assert "a token that may write there (hf auth login)" in line
