"""The real command on a few questions, how to run it again, and how to compare what came out."""

import json
import math
import os
import pathlib
import subprocess
import sys

from benchmarks.miniature import CONFIG, FLAGS, QUICK, ROOT, keeping
from glore_jax import parquet


def start(
    module: str, *arguments: str, cache: pathlib.Path, log, errors=subprocess.STDOUT
) -> subprocess.Popen:
    """`python -m glore_jax.MODULE` on one device, its programs kept in `cache`."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "XLA_FLAGS": QUICK} | keeping(cache)
    command = [sys.executable, "-m", f"glore_jax.{module}", *arguments]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=errors)


def start_run(workdir: pathlib.Path, cache: pathlib.Path, log) -> subprocess.Popen:
    """The miniature run in `workdir`; it goes on from what is there."""
    flags = (f"--config={CONFIG}", f"--workdir={workdir}", *FLAGS)
    return start("main", *flags, cache=cache, log=log)


def parts(workdir: pathlib.Path) -> list[str]:
    """Every file of records below `workdir`."""
    return sorted(str(p.relative_to(workdir)) for p in workdir.rglob("*.parquet"))


def same(a, b) -> bool:
    """Equal but for the last digits of floats: after a restart a batch has other neighbours."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=1e-4, abs_tol=1e-5)
    return a == b


def assert_same_records(one: pathlib.Path, other: pathlib.Path) -> None:
    """Both work directories have the same parts with the same records.

    None is empty but the new solutions of a round, of which there may be none.
    """
    names = parts(one)
    assert parts(other) == names and len(names) > 20
    for name in names:
        index = int(name.removesuffix(".parquet")[-5:])
        rows, others = (parquet.read_part((w / name).parent, index) for w in (one, other))
        assert rows or name.startswith("student/solutions-"), name
        assert same(rows, others), name


def figures(workdir: pathlib.Path) -> dict:
    """The report's figures without those that no two runs share."""
    report = json.loads((workdir / "report" / "report.json").read_text())
    del report["seconds"], report["cost"]["seconds"], report["about"]["devices"]
    return report
