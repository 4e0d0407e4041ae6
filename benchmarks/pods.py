"""Compiles the paper's models for Cloud TPU slices: docs/pods.json, and the table of docs/pods.md.

All rows take hours of CPU, and no TPU; with flags some of them; or only the table again:

    python -m benchmarks.pods
    python -m benchmarks.pods --model=llama2_7b --slice=v5e-16 --program=student
    python -m benchmarks.pods --table
    python -m benchmarks.pods --first       the rows that the tests ask for, before all others

Figures are kept by a digest of what the compiler was given: a program that has not changed since is
not compiled again, so that the same command goes on where it was cut off, and after a change
compiles what the change has touched. `--again` compiles all the same.
"""

import argparse
import importlib.metadata
import json
import os
import pathlib
from typing import Any

from benchmarks import harness

DOCS = pathlib.Path(__file__).parents[1] / "docs"
MARKS = ("<!-- table -->", "<!-- end -->")
GIB = 2**30

# What Cloud calls the slice: (its chips, and what differs from the config: without it, fsdp over
# all chips, tensor=4 for generation). On 64 chips and more, fsdp over all of them turns gathers of
# weights into all-reduces, of twice the bytes.
SLICES: dict[str, tuple[str, dict[str, int]]] = {
    "v5e-16": ("v5e:4x4", {}),
    "v4-32": ("v4:2x2x4", {}),
    "v5p-32": ("v5p:2x2x4", {}),
    "v6e-8": ("v6e:2x4", {"engine.tensor": 8}),
    "v6e-16": ("v6e:4x4", {}),
    "v4-128": ("v4:4x4x4", {"mesh.data": 4, "mesh.fsdp": 16}),
    "v5e-256": ("v5e:16x16", {"mesh.data": 16, "mesh.fsdp": 16}),
}
# 70B has no config of its own: the settings of 13B.
CONFIGS = {
    "llama2_7b": "configs/gsm8k_llama2_7b.py",
    "llama2_13b": "configs/gsm8k_llama2_13b.py",
    "llama3_70b": "configs/gsm8k_llama2_13b.py",
}
# In place of what `SLICES` says, where a model needs more chips to hold it.
LARGE = {
    ("llama3_70b", "v4-128"): {"mesh.data": 1, "mesh.fsdp": 16, "mesh.tensor": 4},
    ("llama3_70b", "v5e-256"): {"mesh.data": 1, "mesh.fsdp": 64, "mesh.tensor": 4},
}
# What the tests of docs/pods.json ask for.
FIRST = (
    ("llama2_7b", "v5e-16"),
    ("llama2_13b", "v5e-16"),
    ("llama2_7b", "v6e-8"),
    ("llama2_13b", "v4-32"),
    ("llama2_13b", "v5p-32"),
)
COLUMNS = (
    "model",
    "slice",
    "program",
    "mesh, batch",
    "fits",
    "arguments",
    "temporaries",
    "peak",
    "TFLOPs",
    "of model",
    "GiB moved",
    "of least",
    "links GiB",
    "at best",
)


def changes_for(model: str, slice_: str) -> dict[str, int]:
    """Dotted config fields that this model needs otherwise on this slice."""
    _, changes = SLICES[slice_]
    return LARGE.get((model, slice_), changes)


def measure(model: str, slice_: str, names: list[str], known: dict[str, Any]) -> dict[str, Any]:
    """Figures of `glore_jax.planning.compile` for one row, with the command that gives them.

    known: of programs that need not be compiled again, by their digest; it gets the others.
    """
    from glore_jax.planning import compile as command

    topology, _ = SLICES[slice_]
    changes = changes_for(model, slice_)
    config = harness.read_config(CONFIGS[model])
    config.update_from_flattened_dict(changes)
    found = command.compile_all(config, topology, names, model, known=known)
    flags = [f"--config={CONFIGS[model]}", f"--model={model}", f"--topology={topology}"]
    flags += [f"--config.{field}={value}" for field, value in changes.items()]
    again = " ".join(["python -m glore_jax.planning.compile", *flags])
    return found.to_json() | {"command": again}


