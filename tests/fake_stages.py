"""A small package of stages that touch only files, in place of the real ones.

Run as a program it is the `glore` command over them: `python fake_stages.py FOLDER [flags]`; as a config file it is their config.
"""

import os
import pathlib
import signal
import subprocess
import sys
import textwrap

from glore_jax import stages
from glore_jax.config import default

ROOT = pathlib.Path(__file__).parent.parent  # the checkout

# name -> (stages read, config sections, body of run(ctx))
STAGES = {
    "pretrain": ((), ("seed", "pretrain"), "return {}"),
    "student": ((), ("seed", "task", "model", "student"), "return {'examples': 3}"),
    "sample": (("student",), ("sample", "engine"), "return {}"),
    "rollout": (("sample",), ("rollout",), "return {}"),
    "report": (
        ("sample", "rollout"),
        ("report",),
        "ctx.folder('report', 'summary.txt').write_text('final 0.5\\n'); return {}",
    ),
}


def write(folder: pathlib.Path, **bodies: str) -> None:
    """Writes the stages as modules of `folder`; a keyword replaces a stage's body. Each run leaves its name in `ran.txt`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (needs, config, body) in STAGES.items():
        body = textwrap.indent(textwrap.dedent(bodies.get(name, body)), "    ")
        (folder / f"{name}.py").write_text(
            f"NEEDS = {needs}\nCONFIG = {config}\n\n\ndef run(ctx):\n"
            f"    with open(str(ctx.folder('ran.txt')), 'a') as f:\n        f.write('{name} ')\n{body}\n"
        )


def install(folder: pathlib.Path) -> None:
    stages.__path__.insert(0, str(folder))
    stages.NAMES = tuple(STAGES)


def get_config():
    config = default()
    config.name, config.task.name = "test", "chains"
    return config


def start(folder: pathlib.Path, *arguments: str, **options) -> subprocess.Popen:
    """The `glore` command over the stages in `folder`, as a process with text pipes."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}

    def as_in_a_terminal():  # a shell starts what runs in its background, this suite perhaps, deaf to Ctrl-C
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    return subprocess.Popen(
        [sys.executable, __file__, str(folder), *arguments],
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
