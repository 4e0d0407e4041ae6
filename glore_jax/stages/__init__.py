"""The stages by name, in the order of their data, and what each one declares.

A stage is a module of this package with a function `run(ctx) -> dict`: its counts and figures for
the manifest. What it reads, it declares here, where it can be looked up without importing the stage
and JAX with it. Whether a stage is stale is decided from its declaration alone, so the pipeline
hands it a view of the config that raises on anything else.
"""

import dataclasses
import importlib
from collections.abc import Mapping
from types import ModuleType

from ml_collections import ConfigDict

EVALUATED = "evaluate.splits"  # in `asks`: each of the splits that this field lists


@dataclasses.dataclass(frozen=True)
class Declaration:
    """What a stage says about itself.

    Attributes:
      needs: the earlier stages whose files it reads.
      config: dotted fields and sections of the config that its result depends on. Fields of speed
        and place need no declaration.
      asks: split of the task whose questions the model is asked -> the fields that say how many
        tokens it may write after them. A question that leaves no room for these is left out.
      trains: it divides a model over all devices, as `mesh` says.
      generates: it generates or scores on each process's own devices, as `engine.tensor` says.
    """

    needs: tuple[str, ...] = ()
    config: tuple[str, ...] = ()
    asks: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    trains: bool = False
    generates: bool = False


# Samples and greedy drafts of training questions.
_TRAINING_QUESTIONS = {"train": ("sample.max_new", "student.ei.max_new")}

STAGES = {
    "pretrain": Declaration(
        config=("seed", "task", "pretrain", "model.dtype", "sample.max_new"),
        trains=True,
        generates=True,
    ),
    "student": Declaration(
        config=("seed", "task", "model", "student", "sample.max_new"),
        asks=_TRAINING_QUESTIONS | {"dev": ("sample.max_new",)},
        trains=True,
        generates=True,
    ),
    "sample": Declaration(
        needs=("student",),
        config=("seed", "task", "model.dtype", "sample", "student.ei.max_new", "student.worked"),
        asks=_TRAINING_QUESTIONS,
        generates=True,
    ),
    "rollout": Declaration(
        needs=("student", "sample"),
        config=(
            "seed",
            "task",
            "model.dtype",
            "rollout",
            "sample.questions",
            "sample.max_new",
            "student.ei.max_new",
            "student.worked",
        ),
        asks=_TRAINING_QUESTIONS,
        generates=True,
    ),
    "orm": Declaration(
        needs=("student", "sample"),
        config=("seed", "task.prompt", "model.dtype", "orm"),
        trains=True,
        generates=True,
    ),
    "sorm": Declaration(
        needs=("student", "sample", "rollout"),
        config=("seed", "task.prompt", "model.dtype", "sorm"),
        trains=True,
        generates=True,
    ),
    "refiner": Declaration(
        needs=("sample", "rollout"),
        config=("seed", "task.name", "task.prompt", "model", "refiner"),
        trains=True,
    ),
    "evaluate": Declaration(
        needs=("student", "sample", "rollout", "orm", "sorm", "refiner"),
        config=(
            "seed",
            "task",
            "model.dtype",
            "model.base",
            "model.vocab_multiple",
            "evaluate",
            "orm.balanced",
            "refiner.attention",
            "refiner.max_new",
            "sample.max_new",
        ),
        asks={
            "dev": ("sample.max_new", "evaluate.max_new"),
            EVALUATED: ("sample.max_new", "evaluate.max_new"),
        },
        generates=True,
    ),
    "report": Declaration(
        needs=("student", "sample", "rollout", "orm", "sorm", "refiner", "evaluate"),
        config=("name", "task.name", "model.base", "report"),
    ),
}


def asked(name: str, config: ConfigDict) -> dict[str, tuple[str, ...]]:
    """`asks` of stage `name`, with the splits that `config` names."""
    asks = dict(STAGES[name].asks)
    fields = asks.pop(EVALUATED, ())
    if fields:
        asks |= {split: fields for split in config.evaluate.splits}
    return asks


def load(name: str) -> ModuleType:
    """The module of stage `name`. This imports JAX."""
    return importlib.import_module(f"{__name__}.{name}")
