"""Declarations that several sections of the config share."""

from glore_jax.config.fields import NOT_STATED, Effect, Field, Form, Section, section


def training_section(
    meaning: str, lr: float, min_lr: float, batch_size: int, epochs: int, paper: str = "table 4"
) -> Section:
    """A section that trains a model. Four values differ from stage to stage; the rest is shared."""

    def stated(value: float) -> str:
        return f"{value:g} ({paper})"

    return section(
        meaning,
        lr=Field(lr, "Highest learning rate of the cosine.", above=0, paper=stated(lr)),
        min_lr=Field(
            min_lr,
            "Learning rate at the end of the cosine; no more than `lr`.",
            at_least=0,
            paper=stated(min_lr),
        ),
        batch_size=Field(
            batch_size, "Examples of an update.", at_least=1, paper=stated(batch_size)
        ),
        epochs=Field(epochs, "Times that each example is seen.", at_least=1, paper=stated(epochs)),
        row_length=Field(
            1024,
            "Tokens of a packed row, no more than the model's context; longer examples are left "
            "out and counted.",
            at_least=1,
            paper=NOT_STATED,
        ),
        microbatches=Field(
            1,
            "Parts of a batch that are taken one after the other, for want of memory.",
            at_least=1,
        ),
        optimizer=Field(
            "adamw",
            "AdamW, or Muon for the layers' matrices and AdamW for the rest.",
            choices=("adamw", "muon"),
            paper=NOT_STATED,
        ),
        muon_scale=Field(8.0, "Learning rate of Muon's matrices / `lr`.", above=0),
        head_scale=Field(1.0, "Learning rate of a value head / `lr`.", above=0, paper=NOT_STATED),
        warmup=Field(10, "Updates in which the rate rises to `lr`.", at_least=0, paper=NOT_STATED),
        weight_decay=Field(0.0, "Decoupled weight decay.", at_least=0, paper=NOT_STATED),
        clip=Field(1.0, "Largest norm of a gradient.", above=0, paper=NOT_STATED),
        save_seconds=Field(
            600.0, "Seconds between two checkpoints.", at_least=1, effect=Effect.SPEED
        ),
        profile_steps=Field(
            None,
            "First and last update that are traced for TensorBoard; empty: none.",
            at_least=0,
            effect=Effect.SPEED,
            form=Form.PAIR,
        ),
    )


def drawing(temperature: str = NOT_STATED, max_new: str = NOT_STATED) -> dict[str, Field]:
    """How tokens are drawn; `temperature` and `max_new`: what the paper says of these."""
    return {
        "temperature": Field(1.0, "Temperature of the samples.", above=0, paper=temperature),
        "top_k": Field(
            0, "Draw among so many likeliest tokens; 0: all.", at_least=0, paper=NOT_STATED
        ),
        "top_p": Field(
            1.0,
            "Draw among the likeliest tokens of this total probability.",
            above=0,
            at_most=1,
            paper=NOT_STATED,
        ),
        "max_new": Field(300, "Most new tokens of a text.", at_least=1, paper=max_new),
    }


def likelihood(of: str) -> Field:
    return Field(
        False,
        f"The {of}'s value counts how likely the model itself finds the solution.",
        paper=NOT_STATED,
        plain=False,
    )


def some_questions(purpose: str, paper: str = "0 (section 4.1)") -> Field:
    meaning = f"{purpose}, drawn by their identity; 0: all."
    return Field(0, meaning, at_least=0, paper=paper, plain=0)
