"""Compiled programs stay on the machine for the next start: minutes of a large model's.

They lie in a folder of the user's on each machine (`folder`), not in the work directory: a bucket
is slow to ask for hundreds of small files, and what one machine compiled is of no use to another
kind. JAX's own cache does the work, keyed by program, devices, flags and versions; XLA keeps what
it tuned for a GPU beside it.

What JAX leaves open, all of it seen in `jax/_src/compiler.py` and `lru_cache.py`:

    several processes     only process 0 writes, as if all shared the folder, so that on a slice
                          every other worker would compile everything at each start
    a kill while writing  leaves an entry that cannot be read and is never replaced
    a folder with bounds  needs the time of each entry's last use: where a kill left none, nothing
                          is ever written again (JAX 0.10)
"""

import contextlib
import os
import pathlib
import time
from typing import Any

from absl import logging

MOST_BYTES = 4 * 2**30  # of the folder; what was not used for longest goes first
_LOCK_SECONDS = 10.0


def folder() -> pathlib.Path:
    """Where compiled programs lie on this machine, unless $JAX_COMPILATION_CACHE_DIR says."""
    caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return pathlib.Path(caches).expanduser() / "glore_jax" / "compiled"


def enable() -> None:
    """Keeps and finds what is compiled from here on. Once more does no harm.

    A folder that the user chose ($JAX_COMPILATION_CACHE_DIR) is JAX's own affair.
    """
    import jax

    # JAX adds its options to `config` at run time.
    settings: Any = jax.config
    if settings.jax_compilation_cache_dir is not None:
        return
    own = folder()
    _drop_torn_entries(own)
    settings.update("jax_compilation_cache_dir", str(own))
    settings.update("jax_compilation_cache_max_size", MOST_BYTES)
    # A start runs hundreds of small programs, one after the other.
    settings.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    _write_in_every_process(own)


def _drop_torn_entries(own: pathlib.Path) -> None:
    """Removes the entries that a kill left: JAX writes the time of use behind the program."""
    import filelock

    with contextlib.suppress(OSError, filelock.Timeout):  # then JAX will say what is wrong
        own.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(own / ".lockfile", timeout=_LOCK_SECONDS):  # JAX's own name
            for entry in own.glob("*-cache"):
                if not entry.with_name(f"{entry.name.removesuffix('-cache')}-atime").exists():
                    entry.unlink()


def _write_in_every_process(own: pathlib.Path) -> None:
    """Replaces JAX's writing of an entry, which all but process 0 leave out."""
    from jax._src import compilation_cache, compiler

    def write(
        key: str, seconds: float, name: str, backend: Any, executable: Any, callbacks: Any = ()
    ) -> None:
        if callbacks:  # of this very process
            return
        try:
            _drop_unreadable(own / f"{key}-cache", seconds)
            compilation_cache.put_executable_and_time(key, name, executable, backend, int(seconds))
        except Exception as error:  # a full disk, or whatever XLA refuses: the program runs anyway
            logging.warning("the compiled %s is not kept in %s: %s", name, own, error)

    # Its own signature differs between versions.
    internals: Any = compiler
    internals._cache_write = write


def _drop_unreadable(entry: pathlib.Path, seconds: float) -> None:
    """Removes an entry that was there before the program was compiled, for `seconds`.

    It was looked for, so it could not be read; JAX would leave it there for ever.
    """
    with contextlib.suppress(OSError):
        if entry.stat().st_mtime < time.time() - seconds:
            entry.unlink()
