"""Storage: whole or absent files, clear errors, values that come back as they went in."""

import contextlib
import errno
import json
import os
import resource
import socket
import threading

import numpy as np
import pytest
from etils import epath
from hypothesis import given, settings
from hypothesis import strategies as st

from glore_jax import storage
from glore_jax.errors import TransientError, UserError

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
    with small_files_only(), pytest.raises(UserError, match=r"cannot write .*rows\.jsonl"):
        storage.write_jsonl(tmp_path / "rows.jsonl", [{"x": "y" * 10_000}])
    assert list(tmp_path.iterdir()) == []


def test_failed_write_keeps_the_old_file(tmp_path):
    storage.write_json(tmp_path / "x.json", "old")
    with small_files_only(), pytest.raises(UserError):
        storage.write_json(tmp_path / "x.json", "new" * 4000)
    assert storage.read_json(tmp_path / "x.json") == "old"
    assert [f.name for f in tmp_path.iterdir()] == ["x.json"]


@pytest.mark.parametrize("function", ["fsync", "replace"])
@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), KeyboardInterrupt()]
)
def test_disk_full_or_interrupt_at_any_moment_leaves_nothing(
    tmp_path, monkeypatch, function, error
):
    def fail(*_):
        raise error

    monkeypatch.setattr(os, function, fail)
    expected = UserError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected) as e:
        storage.write_json(tmp_path / "x.json", list(range(1000)))
    if expected is UserError:
        assert str(e.value) == f"cannot write {tmp_path}/x.json: No space left on device"
    assert list(tmp_path.iterdir()) == []


def test_a_stream_is_whole_or_absent(tmp_path):
    with storage.open_whole(tmp_path / "a" / "x") as stream:
        stream.write(b"12")
        assert [f.name[0] for f in (tmp_path / "a").iterdir()] == ["."]
        stream.write(b"34")
    assert storage.read_range(tmp_path / "a" / "x", 1, 3) == b"23"
    assert storage.read_range(tmp_path / "a" / "x", 3, 9) == b"4"
    with pytest.raises(KeyboardInterrupt), storage.open_whole(tmp_path / "a" / "x") as stream:
        stream.write(b"5")
        raise KeyboardInterrupt
    assert storage.read_bytes(tmp_path / "a" / "x") == b"1234"
    assert storage.names(tmp_path / "a") == ["x"] and storage.names(tmp_path / "b") == []
    assert storage.exists(tmp_path / "a") and not storage.exists(tmp_path / "a" / "y")
    storage.remove(tmp_path / "a" / "x")
    storage.remove(tmp_path / "a" / "x")
    assert storage.names(tmp_path / "a") == []


def test_a_written_file_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    done = []
    for name in ("fsync", "replace"):
        original = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, n=name, f=original: (done.append(n), f(*a))[1])
    storage.write_bytes(tmp_path / "x", b"1")
    assert done == ["fsync", "replace"]


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


# Refusals.


@pytest.mark.parametrize(
    "error, passes",
    [
        (OSError(errno.EIO, "Input/output error"), True),
        (ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), True),
        (TimeoutError(), True),
        (socket.gaierror(-3, "Temporary failure in name resolution"), True),
        (ValueError('UNAVAILABLE: Error reading "gs://bucket/x": HTTP response code: 503'), True),
        (OSError(errno.ENOSPC, "No space left on device"), False),
        (PermissionError(errno.EACCES, "Permission denied"), False),
        (OSError("Forbidden: https://storage\nno role"), False),
        (ValueError("PERMISSION_DENIED: Error writing"), False),
        (ValueError("Error writing [os_error_code='28']"), False),
        (ValueError("x must be positive"), None),
        (KeyError("x"), None),
        (RuntimeError("RESOURCE_EXHAUSTED: out of device memory"), None),
    ],
    ids=repr,
)
def test_what_passes_what_does_not_and_what_is_no_refusal(error, passes):
    found = storage.refused(error, "write gs://bucket/x")
    if passes is None:
        assert found is None
        return
    assert type(found) is (TransientError if passes else UserError)
    assert str(found).startswith("cannot write gs://bucket/x: ") and "\n" not in str(found)
    wrapped = RuntimeError("in a thread")
    wrapped.__cause__ = error
    assert isinstance(storage.refused(wrapped, "write"), TransientError) == passes


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
