"""The configuration of a run: every field once, with all that is known about it.

A file in `configs/` starts from `default()` and changes what it needs; the command line overrides
single fields (`--config.rollout.k=16`). Users see a plain `ml_collections.ConfigDict`, locked by
the command, so that a misspelt field is an error.

    fields.py      what a field is: default, meaning, bounds or choices, its effect on a result
    auto.py        fields that are a number, or left to the run
    schema.py      the tree of all fields
    shared.py      declarations that several sections share
    tasks.py       the fields of each task
    evaluation.py  the fields of stage `evaluate`
    pretraining.py the recipe of the packaged base
    validation.py  a config against that tree, complete before anything runs
    view.py        what a stage may read of a config
    document.py    docs/config.md, by `python -m glore_jax.config > docs/config.md`
"""

from glore_jax.config.fields import Effect, Field, Section, leaves
from glore_jax.config.schema import default, effect_of, fields_of, published, training
from glore_jax.config.tasks import task
from glore_jax.config.validation import validate
from glore_jax.config.view import AnyConfig, UndeclaredField, View

__all__ = [
    "AnyConfig",
    "Effect",
    "Field",
    "Section",
    "UndeclaredField",
    "View",
    "default",
    "effect_of",
    "fields_of",
    "leaves",
    "published",
    "task",
    "training",
    "validate",
]
