"""The tree of all fields. Its defaults are the paper's values where the paper states one."""

from typing import Any

from ml_collections import ConfigDict

from glore_jax.config.evaluation import EVALUATE
from glore_jax.config.fields import (
    Effect,
    Field,
    Section,
    declared,
    defaults,
    find,
    leaves,
    section,
)
from glore_jax.config.pretraining import readings
from glore_jax.config.shared import (
    NOT_STATED,
    drawing,
    likelihood,
    some_questions,
    training_section,
    value_head,
)
from glore_jax.config.tasks import ANY_TASK, DEFAULT_TASK

_MESH = section(
    "How all devices are divided for training; one size may be -1: what is left.",
    data=Field(1, "Copies of the weights.", at_least=-1, effect=Effect.SPEED),
    fsdp=Field(
        -1,
        "Devices that share each copy of the weights and divide the rows of a batch.",
        at_least=-1,
        effect=Effect.SPEED,
    ),
    tensor=Field(1, "Devices that divide each matrix product.", at_least=-1, effect=Effect.SPEED),
)

_ENGINE = section(
    "The rollout engine: `groups` x `siblings` forks decode at a time, of `groups` x `shelves` "
    "trunks that are held.",
    groups=Field(16, "Groups of forks.", at_least=1, effect=Effect.SPEED),
    siblings=Field(8, "Most forks of a group.", at_least=1, effect=Effect.SPEED),
    shelves=Field(2, "Trunks that a group holds at a time.", at_least=1, effect=Effect.SPEED),
    cache_bytes=Field(
        "auto",
        "Bytes of keys and values that a device may hold, which decide how many groups there are; "
        "`auto`: what it has left beside the model. Where it does not say how much memory it has "
        "(a CPU), and for 0: room for the numbers above.",
        effect=Effect.SPEED,
    ),
    round_steps=Field(
        16, "Most tokens between two looks of the host.", at_least=1, effect=Effect.SPEED
    ),
    tensor=Field(
        1,
        "Devices of a process that hold a model together, to generate and to score; the rest are "
        "copies.",
        at_least=1,
        effect=Effect.SPEED,
    ),
    lanes=Field(
        0,
        "Engines side by side on one CPU device; 0: one a core, at most 4.",
        at_least=0,
        effect=Effect.SPEED,
    ),
    part_questions=Field(
        0,
        "Questions, drafts, or up to 32 samples each of a question, in a part of records: the unit "
        "of a restart and of what a process takes on; 0: by how many there are.",
        at_least=0,
        effect=Effect.PARTS,
    ),
)

_MODEL = section(
    "The base model and how it is computed.",
    base=Field(
        "",
        "A LLaMA, Mistral, Qwen2 or Qwen3: its Hugging Face folder (safetensors), on a disk or "
        "gs://; `hf://ORG/NAME` or `hf://ORG/NAME@REVISION`; a `.gguf` file of a LLaMA; `tiny`, "
        "the packaged base; or `smollm2-135m`, a package's.",
        effect=Effect.IDENTITY,
        paper="LLaMA-2 7B, 13B",
    ),
    dtype=Field(
        "bfloat16",
        "What is computed and exported in; parameters are trained in float32.",
        choices=("bfloat16", "float32"),
        paper=NOT_STATED,
    ),
    remat=Field(
        "auto",
        "What the backward pass computes again for want of memory: `none`; `dots`, all but the "
        "weight products; `attention`, all but the outputs of attention; `full`, all; `auto`: the "
        "first of these that fits the devices.",
        choices=("auto", "none", "dots", "attention", "full"),
        effect=Effect.SPEED,
    ),
    unroll_layers=Field(
        False,
        "Layers written out one by one: faster on a CPU, slow to compile.",
        effect=Effect.SPEED,
    ),
    kernel=Field(
        "auto",
        "Attention of training, scoring and prefill: splash on TPUs, cudnn on NVIDIA GPUs; auto: "
        "what can run.",
        choices=("auto", "xla", "splash", "cudnn"),
        effect=Effect.SPEED,
    ),
    vocab_multiple=Field(
        128,
        "The embedding is padded to a multiple of it after [BAD] is added, so that it can be "
        "sharded.",
        at_least=1,
    ),
)

