"""Records come out as JSON Lines, or one line says why not."""

import json
import subprocess
import sys

import pytest

from glore_jax import records, storage
from glore_jax.errors import UserError

ROWS = [{"id": f"q{i}", "steps": ["a", "über"], "correct": bool(i % 2)} for i in range(5)]


@pytest.fixture
def folder(tmp_path):
    storage.write_part(tmp_path / "records", 0, ROWS[:2])
    storage.write_part(tmp_path / "records", 1, ROWS[2:])
    return tmp_path / "records"


def command(*args):
    return subprocess.run(
        [sys.executable, "-m", "glore_jax.records", *map(str, args)], capture_output=True, text=True
    )


def test_all_parts_in_order(folder):
    done = command(folder)
    assert done.returncode == 0
    assert [json.loads(line) for line in done.stdout.splitlines()] == ROWS


def test_columns_in_the_order_asked_for(folder):
    assert records.rows(str(folder), ["correct", "id"]) == [
        {"correct": r["correct"], "id": r["id"]} for r in ROWS
    ]
    assert list(records.rows(str(folder), ["correct", "id"])[0]) == ["correct", "id"]
    with pytest.raises(UserError, match="has no column 'gold': choose from id, steps, correct"):
        records.rows(str(folder), ["gold"])


@pytest.mark.parametrize(
    "args, message", [((), "give one folder"), (("nowhere",), "holds no part-")]
)
def test_a_mistake_is_one_line_and_exit_code_2(args, message):
    done = command(*args)
    assert done.returncode == 2 and message in done.stderr and done.stderr.count("\n") == 1
