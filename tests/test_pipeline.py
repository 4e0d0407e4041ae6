"""What is run, skipped, continued and set aside."""

import dataclasses
import json
import signal
import sys

import fake_stages
import pytest

from configs import tiny
from glore_jax import pipeline, stages
from glore_jax.config.view import UndeclaredField
from glore_jax.errors import UserError
from glore_jax.pipeline import checks, execution, versions

ALL = ["student", "sample", "rollout", "report"]


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """run(only, **overrides) -> (names that ran, lines printed).

    `run.write` replaces the bodies of stages, `run.declare` fields of their declarations.
    """
    monkeypatch.setattr(stages, "__path__", list(stages.__path__))
    monkeypatch.setattr(stages, "STAGES", stages.STAGES)
    monkeypatch.setattr(execution, "prepare_jax", lambda: None)

    def write(**bodies):
        fake_stages.write(tmp_path / "stages", **bodies)
        for name in fake_stages.STAGES:
            monkeypatch.delitem(sys.modules, f"glore_jax.stages.{name}", raising=False)

    write()
    fake_stages.install(tmp_path / "stages")
    # Sources of one second and one length share a .pyc.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def go(only=None, other_versions=False, **overrides):
        config = make_config(**overrides)
        capsys.readouterr()
        ran = pipeline.run(config, go.workdir, only, other_versions=other_versions)
        return ran, capsys.readouterr().out.splitlines()

    def declare(name, **fields):
        changed = dataclasses.replace(stages.STAGES[name], **fields)
        monkeypatch.setattr(stages, "STAGES", stages.STAGES | {name: changed})

    go.workdir = tmp_path / "work"
    go.write = write
    go.declare = declare
    yield go
    for name in fake_stages.STAGES:
        sys.modules.pop(f"glore_jax.stages.{name}", None)


def make_config(**overrides):
    config = fake_stages.get_config()
    config.update_from_flattened_dict(
        {key.replace("__", "."): value for key, value in overrides.items()}
    )
    return config.lock()


def manifest(run, name):
    return json.loads((run.workdir / name / "manifest.json").read_text())


def test_runs_all_once_and_then_nothing(run):
    assert run()[0] == ALL
    before = {f: f.read_bytes() for f in run.workdir.rglob("*") if f.is_file()}
    ran, lines = run()
    assert ran == []
    assert lines[0].startswith("student: done already (")
    assert lines[-1] == "final 0.5"  # the stored table is shown again
    assert {f: f.read_bytes() for f in run.workdir.rglob("*") if f.is_file()} == before
    assert before[run.workdir / "ran.txt"].decode().split() == ALL


def test_manifest_and_config_say_what_was_run(run):
    run(student__sft__lr=0.5)
    student = manifest(run, "student")
    sample = manifest(run, "sample")
    assert student["done"] is True
    assert student["counts"] == {"examples": 3}
    assert student["inputs"] == {}
    assert student["config"]["student"]["sft"]["lr"] == 0.5
    assert sample["inputs"] == {"student": student["fingerprint"]}
    resolved = json.loads((run.workdir / "config.json").read_text())
    assert resolved["config"]["student"]["sft"]["lr"] == 0.5
    assert resolved["python"].startswith(f"{sys.version_info[0]}.{sys.version_info[1]}.")
    assert "jax" in resolved["packages"]
    assert student["packages"]["jax"] == resolved["packages"]["jax"]
    assert student["devices"] == "8 x cpu"
    assert resolved["commit"] == versions.commit()
    assert student["commits"] == [versions.commit()]


@pytest.fixture
def installed(monkeypatch):
    """Versions of packages -> what the run takes for installed."""

    def pretend(**packages):
        monkeypatch.setattr(versions, "_installed", packages.get)

    return pretend


HALF_DONE = "raise UserError('killed')"


def test_a_half_done_stage_goes_on_under_other_versions_only_if_told_to(run, installed):
    installed(jax="0.10.2", optax="0.2.7", pyarrow="18")
    run.write(sample="from glore_jax.errors import UserError\n" + HALF_DONE)
    with pytest.raises(UserError, match="killed"):
        run()
    installed(jax="0.10.2", optax="0.2.8", pyarrow="19", libtpu="0.0.1")
    run.write()
    message = (
        r"stage sample is half done with optax 0\.2\.7, but here is optax 0\.2\.8: install what it "
        r"began with \(pip install optax==0\.2\.7; on a slice launch/tpu_vm\.sh setup\), or go on "
        r"all the same with --other_versions"
    )
    before = manifest(run, "sample")
    with pytest.raises(UserError, match=message):
        run()
    assert manifest(run, "sample") == before
    assert run(other_versions=True)[0] == ["sample", "rollout", "report"]
    assert manifest(run, "sample")["packages"]["optax"] == "0.2.8"


