"""A checkpoint gives back what was saved, on any mesh; a torn one gives way to the one before."""

import logging
import resource
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
import several
from jax.sharding import NamedSharding, PartitionSpec

from glore_jax import storage
from glore_jax.errors import TransientError, UserError
from glore_jax.parallel import processes
from glore_jax.parallel.mesh import make_mesh
from glore_jax.training.checkpoints import Checkpoints


def state(value):
    return {
        "params": {"w": jnp.full((64, 8), value, jnp.float32)},
        "opt_state": (jnp.int32(value),),
    }


@pytest.fixture
def two_saves(tmp_path):
    """A folder with the checkpoints after 3 and 6 updates."""
    checkpoints = Checkpoints(tmp_path / "run", keep=2)
    for updates in (3, 6):
        checkpoints.save(updates, state(updates))
    checkpoints.close()
    return tmp_path / "run"


def abstract(tree):
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), tree)


def restore(folder):
    """(updates, a parameter, a number of the optimizer) of what is found in `folder`."""
    checkpoints = Checkpoints(folder, keep=2)
    updates, found = checkpoints.restore(abstract(state(0)))
    checkpoints.close()
    if found is None:
        return updates, None, None
    return updates, float(found["params"]["w"][63, 7]), int(found["opt_state"][0])


def truncate(folder):
    for file in folder.rglob("*"):
        if file.is_file() and not file.is_symlink():
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def empty(folder):
    for file in folder.rglob("*"):
        if file.is_file():
            file.write_bytes(b"")


def lose_arrays(folder):
    for file in folder.rglob("*"):
        if file.is_dir() and file.name in ("d", "ocdbt.process_0"):
            shutil.rmtree(file, ignore_errors=True)


def lose_all_but_the_folder(folder):
    for child in folder.iterdir():
        shutil.rmtree(child) if child.is_dir() else child.unlink()


def test_newest_checkpoint(two_saves):
    assert restore(two_saves) == (6, 6.0, 6)


@pytest.fixture
def quiet():
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("tear", [truncate, empty, lose_arrays, lose_all_but_the_folder])
def test_torn_checkpoint(two_saves, tear, quiet):
    """It gives way to the one before, and nothing of it is deleted."""
    tear(two_saves / "6")
    left = sorted(p.name for p in (two_saves / "6").rglob("*"))
    assert restore(two_saves) == (3, 3.0, 3)
    tear(two_saves / "3")
    assert restore(two_saves) == (0, None, None)
    aside = two_saves.parent / "unreadable"
    assert sorted(p.name for p in aside.iterdir()) == ["3", "3.json", "6", "6.json"]
    assert sorted(p.name for p in (aside / "6").rglob("*")) == left
    assert storage.read_json(aside / "6.json")["reason"]


