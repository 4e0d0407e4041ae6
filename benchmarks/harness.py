"""What every benchmark has: its flags, a config, a clock."""

from __future__ import annotations

import argparse
import importlib.util
import time

from ml_collections import ConfigDict


def parser(doc: str | None) -> argparse.ArgumentParser:
    """A parser whose `--help` begins with the benchmark's docstring, as it is written."""
    return argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def read_config(file: str) -> ConfigDict:
    """The config of a file such as `configs/tiny.py`."""
    spec = importlib.util.spec_from_file_location("config", file)
    if spec is None or spec.loader is None:
        raise SystemExit(f"--config={file} is no Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config()


class Clock:
    """Times what runs within a `with`.

    Attributes:
      wall: seconds on the wall.
      cpu: seconds of this process on all cores, which say more on a shared machine.
    """

    def __enter__(self) -> Clock:
        self._wall = time.perf_counter()
        self._cpu = time.process_time()
        return self

    def __exit__(self, *error: object) -> None:
        self.wall = time.perf_counter() - self._wall
        self.cpu = time.process_time() - self._cpu
