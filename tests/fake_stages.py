"""A small package of stages that touch only files, in place of the real ones.

Run as a program it is the `glore` command over them, `python -m fake_stages FOLDER [flags]`; as a
config file it is their config.
"""

import os
import pathlib
import signal
import subprocess
import sys
import textwrap

from glore_jax import stages
from glore_jax.config import default, task
from glore_jax.stages import Declaration

ROOT = pathlib.Path(__file__).parent.parent  # the checkout

STAGES = {
    "pretrain": Declaration(config=("seed", "pretrain")),
    "student": Declaration(config=("seed", "task", "model", "student")),
    "sample": Declaration(needs=("student",), config=("sample", "engine")),
    "rollout": Declaration(needs=("sample",), config=("rollout",)),
    "report": Declaration(needs=("sample", "rollout"), config=("report",)),
}
# The body of each one's `run(ctx)`.
BODIES = {
    "pretrain": "return {}",
    "student": "return {'examples': 3}",
    "sample": "return {}",
    "rollout": "return {}",
    "report": "ctx.folder('report', 'summary.txt').write_text('final 0.5\\n'); return {}",
}


def write(folder: pathlib.Path, **bodies: str) -> None:
    """Writes the stages as modules of `folder`; a keyword replaces a stage's body.

    Each run leaves its name in `ran.txt`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, body in (BODIES | bodies).items():
        (folder / f"{name}.py").write_text(
            "def run(ctx):\n"
            "    with open(str(ctx.folder('ran.txt')), 'a') as f:\n"
            f"        f.write('{name} ')\n" + textwrap.indent(textwrap.dedent(body), "    ") + "\n"
        )


def install(folder: pathlib.Path) -> None:
    stages.__path__.insert(0, str(folder))
    stages.STAGES = STAGES


def get_config():
    config = default()
    config.name = "test"
    config.task = task("chains")
    return config


def start(folder: pathlib.Path, *arguments: str, **options) -> subprocess.Popen:
    """The `glore` command over the stages in `folder`, as a process with text pipes."""
    paths = os.pathsep.join((str(ROOT), str(ROOT / "tests")))
    environment = os.environ | {"PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"}

    def as_in_a_terminal():
        # A shell starts what runs in its background, this suite perhaps, deaf to Ctrl-C.
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    return subprocess.Popen(
        [sys.executable, "-m", "fake_stages", str(folder), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        preexec_fn=as_in_a_terminal,
        **options,
    )


if __name__ == "__main__":
    install(pathlib.Path(sys.argv.pop(1)))
    from glore_jax.main import cli

    try:
        cli()
    finally:
        if os.environ.get("SHOW_IMPORTS"):
            print("imported:", *sorted({"jax", "flax", "optax"} & sys.modules.keys()))
