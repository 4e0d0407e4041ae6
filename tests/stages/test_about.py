"""The conditions of a run, read from its work directory."""

import json

from configs import tiny
from glore_jax import storage
from glore_jax.stages import about

MANIFESTS = {"student": {"devices": "8 x cpu"}, "sample": {}}


def described(ctx, **more) -> None:
    config = json.loads(json.dumps(ctx.config.to_dict()))
    packages = {"python": "3.12.1", "packages": {"jax": "0.10.2"}}
    storage.write_json(ctx.folder("config.json"), {"config": config} | packages | more)


def test_a_run_without_its_files_is_not_guessed_at(ctx):
    found = about.about(ctx, MANIFESTS)
    assert found.config is None and found.commit is None and found.changed == {}
    assert found.devices == {"student": "8 x cpu"}


def test_every_commit_that_had_a_hand_in_a_stage_is_named(ctx):
    described(ctx, commit="c")
    made = {"student": {"commits": ["a", None]}, "sample": {"commits": ["a", "b"]}}
    assert about.about(ctx, made).commit == "a, b"


def test_what_the_config_says(ctx):
    described(ctx, commit="0123abcd-dirty")
    found = about.about(ctx, MANIFESTS)
    assert found.config == "tiny-smoke" and found.commit == "0123abcd-dirty"
    assert found.seeds == {"seed": 0, "task.seed": 1}
    assert found.samples["sample.k"] == 4 and found.temperatures["sample.temperature"] == 1.0
    assert found.settings["evaluate.keep_prefix"] == "true"
    assert found.versions == {"python": "3.12.1", "jax": "0.10.2"}


def test_fields_that_differ_from_the_default(ctx):
    described(ctx)
    changed = about.about(ctx, MANIFESTS).changed
    assert changed["sample.k"] == "4" and changed["model.base"] == '"tiny"'
    assert changed["task.steps"] == "[3, 3]"
    assert "rollout.temperature" not in changed  # as it is by default
    assert "mesh.fsdp" not in changed


def test_a_field_that_the_default_lacks_differs():
    fields = {"task.name": "chains", "seed": 0, "pretrain.seed": 7}
    assert set(about.changed(fields)) == {"task.name", "pretrain.seed"}
    assert set(about.changed({"task.name": "unheard of"})) == {"task.name"}


def test_what_the_base_has_read(ctx, tmp_path):
    assert "LLaMA of" in about.base_card(ctx)  # of the packaged base
    ctx.config.model.base = str(tmp_path)
    assert about.base_card(ctx) == str(tmp_path)
    (tmp_path / "README.md").write_text(
        "---\nlicense: x\n---\n\n# A base\n\nIt read\nbooks.\n\nMore.\n"
    )
    assert about.base_card(ctx) == "It read books."
    ctx.config.model.base = ""
    assert about.base_card(ctx) is None


def test_every_field_that_the_report_speaks_of_exists():
    config = tiny.get_config()
    for name in (*about._SETTINGS, *about._SAMPLES):
        section = config
        for part in name.split("."):
            section = section[part]
