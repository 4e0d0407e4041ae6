"""A stand-in for `gcloud` and the machines behind it.

Workers are folders; what is sent over ssh really runs there. As a program it is `gcloud`: it
refuses flags that the real one does not know, writes down what it is asked, and does it to the
cloud in `$CLOUD`. As a module it is what a test does to that cloud: take capacity away, cut a
worker off, pre-empt.

In the folder `$CLOUD`, a file is a state:

    node, queued         the state that `describe` prints; absent: there is no such slice
    endpoints, type      the workers, and what they are, as the metadata server names them
    workers/N            the home of worker N
    calls, failures      what was asked so far, and which calls are to fail next (JSON lines)
    cut_off-N, lingers   worker N does not answer; the call that deletes does not come back
    finish, finish-N     the exit code of the run, once it shall end
    started-N, pip-N     what was started and installed on worker N
    flags-N              libtpu's flags of the run there
"""

import json
import os
import pathlib
import shlex
import shutil
import signal
import subprocess
import sys
import time

_COMMON = {"--zone", "--quiet", "--format"}
_SSH = {"--worker", "--command", "--ssh-flag", "--internal-ip", "--output-directory"}
_SCP = {"--worker", "--recurse"}
_ALPHA = {"--batch-size", "--tunnel-through-iap"}
_CREATE = {
    *("--accelerator-type", "--spot", "--scopes", "--network", "--service-account"),
    "--internal-ips",
}
_QUEUE = {"--node-id", "--runtime-version", "--valid-until-duration"}
# Command -> the flags that it knows beside the common ones.
ACCEPTS = {
    "compute tpus tpu-vm create": _CREATE | {"--version"},
    "compute tpus tpu-vm delete": set(),
    "compute tpus tpu-vm describe": set(),
    "compute tpus tpu-vm ssh": _SSH,
    "compute tpus tpu-vm scp": _SCP,
    "alpha compute tpus tpu-vm ssh": _SSH | _ALPHA,
    "alpha compute tpus tpu-vm scp": _SCP | _ALPHA,
    "compute tpus queued-resources create": _CREATE | _QUEUE,
    "compute tpus queued-resources delete": {"--force"},
    "compute tpus queued-resources describe": set(),
    "storage rsync": {"--recursive"},
}

# The programs on every worker. The run lasts until `finish` says how it ends.
GLORE = """#!/usr/bin/env bash
trap 'exit 130' TERM
place="$JAX_PROCESS_ID of $JAX_NUM_PROCESSES at $JAX_COORDINATOR_ADDRESS"
printf '%s\\n' "$place" "$@" >>$CLOUD/started-$WORKER
echo "${LIBTPU_INIT_ARGS-none}" >$CLOUD/flags-$WORKER
printf 'step 1\\rhello from %s\\n' $WORKER
while [ ! -e $CLOUD/finish-$WORKER ] && [ ! -e $CLOUD/finish ]; do sleep 0.05; done
exit $(cat $CLOUD/finish-$WORKER $CLOUD/finish 2>/dev/null | head -n 1)
"""
TENSORBOARD = '#!/usr/bin/env bash\necho $$ "$@" >$CLOUD/tensorboard\nexec sleep 60\n'
PIP = '#!/usr/bin/env bash\necho "$@" >>$CLOUD/pip-$WORKER\n'
PYTHON = f"""#!/usr/bin/env bash
case "$*" in
  *gs://*) exit 4 ;;  # from here no bucket can be reached
  *importlib*) echo Python 3.11.7 jax 0 libtpu 0 && exit ;;
esac
exec {shlex.quote(sys.executable)} "$@"
"""
PYTHON311 = """#!/usr/bin/env bash
[ "$1 $2" = "-m venv" ] || exit 0
mkdir -p $3/bin && cp $CLOUD/venv/* $3/bin
"""
CURL = """#!/usr/bin/env bash
case ${@: -1} in
  */agent-worker-number) echo $WORKER ;;
  */worker-network-endpoints) cat $CLOUD/endpoints ;;
  */accelerator-type) cat $CLOUD/type ;;
  *) exit 22 ;;
esac
"""