_STUDENT = section(
    "Supervised fine-tuning, then expert iteration (stage `student`).",
    worked=Field(
        0,
        "Training questions whose worked solutions the student sees, drawn by their identity; of "
        "all others only the answer is used, to grade its samples. 0: all.",
        at_least=0,
        paper="0 (section 4.1)",
    ),
    sft=training_section("Each round of fine-tuning.", 2e-5, 2e-7, 128, 4),
    shot=section(
        "The example of the one-shot prompt, for tasks without worked solutions.",
        question=Field("", "A question.", paper=NOT_STATED),
        solution=Field("", "Its worked solution, `#### ANSWER` last.", paper=NOT_STATED),
    ),
    ei=section(
        "Expert iteration.",
        rounds=Field(5, "Most rounds.", at_least=0, paper="2 for GSM8K, 5 for SVAMP (table 5)"),
        k=Field(96, "Samples of a question.", at_least=1, paper="96 (appendix B)"),
        **drawing(),
        per_question=Field(
            0,
            "New solutions of a question that a round may add; 0: all.",
            at_least=0,
            paper="0 (section 4.1)",
        ),
        questions=some_questions(
            "Training questions that a round samples, those whose solutions were shown last, each "
            "round others until all have had their turn"
        ),
        patience=Field(
            2,
            "Rounds in a row that bring no gain and end the iteration.",
            at_least=1,
            paper=NOT_STATED,
            plain=1,
        ),
        level=Field(
            0.2,
            "A round is a gain over the last one if the questions of `dev` on which their greedy "
            "drafts differ (variations of one story count once) would look so good with no more "
            "than this chance if it were none; .5: if more of them are won than lost.",
            above=0,
            at_most=0.5,
            paper=NOT_STATED,
            plain=0.5,
        ),
    ),
)

_SAMPLE = section(
    "What the reward models and the refiner learn from: the student's solutions of training "
    "questions (stage `sample`). `max_new` also bounds every greedy draft.",
    k=Field(96, "Samples of a question.", at_least=1, paper="96 (appendix F)"),
    **drawing(temperature="1.0 (appendix F)"),
    questions=some_questions("Training questions that are sampled"),
    include_greedy=Field(
        False,
        "The greedy draft is a sample too, and comes first where few drafts are taken.",
        paper=NOT_STATED,
        plain=False,
    ),
    include_worked=Field(
        False, "The task's own solutions are samples too.", paper=NOT_STATED, plain=False
    ),
)

_ROLLOUT = section(
    "Step labels from rollouts (stage `rollout`). Those of test drafts are always made by the "
    "paper's rules, at temperature 1.",
    k=Field(8, "Rollouts of a prefix.", at_least=1, paper="8 (section 4.1)"),
    **drawing(max_new="300 (section 4.1)"),
    schedule=Field(
        "backward",
        "Which prefixes are tried: all; from the last one backwards, with equal labels for fewer "
        "rollouts; by bisection, which is approximate.",
        choices=("backward", "full", "bisect"),
        paper="full (section 4.1)",
    ),
    consistency=Field(
        True,
        "A verifying rollout must use the prefix's last result.",
        paper="True (section 4.1)",
    ),
    propagate=Field(
        True,
        "A good step makes all earlier ones good; false needs schedule=full.",
        paper="True (section 4.1)",
    ),
    drafts_per_question=Field(4, "Labelled drafts of a question.", at_least=1, paper=NOT_STATED),
    solved_only=Field(
        True,
        "Only questions that some sample solves: where none does, a failure says little about a "
        "step.",
        paper=NOT_STATED,
        plain=False,
    ),
    questions=some_questions("Sampled questions whose drafts are labelled", NOT_STATED),
)

_ORM = section(
    "The outcome reward model (stage `orm`).",
    train=training_section("Its training.", 2e-6, 2e-7, 256, 1),
    balanced=Field(
        True,
        "Also train the balanced variant: as many right as wrong solutions of each question.",
        paper="True (section 4.1)",
    ),
    per_question=Field(
        0, "Most solutions of a question; 0: all.", at_least=0, paper=NOT_STATED, plain=0
    ),
    repeats=Field(
        True,
        "Identical solutions count as often as they were sampled, so that a score is the chance "
        "of a sample to be right.",
        paper=NOT_STATED,
        plain=True,
    ),
    likelihood=likelihood("ORM"),
    **value_head("ORM"),
)

