"""Records come back as they went in, a folder is one table for every reader, damage is named."""

import errno
import os

import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glore_jax import parquet, storage
from glore_jax.errors import UserError


def required(name, type_):
    return pa.field(name, type_, nullable=False)


def list_of(type_):
    return pa.list_(required("element", type_))


TRACE = pa.struct([required("cut", pa.int64()), required("steps", list_of(pa.string()))])
SCHEMA = pa.schema(
    [
        required("id", pa.string()),
        required("number", pa.int64()),
        required("steps", list_of(pa.string())),
        required("labels", list_of(pa.int64())),
        pa.field("logprob", pa.float64()),
        required("correct", pa.bool_()),
        required("traces", list_of(TRACE)),
    ]
)

# Line separators that split lines elsewhere (U+2028, form feed) are among the text.
TEXT = st.text(
    st.characters(exclude_categories=["Cs"]) | st.sampled_from("\n\u2028\x0c\x85"), max_size=20
)
INT64 = st.integers(-(2**63), 2**63 - 1)
STEPS = st.lists(TEXT, max_size=3)
RECORD = st.fixed_dictionaries(
    {
        "id": TEXT,
        "number": INT64,
        "steps": STEPS,
        "labels": st.lists(INT64, max_size=3),
        "logprob": st.none() | st.floats(allow_nan=False),
        "correct": st.booleans(),
        "traces": st.lists(st.fixed_dictionaries({"cut": INT64, "steps": STEPS}), max_size=2),
    }
)


def row(i=0, **changes):
    fields = {
        "id": f"q{i}",
        "number": i,
        "steps": ["a", f"b{i}"],
        "labels": [1, 0],
        "logprob": -i / 7,
        "correct": bool(i % 2),
        "traces": [{"cut": i, "steps": ["c"]}],
    }
    return fields | changes


ROWS = [row(i) for i in range(30)]


def write(folder, index, rows):
    parquet.write_part(folder, index, rows, SCHEMA)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("records")


@settings(max_examples=50, deadline=None)
@given(rows=st.lists(RECORD, max_size=4))
def test_part_round_trip(folder, rows):
    write(folder, 0, rows)
    assert parquet.read_part(folder, 0) == rows


def test_parts_come_back_in_order_of_index(tmp_path):
    for index in (4, 3, 0, 2):
        write(tmp_path, index, [row(k, number=index) for k in range(2)])
    write(tmp_path, 1, [])
    storage.write_json(tmp_path / "manifest.json", {})
    (tmp_path / ".part-00001.parquet.0a1b2c3d.tmp").write_bytes(b"half a par")
    (tmp_path / "part-00003.parquet.bak").write_bytes(b"not a part")
    records = parquet.read_records(tmp_path)
    expected = [(index, f"q{k}") for index in (0, 2, 3, 4) for k in range(2)]
    assert [(r["number"], r["id"]) for r in records] == expected
    assert (tmp_path / "part-00002.parquet").exists()
    assert parquet.has_part(tmp_path, 1) and not parquet.has_part(tmp_path, 5)


def test_a_gap_between_parts_is_named(tmp_path):
    for index in (0, 1, 3):
        write(tmp_path, index, ROWS)
    message = r"part-00002\.parquet is missing; delete the folder of its stage"
    with pytest.raises(UserError, match=message):
        parquet.read_records(tmp_path)


def test_parts_with_known_rows_are_found_without_a_listing(tmp_path, monkeypatch):
    for index in range(3):
        write(tmp_path, index, ROWS[10 * index : 10 * index + 10])

    def stale(self):
        raise AssertionError("a listing is trusted")

    monkeypatch.setattr(parquet.storage, "names", stale)
    assert parquet.read_records(tmp_path, rows=[10, 10, 10]) == ROWS
    assert parquet.read_records(tmp_path, rows=[10]) == ROWS[:10]  # of the parts asked for
    with pytest.raises(UserError, match=r"part-00003\.parquet: no such file"):
        parquet.read_records(tmp_path, rows=[10] * 4)
    with pytest.raises(UserError, match=r"part-00001\.parquet: holds 10 rows instead of 9"):
        parquet.read_records(tmp_path, rows=[10, 9, 10])


def test_few_rows_are_decoded_at_a_time(tmp_path):
    many = [row(i) for i in range(2 * parquet.BATCH_ROWS + 5)]
    write(tmp_path, 0, many)
    batches = list(parquet.stream(tmp_path, ("traces", "id")))
    assert [batch.num_rows for batch in batches] == [parquet.BATCH_ROWS] * 2 + [5]
    found = [row for batch in batches for row in batch.to_pylist()]
    assert found == [{"id": row["id"], "traces": row["traces"]} for row in many]


# One schema, whatever a part holds.

PARTS = {
    "whole": ROWS[:2],
    "no rows": [],
    "only empty lists": [row(steps=[], labels=[], traces=[])],
    "only nulls": [row(logprob=None)],
}


