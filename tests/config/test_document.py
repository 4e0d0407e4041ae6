"""docs/config.md is made from the declarations."""

import pathlib
import subprocess
import sys

from glore_jax.config import default
from glore_jax.config.document import document
from glore_jax.config.fields import leaves

ROOT = pathlib.Path(__file__).parents[2]


def test_the_file_is_fresh():
    """Make it again: python -m glore_jax.config > docs/config.md"""
    assert (ROOT / "docs" / "config.md").read_text() == document()


def test_every_field_has_a_row():
    rows = {line.split("`")[1] for line in document().splitlines() if line.startswith("| `")}
    shared = {f"student.sft.{name}" for name in default().student.sft}
    for name, _ in leaves(default()):
        assert name in rows or f"student.sft.{name.rpartition('.')[2]}" in shared, name
    assert {"task.size.train", "task.worked", "pretrain.NAME.batches.NAME.rows"} <= rows


def test_the_command_prints_it():
    done = subprocess.run(
        [sys.executable, "-m", "glore_jax.config"], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, document(), "")