_SORM = section(
    "The stepwise outcome reward model (stage `sorm`).",
    train=training_section("Its training.", 2e-6, 2e-7, 256, 1),
    balance=Field(
        True,
        "Equal weight of good and bad steps at each prefix length.",
        paper="True (section 4.1)",
    ),
    likelihood=likelihood("SORM"),
    **value_head("SORM"),
)

_REFINER = section(
    "One model for global and local refinement (stage `refiner`).",
    train=training_section("Its training.", 2e-5, 2e-7, 128, 1),
    attention=Field(
        "causal",
        "How the refiner reads question and draft; prefix: both ways.",
        choices=("causal", "prefix"),
        paper=NOT_STATED,
    ),
    per_question=Field(
        8, "Most pairs of each kind of a question; 0: all.", at_least=0, paper=NOT_STATED
    ),
    turn=Field(
        1.0,
        "Weight of the token at which a target leaves its draft.",
        above=0,
        paper=NOT_STATED,
        plain=1.0,
    ),
    keep_right=Field(
        0.0,
        "Share of the global pairs whose draft is right, with [BAD] at its start as any has, and "
        "its own target.",
        at_least=0,
        at_most=0.9,
        paper=NOT_STATED,
        plain=0.0,
    ),
    failed_continuations=Field(
        False,
        "Local pairs also have failed rollouts as drafts.",
        paper="not stated: figure 1 has them, the text has not",
        plain=False,
    ),
    max_new=Field(300, "Most new tokens of a refinement.", at_least=1, paper=NOT_STATED),
)

_REPORT = section(
    "The report (stage `report`).",
    examples=Field(60, "Solved examples on the page.", at_least=0),
    paper_column=Field(
        "",
        "The paper's figures that stand beside ours; empty: GSM8K 7B, for orientation.",
        choices=("", "GSM8K 7B", "GSM8K 13B", "SVAMP 7B", "SVAMP 13B"),
    ),
)

_PRETRAIN = readings(training_section("One reading.", 2e-5, 2e-7, 1, 1))

_TOP: dict[str, Field | Section] = {
    "name": Field("unnamed", "The run's name, shown in the report.", effect=Effect.IDENTITY),
    "seed": Field(0, "Seed of everything that is drawn or shuffled.", paper=NOT_STATED),
}
_STAGES: dict[str, Field | Section] = {
    "model": _MODEL,
    "mesh": _MESH,
    "engine": _ENGINE,
    "student": _STUDENT,
    "sample": _SAMPLE,
    "rollout": _ROLLOUT,
    "orm": _ORM,
    "sorm": _SORM,
    "refiner": _REFINER,
    "evaluate": EVALUATE,
    "report": _REPORT,
}

# What `default()` returns.
DEFAULT = Section("A run.", {**_TOP, "task": DEFAULT_TASK, **_STAGES})
# Every field that some config may have.
ALL = Section("A run.", {**_TOP, "task": ANY_TASK, **_STAGES, "pretrain": _PRETRAIN})


def default() -> ConfigDict:
    """A config of the default values, for GSM8K; unlocked, so that a config file can change it."""
    return defaults(DEFAULT)


def training(lr: float, min_lr: float, batch_size: int, epochs: int) -> ConfigDict:
    """A training section: these four, and the defaults of what all of them share."""
    return defaults(training_section("", lr, min_lr, batch_size, epochs))


def fields_of(effect: Effect) -> list[str]:
    """Dotted names of the fields of `default()` that have this `effect`, in its order."""
    return [name for name, field in declared(DEFAULT) if field.effect is effect]


def published(config: ConfigDict) -> dict[str, Any]:
    """Dotted name -> value of the published recipe for the task of `config`.

    What the paper states; where it states nothing, the field's `plain` value if it has one.
    """
    found: dict[str, Any] = {}
    for name, _ in leaves(config):
        field = find(ALL, name)
        if isinstance(field, Field):
            value = field.published(config.task.name)
            value = field.plain if value is None else value
            if value is not None:
                found[name] = value
    return found


def effect_of(name: str) -> Effect:
    """What a change of the field with the dotted `name` does; `RESULT` if nobody declares it."""
    field = find(ALL, name)
    return field.effect if isinstance(field, Field) else Effect.RESULT
