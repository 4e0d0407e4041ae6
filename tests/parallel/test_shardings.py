"""Where every array of a training state lies, as committed tables.

A change of layout shows as a diff of `shardings/*.txt`.

UPDATE_SNAPSHOTS=1 python -m pytest tests/parallel/test_shardings.py        # writes them anew
"""

import collections
import dataclasses
import math
import os
import pathlib

import jax
import pytest
from jax.sharding import AbstractMesh

from benchmarks import harness, pods
from glore_jax.models import hf_import, llama, reward, shapes
from glore_jax.models.model import Model
from glore_jax.parallel import mesh as meshes
from glore_jax.planning import slices
from glore_jax.stages import models
from glore_jax.training import losses, update

FOLDER = pathlib.Path(__file__).parent / "shardings"
CONFIGS = pods.CONFIGS | {"tiny": "configs/tiny.py"}


def sizes_of(model: str) -> list[dict[str, int]]:
    """The meshes of docs/pods.md for `model`, each once.

    Those of training, one that divides every axis, and a host's chips that generate.
    """
    if model == "tiny":
        return [{}, {"fsdp": 8}, {"fsdp": 4, "tensor": 2}]
    training = []
    generation = []
    for slice_, (topology, _) in pods.SLICES.items():
        changes = pods.changes_for(model, slice_)
        sizes = {k.removeprefix("mesh."): n for k, n in changes.items() if k.startswith("mesh.")}
        training.append(sizes or {"fsdp": slices.count(topology)})
        generation.append({"tensor": changes.get("engine.tensor", 4)})
        assert math.prod(training[-1].values()) == slices.count(topology)
    found = [*training, {"fsdp": 8, "tensor": 2}, *generation]
    return [sizes for n, sizes in enumerate(found) if sizes not in found[:n]]


def states(model: str, sizes: dict[str, int]) -> dict:
    """{name: (parameters, optimizer state)}, as shapes with shardings, set up as the stages do."""
    config = harness.read_config(CONFIGS[model])
    base = models.base_folder(config)
    shape = hf_import.read_config(base) if model == "tiny" else shapes.named(model)
    shape = dataclasses.replace(shape, vocab_size=models.padded_vocab(config, shape.vocab_size + 1))
    mesh = AbstractMesh(tuple(sizes.get(a, 1) for a in meshes.AXES), meshes.AXES)
    found = {}
    for name, module, loss, section in (
        ("policy", llama, losses.language_loss, config.student.sft),
        ("reward model", reward, losses.reward_loss, config.sorm.train),
    ):
        graphdef, params = module.abstract(shape)
        params = meshes.placed(params, meshes.param_shardings(params, mesh))
        model = Model(graphdef, params, shape, None)
        found[name] = (params, update.setup(model, loss, section, 100, mesh).state.opt_state)
    return found


def placements(tree) -> dict[str, tuple[str, str]]:
    """Name of every leaf -> (its shape, the mesh axis of each dimension)."""
    found = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        keys = [getattr(k, "key", getattr(k, "name", getattr(k, "idx", k))) for k in path]
        name = ".".join(map(str, keys))
        spec = (*leaf.sharding.spec, *[None] * leaf.ndim)[: leaf.ndim]
        axes = ",".join("+".join((a,) if isinstance(a, str) else a or "-") for a in spec)
        found[name.removesuffix(".value")] = "x".join(map(str, leaf.shape)) or "one", axes or "-"
    return found


def merged(per_mesh: list[dict[str, tuple[str, str]]]) -> dict[str, tuple[str, ...]]:
    """Name -> (shape, axes on each mesh)."""
    (names,) = {tuple(found) for found in per_mesh}
    return {n: (per_mesh[0][n][0], *(found[n][1] for found in per_mesh)) for n in names}


def apart(params, rest) -> tuple[dict, collections.Counter]:
    """What of `rest` does not lie as the parameter it belongs to, and counts of what does."""
    others = {}
    beside = collections.Counter()
    for name, row in rest.items():
        owner = next((p for p in params if name.endswith("." + p)), None)
        if owner and params[owner] == row:
            beside[name.removesuffix("." + owner)] += 1
        else:
            others[name] = row
    return others, beside


def aligned(rows: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows)]
    padded = [[cell.ljust(width) for cell, width in zip(row, widths)] for row in rows]
    return ["  ".join(row).rstrip() for row in padded]


def heading(sizes: dict[str, int]) -> str:
    return " ".join(f"{k}={v}" for k, v in sizes.items() if v > 1) or "one device"


def table(model: str) -> str:
    """One row an array, one column a mesh.

    Of the optimizer state a row only for what does not lie as the parameter it belongs to.
    """
    columns = sizes_of(model)
    by_mesh = [states(model, sizes) for sizes in columns]
    heads = ["shape", *map(heading, columns)]
    lines = ["# The mesh axis of each dimension on each mesh; - where it lies whole."]
    for name in by_mesh[0]:
        params, rest = (merged([placements(found[name][i]) for found in by_mesh]) for i in (0, 1))
        others, beside = apart(params, rest)
        rows = [[name, *heads], *([n, *row] for n, row in params.items())]
        rows += [["its optimizer", *heads], *([n, *row] for n, row in others.items())]
        lines += ["", *aligned(rows)]
        lines += [f"{n}: {count} arrays, each as its parameter" for n, count in beside.items()]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("model", CONFIGS)
def test_layout(model):
    file = FOLDER / f"{model}.txt"
    text = table(model)
    if os.environ.get("UPDATE_SNAPSHOTS"):
        file.write_text(text)
    assert text == file.read_text()


def test_every_table_is_of_a_model():
    assert {f.stem for f in FOLDER.iterdir()} == set(CONFIGS)
