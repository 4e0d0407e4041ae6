"""Files in a bucket: seen at once, one request each, whole or absent, whatever the network does."""

import subprocess
import sys

import pyarrow as pa
import pytest
from etils import epath
from several import environment

from glore_jax import parquet, storage
from glore_jax.errors import TransientError, UserError


@pytest.fixture
def door(bucket):
    return bucket.door


# What others write.


def test_what_another_process_writes_is_seen_after_a_first_look(bucket):
    folder = f"{bucket.url}/run/records"
    bucket.put("run/records/first", b"1")
    assert not storage.exists(f"{folder}/second") and not epath.Path(f"{folder}/second").exists()
    assert storage.names(folder) == ["first"]
    assert [f.name for f in epath.Path(folder).iterdir()] == ["first"]
    assert not storage.exists(f"{bucket.url}/later")
    bucket.put("run/records/second", b"22")
    bucket.put("later/x", b"")
    assert storage.exists(f"{folder}/second") and epath.Path(f"{folder}/second").exists()
    assert storage.names(folder) == ["first", "second"]
    assert len(list(epath.Path(folder).iterdir())) == 2
    assert storage.exists(f"{bucket.url}/later") and storage.names(bucket.url) == ["later", "run"]
    assert storage.read_bytes(f"{folder}/second") == b"22"
    bucket.put("run/records/second", b"333")
    assert storage.read_bytes(f"{folder}/second") == b"333"
    assert epath.Path(f"{folder}/second").stat().length == 3


def test_everyone_who_opens_gs_has_this_client(bucket):
    import fsspec
    from etils.epath import backend

    from glore_jax import gcs

    for client in (
        fsspec.filesystem("gs"),
        fsspec.filesystem("gcs"),
        fsspec.core.url_to_fs(f"{bucket.url}/x")[0],
        backend.fsspec_backend.fs(f"{bucket.url}/x"),
    ):
        assert isinstance(client, gcs.Client) and not client.dircache.use_listings_cache


# Writing.


def test_a_write_is_one_request(bucket, door):
    storage.write_json(f"{bucket.url}/run/stage/manifest.json", {"done": True})
    storage.write_json(f"{bucket.url}/run/stage/manifest.json", {"done": False})
    storage.write_bytes(f"{bucket.url}/run/large", bytes(20_000_000))
    parquet.write_part(f"{bucket.url}/run/records", 3, [{"x": 1}], pa.schema({"x": pa.int64()}))
    assert [(r.method, r.path.partition("?")[0]) for r in door.requests] == [
        ("POST", f"/upload/storage/v1/b/{bucket.name}/o")
    ] * 4
    door.requests.clear()
    assert parquet.has_part(f"{bucket.url}/run/records", 3)
    door.requests.clear()
    assert storage.read_json(f"{bucket.url}/run/stage/manifest.json") == {"done": False}
    assert len(door.requests) == 1
    door.requests.clear()
    assert storage.read_range(f"{bucket.url}/run/large", 7, 1007) == bytes(1000)
    assert [(r.method, r.received) for r in door.requests] == [("GET", 1000)]


def test_a_stream_is_whole_or_absent(bucket, monkeypatch):
    monkeypatch.setattr(storage, "_BLOCK_BYTES", 1 << 18)
    block = bytes(range(256)) * 1024
    with storage.open_whole(f"{bucket.url}/large") as stream:
        for _ in range(5):
            stream.write(block)
        assert bucket.objects() == {}
        stream.write(b"end")
    assert storage.read_bytes(f"{bucket.url}/large") == 5 * block + b"end"
    for length in (0, 10, 3 * len(block)):
        with pytest.raises(KeyboardInterrupt), storage.open_whole(f"{bucket.url}/no") as stream:
            stream.write(bytes(length))
            raise KeyboardInterrupt
        del stream
    assert list(bucket.objects()) == ["large"]


