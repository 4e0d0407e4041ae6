"""The records that stages hand on: their fields, and the same as JSON Lines for other tools.

python -m glore_jax.records runs/tiny/rollout/records > labels.jsonl
"""

import json
import sys
from typing import TypedDict

from absl import app, flags

from glore_jax import storage
from glore_jax.errors import UserError


class Sample(TypedDict):
    """A solution that a model wrote (or, `policy` "worked", that the task brings), and its grade."""

    question_id: str
    sample_id: int
    question: str
    gold: str
    steps: list[str]
    answer: str | None
    correct: bool
    ended: bool
    tokens: int
    logprob: float | None
    seed: int
    policy: str


class Trace(TypedDict):
    """A rollout of the labelling: the steps that continue the first `cut` steps of a draft."""

    cut: int
    rollout: int
    steps: list[str]
    verified: bool


class LabelledDraft(TypedDict):
    """A sample with a label for each step, and the evidence for it (see `labels/stepwise.py`)."""

    question_id: str
    sample_id: int
    prompt: str
    gold: str
    completions: list[str]
    labels: list[int]
    hits: list[int]
    tries: list[int]
    source: list[str]
    schedule: str
    first_error: int
    correct: bool
    tokens: int
    traces: list[Trace]


class Pair(TypedDict):
    """A wrong draft, where it goes wrong, and a right solution: what the refiner learns from."""

    question_id: str
    kind: str
    prompt: str
    draft: list[str]
    first_error: int
    target: list[str]


_COLUMNS = flags.DEFINE_list(
    "columns", None, "only these columns, separated by commas, in this order"
)


def rows(folder: str, columns: list[str] | None) -> list[dict]:
    """The records of `folder`, all its parts in order, with all or only the named columns.

    UserError: the folder holds no records, a part is damaged, or a column does not exist.
    """
    records = storage.read_records(folder)
    if not columns or not records:
        return records
    if unknown := [c for c in columns if c not in records[0]]:
        known = ", ".join(records[0])
        raise UserError(f"{folder} has no column {unknown[0]!r}: choose from {known}")
    return [{c: record[c] for c in columns} for record in records]


def main(argv: list[str]) -> int:
    try:
        if len(argv) != 2:
            raise UserError("give one folder of records, such as runs/tiny/rollout/records")
        for row in rows(argv[1], _COLUMNS.value):
            print(json.dumps(row, ensure_ascii=False))
        return 0
    except UserError as e:
        print(f"glore: error: {e}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # `| head` has seen enough
        sys.stderr.close()
        return 0


if __name__ == "__main__":
    app.run(main)