def test_whole_stages_and_finished_runs_mind_no_versions(run, installed):
    installed(jax="0.10.2")
    run(("student",))
    installed(jax="0.12.0")
    assert run(("sample",))[0] == ["sample"]
    installed(jax="0.13.0")
    assert run(("sample",))[0] == []


def test_config_keeps_the_versions_that_there_were(run, installed):
    installed(jax="0.10.2")
    run(("student",))
    run(("sample",))
    file = run.workdir / "config.json"
    described = json.loads(file.read_text())
    assert [entry["packages"] for entry in described["history"]] == [{"jax": "0.10.2"}]
    assert described["history"][0]["since"] < "3"  # a date
    installed(jax="0.12.0")
    run(("rollout",))
    described = json.loads(file.read_text())
    assert described["packages"] == {"jax": "0.12.0"}
    assert [e["packages"]["jax"] for e in described["history"]] == ["0.10.2", "0.12.0"]
    # A run that kept no history yet loses nothing either.
    del described["history"]
    file.write_text(json.dumps(described))
    installed(jax="0.13.0")
    run(("report",))
    history = json.loads(file.read_text())["history"]
    assert [e["packages"]["jax"] for e in history] == ["0.12.0", "0.13.0"]


@pytest.mark.parametrize(
    "override, stale",
    [
        (
            dict(rollout__k=4),
            [("rollout", "config.rollout.k 8 -> 4"), ("report", "input rollout changed")],
        ),
        (dict(report__examples=5), [("report", "config.report.examples 60 -> 5")]),
        (
            dict(seed=1),
            [
                ("student", "config.seed 0 -> 1"),
                ("sample", "input student changed"),
                ("rollout", "input sample changed"),
                ("report", "input sample changed"),
            ],
        ),
        (
            dict(sample__k=2, sample__top_k=7),
            [
                ("sample", "config.sample.k 96 -> 2 (and 1 more)"),
                ("rollout", "input sample changed"),
                ("report", "input sample changed"),
            ],
        ),
    ],
)
def test_a_changed_field_makes_what_depends_on_it_stale(run, override, stale):
    run()
    old = {name: manifest(run, name) for name in ALL}
    ran, lines = run(**override)
    assert ran == [name for name, _ in stale]
    assert [line for line in lines if "stale" in line] == [
        f"{name} is stale: {why}" for name, why in stale
    ]
    for name, _ in stale:  # nothing lost, nothing mixed
        moved = run.workdir / "stale" / f"{name}-{old[name]['fingerprint']}" / "manifest.json"
        assert json.loads(moved.read_text()) == old[name]
        assert manifest(run, name)["fingerprint"] != old[name]["fingerprint"]
    assert run(**override)[0] == []


@pytest.mark.parametrize(
    "override",
    [
        dict(mesh__tensor=2),
        dict(engine__groups=4),
        dict(engine__part_questions=9),
        dict(student__sft__save_seconds=5.0),
        dict(model__remat="none"),
        dict(model__kernel="xla"),
        dict(student__sft__profile_steps=(3, 5)),
    ],
)
def test_fields_of_speed_make_nothing_stale(run, override):
    run()
    before = (run.workdir / "config.json").read_bytes()
    assert run(**override)[0] == []
    # It says what the results were made with.
    assert (run.workdir / "config.json").read_bytes() == before


def test_going_back_and_forth_keeps_every_version(run):
    for k in (8, 4, 8, 4, 8):
        assert "rollout" in run(rollout__k=k)[0]
    assert len(list((run.workdir / "stale").glob("rollout-*/manifest.json"))) == 4


