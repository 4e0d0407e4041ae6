"""The section `pretrain`: the recipe of the packaged base. Only `configs/tiny.py:base` has it.

Its config file chooses the names of the readings and of their batches, so that most sections here
stand for any name. None of the fields has a default.
"""

import dataclasses

from glore_jax.config.fields import NO_DEFAULT, Field, Form, Section, section
from glore_jax.config.tasks import difficulty

_STEPS = Field(NO_DEFAULT, "Computing steps of a problem.", at_least=1, form=Form.PAIR)


def _count(meaning: str) -> Field:
    return Field(NO_DEFAULT, meaning, at_least=1)


def _factor(meaning: str) -> Field:
    return Field(NO_DEFAULT, meaning, at_least=0)


_BATCH = section(
    "One kind of batch.",
    rows=_count("Packed rows of a batch."),
    row_length=_count("Tokens of a row."),
    steps=_STEPS,
    kinds=Field(
        NO_DEFAULT,
        "((kind of document, share), ...): what the rows are filled with.",
        form=Form.TABLE,
    ),
)

_JUDGING = section(
    "What the value head learns from.",
    weight=Field(NO_DEFAULT, "Share of the value head in the loss.", at_least=0),
    slip=_factor("What the first wrong token counts, where a right one counts 1."),
    after=_factor("What the wrong tokens after it count."),
    newline=_factor("What the ends of lines count."),
)

_DRAFTS = Section(
    "Drafts that the model before this review writes.",
    {
        "steps": _STEPS,
        "problems": _count("Problems drawn from the corpus."),
        "k": _count("Samples of each, beside the greedy draft."),
        "temperature": Field(NO_DEFAULT, "Temperature of the samples.", above=0),
        "max_new": _count("Most tokens of a draft."),
        "seed": Field(NO_DEFAULT, "Seed of the drawn problems."),
    },
    required=False,
)


_READING: dict[str, Field | Section] = {
    "steps": _count("Optimizer updates."),
    "seed": Field(NO_DEFAULT, "Seed of the documents."),
    "export_every": _count("Updates between two exported snapshots."),
    "depth": Field(NO_DEFAULT, "Layers after which a part of the loss is taken.", at_least=0),
    "share": Field(
        NO_DEFAULT, "Share of the loss that is taken there; 0: none.", at_least=0, at_most=1
    ),
    "judging": Section("What the value head learns from, by name.", {}, each=_JUDGING),
    "batches": Section("Kinds of batch, by name.", {}, each=_BATCH),
    "phases": Field(
        NO_DEFAULT,
        "((until, ((batch, share), ...), judging), ...): what is read until which share of all "
        "updates.",
        form=Form.TABLE,
    ),
    "drafts": _DRAFTS,
    "wrong": Section(
        "Share of wrong drafts, by kind of document.",
        {},
        each=Field(NO_DEFAULT, "Share of wrong drafts.", at_least=0, at_most=1),
        required=False,
    ),
}

_MODEL = section(
    "Sizes of the base.",
    hidden_size=_count("Width of the residual stream."),
    intermediate_size=_count("Width of the feed-forward layers."),
    num_layers=_count("Layers."),
    num_heads=_count("Query heads."),
    num_kv_heads=_count("Key and value heads."),
    head_dim=_count("Width of a head."),
    tie_embeddings=Field(NO_DEFAULT, "The output head is the embedding."),
    max_positions=_count("The model's context in tokens."),
)


def readings(training: Section) -> Section:
    """The section `pretrain`. `training`: a training section; a reading has its fields, but for the
    shape of its batches, which it has several of."""
    shared = {
        name: field
        for name, field in _given(training).items()
        if name not in ("batch_size", "epochs", "row_length")
    }
    reading = Section(
        "One reading of the corpus (`read`), or of the corpus and of own drafts (a review).",
        {**shared, **_READING},
    )
    return Section(
        "The packaged base from nothing (stage `pretrain`); only `configs/tiny.py:base` has it.",
        {
            "seed": Field(NO_DEFAULT, "Seed of the first weights."),
            "reviews": Field(
                NO_DEFAULT, "Readings of own drafts, in turn, after `read`.", form=Form.NAMES
            ),
            "model": _MODEL,
            "difficulty": section(
                "How hard the problems of the corpus are.", **_given(difficulty(""))
            ),
        },
        each=reading,
        required=False,
    )


def _given(declared: Section) -> dict[str, Field]:
    """The fields of a section with neither default nor paper: the config file gives them all."""
    given = {}
    for name, field in declared.children.items():
        assert isinstance(field, Field)
        # None is the value of a field that nobody has to give.
        default = field.default if field.default is None else NO_DEFAULT
        given[name] = dataclasses.replace(field, default=default, paper="")
    return given
