"""Declarations that several sections of the config share."""

from glore_jax.config.fields import NOT_STATED, Effect, Field, Form, Section, section

_WARMUP_SHARE = Field(
    0.05,
    "Share of the updates in which the rate rises to `lr`.",
    at_least=0,
    at_most=1,
    paper=NOT_STATED,
)
_HEAD_STEP = Field(
    0.3,
    "How far an update at the highest rate moves a logit through a value head alone, "
    "whatever the model's width and `lr`.",
    above=0,
    paper=NOT_STATED,
)


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
        warmup_share=_WARMUP_SHARE,
        batch_size=Field(
            batch_size, "Examples of an update.", at_least=1, paper=stated(batch_size)
        ),
        epochs=Field(epochs, "Times that each example is seen.", at_least=1, paper=stated(epochs)),
        row_length=Field(
            1024,
            "Tokens of a packed row, no more than the model's context. Of what is longer, a reward "
            "model learns the steps that fit; other examples are left out. Both are counted.",
            at_least=1,
            paper=NOT_STATED,
        ),
        microbatches=Field(
            1,
            "Parts of a batch that are taken one after the other, for want of memory; over `fsdp` "
            "each gathers the weights anew.",
            at_least=1,
        ),
        optimizer=Field(
            "adamw",
            "AdamW, or Muon for the layers' matrices and AdamW for the rest.",
            choices=("adamw", "muon"),
            paper=NOT_STATED,
        ),
        muon_scale=Field(8.0, "Learning rate of Muon's matrices / `lr`.", above=0),
        head_step=_HEAD_STEP,
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


def value_head(of: str) -> dict[str, Field]:
    """How the value head of a reward model begins, what else it learns from, what is kept back."""
    return {
        "head_std": Field(
            0.1,
            f"Standard deviation of the logits that the {of}'s value head is drawn to give, about; "
            "0: it starts at zero.",
            at_least=0,
            paper=NOT_STATED,
        ),
        "every_token": Field(
            False,
            "Every token of a step learns the step's label, not its last one alone.",
            paper=NOT_STATED,
        ),
        "language": Field(
            0.0,
            "Share of the next-token loss on the solutions in the loss.",
            at_least=0,
            at_most=1,
            paper=NOT_STATED,
        ),
        "held_out": Field(
            0.05,
            f"Share of the questions that the {of} does not learn from: after its training it is "
            "looked at on their samples.",
            at_least=0,
            at_most=0.5,
            paper=NOT_STATED,
        ),
    }


def some_questions(purpose: str, paper: str = "0 (section 4.1)") -> Field:
    meaning = f"{purpose}, drawn by their identity; 0: all."
    return Field(0, meaning, at_least=0, paper=paper, plain=0)