def test_tensorboard_events_go_aside_with_their_stage(run):
    run.write(
        sample="""
            ctx.writer("sample/records").scalars({"right": 0.5}, 1)
            return {}
        """
    )
    run()
    old = manifest(run, "sample")["fingerprint"]
    before = names(run.workdir / "tb" / "test")
    run(sample__k=2)
    assert names(run.workdir / "stale" / f"sample-{old}" / "tb") <= before
    config, events = sorted(names(run.workdir / "tb" / "test"))
    assert config.endswith(".config") and events.endswith(".sample")


def names(folder):
    return {file.name for file in folder.iterdir()}


UNTIL_TOLD = """
    part = ctx.folder("sample", f"part-{len(list(ctx.folder('sample').glob('part-*')))}")
    part.write_text("x")
    if not ctx.folder("go").exists():
        raise RuntimeError("broken")
    return {}
"""


def test_goes_on_in_the_same_folder_after_a_failure(run):
    run.write(sample=UNTIL_TOLD)
    with pytest.raises(RuntimeError, match="broken"):
        run()
    left = manifest(run, "sample")
    assert left["done"] is False and manifest(run, "student")["done"] is True
    (run.workdir / "go").touch()
    ran, lines = run()
    assert ran == ["sample", "rollout", "report"] and "sample: goes on" in lines
    assert sorted(f.name for f in (run.workdir / "sample").glob("part-*")) == ["part-0", "part-1"]
    assert manifest(run, "sample")["started"] == left["started"]
    assert not (run.workdir / "stale").exists()


def test_seconds_add_up_over_restarts(run, monkeypatch):
    clock = iter(range(0, 10_000, 100))  # every look at it is 100 s later
    monkeypatch.setattr(execution.time, "monotonic", lambda: next(clock))
    run.write(student="if not ctx.folder('go').exists():\n    raise RuntimeError\nreturn {}")
    with pytest.raises(RuntimeError):
        run(("student",))
    first = manifest(run, "student")["seconds"]
    (run.workdir / "go").touch()
    run(("student",))
    assert first == 200 and manifest(run, "student")["seconds"] == 400


def test_work_cut_into_other_parts_is_not_continued(run):
    run.write(sample=UNTIL_TOLD)
    with pytest.raises(RuntimeError):
        run()
    (run.workdir / "go").touch()
    _, lines = run(engine__part_questions=9)
    assert "sample is stale: config.engine.part_questions 0 -> 9" in lines
    assert [f.name for f in (run.workdir / "sample").glob("part-*")] == ["part-0"]


def test_goes_on_after_kill_9(run, tmp_path):
    run.write(
        sample="""
            import time
            ctx.folder("sample", "part-0").write_text("x")
            print("written", flush=True)
            time.sleep(60)
        """
    )
    command = (f"--config={fake_stages.__file__}", f"--workdir={run.workdir}")
    with fake_stages.start(tmp_path / "stages", *command) as process:
        assert any(line == "written\n" for line in process.stdout), process.stderr.read()
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert manifest(run, "sample")["done"] is False
    run.write(sample="assert ctx.folder('sample', 'part-0').read_text() == 'x'; return {}")
    assert run()[0] == ["sample", "rollout", "report"]


def test_step_is_computed_once(run):
    run.write(
        student="""
            def first():
                ctx.say("computed")
                return {"pair": (1, 2), 3: 0.5}
            result = ctx.step("round-1", first)
            assert result == {"pair": [1, 2], "3": 0.5}
            if not ctx.folder("go").exists():
                raise RuntimeError
            return result
        """
    )
    with pytest.raises(RuntimeError):
        run()
    (run.workdir / "go").touch()
    _, lines = run()
    assert "computed" not in lines and (run.workdir / "student" / "round-1.json").exists()
    assert manifest(run, "student")["counts"] == {"pair": [1, 2], "3": 0.5}


def test_rows_of_records_are_in_the_manifest_at_once_and_stay_over_restarts(run):
    run.write(
        student="""
            from glore_jax import storage
            if not ctx.folder("go").exists():
                ctx.keep_rows("student/dev-0", [3, 2])
                manifest = storage.read_json(ctx.folder("student", "manifest.json"))
                assert manifest["records"] == {"student/dev-0": [3, 2]} and not manifest["done"]
                raise RuntimeError
            ctx.keep_rows("student/dev-1", [5])
            return {}
        """
    )
    with pytest.raises(RuntimeError):
        run()
    (run.workdir / "go").touch()
    run()
    rows = {"student/dev-0": [3, 2], "student/dev-1": [5]}
    assert manifest(run, "student")["records"] == rows
    run(student__sft__lr=0.5)  # stale, and made afresh
    assert manifest(run, "student")["records"] == {"student/dev-1": [5]}


