"""The launch scripts against a stand-in cloud: what they ask for, and what a person sees.

That is, above all, what they say when something fails half-way.
"""

import os
import pathlib
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile
import time

import pytest
from fake_cloud import Cloud

LAUNCH = pathlib.Path(__file__).parent.parent / "launch"
CREATE = ("create", "pod", "--zone=us-west4-a", "--type=v5litepod-16")
RUN = ("run", "pod", "--config=configs/tiny.py:smoke", "--workdir=gs://bucket/a-run")
# The tested versions of the Python that runs the workers here.
VERSIONS = "constraints-{}.{}.txt".format(*sys.version_info)
SCOPES = "--scopes=https://www.googleapis.com/auth/cloud-platform"

pytestmark = pytest.mark.skipif(not shutil.which("flock"), reason="the workers' side needs Linux")


@pytest.fixture(scope="session")
def checkout(tmp_path_factory):
    """A git checkout with the scripts and one file that is not committed."""
    folder = tmp_path_factory.mktemp("checkout")
    shutil.copytree(LAUNCH, folder / "launch")
    (folder / "setup.py").write_text("")
    git = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "all"]):
        subprocess.run([*git, *command], check=True)
    (folder / "not_committed.txt").write_text("")
    return folder


class Laptop:
    """Runs launch/tpu_vm.sh before a cloud; a slice's workers live in folders of that cloud."""

    def __init__(self, checkout, cloud):
        self.script = checkout / "launch" / "tpu_vm.sh"
        self.cloud = cloud
        self.slices = cloud.root / "slices"
        self.environment = os.environ | {
            "PATH": f"{cloud.bin}{os.pathsep}{os.environ['PATH']}",
            "CLOUD": str(cloud.root),
            "GLORE_SLICES": str(self.slices),
            "GLORE_POLL_SECONDS": "0.1",
            "TMPDIR": str(cloud.root),
        }
        self.processes: list[subprocess.Popen] = []

    def start(self, *arguments, **options):
        """A command that may go on; `options` are further variables of its environment."""

        def hear_ctrl_c():
            # A suite started in the background would hand down an ignored Ctrl-C.
            signal.signal(signal.SIGINT, signal.default_int_handler)

        process = subprocess.Popen(
            ["bash", str(self.script), *arguments],
            text=True,
            env=self.environment | options,
            start_new_session=True,
            preexec_fn=hear_ctrl_c,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.processes.append(process)
        return process

    def __call__(self, *arguments, **options):
        """(exit code, stdout, stderr) of a command that ends by itself."""
        process = self.start(*arguments, **options)
        out, err = process.communicate(timeout=180)
        return process.returncode, out, err

    def ready(self, *arguments):
        """Several commands that must go well."""
        for command in arguments:
            code, _, err = self(*command)
            assert code == 0, err

    def close(self):
        """What a failed test left waiting would go on for ever."""
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self.cloud.power_off()


@pytest.fixture
def laptop(checkout, tmp_path):
    laptop = Laptop(checkout, Cloud(tmp_path, workers=2))
    yield laptop
    laptop.close()


def until(condition, seconds=180):  # only what hangs takes so long, on a busy machine too
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not come"
        time.sleep(0.05)


def started(cloud, worker):
    """What the run on a worker was started with: a list for each start."""
    file = cloud.root / f"started-{worker}"
    lines = file.read_text().splitlines() if file.exists() else []
    starts = [i for i, line in enumerate(lines) if " of " in line]
    return [lines[i:j] for i, j in zip(starts, [*starts[1:], len(lines)])]


# Create and delete


@pytest.mark.parametrize(
    "kind, version",
    [
        ("v4-32", "tpu-ubuntu2204-base"),
        ("v5litepod-16", "v2-alpha-tpuv5-lite"),
        ("v5p-64", "v2-alpha-tpuv5"),
        ("v6e-16", "v2-alpha-tpuv6e"),
    ],
)
def test_create_knows_the_runtime_of_each_generation(laptop, kind, version):
    laptop.ready(("create", "pod", "--zone=z", f"--type={kind}", "--spot"))
    create = ["compute", "tpus", "tpu-vm", "create", "pod", f"--version={version}"]
    assert laptop.cloud.calls == [
        [*create, "--zone=z", f"--accelerator-type={kind}", SCOPES, "--spot"]
    ]


def test_a_queued_slice_waits_for_its_turn(laptop):
    laptop.cloud.fail("describe", "PERMISSION_DENIED: the network is away")
    laptop.ready((*CREATE, "--queued", "--spot", "--valid-until-duration=6h"))
    first, *looks = laptop.cloud.calls
    assert first == [
        *("compute", "tpus", "queued-resources", "create", "pod", "--node-id=pod"),
        *("--runtime-version=v2-alpha-tpuv5-lite", "--zone=us-west4-a"),
        "--accelerator-type=v5litepod-16",
        *(SCOPES, "--spot", "--valid-until-duration=6h"),
    ]
    assert [c[2] for c in looks] == ["queued-resources", "queued-resources", "tpu-vm"]
    laptop.ready(("delete", "pod"))
    last = laptop.cloud.calls[-1]
    assert last[2:4] == ["queued-resources", "delete"] and "--force" in last


# As gcloud words it, in JSON.
NO_CAPACITY = '"message": "There is no more capacity in the zone \\"us-west4-a\\""'


@pytest.mark.parametrize(
    "message, advice, code",
    [
        (NO_CAPACITY, "no capacity for v5litepod-16", 3),
        ("Quota limit 'TPUV5s' has been exceeded. Limit: 0 in zone us-west4-a.", "quota", 3),
        ("PERMISSION_DENIED: tpu.googleapis.com", "was not created", 1),
    ],
)
def test_a_refused_create_says_what_to_do(laptop, message, advice, code):
    laptop.cloud.fail("create", message)
    found, _, err = laptop(*CREATE)
    assert found == code and message in err and advice in err.splitlines()[-1]


def test_what_a_lost_connection_may_have_made_stays_known(laptop):
    laptop.cloud.fail("create", "HTTPSConnectionPool: Max retries exceeded")
    code, _, err = laptop(*CREATE)
    assert code == 3 and "does not reach Google" in err.splitlines()[-1]
    laptop.ready(("delete", "pod"))


def test_after_no_capacity_another_zone_can_be_tried_at_once(laptop):
    laptop.cloud.fail("create", "There is no more capacity in the zone")
    assert laptop(*CREATE)[0] == 3
    laptop.ready(("create", "pod", "--zone=elsewhere", "--type=v4-32"))


def test_a_slice_that_is_there_is_taken_over_but_not_mixed_up(laptop):
    laptop.ready(CREATE)
    code, _, err = laptop(*CREATE)
    assert code == 0 and "exists already" in err
    code, _, err = laptop("create", "pod", "--zone=elsewhere", "--type=v5litepod-16")
    assert code == 2 and "zone=us-west4-a" in err and len(laptop.cloud.calls) == 2


def test_delete_fails_aloud_and_forgives_what_is_gone(laptop):
    laptop.ready(CREATE)
    laptop.cloud.fail("delete", "UNAVAILABLE: try again")
    code, _, err = laptop("delete", "pod")
    assert code == 3 and "does not reach Google" in err and "cost money" in err.splitlines()[-1]
    laptop.cloud.fail("delete", "PERMISSION_DENIED: tpu.googleapis.com")
    code, _, err = laptop("delete", "pod")
    assert code == 1 and "cost money" in err and "does not reach" not in err
    laptop.ready(("delete", "pod"))
    delete = ["compute", "tpus", "tpu-vm", "delete", "pod"]
    assert laptop.cloud.calls[-1] == [*delete, "--zone=us-west4-a", "--quiet"]
    laptop.ready(CREATE)
    shutil.rmtree(laptop.cloud.root / "workers")
    (laptop.cloud.root / "node").unlink()
    laptop.ready(("delete", "pod"))
    code, _, err = laptop("delete", "pod")
    assert code == 2 and "no slice pod is known" in err


# Setup and run


def head(checkout):
    """The commit that is checked out."""
    command = ["git", "-C", str(checkout), "rev-parse", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_setup_installs_the_commit_on_every_worker(laptop, checkout):
    laptop.ready(CREATE)
    code, out, _ = laptop("setup", "pod")
    assert code == 0 and "worker 0: ready: Python 3.11.7" in out and "worker 1: ready" in out
    for worker in "01":
        home = laptop.cloud.root / "workers" / worker
        installed = (laptop.cloud.root / f"pip-{worker}").read_text().split()
        assert installed[-5:] == [
            *("--constraint", f"{home}/glore_runs/{VERSIONS}"),
            *("-e", f"{home}/glore_jax[tpu]", "tensorboard"),
        ]
        tested = (LAUNCH / VERSIONS).read_text()
        assert (home / "glore_runs" / VERSIONS).read_text() == tested
        with tarfile.open(home / "glore_jax.tar.gz") as archive:
            files = {m.name.partition("/")[2] for m in archive.getmembers() if m.isfile()}
        assert "setup.py" in files and "not_committed.txt" not in files
        assert (home / "glore_jax" / "launch" / "worker.sh").exists()
        assert (home / "glore_jax" / "COMMIT").read_text().strip() == head(checkout)
        assert not (home / "glore_jax.new").exists()


@pytest.fixture
def alone(checkout, tmp_path):
    """A slice of one worker, whose run is in a folder of this machine: (laptop, folder)."""
    laptop = Laptop(checkout, Cloud(tmp_path, workers=1))
    laptop.environment["GLORE_MIRROR_SECONDS"] = "0.1"
    workdir = tmp_path / "work"
    laptop.ready(CREATE, ("setup", "pod"), ("run", "pod", "--config=c", f"--workdir={workdir}"))
    yield laptop, workdir
    laptop.close()


def installed_versions(cloud):
    return (cloud.root / "workers" / "0" / "glore_runs" / VERSIONS).read_text()


def test_a_slice_that_follows_gets_the_versions_that_the_run_began_with(alone, checkout):
    laptop, workdir = alone
    kept = workdir / VERSIONS
    until(kept.exists)
    assert kept.read_text() == (LAUNCH / VERSIONS).read_text()
    kept.write_text("jax==0.1\n")  # the checkout has gone on since then
    laptop.cloud.preempt()
    laptop.ready(("delete", "pod"), CREATE, ("setup", "pod"))
    assert installed_versions(laptop.cloud) == "jax==0.1\n"
    assert (
        len((laptop.cloud.root / "pip-0").read_text().splitlines()) == 3
    )  # tested ones, then kept
    # The user lets the run go on under others: those of the checkout, which are then kept.
    laptop.ready(
        ("run", "pod", "--config=c", f"--workdir={workdir}", "--other_versions"), ("stop", "pod")
    )
    laptop.ready(("setup", "pod"))
    assert installed_versions(laptop.cloud) == (LAUNCH / VERSIONS).read_text()
    laptop.ready(("run", "pod"))
    until(lambda: kept.read_text() != "jax==0.1\n")


def test_a_bucket_that_cannot_be_read_fails_setup(alone):
    laptop, workdir = alone
    laptop.ready(("stop", "pod"))
    (workdir / VERSIONS).unlink(missing_ok=True)
    (workdir / VERSIONS).mkdir(parents=True)
    code, _, err = laptop("setup", "pod")
    assert code == 1 and f"worker 0: error: cannot read {workdir / VERSIONS}" in err


def test_setup_keeps_a_work_directory_on_the_disk_of_its_worker(laptop):
    laptop.ready(CREATE, ("setup", "pod"))
    work = laptop.cloud.root / "workers" / "0" / "glore_jax" / "runs" / "tiny"
    work.mkdir(parents=True)
    laptop.ready(("setup", "pod"))
    assert work.exists()


def test_setup_names_what_stays_here(laptop, checkout):
    laptop.ready(CREATE)
    (checkout / "setup.py").write_text("changed")
    try:
        assert "not committed stay here: setup.py" in laptop("setup", "pod")[2]
    finally:
        (checkout / "setup.py").write_text("")


def test_one_worker_without_ssh_fails_setup_until_it_answers(laptop):
    laptop.ready(CREATE)
    laptop.cloud.cut_off(1)
    code, _, err = laptop("setup", "pod", GLORE_POLL_SECONDS="0")
    assert code == 1 and "[worker 1] ssh" in err and "ssh-add" in err.splitlines()[-1]
    assert not any("scp" in c for c in laptop.cloud.calls)
    laptop.cloud.cut_off(1, False)
    laptop.ready(("setup", "pod"))


def test_run_goes_on_alone_with_its_flags_and_its_place_in_the_slice(laptop):
    flags = [
        "--workdir=gs://bucket/a run",
        '--config.task.prompt={question}\n"it\'s" $HOME; *  two  spaces',
    ]
    laptop.ready(CREATE, ("setup", "pod"), ("run", "pod", "--config=configs/tiny.py:smoke", *flags))
    until(lambda: started(laptop.cloud, 0) and started(laptop.cloud, 1))
    for i in (0, 1):
        (lines,) = started(laptop.cloud, i)
        assert lines[0] == f"{i} of 2 at 10.0.0.0:8476"
        assert "\n".join(lines[1:]) == "\n".join(["--config=configs/tiny.py:smoke", *flags])
    assert laptop("status", "pod")[1].splitlines() == [
        "slice pod (v5litepod-16 in us-west4-a): READY",
        *(f"worker {i}: running bucket-a-run" for i in (0, 1)),
    ]


def test_a_run_gets_the_flags_of_its_generation_or_those_of_the_user(laptop):
    flags = [laptop.cloud.root / f"flags-{i}" for i in (0, 1)]

    def said():
        until(lambda: all(f.exists() and f.read_text() for f in flags))
        (text,) = {f.read_text().strip() for f in flags}
        for f in flags:
            f.unlink()
        return text

    laptop.ready(CREATE, ("setup", "pod"), RUN)
    named = said().split()
    assert "--xla_enable_async_all_gather=true" in named and len(named) == len(set(named))
    lines = (LAUNCH / "libtpu_flags.txt").read_text().splitlines()
    assert named == [line.split()[-1] for line in lines if "v5e" in line.partition(":")[0].split()]
    laptop.ready(("stop", "pod"))
    assert laptop(*RUN, LIBTPU_INIT_ARGS="--a=1 --b='2'")[0] == 0
    assert said() == "--a=1 --b='2'"
    laptop.ready(("stop", "pod"), ("run", "pod"))  # as `watch` would
    assert said() == "--a=1 --b='2'"


def test_run_twice_starts_once_and_fills_in_who_is_missing(laptop):
    laptop.ready(CREATE, ("setup", "pod"))
    laptop.cloud.cut_off(1)
    code, _, err = laptop(*RUN)
    assert code == 1 and "[worker 1] ssh" in err and "starts it where it is missing" in err
    laptop.cloud.cut_off(1, False)
    code, out, _ = laptop("run", "pod")  # the last command of this slice
    assert code == 0 and out.splitlines() == [
        "worker 0: already runs bucket-a-run",
        "worker 1: started bucket-a-run",
    ]
    until(lambda: started(laptop.cloud, 1))
    assert started(laptop.cloud, 0)[0][1:] == started(laptop.cloud, 1)[0][1:] == list(RUN[2:])
    code, _, err = laptop(*RUN[:-1], "--workdir=gs://bucket/other")
    assert code == 1 and "worker 0: error: bucket-a-run is running here" in err


def test_workers_of_a_slice_need_a_work_directory_that_all_see(laptop):
    laptop.ready(CREATE, ("setup", "pod"))
    code, _, err = laptop("run", "pod", "--config=c", "--workdir=runs/tiny")
    assert code == 1 and "a slice of 2 workers needs a work directory that all see" in err
    assert not started(laptop.cloud, 0)


def test_stop_ends_the_run_and_status_tells_how_it_ended(laptop):
    laptop.ready(CREATE, ("setup", "pod"), RUN)
    until(lambda: started(laptop.cloud, 0) and started(laptop.cloud, 1))
    laptop.ready(("stop", "pod"))
    assert laptop("status", "pod")[1].splitlines()[1:] == [
        f"worker {i}: stopped bucket-a-run" for i in (0, 1)
    ]
    laptop.cloud.finish(0, worker=0)
    laptop.cloud.finish(2, worker=1)
    laptop.ready(RUN)
    ended = [f"worker {i}: ended {code} bucket-a-run" for i, code in ((0, 0), (1, 2))]
    until(lambda: laptop("status", "pod")[1].splitlines()[1:] == ended)


def test_logs_are_told_apart_and_one_can_be_followed(laptop):
    laptop.ready(CREATE, ("setup", "pod"), RUN)
    both = [f"worker {i}: {line}" for i in (0, 1) for line in ("step 1", f"hello from {i}")]
    until(lambda: laptop("logs", "pod")[1].splitlines() == both)
    follow = laptop.start("logs", "pod", "1")
    assert [follow.stdout.readline() for _ in "12"] == ["step 1\n", "hello from 1\n"]
    follow.stdin.close()  # what the worker sees when the laptop goes away
    assert follow.wait(timeout=10) == 0


def test_a_worker_keeps_its_log_in_the_work_directory(alone):
    laptop, workdir = alone

    def logs():
        return [p.read_text() for p in workdir.glob("logs/*-worker-0.log")]

    until(lambda: logs() == ["step 1\nhello from 0\n"])  # before the run ends
    # One worker is no slice that has to come together.
    assert started(laptop.cloud, 0)[0][0] == " of  at "


# Looking and fetching


def test_tensorboard_lives_as_long_as_its_tunnel(laptop):
    laptop.ready(CREATE, ("setup", "pod"), RUN)
    tunnel = laptop.start("tensorboard", "pod", "7007")
    file = laptop.cloud.root / "tensorboard"
    until(lambda: file.exists() and file.read_text())
    pid, *flags = file.read_text().split()
    assert flags == ["--host=localhost", "--port=7007", "--logdir=gs://bucket/a-run/tb"]
    assert "--ssh-flag=-L 7007:localhost:7007" in laptop.cloud.calls[-1]
    tunnel.stdin.close()
    tunnel.wait(timeout=10)
    until(lambda: not pathlib.Path(f"/proc/{pid}/cmdline").exists())


def test_fetch_brings_what_there_is_and_says_what_is_missing(laptop, tmp_path):
    laptop.ready(CREATE, ("setup", "pod"), RUN, ("delete", "pod"))  # results outlive the slice
    bucket, target = laptop.cloud.root / "bucket" / "a-run", tmp_path / "here"
    (bucket / "logs").mkdir(parents=True)
    (bucket / "logs" / "worker-0.log").write_text("why")
    code, _, err = laptop("fetch", "pod", str(target))
    last_line = err.splitlines()[-1]
    assert code == 1
    assert last_line.startswith("tpu_vm: error: gs://bucket/a-run has no report tb yet")
    assert (target / "logs" / "worker-0.log").read_text() == "why"
    assert not (target / "report").exists()
    (bucket / "report").mkdir()
    (bucket / "report" / "report.html").write_text("<html>")
    laptop.ready(("fetch", "pod", str(target), "report"))
    assert (target / "report" / "report.html").exists()


# Command line


def test_ssh_flags_use_the_commands_that_know_them(laptop):
    laptop.ready(CREATE)
    code, _, err = laptop("setup", "pod", TPU_SSH_FLAGS="--tunnel-through-iap --batch-size=64")
    assert code == 0, err
    for call in laptop.cloud.calls[1:]:
        assert call[0] == "alpha" and call[-2:] == ["--tunnel-through-iap", "--batch-size=64"]


def test_dry_run_prints_the_commands_and_runs_none(laptop):
    code, out, _ = laptop("--dry-run", *CREATE)
    assert code == 0 and laptop.cloud.calls == [] and not laptop.slices.exists()
    laptop.ready(CREATE)
    assert shlex.split(out) == ["gcloud", *laptop.cloud.calls[0]]
    for verb in ("setup", "watch", "status", "logs", "tensorboard", "fetch", "stop", "delete"):
        code, out, err = laptop(verb, "pod", "--dry-run")
        assert code == 0, err
        assert all(line.startswith(("gcloud ", "# ")) for line in out.splitlines()), err
        assert len(laptop.cloud.calls) == 1
    code, out, _ = laptop(*RUN, DRY_RUN="1")
    laptop.ready(("setup", "pod"), RUN)
    assert shlex.split(out) == ["gcloud", *laptop.cloud.calls[-1]]


def test_ctrl_c_says_what_may_be_left(laptop):
    laptop.cloud.fail("describe", "UNAVAILABLE", times=1000)
    queue = laptop.start(*CREATE, "--queued")
    until(lambda: len(laptop.cloud.calls) > 2)
    os.killpg(queue.pid, signal.SIGINT)
    _, err = queue.communicate(timeout=10)
    assert queue.returncode == 130 and "may still come up and cost money" in err
    laptop.ready(("delete", "pod"))  # it is known, although create did not end


@pytest.mark.parametrize(
    "arguments, line",
    [
        ((), "launch/tpu_vm.sh create NAME"),
        (("start", "pod"), "launch/tpu_vm.sh create NAME"),
        (("create", "pod", "--zone=z"), "create needs --zone=ZONE and --type=TYPE"),
        (("create", "pod", "--zone=z", "--type=v5e-16"), "is called v5litepod-16"),
        (("create", "pod", "--zone=z", "--type=v9-16"), "add --version=RUNTIME"),
        (("create", "--zone=z", "--type=v4-8"), "'--zone=z' is no name of a slice"),
        (("run", "pod", "--config=c"), "create pod --zone=ZONE --type=TYPE` first"),
        (("fetch", "pod"), "slice pod has no run yet"),
    ],
)
def test_mistakes_are_one_line_that_says_what_to_do(laptop, arguments, line):
    code, out, err = laptop(*arguments)
    assert (code, out, laptop.cloud.calls) == (2, "", []) and line in err