class Cloud:
    """One slice in one project, kept in the folder `root`, which is made if it is not there."""

    def __init__(self, root: pathlib.Path, workers: int = 1):
        self.root = root
        self.bin = root / "bin"
        if self.bin.exists():
            return
        gcloud = f'#!/bin/sh\nexec {sys.executable} {__file__} "$@"\n'
        everywhere = {"gcloud": gcloud, "python3.11": PYTHON311, "curl": CURL}
        installed = {"glore": GLORE, "tensorboard": TENSORBOARD, "pip": PIP, "python": PYTHON}
        for name, text in everywhere.items():
            _program(self.bin / name, text)
        for name, text in installed.items():
            _program(root / "venv" / name, text)
        endpoints = ",".join(f"w{i}:{i}:10.0.0.{i}" for i in range(workers))
        (root / "endpoints").write_text(endpoints)
        (root / "calls").write_text("")

    # What a test does

    @property
    def calls(self) -> list[list[str]]:
        """What gcloud was asked so far."""
        return [json.loads(line) for line in (self.root / "calls").read_text().splitlines()]

    def fail(self, words: str, message: str, times: int = 1):
        """The next `times` calls that contain `words` fail with that message."""
        with open(self.root / "failures", "a") as file:
            file.writelines(json.dumps([words, message]) + "\n" for _ in range(times))

    def cut_off(self, worker: int, yes: bool = True):
        """The worker does not answer ssh any more (or does again)."""
        self._flag(f"cut_off-{worker}", yes)

    def linger(self, yes: bool = True):
        """A slice that is deleted goes at once, but the call that deletes it does not come back."""
        self._flag("lingers", yes)

    def finish(self, code: int, worker: int | None = None):
        """The run ends with that exit code, everywhere or on one worker."""
        name = "finish" if worker is None else f"finish-{worker}"
        (self.root / name).write_text(f"{code}\n")

    def preempt(self):
        """The slice is taken away."""
        self.power_off()
        self._state("PREEMPTED" if (self.root / "node").exists() else None, "SUSPENDED")

    def power_off(self, worker: str = "*"):
        """Ends what runs on a worker, or on all of them, with no time for a last word."""
        for pid in self.root.glob(f"workers/{worker}/glore_runs/*/pid"):
            try:
                os.killpg(int(pid.read_text()), signal.SIGKILL)
            except ProcessLookupError:
                pass

    def _flag(self, name: str, yes: bool):
        if yes:
            (self.root / name).touch()
        else:
            (self.root / name).unlink(missing_ok=True)

    def _state(self, node: str | None, queued: str | None):
        """What gcloud says from now on; None: not found. Only what was queued has such a state."""
        for name, state in (("node", node), ("queued", queued)):
            if state is None:
                (self.root / name).unlink(missing_ok=True)
            elif name == "node" or (self.root / name).exists():
                (self.root / name).write_text(state)

    # What gcloud does

    def ask(self, arguments: list[str]) -> int:
        """Does what the command line of `gcloud` asks for; its exit code."""
        with open(self.root / "calls", "a") as file:
            file.write(json.dumps(arguments) + "\n")
        command = next((c for c in ACCEPTS if arguments[: len(c.split())] == c.split()), None)
        if command is None:
            return _refuse("Invalid choice: " + " ".join(arguments[:4]))
        rest = arguments[len(command.split()) :]
        names = [argument for argument in rest if argument[:2] != "--"]
        flags = [argument for argument in rest if argument[:2] == "--"]
        known = ACCEPTS[command] | _COMMON
        unknown = [flag for flag in flags if flag.split("=")[0] not in known]
        if unknown:
            return _refuse(f"unrecognized arguments: {unknown}", 2)
        message = self._planned_failure(" ".join(arguments))
        if message is not None:
            return _refuse(message)
        values = dict(flag[2:].partition("=")[::2] for flag in flags)  # name -> value
        verb = command.split()[-1]
        return getattr(self, f"_{verb}")(names, values, "queued" in command)

    def _planned_failure(self, line: str) -> str | None:
        """The message of a failure that is planned for this call; it is then used up."""
        file = self.root / "failures"
        lines = file.read_text().splitlines() if file.exists() else []
        for i, (words, message) in enumerate(map(json.loads, lines)):
            if words in line:
                del lines[i]
                file.write_text("".join(f"{rest}\n" for rest in lines))
                return message
        return None

    # Each verb: (names on the command line, values of its flags, whether it is of the queue)

    def _create(self, names, flags, queued):
        if (self.root / "node").exists() or (self.root / "queued").exists():
            return _refuse("ALREADY_EXISTS: Resource already exists")
        for i in self._everyone():
            (self.root / "workers" / str(i)).mkdir(parents=True)
        (self.root / "node").write_text("READY")
        (self.root / "type").write_text(flags["accelerator-type"])
        if queued:
            (self.root / "queued").write_text("ACTIVE")
        return 0

    def _delete(self, names, flags, queued):
        name = "queued" if queued else "node"
        if not (self.root / name).exists():
            return _refuse("NOT_FOUND: Resource was not found")
        self.power_off()
        shutil.rmtree(self.root / "workers", ignore_errors=True)
        self._state(None, None)
        while (self.root / "lingers").exists():
            time.sleep(0.05)
        return 0

    def _describe(self, names, flags, queued):
        file = self.root / ("queued" if queued else "node")
        if not file.exists():
            return _refuse("NOT_FOUND: Resource was not found")
        print(file.read_text())
        return 0

    def _ssh(self, names, flags, queued):
        code = 0
        for i in self._workers(flags):
            if (self.root / f"cut_off-{i}").exists():
                message = f"[worker {i}] ssh: connect to host port 22: Connection timed out"
                code = _refuse(message, 255)
                continue
            home = self.root / "workers" / str(i)
            environment = os.environ | {
                "HOME": str(home),
                "WORKER": str(i),
                "PATH": f"{self.bin}{os.pathsep}/usr/bin{os.pathsep}/bin",
            }
            done = subprocess.run(["bash", "-c", flags["command"]], cwd=home, env=environment)
            code = code or done.returncode
        return code

    def _scp(self, names, flags, queued):
        source, target = names
        for i in self._workers(flags):
            home = self.root / "workers" / str(i)
            if ":" in source:
                path = home / source.partition(":")[2]
                if not path.exists():
                    return _refuse(f"scp: {path}: No such file or directory")
                shutil.copytree(path, pathlib.Path(target) / path.name)
            else:
                shutil.copy(source, home / target.partition(":")[2])
        return 0

    def _rsync(self, names, flags, queued):
        source = self.root / names[0].removeprefix("gs://")
        if not source.exists():
            return _refuse(f"{names[0]} did not match existing container.")
        shutil.copytree(source, names[1], dirs_exist_ok=True)
        return 0

    def _workers(self, flags) -> list[int]:
        worker = flags["worker"]
        return self._everyone() if worker == "all" else [int(worker)]

    def _everyone(self) -> list[int]:
        endpoints = (self.root / "endpoints").read_text().split(",")
        return list(range(len(endpoints)))


def _program(path: pathlib.Path, text: str):
    """Writes something that can be run."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def _refuse(message: str, code: int = 1) -> int:
    print(f"ERROR: (gcloud) {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(Cloud(pathlib.Path(os.environ["CLOUD"])).ask(sys.argv[1:]))