KILLED = """
import os, signal, sys
from glore_jax import storage
storage._BLOCK_BYTES = 1 << 18
with storage.open_whole(sys.argv[1]) as stream:
    for _ in range(4):
        stream.write(bytes(1 << 18))
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_upload_leaves_nothing(bucket):
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, f"{bucket.url}/killed"],
        env=environment() | bucket.environment,
    )
    assert killed.returncode == -9 and bucket.objects() == {}


# What passes.


@pytest.mark.parametrize("jam", ["503", "429", "drop", "half", "silent"])
def test_what_fails_in_passing_is_tried_again(bucket, door, jam, caplog):
    bucket.use(SILENCE_SECONDS=0.5)
    file = f"{bucket.url}/run/x.json"
    sequence = (
        lambda: storage.write_json(file, [1, 2]),
        lambda: storage.read_json(file),
        lambda: storage.read_range(file, 0, 3),
        lambda: storage.exists(file),
        lambda: storage.names(f"{bucket.url}/run"),
        lambda: storage.remove(file),
        lambda: storage.exists(file),
    )
    results = []
    for action in sequence:
        door.jams.append(jam)
        results.append(action())
    assert results == [None, [1, 2], b"[\n ", True, ["x.json"], None, False]
    assert not door.jams
    said = [r.getMessage() for r in caplog.records if "trying again in" in r.getMessage()]
    assert len(said) == 1  # not one for each request


def test_a_large_upload_survives(bucket, door, monkeypatch):
    monkeypatch.setattr(storage, "_BLOCK_BYTES", 1 << 18)
    data = bytes(range(256)) * 4096
    with storage.open_whole(f"{bucket.url}/large") as stream:
        for start in range(0, len(data), 1 << 18):
            door.jams.extend(["503", "drop"])
            stream.write(data[start : start + (1 << 18)])
    assert storage.read_bytes(f"{bucket.url}/large") == data and not door.jams


CHECKPOINT = """
import sys, jax, jax.numpy as jnp
from glore_jax import command
from glore_jax.errors import UserError
from glore_jax.training.checkpoints import Checkpoints
tree = {"x": jnp.arange(1000.0), "y": jnp.ones((3, 4))}
try:
    checkpoints = Checkpoints(sys.argv[1])
    checkpoints.save(3, tree)
    checkpoints.close()
    updates, found = Checkpoints(sys.argv[1]).restore(jax.eval_shape(lambda: tree))
    assert updates == 3 and jax.tree.all(jax.tree.map(jnp.array_equal, tree, found))
except UserError as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""


def checkpoint(bucket, **variables):
    """(exit code, stderr) of saving and restoring a checkpoint through the door."""
    done = subprocess.run(
        [sys.executable, "-c", CHECKPOINT, f"{bucket.url}/run/checkpoints"],
        env=environment() | bucket.environment | variables,
        capture_output=True,
        text=True,
        timeout=300,
    )
    return done.returncode, done.stderr


def test_a_checkpoint_survives_a_bad_network(bucket, door):
    door.jams.extend(["503", "", "", "429", "", "", "", "drop", "", ""] * 2)
    assert checkpoint(bucket)[0] == 0
    assert not door.jams


# What does not.


@pytest.mark.parametrize("jam", ["503", "drop"])
def test_a_dead_server_is_worth_another_try_later(bucket, door, jam):
    bucket.use(PATIENCE_SECONDS=0.5)
    door.always = jam
    for action in (
        lambda: storage.write_json(f"{bucket.url}/x.json", 1),
        lambda: storage.read_json(f"{bucket.url}/x.json"),
        lambda: storage.names(bucket.url + "/run"),
        lambda: storage.exists(bucket.url + "/run"),
    ):
        with pytest.raises(TransientError, match=f"cannot .* {bucket.url}/.*goes on") as error:
            action()
        assert "\n" not in str(error.value)


def test_what_is_forbidden_or_missing_is_a_mistake_of_the_user(bucket, door):
    with pytest.raises(UserError, match=r"cannot write gs://no-bucket/x\.json: no such bucket"):
        storage.write_json("gs://no-bucket/x.json", 1)
    with pytest.raises(UserError, match=r"x\.json: no such file"):
        storage.read_json(f"{bucket.url}/x.json")
    door.always = "403"
    for action in (storage.read_json, storage.exists, lambda f: storage.write_json(f, 1)):
        with pytest.raises(UserError, match="Forbidden") as error:
            action(f"{bucket.url}/x.json")
        assert not isinstance(error.value, TransientError) and "\n" not in str(error.value)


def test_a_checkpoint_that_may_not_be_written_is_a_mistake_of_the_user(bucket, door):
    door.always = "403"
    code, said = checkpoint(bucket)
    assert code == 1 and said.splitlines()[-1].startswith("UserError: cannot write"), said


def test_a_run_ends_with_its_own_exit_code(bucket, door):
    """4: the same command later; 2: a person has to do something."""
    command = [sys.executable, "-m", "glore_jax.main", "--config=configs/tiny.py:smoke"]
    patience = {"GLORE_STORAGE_PATIENCE": "1.5"}
    codes = {}
    for jam in ("503", "403"):
        door.always = jam
        done = subprocess.run(
            [*command, f"--workdir={bucket.url}/run"],
            env=environment() | bucket.environment | patience,
            capture_output=True,
            text=True,
        )
        last = done.stderr.splitlines()[-1]
        assert last.startswith("glore: error: cannot ") and "gs://" in last, done.stderr
        assert "Traceback" not in done.stderr
        codes[jam] = done.returncode
    assert codes == {"503": 4, "403": 2}
