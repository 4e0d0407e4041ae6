"""Did two work directories come out the same? Compares all records and all figures.

    python -m benchmarks.same_run runs/before runs/after

Read with pyarrow and json alone, so that it also compares what two versions of the package wrote.
Prints one SHA-256 for each folder of records and each file of figures, then "same" (exit code 0) or
the first difference (exit code 1).

What counts as the same:

- records: the same folders with the same rows in the same order. In which parts they lie, the order
  of the columns and their types say nothing; a null is as good as a missing column.
- figures: `report/report.json`, `evaluate/results.json` and the counts in each stage's manifest,
  but for seconds and for what the engine says of its work, which depend on the hour, and for what
  the run was made with: commit, versions, devices.
- floats (log-probabilities, scores, means of them) within 1e-4 of each other: their last digits
  depend on which texts were computed together. A hash is over 4 significant digits; two values on
  either side of a rounding edge may differ in it and still be the same.
"""

import argparse
import hashlib
import json
import math
import pathlib
import sys
from collections.abc import Iterator
from typing import Any

import pyarrow.parquet as pq

DIGITS = 4  # of a float that count in a hash
RELATIVE = 1e-4
ABSOLUTE = 1e-6
FIGURES = ("report/report.json", "evaluate/results.json")
# Fields of figures, at any depth, that are other ones in each run.
PASSING = frozenset({"seconds", "work", "commit", "versions", "devices"})


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("one", type=pathlib.Path, metavar="DIR_A")
    parser.add_argument("other", type=pathlib.Path, metavar="DIR_B")
    flags = parser.parse_args()
    one = read_run(flags.one)
    other = read_run(flags.other)
    if not one:
        parser.error(f"{flags.one} holds no records and no figures")

    for name in sorted(one.keys() | other.keys()):
        hashes = [digest(run[name]) if name in run else "-" for run in (one, other)]
        print(hashes[0], name, "" if hashes[0] == hashes[1] else f"(other: {hashes[1]})")
    found = next(differences(one, other), None)
    print(f"different: {found}" if found else "same")
    return 1 if found else 0


def read_run(workdir: pathlib.Path) -> dict[str, Any]:
    """Everything that is compared of a run: name of the folder or file -> rows or figures."""
    run: dict[str, Any] = {}
    folders = {part.parent for part in workdir.rglob("part-*.parquet")}
    for folder in folders:
        name = str(folder.relative_to(workdir))
        if name.split("/")[0] != "stale":
            run[name] = read_rows(folder)
    for file in FIGURES:
        if (workdir / file).exists():
            run[file] = without(json.loads((workdir / file).read_text()))
    for manifest in workdir.glob("*/manifest.json"):
        name = str(manifest.relative_to(workdir))
        run[name] = without(json.loads(manifest.read_text())["counts"])
    return run


def read_rows(folder: pathlib.Path) -> list[dict]:
    """The rows of all parts of a folder, in order, without nulls."""
    files = sorted(folder.glob("part-*.parquet"))
    return [without(row) for file in files for row in pq.ParquetFile(file).read().to_pylist()]


def without(value: Any) -> Any:
    """`value` without nulls and without what is passing, at any depth."""
    if isinstance(value, dict):
        kept = {key: inner for key, inner in value.items() if key not in PASSING}
        return {key: without(inner) for key, inner in kept.items() if inner is not None}
    if isinstance(value, list):
        return [without(inner) for inner in value]
    return value


def digest(value: Any) -> str:
    """SHA-256 of the canonical JSON of `value`, its floats rounded."""
    text = json.dumps(rounded(value), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [rounded(inner) for inner in value]
    if isinstance(value, float):
        return f"{value:.{DIGITS - 1}e}"
    return value


def differences(one: Any, other: Any, place: str = "") -> Iterator[str]:
    """Every difference, each as one line that says where it is and what stands there."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted(one.keys() | other.keys()):
            where = f"{place}: {key}" if place else key
            if key not in one or key not in other:
                yield f"{where} is only in the {'second' if key in other else 'first'}"
            else:
                yield from differences(one[key], other[key], where)
    elif isinstance(one, list) and isinstance(other, list):
        for index, (a, b) in enumerate(zip(one, other, strict=False)):
            yield from differences(a, b, f"{place}[{index}]")
        if len(one) != len(other):
            yield f"{place} has {len(one)} entries and {len(other)}"
    elif not equal(one, other):
        yield f"{place} is {one!r} and {other!r}"


def equal(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        both_nan = math.isnan(one) and math.isnan(other)
        return both_nan or math.isclose(one, other, rel_tol=RELATIVE, abs_tol=ABSOLUTE)
    return type(one) is type(other) and one == other


if __name__ == "__main__":
    sys.exit(main())