def test_warnings_are_in_the_manifest_at_once_and_once(run):
    run.write(
        student="""
            from glore_jax import storage
            ctx.warn("few updates")
            manifest = storage.read_json(ctx.folder("student", "manifest.json"))
            assert manifest["warnings"] == ["few updates"] and not manifest["done"]
            if not ctx.folder("go").exists():
                raise RuntimeError
            ctx.warn("learned nothing")
            return {}
        """
    )
    with pytest.raises(RuntimeError):
        run()
    (run.workdir / "go").touch()
    _, said = run()
    assert manifest(run, "student")["warnings"] == ["few updates", "learned nothing"]
    assert "warning: learned nothing" in said and "warning: few updates" not in said


# What was asked for.


def test_only_runs_what_is_named_in_the_order_of_the_data(run):
    assert run(("sample", "student"))[0] == ["student", "sample"]
    assert run(("sample",))[0] == []
    assert run()[0] == ["rollout", "report"]


def test_only_names_what_is_missing(run):
    with pytest.raises(
        UserError, match=r"^stage report needs sample \(not run yet\), rollout \(not run yet\): add"
    ):
        run(("report",))
    assert not run.workdir.exists()
    run()
    with pytest.raises(
        UserError, match=r"^stage report needs rollout \(stale: config.rollout.k 8 -> 4\): add"
    ):
        run(("report",), rollout__k=4)
    assert manifest(run, "rollout")["done"] and not (run.workdir / "stale").exists()


def test_unknown_stage(run):
    with pytest.raises(
        UserError, match="no stage 'samples': choose from pretrain, student, sample, "
    ):
        run(("samples",))


def test_pretrain_runs_alone_and_only_if_the_config_has_it(run):
    with pytest.raises(UserError, match="the config has no pretrain, which stage pretrain needs"):
        run(("pretrain",))
    config = tiny.get_config("base")
    assert pipeline.run(config, run.workdir) == ["pretrain"]


@pytest.mark.parametrize(
    "override", [dict(name="other"), dict(task__name="gsm8k"), dict(model__base="elsewhere")]
)
def test_workdir_of_another_config_is_left_alone(run, override):
    run()
    before = sorted(run.workdir.rglob("*"))
    field, value = next(iter(override.items()))
    with pytest.raises(
        UserError, match=rf"belongs to another config \({field.replace('__', '.')} .*{value}"
    ):
        run(**override)
    assert sorted(run.workdir.rglob("*")) == before


def test_a_first_run_that_made_nothing_claims_nothing(run):
    run.write(student="raise RuntimeError('no such folder')")
    with pytest.raises(RuntimeError):
        run(model__base="mistyped")
    run.write()
    ran, lines = run()
    assert ran == ALL
    assert lines[1] == 'student is stale: config.model.base "mistyped" -> ""'


def test_files_of_unknown_origin_are_not_mixed_in(run):
    (run.workdir / "sample").mkdir(parents=True)
    (run.workdir / "sample" / "part-0").touch()
    with pytest.raises(UserError, match="sample holds files but no manifest.json"):
        run()
    assert not (run.workdir / "student").exists()


def test_config_out_of_bounds_touches_nothing(run):
    with pytest.raises(UserError, match="config.rollout.k is 0: must be at least 1"):
        run(rollout__k=0)
    assert not run.workdir.exists()


# What a stage sees, and what only devices, data and a base can tell.


def test_a_stage_that_reads_an_undeclared_field_fails(run):
    run.write(rollout="return {'k': ctx.config.rollout.k, 'groups': ctx.config.engine.groups}")
    run()
    assert manifest(run, "rollout")["counts"] == {"k": 8, "groups": 16}
    run.write(rollout="return {'k': ctx.config.sample.k}")
    with pytest.raises(UndeclaredField, match="stage rollout reads config.sample.k, which it does"):
        run(rollout__k=4)
    assert not manifest(run, "rollout")["done"]


def test_a_declared_field_makes_its_reader_stale(run):
    run()
    assert run(sample__max_new=7)[0] == ["sample", "rollout", "report"]
    run.declare("student", config=("seed", "task", "model", "student", "sample.max_new"))
    lines = run(sample__max_new=7)[1]
    assert "student is stale: config.sample.max_new absent -> 7" in lines
    assert "student is stale: config.sample.max_new 7 -> 8" in run(sample__max_new=8)[1]


