"""Compiles the paper's models for Cloud TPU slices and writes docs/pods.json and the table of docs/pods.md.

    python -m benchmarks.pods                                            # all rows: hours of CPU, no TPU
    python -m benchmarks.pods --model=llama2_7b --slice=v5e-16 --program=student
    python -m benchmarks.pods --table                                    # only the table again, from docs/pods.json

What is measured again replaces its figures in docs/pods.json, everything else stays; so the table can be made piece by piece.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import os
import pathlib

DOCS = pathlib.Path(__file__).parents[1] / "docs"
MARKS = "<!-- table -->", "<!-- end -->"
GIB = 2**30

# What Cloud calls the slice: (its chips, and what differs from the config: without it, fsdp over all chips, tensor=4 for generation).
# On 64 chips and more, fsdp over all of them turns gathers of weights into all-reduces, of twice the bytes.
SLICES = {
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


def read_config(file: str):
    spec = importlib.util.spec_from_file_location("config", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config()


def changes_for(model: str, slice_: str) -> dict[str, int]:
    """Dotted config fields that this model needs otherwise on this slice."""
    return LARGE.get((model, slice_), SLICES[slice_][1])


def measure(model: str, slice_: str, names: list[str]) -> dict:
    """Figures of `glore_jax.planning.compile` for one row, with the command that gives them."""
    from glore_jax.planning import compile as command

    topology, changes = SLICES[slice_][0], changes_for(model, slice_)
    config = read_config(CONFIGS[model])
    config.update_from_flattened_dict(changes)
    found = command.compile_all(config, topology, names, model, 256)
    flags = "".join(f" --config.{k}={v}" for k, v in changes.items())
    again = f"python -m glore_jax.planning.compile --config={CONFIGS[model]} --model={model} --topology={topology}{flags}"
    return found | {"command": again}


def table(rows: dict) -> str:
    """Markdown of docs/pods.json's rows, in the order of `CONFIGS` and `SLICES`."""
    lines = [
        "| model | slice | program | mesh, batch | fits | arguments | temporaries | peak | TFLOPs | of model | GiB moved | of least | links GiB | at best |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for model in CONFIGS:
        for slice_ in SLICES:
            for name, f in sorted(rows.get(f"{model} {slice_}", {}).get("programs", {}).items()):
                lines.append("| " + " | ".join([model, slice_, name, *cells(f)]) + " |")
    return "\n".join(lines)


def cells(f: dict) -> list[str]:
    mesh = " x ".join(f"{k}={v}" for k, v in f["mesh"].items() if v > 1) or "one chip"
    if not f["fits"]:
        need = f"needs {f['needed_bytes'] / GIB:.1f} GiB" if "needed_bytes" in f else ""
        return [f"{mesh}; {f['layout']}", f"**no** {need}", *[""] * 9]
    kinds = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")
    links = sum(c["bytes"] for k, c in f["collectives"].items() if k in kinds)
    longest = max(f["seconds"], key=f["seconds"].get)
    return [
        f"{mesh}; {f['layout']}",
        "yes",
        *(f"{f[k] / GIB:.2f}" for k in ("argument_bytes", "temp_bytes", "peak_bytes")),
        f"{f['flops'] / 1e12:.3g}",
        f"{f['flops_ratio']:.2f}",
        f"{f['bytes_accessed'] / GIB:.1f}",
        f"{f['bytes_ratio']:.2f}" if f["bytes_ratio"] else "",
        f"{links / GIB:.2f}",
        f"{1000 * f['seconds'][longest]:.1f} ms ({longest})",
    ]


def write(stored: dict) -> None:
    (DOCS / "pods.json").write_text(json.dumps(stored, indent=1, sort_keys=True) + "\n")
    page = (DOCS / "pods.md").read_text()
    before, rest = page.split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    versions = ", ".join(f"{k} {v}" for k, v in sorted(stored["versions"].items()))
    (DOCS / "pods.md").write_text(
        f"{before}{MARKS[0]}\nCompiled with {versions}.\n\n{table(stored['rows'])}\n{MARKS[1]}{after}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model", choices=CONFIGS, action="append", help="only this one; may be repeated"
    )
    parser.add_argument(
        "--slice", choices=SLICES, action="append", help="only this one; may be repeated"
    )
    parser.add_argument("--program", default="all", help="one or several, separated by commas")
    parser.add_argument("--table", action="store_true", help="measure nothing")
    flags = parser.parse_args()
    file = DOCS / "pods.json"
    stored = json.loads(file.read_text()) if file.exists() else {"rows": {}, "versions": {}}
    if not flags.table:
        os.environ["JAX_PLATFORMS"] = "cpu"
        stored["versions"] = {p: importlib.metadata.version(p) for p in ("jax", "libtpu")}
        for model in flags.model or CONFIGS:
            for slice_ in flags.slice or SLICES:
                found = measure(model, slice_, flags.program.split(","))
                row = stored["rows"].setdefault(f"{model} {slice_}", {"programs": {}})
                row.update({k: v for k, v in found.items() if k != "programs"})
                row["programs"].update(found["programs"])
                write(stored)
    write(stored)


if __name__ == "__main__":
    main()
