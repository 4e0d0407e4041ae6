"""The launch script with a stand-in for `gcloud`: what it asks for, and how it ends."""

import json
import os
import pathlib
import shlex
import shutil
import subprocess
import tarfile

import pytest

SCRIPT = pathlib.Path(__file__).parent.parent / "launch" / "tpu_vm.sh"
TPU = ["compute", "tpus", "tpu-vm"]

# Writes its arguments as a line of JSON, keeps a file that it is told to copy, and ends as FAIL says.
GCLOUD = """#!/usr/bin/env python3
import json, os, shutil, sys
with open(os.environ["CALLS"], "a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
if "scp" in sys.argv:
    shutil.copy(sys.argv[sys.argv.index("scp") + 1], os.path.dirname(os.environ["CALLS"]) + "/copied.tar.gz")
sys.exit(int(os.environ.get("FAIL", "0")))
"""


@pytest.fixture
def launch(tmp_path):
    """launch(*arguments, script=, **environment) -> (exit code, stdout, stderr, arguments of each call of gcloud)."""
    gcloud, calls = tmp_path / "bin" / "gcloud", tmp_path / "calls"
    gcloud.parent.mkdir()
    gcloud.write_text(GCLOUD)
    gcloud.chmod(0o755)

    def go(*arguments, script=SCRIPT, **environment):
        calls.write_text("")
        path = f"{gcloud.parent}{os.pathsep}{os.environ['PATH']}"
        environment = os.environ | {"PATH": path, "CALLS": str(calls), "TMPDIR": str(tmp_path)} | environment
        done = subprocess.run(
            ["bash", str(script), *arguments], capture_output=True, text=True, env=environment
        )
        made = [json.loads(line) for line in calls.read_text().splitlines()]
        return done.returncode, done.stdout, done.stderr, made

    return go


def test_create_asks_for_a_slice(launch):
    code, _, _, calls = launch("create", "pod", "us-east5-a", "v5litepod-16")
    flags = ["--zone=us-east5-a", "--accelerator-type=v5litepod-16", "--version=tpu-ubuntu2204-base"]
    assert (code, calls) == (0, [[*TPU, "create", "pod", *flags]])
    (call,) = launch("create", "pod", "us-east5-a", "v4-32", "tpu-vm-v4-base")[3]
    assert call[-2:] == ["--accelerator-type=v4-32", "--version=tpu-vm-v4-base"]


def test_delete_does_not_ask_back(launch):
    code, _, _, calls = launch("delete", "pod", "us-east5-a")
    assert (code, calls) == (0, [[*TPU, "delete", "pod", "--zone=us-east5-a", "--quiet"]])


def test_setup_copies_the_commit_to_every_worker(launch, tmp_path):
    checkout = tmp_path / "checkout"
    (checkout / "launch").mkdir(parents=True)
    shutil.copy(SCRIPT, checkout / "launch")
    (checkout / "setup.py").write_text("")
    git = ["git", "-C", str(checkout), "-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "all"]):
        subprocess.run([*git, *command], check=True)
    (checkout / "not_committed.txt").write_text("")
    code, _, err, calls = launch("setup", "pod", "us-east5-a", script=checkout / "launch" / SCRIPT.name)
    assert code == 0, err
    copy, install = calls
    assert [*copy[:4], *copy[5:]] == [
        *TPU,
        "scp",
        "pod:glore_jax.tar.gz",
        "--zone=us-east5-a",
        "--worker=all",
    ]
    assert install[:-1] == [*TPU, "ssh", "pod", "--zone=us-east5-a", "--worker=all"]
    assert install[-1].endswith(".venv/bin/pip install -q -e '.[tpu]'")
    with tarfile.open(tmp_path / "copied.tar.gz") as archive:
        files = {m.name for m in archive.getmembers() if m.isfile()}
    assert files == {"glore_jax/setup.py", "glore_jax/launch/tpu_vm.sh"}


@pytest.fixture
def worker(tmp_path):
    """worker(command, code) -> (exit code, arguments that `glore` got): a worker's shell, `glore` ends with `code`."""
    glore = tmp_path / "home" / "glore_jax" / ".venv" / "bin" / "glore"
    glore.parent.mkdir(parents=True)
    glore.write_text('#!/usr/bin/env bash\nfor a in "$@"; do printf "%s\\n" "$a"; done\nexit $CODE\n')
    glore.chmod(0o755)

    def go(command, code):
        environment = os.environ | {"CODE": str(code)}
        done = subprocess.run(
            ["bash", "-c", command], cwd=tmp_path / "home", env=environment, capture_output=True, text=True
        )
        return done.returncode, done.stdout.splitlines()

    return go


@pytest.mark.parametrize("code", [0, 2])
def test_run_hands_its_flags_on_as_they_are(launch, worker, code):
    flags = [
        "--config=configs/tiny.py:smoke",
        "--workdir=gs://bucket/a run",
        '--config.task.prompt={question}\n"it\'s" $HOME; *',
    ]
    (call,) = launch("run", "pod", "us-east5-a", *flags)[3]
    assert call[:-1] == [*TPU, "ssh", "pod", "--zone=us-east5-a", "--worker=all"]
    found, lines = worker(call[-1].removeprefix("--command="), code)
    assert found == code  # although the output goes through tee
    assert "\n".join(lines) == "\n".join(flags)


@pytest.mark.parametrize(
    "verb",
    [("create", "pod", "zone", "v4-8"), ("run", "pod", "zone", "--stage=orm"), ("delete", "pod", "zone")],
)
def test_a_failing_gcloud_ends_the_script(launch, verb):
    assert launch(*verb, FAIL="3")[0] == 3


def test_setup_does_not_install_what_was_not_copied(launch):
    code, _, _, calls = launch("setup", "pod", "zone", FAIL="1")
    assert code == 1 and [c[3] for c in calls] == ["scp"]


def test_dry_run_prints_the_commands_and_runs_none(launch):
    arguments = ("run", "pod", "us-east5-a", "--workdir=gs://bucket/a run")
    code, out, _, calls = launch(*arguments, DRY_RUN="1")
    assert (code, calls) == (0, [])
    assert shlex.split(out) == ["gcloud", *launch(*arguments)[3][0]]


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("create",),
        ("create", "pod", "zone"),
        ("run", "pod", "zone"),
        ("start", "pod", "zone"),
        ("delete", "pod"),
    ],
)
def test_wrong_usage_shows_the_usage(launch, arguments):
    code, out, err, calls = launch(*arguments)
    assert (code, out, calls) == (2, "", [])
    assert "launch/tpu_vm.sh create  NAME ZONE TYPE" in err and "DRY_RUN=1" in err