def test_meshes_are_those_of_the_devices(run):
    """Of eight."""
    run.declare("student", trains=True)
    run.declare("sample", generates=True)
    with pytest.raises(UserError, match="config.mesh is data=1, fsdp=-1, tensor=3, which does not"):
        run(mesh__tensor=3)
    with pytest.raises(UserError, match="multiply to 8"):
        run(mesh__fsdp=4)
    with pytest.raises(UserError, match="config.engine.tensor is 3: must divide the 8 devices"):
        run(engine__tensor=3)
    assert not run.workdir.exists()
    run(("student",), engine__tensor=3)  # which does not generate
    assert run(mesh__fsdp=4, mesh__data=2, engine__tensor=4)[0] == ["sample", "rollout", "report"]
    assert run(mesh__fsdp=4)[0] == []  # nothing runs on it


ASKED = dict(model__base="tiny", task__size__train=30, task__steps=(3, 5))
ASKS = {"train": ("sample.max_new", "student.ei.max_new")}
CONTEXT = 1024  # of the packaged base


@pytest.fixture
def asking(run):
    """`run`, with a student that asks training questions and a sample stage that does not."""
    declared = stages.STAGES["student"].config + ("sample.max_new",)
    run.declare("student", asks=ASKS, config=declared)
    run.write(student="return {'ids': [p.id for p in ctx.problems('train')]}")
    return run


def test_where_all_questions_fit_nothing_is_said_of_them(asking):
    _, lines = asking(**ASKED)
    counts = manifest(asking, "student")["counts"]
    assert counts == {"ids": [f"chains-train-{i:05d}" for i in range(30)]}
    assert not any("left out" in line for line in lines)


def test_questions_that_are_too_long_are_left_out_named_and_counted(asking):
    lengths = question_lengths()
    room = CONTEXT - sorted(lengths.values())[-3]  # two are longer
    long = [name for name, tokens in lengths.items() if tokens + room > CONTEXT]
    _, lines = asking(**ASKED, sample__max_new=7, student__ei__max_new=room)
    assert lines[:2] == [
        "reading the questions",
        f"train: {len(long)} of 30 questions left out, too long for the model's context of 1024 "
        f"tokens with {room} to be written; first {long[0]} ({lengths[long[0]]} tokens)",
    ]
    assert sum("left out" in line for line in lines) == 1
    counts = manifest(asking, "student")["counts"]
    assert counts["left_out"] == {"train": len(long)} and 1 <= len(long) <= 2
    assert counts["ids"] == [name for name in lengths if name not in long]
    assert "left_out" not in manifest(asking, "sample")["counts"]


def question_lengths():
    """Tokens of each training question."""
    from glore_jax.models.tokenizer import Tokenizer
    from glore_jax.stages import models
    from glore_jax.tasks import registry
    from glore_jax.tasks.prompts import Prompts

    config = make_config(**ASKED)
    prompts = Prompts(Tokenizer.load(models.base_folder(config)), config.task.prompt)
    problems = registry.make_task(config.task).load("train")
    return {p.id: len(prompts.question(p.question)) for p in problems}


@pytest.mark.parametrize(
    "fields, line",
    [
        (
            dict(sample__max_new=CONTEXT),
            "no question of train leaves room for 1024 new tokens in the model's context of 1024: "
            "lower config.sample.max_new and config.student.ei.max_new",
        ),
        (dict(model__base=""), "config.model.base is empty"),
        (dict(model__base="/nowhere"), "/nowhere/config.json: no such file"),
        (dict(task__limit__train=-1), "config.task.limit.train is -1"),
    ],
)
def test_what_the_data_and_the_base_tell_is_told_first(asking, fields, line):
    with pytest.raises(UserError) as error:
        asking(**ASKED | fields)
    assert str(error.value).startswith(line)
    assert not asking.workdir.exists()


def test_a_run_with_nothing_to_do_looks_at_no_data(asking, monkeypatch):
    asking(**ASKED)
    monkeypatch.setattr(checks, "check_questions", None)
    monkeypatch.setattr(checks, "check_devices", None)
    assert asking(**ASKED)[0] == []
