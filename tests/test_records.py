"""Every record type has a schema, every folder of a run keeps to it, and JSON Lines come out."""

import json
import subprocess
import sys
from typing import TypedDict

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import some_records

from glore_jax import parquet, records
from glore_jax.errors import UserError
from glore_jax.records import (
    LabelledDraft,
    LogLikelihood,
    Pair,
    Refinement,
    Sample,
    Solution,
    StepScores,
    StoredRecords,
    schema_of,
)

# Where records of each type lie in a work directory.
FOLDERS = {
    "student/dev-*": Sample,
    "student/samples-*": Sample,
    "student/solutions-*": Solution,
    "sample/*": Sample,
    "rollout/records": LabelledDraft,
    "refiner/pairs": Pair,
    "evaluate/*/drafts": Sample,
    "evaluate/*/samples*": Sample,
    "evaluate/*/step_labels": LabelledDraft,
    "evaluate/*/*refinements": Refinement,
    "evaluate/*/scores/*orm": StepScores,
    "evaluate/*/scores/*-refinements": StepScores,
    "evaluate/*/scores/*loglik": LogLikelihood,
}


class Inner(TypedDict):
    text: str | None


class Outer(TypedDict):
    name: str
    count: int | None
    share: float
    right: bool
    lines: list[str]
    nested: list[list[int]]
    one: Inner
    many: list[Inner]


def test_a_schema_follows_the_annotations():
    inner = pa.struct([pa.field("text", pa.string())])

    def list_of(type_):
        return pa.list_(pa.field("element", type_, nullable=False))

    expected = [
        ("name", pa.string()),
        ("count", pa.int64()),
        ("share", pa.float64()),
        ("right", pa.bool_()),
        ("lines", list_of(pa.string())),
        ("nested", list_of(list_of(pa.int64()))),
        ("one", inner),
        ("many", list_of(inner)),
    ]
    schema = schema_of(Outer)
    assert [(field.name, field.type) for field in schema] == expected
    assert [field.name for field in schema if field.nullable] == ["count"]


def test_a_field_without_a_type_for_it_is_named():
    class Wrong(TypedDict):
        fine: int
        place: dict[str, int]

    class Either(TypedDict):
        place: int | str

    with pytest.raises(TypeError, match="Wrong.place: no Arrow type for dict"):
        schema_of(Wrong)
    with pytest.raises(TypeError, match="Either.place: a column has one type"):
        schema_of(Either)


def test_what_may_be_null():
    """A worked solution has no log-probability, a solution without an answer line no answer."""
    nullable = {
        f"{kind.__name__}.{field.name}"
        for kind in set(FOLDERS.values())
        for field in schema_of(kind)
        if field.nullable
    }
    assert nullable == {"Sample.answer", "Sample.logprob"}


@pytest.mark.parametrize("kind", [*dict.fromkeys(FOLDERS.values())])
def test_records_of_every_type_come_back(tmp_path, kind):
    rows = [some_records.full(kind)] * 2
    records.write_part(tmp_path, 0, rows, kind)
    assert records.read(tmp_path, kind) == rows
    assert pq.read_table(tmp_path).schema.equals(schema_of(kind))


def test_every_folder_of_a_run_is_one_table_and_holds_nothing_else(finished):
    folders = {part.parent for part in finished.rglob("part-*.parquet")}
    of_known_type = {}
    for pattern, kind in FOLDERS.items():
        for folder in finished.glob(pattern):
            of_known_type[folder] = kind
    assert {f for f in of_known_type if f in folders} == folders and len(folders) > 10
    for folder in folders:
        files = sorted(folder.iterdir())
        assert files == [parquet.part_path(folder, i) for i in range(len(files))]
        table = pq.read_table(folder)
        assert table.schema.equals(schema_of(of_known_type[folder]))
        assert table.to_pylist() == parquet.read_records(folder)


# The program.


class Row(TypedDict):
    id: str
    steps: list[str]
    correct: bool


ROWS = [Row(id=f"q{i}", steps=["a", "über"], correct=bool(i % 2)) for i in range(5)]


@pytest.fixture
def folder(tmp_path):
    records.write_part(tmp_path / "records", 0, ROWS[:2], Row)
    records.write_part(tmp_path / "records", 1, ROWS[2:], Row)
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
    done = command(folder, "--columns=correct,id")
    found = [list(json.loads(line).items()) for line in done.stdout.splitlines()]
    assert found == [[("correct", row["correct"]), ("id", row["id"])] for row in ROWS]
    with pytest.raises(UserError, match="has no column 'gold': choose from id, steps, correct"):
        list(records.lines(str(folder), ["gold"]))


def test_records_of_several_folders_follow_each_other(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "PART_ROWS", 2)
    stored = []
    for name, rows in (("a", ROWS), ("b", ROWS[:0]), ("c", ROWS[1:3])):
        counts = records.write_all(tmp_path / name, rows, Row)
        stored.append(StoredRecords.of(tmp_path / name, Row, counts))
    assert [folder.folders[0][1] for folder in stored] == [(2, 2, 1), (0,), (2,)]
    together = stored[0] + stored[1] + stored[2]
    assert len(together) == 7 and list(together) == ROWS + ROWS[1:3]
    assert list(together) == ROWS + ROWS[1:3]  # a second time
    assert list(together.select("id")) == [{"id": row["id"]} for row in together]
    correct = [right for batch in together.columns(("correct",)) for right in batch["correct"]]
    assert [right.as_py() for right in correct] == [row["correct"] for row in ROWS + ROWS[1:3]]


def test_records_stream_with_the_columns_asked_for(folder):
    expected = [{"id": row["id"], "correct": row["correct"]} for row in ROWS]
    assert list(records.stream(folder, Row, ("id", "correct"))) == expected
    batches = list(records.stream_columns(folder, Row, ("correct",)))
    assert [batch.schema.names for batch in batches] == [["correct"]] * 2
    assert records.read(folder, Row, rows=[2, 3]) == ROWS
    with pytest.raises(UserError, match=r"part-00001\.parquet: holds 3 rows instead of 4"):
        records.read(folder, Row, rows=[2, 4])


@pytest.mark.parametrize(
    "args, message", [((), "give one folder"), (("nowhere",), "holds no part-")]
)
def test_a_mistake_is_one_line_and_exit_code_2(args, message):
    done = command(*args)
    assert done.returncode == 2 and message in done.stderr and done.stderr.count("\n") == 1
