"""Records as JSON Lines on stdout, for other tools.

python -m glore_jax.records runs/tiny/rollout/records > labels.jsonl
"""

import json
import sys

from absl import app, flags

from glore_jax import storage
from glore_jax.errors import UserError

_COLUMNS = flags.DEFINE_list("columns", None, "only these columns, separated by commas, in this order")


def rows(folder: str, columns: list[str] | None) -> list[dict]:
    """The records of `folder`, all its parts in order, with all or only the named columns.

    UserError: the folder holds no records, a part is damaged, or a column does not exist.
    """
    records = storage.read_records(folder)
    if not columns or not records:
        return records
    if unknown := [c for c in columns if c not in records[0]]:
        raise UserError(f"{folder} has no column {unknown[0]!r}: choose from {', '.join(records[0])}")
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
