"""The stages by name, in the order of their data.

A stage is a module of this package with three things: `NEEDS`, the stages whose files it reads; `CONFIG`, the dotted sections
of the config that its result depends on; and `run(ctx) -> dict`, its counts and figures for the manifest.
"""

import ast
import dataclasses
import importlib
import importlib.util
import pathlib
from types import ModuleType

NAMES = ("pretrain", "student", "sample", "rollout", "orm", "sorm", "refiner", "evaluate", "report")


@dataclasses.dataclass(frozen=True)
class Declaration:
    """What a stage says about itself: `needs` (stages) and `config` (dotted sections)."""

    needs: tuple[str, ...]
    config: tuple[str, ...]


def declaration(name: str) -> Declaration:
    """`NEEDS` and `CONFIG` of stage `name`, read from its source: to import it would import JAX, only to say "nothing to do".

    Both must be literals assigned at the top of the module; ValueError otherwise.
    """
    file = pathlib.Path(importlib.util.find_spec(f"{__name__}.{name}").origin)
    found = {}
    for node in ast.parse(file.read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            if node.targets[0].id in ("NEEDS", "CONFIG"):
                found[node.targets[0].id] = tuple(ast.literal_eval(node.value))
    if found.keys() != {"NEEDS", "CONFIG"} or not set(found["NEEDS"]) <= set(
        NAMES[: NAMES.index(name)]
    ):
        raise ValueError(
            f"{file}: needs the literals NEEDS (earlier stages) and CONFIG (config sections)"
        )
    return Declaration(found["NEEDS"], found["CONFIG"])


def load(name: str) -> ModuleType:
    """The module of stage `name`."""
    return importlib.import_module(f"{__name__}.{name}")
