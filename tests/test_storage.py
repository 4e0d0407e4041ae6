"""Storage: whole or absent files, clear errors, records that come back as they went in."""

import contextlib
import errno
import json
import os
import resource
import threading

import numpy as np
import pyarrow.parquet as pq
import pytest
from etils import epath
from hypothesis import given, settings
from hypothesis import strategies as st

from glore_jax import storage
from glore_jax.errors import UserError

# Text as records hold it, line separators that split lines elsewhere (U+2028, form feed) among it.
TEXT = st.text(
    st.characters(exclude_categories=["Cs"]) | st.sampled_from("\n\u2028\x0c\x85"), max_size=20
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
RECORD = st.fixed_dictionaries(
    {
        "question_id": TEXT,
        "sample_id": st.integers(-(2**63), 2**63 - 1),
        "steps": st.lists(TEXT, max_size=3),
        "labels": st.lists(st.booleans(), max_size=3),
        "logprob": st.none() | st.floats(allow_nan=False),
        "correct": st.booleans(),
    }
)
ROWS = [{"id": f"q{i}", "steps": ["a", f"b{i}"], "logprob": -i / 7} for i in range(30)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("storage")


@contextlib.contextmanager
def small_files_only():
    """No file can grow beyond 4 KiB: the system stops a larger write half-way, as a full disk does.

    Not a fixture: pytest writes its own progress, perhaps to a file, before a fixture ends.
    """
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


# Round trips.


@settings(max_examples=50, deadline=None)
@given(value=JSON)
def test_json_round_trip(folder, value):
    storage.write_json(folder / "x.json", value)
    assert storage.read_json(folder / "x.json") == value


@settings(max_examples=50, deadline=None)
@given(rows=st.lists(st.dictionaries(TEXT, JSON, max_size=3), max_size=4))
def test_jsonl_round_trip(folder, rows):
    storage.write_jsonl(folder / "x.jsonl", rows)
    assert storage.read_jsonl(folder / "x.jsonl") == rows


@settings(max_examples=50, deadline=None)
@given(rows=st.lists(RECORD, max_size=4))
def test_part_round_trip(folder, rows):
    storage.write_part(folder, 0, rows)
    assert storage.read_part(folder, 0) == rows


def test_text_and_bytes_round_trip_and_make_folders(tmp_path):
    storage.write_text(tmp_path / "a" / "b" / "x.txt", "naïve\n")
    assert (tmp_path / "a" / "b" / "x.txt").read_bytes() == "naïve\n".encode()
    assert storage.read_text(tmp_path / "a" / "b" / "x.txt") == "naïve\n"
    storage.write_bytes(tmp_path / "x.bin", b"\x00\xff")
    assert storage.read_bytes(tmp_path / "x.bin") == b"\x00\xff"


def test_json_takes_arrays_and_writes_no_nan(tmp_path):
    storage.write_json(
        tmp_path / "x.json",
        {"a": np.float32(0.5), "b": np.arange(3), "c": (float("nan"), np.inf), 1: 2},
    )
    text = (tmp_path / "x.json").read_text()
    strict = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert strict == {"a": 0.5, "b": [0, 1, 2], "c": [None, None], "1": 2}


def test_path_expands_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert storage.path("~/runs") == epath.Path(tmp_path) / "runs"


# Parts.


def test_parts_come_back_in_order_of_index(tmp_path):
    for index in (4, 3, 0, 2):
        storage.write_part(tmp_path, index, [{"n": index, "k": k} for k in range(2)])
    storage.write_part(tmp_path, 1, [])
    storage.write_json(tmp_path / "manifest.json", {})
    (tmp_path / ".part-00001.parquet.0a1b2c3d.tmp").write_bytes(b"half a par")
    (tmp_path / "part-00003.parquet.bak").write_bytes(b"not a part")
    records = storage.read_records(tmp_path)
    assert [(r["n"], r["k"]) for r in records] == [(n, k) for n in (0, 2, 3, 4) for k in range(2)]
    assert (tmp_path / "part-00002.parquet").exists()
    assert storage.has_part(tmp_path, 1) and not storage.has_part(tmp_path, 5)


def test_a_gap_between_parts_is_named(tmp_path):
    for index in (0, 1, 3):
        storage.write_part(tmp_path, index, ROWS)
    with pytest.raises(
        UserError, match=r"part-00002\.parquet is missing; delete the folder of its stage"
    ):
        storage.read_records(tmp_path)


def test_keys_of_later_rows_are_kept(tmp_path):
    storage.write_part(tmp_path, 0, [{"a": 1}, {"a": 2, "b": "x"}])
    assert storage.read_part(tmp_path, 0) == [{"a": 1, "b": None}, {"a": 2, "b": "x"}]


def test_parts_are_zstd_with_checksums_and_readable_by_others(tmp_path):
    storage.write_part(tmp_path, 0, ROWS)
    assert pq.read_table(tmp_path / "part-00000.parquet").to_pylist() == ROWS
    metadata = pq.read_metadata(tmp_path / "part-00000.parquet")
    assert {metadata.row_group(0).column(i).compression for i in range(metadata.num_columns)} == {
        "ZSTD"
    }


def test_part_can_be_written_again(tmp_path):
    storage.write_part(tmp_path, 0, ROWS)
    storage.write_part(tmp_path, 0, ROWS[:1])
    assert storage.read_records(tmp_path) == ROWS[:1]


def test_truncated_part_is_named(tmp_path):
    storage.write_part(tmp_path, 0, ROWS)
    file = tmp_path / "part-00000.parquet"
    data = file.read_bytes()
    for size in [*range(0, len(data), 71), len(data) - 1]:
        file.write_bytes(data[:size])
        with pytest.raises(
            UserError, match=r"part-00000\.parquet: .*delete the folder of its stage"
        ):
            storage.read_records(tmp_path)


def test_flipped_byte_never_changes_the_rows(tmp_path):
    storage.write_part(tmp_path, 0, ROWS)
    file = tmp_path / "part-00000.parquet"
    data = file.read_bytes()
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    refused = 0
    for position in range(0, footer, 7):
        garbled = bytearray(data)
        garbled[position] ^= 0xFF
        file.write_bytes(bytes(garbled))
        try:
            assert storage.read_part(tmp_path, 0) == ROWS
        except UserError as e:
            assert "part-00000.parquet" in str(e)
            refused += 1
    assert refused > footer // 7 // 2  # the checksums are in force


def test_missing_parts_say_what_to_do(tmp_path):
    with pytest.raises(UserError, match=r"sample: holds no part.*run the stage"):
        storage.read_records(tmp_path / "sample")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty: holds no part"):
        storage.read_records(tmp_path / "empty")
    with pytest.raises(UserError, match=r"part-00007\.parquet: no such file"):
        storage.read_part(tmp_path, 7)


# Reading what a user wrote.


@pytest.mark.parametrize(
    "text, where",
    [
        ('{"a": 1}\n{"a": }\n', ":2: not valid JSON"),
        ('{"a": 1}\n\n{"a": 1', ":3: not valid JSON"),
        ('{"a": 1}\n[1]\n', ":2: expected a JSON object, found list"),
        ('{"a": ' + "1" * 5000 + "}\n", ":1: not valid JSON"),
        ('{"a": ' + "[" * 200_000 + "\n", ":1: not valid JSON"),
    ],
)
def test_malformed_jsonl_names_file_and_line(tmp_path, text, where):
    (tmp_path / "rows.jsonl").write_text(text)
    with pytest.raises(UserError) as e:
        storage.read_jsonl(tmp_path / "rows.jsonl")
    assert f"{tmp_path}/rows.jsonl{where}" in str(e.value)
    assert "\n" not in str(e.value)


def test_jsonl_line_numbers_count_blank_lines_and_any_line_end(tmp_path):
    (tmp_path / "rows.jsonl").write_bytes(b'\xef\xbb\xbf{"a": 1}\r\n\r\n{"a": 2}')
    assert list(storage.enumerate_jsonl(tmp_path / "rows.jsonl")) == [(1, {"a": 1}), (3, {"a": 2})]


def test_malformed_json_names_file_and_line(tmp_path):
    (tmp_path / "x.json").write_text('{\n"a": 1,\n}')
    with pytest.raises(UserError, match=r"x\.json:3: not valid JSON"):
        storage.read_json(tmp_path / "x.json")
    (tmp_path / "x.json").write_bytes(b'"\xff"')
    with pytest.raises(UserError, match=r"x\.json: not UTF-8"):
        storage.read_json(tmp_path / "x.json")


def test_missing_file_and_folder_in_place_of_file(tmp_path):
    with pytest.raises(UserError, match=r"none\.json: no such file"):
        storage.read_json(tmp_path / "none.json")
    with pytest.raises(UserError, match=r"cannot read .*directory"):
        storage.read_json(tmp_path)


# Atomic writes.


def test_write_stopped_half_way_leaves_nothing(tmp_path):
    with (
        small_files_only(),
        pytest.raises(UserError, match=r"cannot write .*new\.bin: File too large"),
    ):
        storage.write_bytes(tmp_path / "new.bin", bytes(10_000))
    with small_files_only(), pytest.raises(UserError, match=r"cannot write .*part-00000\.parquet"):
        storage.write_part(tmp_path, 0, [{"x": os.urandom(10_000)}])
    assert list(tmp_path.iterdir()) == []


def test_failed_write_keeps_the_old_file(tmp_path):
    storage.write_json(tmp_path / "x.json", "old")
    with small_files_only(), pytest.raises(UserError):
        storage.write_json(tmp_path / "x.json", "new" * 4000)
    assert storage.read_json(tmp_path / "x.json") == "old"
    assert [f.name for f in tmp_path.iterdir()] == ["x.json"]


@pytest.mark.parametrize("method", ["write_bytes", "replace"])
@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), KeyboardInterrupt()]
)
def test_disk_full_or_interrupt_at_any_moment_leaves_nothing(tmp_path, monkeypatch, method, error):
    cls = type(epath.Path(tmp_path))
    original = getattr(cls, method)

    def fail(self, argument):
        if method == "write_bytes":
            original(self, argument[: len(argument) // 2])
        raise error

    monkeypatch.setattr(cls, method, fail)
    expected = UserError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected) as e:
        storage.write_part(tmp_path, 0, ROWS)
    if expected is UserError:
        assert (
            str(e.value) == f"cannot write {tmp_path}/part-00000.parquet: No space left on device"
        )
    assert list(tmp_path.iterdir()) == []


def test_folder_that_is_a_file(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(UserError, match=r"cannot write .*run/x\.json"):
        storage.write_json(tmp_path / "run" / "x.json", 1)


def test_readers_never_see_half_a_file(tmp_path):
    versions = {bytes([i]) * 200_000 for i in range(2)}
    storage.write_bytes(tmp_path / "x.bin", min(versions))
    writers = [
        threading.Thread(
            target=lambda v=v: [storage.write_bytes(tmp_path / "x.bin", v) for _ in range(30)]
        )
        for v in versions
    ]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        assert storage.read_bytes(tmp_path / "x.bin") in versions
    assert [f.name for f in tmp_path.iterdir()] == ["x.bin"]


# Fingerprints.


def test_fingerprint_is_of_the_value():
    a = storage.fingerprint({"a": 1, "b": [1.5, "x"]})
    assert a == storage.fingerprint({"b": (1.5, "x"), "a": np.int64(1)})
    assert a == "253252306831c7a5"  # written into manifests: it must not change between versions
    assert len(a) == 16 and a != storage.fingerprint({"a": 1, "b": ["x", 1.5]})


@settings(max_examples=100, deadline=None)
@given(a=JSON, b=JSON)
def test_fingerprints_differ_when_values_do(a, b):
    same = json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True)
    assert (storage.fingerprint(a) == storage.fingerprint(b)) == same
