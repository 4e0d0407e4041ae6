"""Compiled programs are found again by the next start of each process, whatever a kill left."""

import os
import pathlib
import subprocess
import sys

import several

# Compiles two programs and prints how many were found, and how many written.
START = """
import collections, os, sys
_, address, count, index, caches = sys.argv
os.environ["XDG_CACHE_HOME"] = caches + index  # each worker has a disk of its own
import jax
from glore_jax.parallel import processes, program_cache
if int(count) > 1:
    processes.initialize(address, int(count), int(index))
program_cache.enable()
events = collections.Counter()
jax.monitoring.register_event_listener(lambda name, **_: events.update([name]))
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
everywhere = NamedSharding(Mesh(np.array(jax.devices()), "all"), PartitionSpec("all"))
rows = jax.make_array_from_callback((len(jax.devices()),), everywhere, lambda i: np.ones(1))
assert int(jax.jit(lambda x: (2 * x).sum())(rows)) == 2 * len(jax.devices())
assert jax.jit(lambda x: x + 1)(np.ones(3)).sum() == 6
prefix = "/jax/compilation_cache/cache_"
print(events[prefix + "hits"], events[prefix + "misses"])
processes.disconnect()
"""


def start(caches: pathlib.Path) -> tuple[int, int]:
    """(found, written) of one process."""
    ended = subprocess.run(
        [sys.executable, "-c", START, "", "1", "0", str(caches)],
        env=several.environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    found, written = map(int, ended.stdout.splitlines()[-1].split())
    return found, written


def entries(caches: pathlib.Path, index: int = 0) -> list[pathlib.Path]:
    return list(pathlib.Path(f"{caches}{index}", "glore_jax", "compiled").glob("*-cache"))


def test_the_next_start_compiles_nothing_whatever_a_kill_left(tmp_path):
    caches = tmp_path / "caches"
    found, programs = start(caches)
    assert found == 0 and programs == len(entries(caches)) >= 2
    assert start(caches) == (programs, 0)
    half, torn, *_ = entries(caches)
    half.write_bytes(half.read_bytes()[:100])
    os.utime(half, (0, 0))
    # Killed between the program and the time of its use.
    torn.with_name(torn.name.replace("-cache", "-atime")).unlink()
    assert start(caches) == (programs - 2, 2)
    assert start(caches) == (programs, 0)


def test_every_process_of_a_run_finds_its_own_again(tmp_path):
    def run():
        with several.together(
            2, lambda address, index: ("-c", START, address, 2, index, tmp_path / "caches")
        ) as started:
            ended = several.ended(started)
        assert [code for code, _, _ in ended] == [0, 0], ended
        return [tuple(map(int, out.splitlines()[-1].split())) for _, out, _ in ended]

    first = run()
    assert all(found == 0 and written >= 2 for found, written in first), first
    assert run() == [(written, 0) for _, written in first]


def test_a_folder_of_the_user_is_left_as_it_is(tmp_path, monkeypatch):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "own"))
    ended = subprocess.run(
        [sys.executable, "-c", START, "", "1", "0", str(tmp_path / "caches")],
        env=several.environment() | {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "own")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    assert not entries(tmp_path / "caches")