def test_whichever_file_is_torn(tmp_path, quiet):
    """Either nothing needs it, or the checkpoint gives way to the one before."""

    # Larger and less regular than `state`: data that lies in a file of its own.
    def large(value):
        return {"w": jax.random.normal(jax.random.key(value), (4000, 8)), "n": jnp.int32(value)}

    checkpoints = Checkpoints(tmp_path / "run", keep=2)
    for updates in (3, 6):
        checkpoints.save(updates, large(updates))
    checkpoints.close()
    files = [file for file in (tmp_path / "run" / "6").rglob("*") if file.is_file()]
    assert any(file.stat().st_size > 100_000 for file in files)
    given_way = 0
    for i, file in enumerate(files):
        copy = tmp_path / f"copy-{i}" / "checkpoints"
        shutil.copytree(tmp_path / "run", copy)
        torn = copy / file.relative_to(tmp_path / "run")
        torn.write_bytes(torn.read_bytes()[: torn.stat().st_size // 3])
        checkpoints = Checkpoints(copy, keep=2)
        updates, found = checkpoints.restore(abstract(large(0)))
        checkpoints.close()
        assert updates in (3, 6), file.name
        jax.tree.map(np.testing.assert_array_equal, found, large(updates))
        given_way += updates == 3
    assert given_way > 2


def test_another_torn_checkpoint_of_the_same_number(two_saves, quiet):
    """Or the same one, of which a move that was killed left some in an object store."""
    aside = two_saves.parent / "unreadable"
    for _ in range(2):
        truncate(two_saves / "6")
        assert restore(two_saves)[0] == 3
        checkpoints = Checkpoints(two_saves)
        checkpoints.save(6, state(6))
        checkpoints.close()
    names = sorted(p.name for p in aside.iterdir())
    assert names == ["6", "6-2", "6-2.json", "6.json"]


def test_a_checkpoint_of_another_run_stops_with_a_line(two_saves):
    """Other shapes, another optimizer: it is whole, so nothing is set aside."""
    trees = {
        r"params\.w is float32\[64, 8\] there and float32\[64, 9\] here": {
            "params": {"w": jnp.zeros((64, 9))},
            "opt_state": (jnp.int32(0),),
        },
        r"opt_state\.1 is nothing there and float32\[8\] here": {
            "params": {"w": jnp.zeros((64, 8))},
            "opt_state": (jnp.int32(0), jnp.zeros(8)),
        },
        r"opt_state\.0 is int32\[\] there and float32\[\] here": {
            "params": {"w": jnp.zeros((64, 8))},
            "opt_state": (jnp.float32(0),),
        },
    }
    for line, tree in trees.items():
        with pytest.raises(UserError, match=f"/6 is of another training: {line}. Go on with"):
            Checkpoints(two_saves).restore(abstract(tree))
    assert restore(two_saves) == (6, 6.0, 6)


def test_another_layout_of_orbax_is_not_torn(two_saves):
    (two_saves / "6" / "default").rename(two_saves / "6" / "state")
    with pytest.raises(UserError, match="it holds state, where this Orbax writes default"):
        restore(two_saves)
    assert (two_saves / "6" / "state").exists()


@pytest.mark.parametrize(
    "error", [OSError(5, "Input/output error"), ValueError("UNAVAILABLE: 503"), TimeoutError()]
)
@pytest.mark.parametrize("method", ["metadata", "restore"])
def test_a_disk_that_does_not_answer_is_tried_again_later(two_saves, monkeypatch, error, method):
    def fail(*args, **options):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(ocp.StandardCheckpointHandler, method, fail)
        with pytest.raises(TransientError, match="cannot read the checkpoint .*/6: .*goes on"):
            restore(two_saves)
    assert restore(two_saves) == (6, 6.0, 6)


_READER = """
import sys, jax
from jax.sharding import NamedSharding, PartitionSpec
from glore_jax.parallel import mesh, processes
processes.initialize(sys.argv[2], 2, int(sys.argv[3]), timeout=60)
import orbax.checkpoint as ocp
from glore_jax.training.checkpoints import Checkpoints
restore = ocp.StandardCheckpointHandler.restore

def refuse(handler, directory, args):
    if processes.index() == 1 and directory.parent.name == "6":
        raise ValueError("the array is torn")
    return restore(handler, directory, args=args)

ocp.StandardCheckpointHandler.restore = refuse
rows = NamedSharding(mesh.make_mesh(1, 2, 1), PartitionSpec("fsdp"))
whole = NamedSharding(rows.mesh, PartitionSpec())
struct = jax.ShapeDtypeStruct
wanted = {
    "params": {"w": struct((64, 8), "float32", sharding=rows)},
    "opt_state": (struct((), "int32", sharding=whole),),
}
checkpoints = Checkpoints(sys.argv[1], keep=2)
updates, found = checkpoints.restore(wanted)
shard = found["params"]["w"].addressable_data(0)
print(updates, shard.shape, float(shard[0, 0]))
checkpoints.save(6, found)  # the number is free again
checkpoints.close()
processes.announce_exit(0)
"""


def test_one_process_that_cannot_read_makes_both_go_back(two_saves):
    def arguments(address, index):
        return "-c", _READER, two_saves, address, index

    with several.together(2, arguments) as run:
        ends = several.ended(run)
    found = [(code, out.splitlines()[-1]) for code, out, _ in ends]
    assert found == [(0, "3 (32, 8) 3.0")] * 2, ends
    assert "cannot be read (another process cannot read it)" in ends[0][2]
    assert "the array is torn" in ends[1][2]
    assert (two_saves.parent / "unreadable" / "6").exists()
    assert restore(two_saves) == (6, 3.0, 3)


_WRITER = """
import resource, sys
import orbax.checkpoint as ocp
from glore_jax.parallel import mesh, processes
processes.initialize(sys.argv[2], 2, int(sys.argv[3]), timeout=60)
import jax
from jax.sharding import NamedSharding, PartitionSpec
from glore_jax.errors import UserError
from glore_jax.training.checkpoints import Checkpoints
rows = NamedSharding(mesh.make_mesh(1, 2, 1), PartitionSpec("fsdp"))
draw = jax.jit(lambda key: jax.random.normal(key, (1024, 1024)), out_shardings=rows)
large = draw(jax.random.key(0))

def limit(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, -1))

finalize = ocp.StandardCheckpointHandler.finalize

def limited(handler, directory):
    limit(1)
    finalize(handler, directory)

if sys.argv[4] == "its share" and processes.index() == 1:
    limit(2**20)
if sys.argv[4] == "the whole" and processes.is_main():
    ocp.StandardCheckpointHandler.finalize = limited
checkpoints = Checkpoints(sys.argv[1], keep=2)
checkpoints.save(9, {"w": large})
try:
    checkpoints.close()
except UserError as error:
    processes.announce_exit(2, str(error))
"""


@pytest.mark.parametrize("index, what", [(1, "its share"), (0, "the whole")])
def test_one_process_that_cannot_write_ends_both(two_saves, index, what):
    """The others would wait for it, and it for them: for its share of the checkpoint, or for what
    process 0 makes of all shares."""

    def arguments(address, index):
        return "-c", _WRITER, two_saves, address, index, what

    with several.together(2, arguments) as run:
        ends = several.ended(run)
    codes = [processes.EXIT_PEER_LOST] * 2
    codes[index] = 2
    assert [code for code, *_ in ends] == codes, ends
    line = f"process {index} ended with exit code 2 (cannot write the checkpoint under "
    assert line in ends[1 - index][2].splitlines()[-1]
    assert restore(two_saves) == (6, 6.0, 6)


def test_nothing_saved(tmp_path):
    assert restore(tmp_path / "new") == (0, None, None)


def test_relative_folder(two_saves, monkeypatch):
    monkeypatch.chdir(two_saves.parent)
    assert restore(two_saves.name) == (6, 6.0, 6)


@pytest.mark.parametrize("shape", [(1, 8, 1), (2, 2, 2), (8, 1, 1)], ids=str)
def test_restored_onto_another_mesh(tmp_path, shape):
    """Saved from eight devices along `fsdp`, read where the new run wants it."""

    def laid_out(mesh):
        w = np.random.default_rng(0).standard_normal((64, 8)).astype(np.float32)
        specs = {
            "w": PartitionSpec("fsdp", "tensor"),
            "moment": PartitionSpec("fsdp"),
            "count": PartitionSpec(),
        }
        values = {"w": w, "moment": jnp.asarray(w, jnp.bfloat16), "count": np.int32(5)}
        return {k: jax.device_put(v, NamedSharding(mesh, specs[k])) for k, v in values.items()}

    saved = laid_out(make_mesh(1, 8, 1))
    wanted = laid_out(make_mesh(*shape))
    first = Checkpoints(tmp_path / "run")
    first.save(2, saved)
    first.close()
    second = Checkpoints(tmp_path / "run")
    updates, found = second.restore(abstract(wanted))
    second.close()
    assert updates == 2
    for name, value in found.items():
        assert value.sharding == wanted[name].sharding and value.dtype == saved[name].dtype
        np.testing.assert_array_equal(value, saved[name])


def test_two_are_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path / "run")
    for updates in (1, 2, 3):
        checkpoints.save(updates, state(updates))
    checkpoints.close()
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["2", "3"]


@pytest.mark.parametrize(
    "at_once", [True, False], ids=["found at the end", "found by the next save"]
)
def test_a_write_that_fails_is_one_line(tmp_path, at_once):
    """The disk takes no file above a megabyte. The save before stays readable."""
    first = Checkpoints(tmp_path / "run", keep=2)
    first.save(3, state(3))
    first.close()
    large = {"w": jax.random.normal(jax.random.key(0), (1024, 1024))}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    logging.disable(logging.ERROR)
    second = Checkpoints(tmp_path / "run", keep=2)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, limits[1]))
        second.save(6, large)
        line = "cannot write the checkpoint under .*/run: .*"
        with pytest.raises(UserError, match=line) as raised:
            second.close() if at_once else second.save(9, large)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        logging.disable(logging.NOTSET)
    assert "\n" not in str(raised.value)
    assert restore(tmp_path / "run") == (3, 3.0, 3)