@pytest.fixture
def mixed(tmp_path):
    """(folder of all of `PARTS`, first one that says the least about its types; all rows)."""
    parts = list(PARTS.values())[::-1]
    for index, rows in enumerate(parts):
        write(tmp_path, index, rows)
    return tmp_path, [row for rows in parts for row in rows]


@pytest.mark.parametrize("rows", PARTS.values(), ids=PARTS)
def test_every_part_has_the_schema_of_its_folder(tmp_path, rows):
    write(tmp_path, 0, rows)
    assert pq.read_schema(parquet.part_path(tmp_path, 0)).equals(SCHEMA)


def test_pyarrow_reads_a_folder_as_one_table(mixed):
    folder, rows = mixed
    table = pq.read_table(folder)
    assert table.schema.equals(SCHEMA) and table.to_pylist() == rows


def test_a_folder_is_a_dataset(mixed):
    folder, rows = mixed
    dataset = pyarrow.dataset.dataset(folder)
    assert dataset.schema.equals(SCHEMA) and dataset.to_table().to_pylist() == rows
    right = dataset.to_table(columns=["id"], filter=pyarrow.dataset.field("correct"))
    assert right.to_pylist() == [{"id": "q1"}]


def test_pandas_reads_a_folder(mixed):
    pandas = pytest.importorskip("pandas")
    folder, rows = mixed
    frame = pandas.read_parquet(folder)
    assert list(frame.columns) == SCHEMA.names and len(frame) == len(rows)
    assert [list(steps) for steps in frame["steps"]] == [row["steps"] for row in rows]


def test_hugging_face_datasets_reads_a_folder(mixed, tmp_path_factory):
    datasets = pytest.importorskip("datasets")
    folder, rows = mixed
    cache = str(tmp_path_factory.mktemp("cache"))
    loaded = datasets.load_dataset("parquet", data_dir=str(folder), cache_dir=cache)
    assert loaded["train"].to_list() == rows


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"logprob": ...}, "no key 'logprob'"),
        ({"id": ...}, "no key 'id'"),
        ({"extra": 1}, "unknown key 'extra'"),
        ({"steps": None}, "key 'steps' is None"),
        ({"number": "1"}, "key 'number'"),
        ({"steps": [1]}, "key 'steps'"),
        ({"traces": [{"cut": 1}]}, "no key 'traces.steps'"),
        ({"traces": [{"cut": 1, "steps": [], "more": 2}]}, "unknown key 'traces.more'"),
        ({"traces": [{"cut": None, "steps": []}]}, "key 'traces.cut' is None"),
    ],
)
def test_a_row_that_does_not_fit_is_named(tmp_path, changes, message):
    """`...` stands for a key that is not there. Also behind rows that do fit."""
    fields = row(1, **changes)
    fields = {key: value for key, value in fields.items() if value is not ...}
    with pytest.raises(ValueError, match=message):
        write(tmp_path, 0, [row(0), fields])
    assert not parquet.has_part(tmp_path, 0)


def test_parts_are_zstd_with_checksums(tmp_path):
    write(tmp_path, 0, ROWS)
    group = pq.read_metadata(tmp_path / "part-00000.parquet").row_group(0)
    assert {group.column(i).compression for i in range(group.num_columns)} == {"ZSTD"}


def test_part_can_be_written_again(tmp_path):
    write(tmp_path, 0, ROWS)
    write(tmp_path, 0, ROWS[:1])
    assert parquet.read_records(tmp_path) == ROWS[:1]


# What goes wrong.


def test_a_part_that_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError) as e:
        write(tmp_path, 0, ROWS)
    assert str(e.value) == f"cannot write {tmp_path}/part-00000.parquet: No space left on device"
    assert list(tmp_path.iterdir()) == []


def test_truncated_part_is_named(tmp_path):
    write(tmp_path, 0, ROWS)
    file = tmp_path / "part-00000.parquet"
    data = file.read_bytes()
    message = r"part-00000\.parquet: .*delete the folder of its stage"
    for size in [*range(0, len(data), 71), len(data) - 1]:
        file.write_bytes(data[:size])
        with pytest.raises(UserError, match=message):
            parquet.read_records(tmp_path)


def test_flipped_byte_never_changes_the_rows(tmp_path):
    write(tmp_path, 0, ROWS)
    file = tmp_path / "part-00000.parquet"
    data = file.read_bytes()
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    refused = 0
    for position in range(0, footer, 7):
        garbled = bytearray(data)
        garbled[position] ^= 0xFF
        file.write_bytes(bytes(garbled))
        try:
            assert parquet.read_part(tmp_path, 0) == ROWS
        except UserError as e:
            assert "part-00000.parquet" in str(e)
            refused += 1
    assert refused > footer // 7 // 2  # the checksums are in force


def test_missing_parts_say_what_to_do(tmp_path):
    with pytest.raises(UserError, match=r"sample: holds no part.*run the stage"):
        parquet.read_records(tmp_path / "sample")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty: holds no part"):
        parquet.read_records(tmp_path / "empty")
    with pytest.raises(UserError, match=r"part-00007\.parquet: no such file"):
        parquet.read_part(tmp_path, 7)