def table(rows: dict[str, Any]) -> str:
    """Markdown of docs/pods.json's rows, in the order of `CONFIGS` and `SLICES`."""
    lines = [f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
    for model in CONFIGS:
        for slice_ in SLICES:
            programs = rows.get(f"{model} {slice_}", {}).get("programs", {})
            for name, figures in sorted(programs.items()):
                lines.append("| " + " | ".join([model, slice_, name, *cells(figures)]) + " |")
    return "\n".join(lines)


def cells(f: dict[str, Any]) -> list[str]:
    """The cells of one program, from its figures as docs/pods.json has them."""
    sizes = [f"{axis}={size}" for axis, size in f["mesh"].items() if size > 1]
    mesh = " x ".join(sizes) or "one chip"
    layout = f"{mesh}; {f['layout']}"
    if not f["fits"]:
        need = f"needs {f['needed_bytes'] / GIB:.1f} GiB" if "needed_bytes" in f else ""
        return [layout, f"**no** {need}", *[""] * 9]
    longest = max(f["seconds"], key=f["seconds"].get)
    return [
        layout,
        "yes",
        *(f"{f[key] / GIB:.2f}" for key in ("argument_bytes", "temp_bytes", "peak_bytes")),
        f"{f['flops'] / 1e12:.3g}",
        f"{f['flops_ratio']:.2f}" if f["flops_ratio"] else "",
        f"{f['bytes_accessed'] / GIB:.1f}",
        f"{f['bytes_ratio']:.2f}" if f["bytes_ratio"] else "",
        f"{link_bytes(f['collectives']) / GIB:.2f}",
        f"{1000 * f['seconds'][longest]:.1f} ms ({longest})",
    ]


def link_bytes(collectives: dict[str, dict[str, float]]) -> float:
    """Bytes of all collectives; `gathers_as_all_reduce` counts some of them a second time."""
    return sum(
        sent["bytes"] for kind, sent in collectives.items() if kind != "gathers_as_all_reduce"
    )


def write(stored: dict[str, Any]) -> None:
    """Writes docs/pods.json, and its table into docs/pods.md between the marks."""
    (DOCS / "pods.json").write_text(json.dumps(stored, indent=1, sort_keys=True) + "\n")
    page = DOCS / "pods.md"
    before, rest = page.read_text().split(MARKS[0])
    _, after = rest.split(MARKS[1])
    versions = ", ".join(f"{name} {v}" for name, v in sorted(stored["versions"].items()))
    made = f"Compiled with {versions}.\n\n{table(stored['rows'])}"
    page.write_text(f"{before}{MARKS[0]}\n{made}\n{MARKS[1]}{after}")


def read_flags() -> argparse.Namespace:
    parser = harness.parser(__doc__)
    add = parser.add_argument
    add("--model", choices=CONFIGS, action="append", help="only this one; may be repeated")
    add("--slice", choices=SLICES, action="append", help="only this one; may be repeated")
    add("--program", default="all", help="one or several, separated by commas")
    add("--table", action="store_true", help="measure nothing")
    add("--first", action="store_true", help=f"only {', '.join(' '.join(row) for row in FIRST)}")
    add("--again", action="store_true", help="also what has not changed")
    return parser.parse_args()


def main() -> None:
    flags = read_flags()
    file = DOCS / "pods.json"
    stored = json.loads(file.read_text()) if file.exists() else {"rows": {}, "versions": {}}
    if flags.table:
        write(stored)
        return
    os.environ["JAX_PLATFORMS"] = "cpu"
    versions = {p: importlib.metadata.version(p) for p in ("jax", "libtpu")}
    known = {} if flags.again or versions != stored["versions"] else known_figures(stored)
    stored["versions"] = versions
    asked = [(model, s) for model in flags.model or CONFIGS for s in flags.slice or SLICES]
    for model, slice_ in FIRST if flags.first else asked:
        names = flags.program.split(",")
        row = stored["rows"].setdefault(f"{model} {slice_}", {"programs": {}})
        if "all" in names:
            names = names_of(model)
            kept = {name: f for name, f in row["programs"].items() if name in names}
            row["programs"] = kept  # without those that no config has any more
        for name in names:
            found = measure(model, slice_, [name], known)
            programs = found.pop("programs")
            row.update(found)
            row["programs"].update(programs)
            write(stored)  # after each program: a row may take an hour


def names_of(model: str) -> list[str]:
    """Every program of the model's config."""
    from glore_jax.planning import programs

    return programs.names(harness.read_config(CONFIGS[model]))


def known_figures(stored: dict[str, Any]) -> dict[str, Any]:
    """Figures by the digest of their programs."""
    from glore_jax.planning import measure as figures

    every = (f for row in stored["rows"].values() for f in row["programs"].values())
    return {f["digest"]: figures.from_json(f) for f in every if f.get("digest")}


if __name__ == "__main__":
    main()
