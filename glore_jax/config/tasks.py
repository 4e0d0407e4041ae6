"""The section `task`: what all tasks have, and the fields of each one."""

from ml_collections import ConfigDict

from glore_jax.config.fields import NOT_STATED, Effect, Field, Form, Section, defaults

# The splits that each task has. Kept here as well as by the tasks, since to import a task costs
# seconds and a config is checked first; a test holds the two together.
SPLITS = {
    "chains": ("train", "dev", "test", "test_templates"),
    "gsm_symbolic": ("train", "dev", "test", "test_templates"),
    "gsm8k": ("train", "dev", "test"),
    "svamp": ("train", "dev", "test"),
}
# What is not evaluated, and why: figures are published as those of test questions.
USED_SPLITS = {"train": "from which the models learn", "dev": "on which every choice is made"}
TEST_SPLITS = {
    task: tuple(split for split in splits if split not in USED_SPLITS)
    for task, splits in SPLITS.items()
}


def _first_rows(split: str) -> Field:
    return Field(
        0,
        f"Use only the first so many problems of `{split}`; 0: all.",
        at_least=0,
        required=False,
    )


LIMIT = Section(
    "Fewer problems of a split than there are.",
    {split: _first_rows(split) for split in ("train", "dev", "test", "test_templates")},
    required=False,
)

CHAT = "chat"  # as `task.prompt`: the chat template of the model's tokenizer

ANY: dict[str, Field | Section] = {
    "name": Field(
        "gsm8k",
        "Which task.",
        choices=tuple(SPLITS),
        effect=Effect.IDENTITY,
    ),
    "prompt": Field(
        "Question: {question}\nAnswer:\n",
        "How a question is put to the model; `{question}` stands for its text. `chat`: as the chat "
        "template of the model's tokenizer has a user ask it.",
        paper=NOT_STATED,
    ),
    "limit": LIMIT,
}

COMMON = ANY | {
    "data_dir": Field(
        "",
        "Folder with the published files (gsm8k: train.jsonl and test.jsonl; svamp: SVAMP.json); "
        "empty: TFDS downloads them. For chains: where the drawn problems are kept, if anywhere.",
    ),
}

_TFDS_DIR = Field(
    "",
    "Where TFDS keeps its data; empty: `~/tensorflow_datasets`.",
    effect=Effect.SPEED,
    required=False,
)


def _held_out(count: int) -> Field:
    return Field(
        count,
        "How many training questions are held out as `dev`, on which the student is measured.",
        at_least=1,
        paper=NOT_STATED,
        required=False,
    )


def difficulty(meaning: str) -> Section:
    """Knobs of the generator of chains, with the values of `configs/tiny.py`."""
    return Section(
        meaning,
        {
            "steps": Field(
                (5, 5),
                "Computing steps of a solution, the answer line not counted.",
                at_least=1,
                form=Form.PAIR,
            ),
            "operand": Field((3, 99), "Given amounts and differences.", at_least=2, form=Form.PAIR),
            "factor": Field((2, 9), "Factors and divisors.", at_least=2, form=Form.PAIR),
            "max_value": Field(
                999, "Largest amount; no less than the largest operand.", at_least=1
            ),
            "distractors": Field(
                0.7, "Chance of each of two amounts that are not needed.", at_least=0, at_most=1
            ),
            "shuffle": Field(
                0.0, "Chance that the sentences come in random order.", at_least=0, at_most=1
            ),
            "branch": Field(
                0.9,
                "Chance that an amount follows from any earlier one, not from the latest.",
                at_least=0,
                at_most=1,
            ),
        },
    )


_DIFFICULTY = difficulty("How hard the problems are.")


def _drawn(train: int, dev: int, test: int, test_templates: int) -> dict[str, Field | Section]:
    """Fields of a task whose problems are drawn; arguments: how many, by default."""
    return {
        "seed": Field(1, "Seed of the drawn problems."),
        "size": Section(
            "How many problems of each split are drawn.",
            {
                "train": Field(train, "Questions to learn from.", at_least=1),
                "dev": Field(dev, "Questions on which the student is measured.", at_least=1),
                "test": Field(test, "Test questions.", at_least=0),
                "test_templates": Field(
                    test_templates,
                    "Test questions of templates that training never shows.",
                    at_least=0,
                ),
            },
        ),
    }


_CHAINS = Section(
    "The embedded task: drawn grade-school chains, the truth of every step known.",
    {**COMMON, **_drawn(1000, 200, 500, 100), **_DIFFICULTY.children},
)

_GSM_SYMBOLIC = Section(
    "GSM-Symbolic: questions drawn from templates of GSM8K's stories, with worked solutions "
    "(`pip install 'glore-jax[gsm_symbolic]'`).",
    {**ANY, **_drawn(2000, 200, 500, 150)},
)

_GSM8K = Section(
    "GSM8K: 7,473 training and 1,319 test problems with worked solutions.",
    {**COMMON, "dev_size": _held_out(256), "tfds_dir": _TFDS_DIR},
)

_SVAMP = Section(
    "SVAMP: 1,000 short word problems without worked solutions.",
    {
        **COMMON,
        "dev_size": _held_out(100),
        "split": Field(
            "stories",
            "What is divided into splits: stories, so that none has questions in two splits, or "
            "rows, so that nearly every test question is a variation of a training one; published: "
            "`data_dir` has train.json and test.json, divided by somebody else.",
            choices=("stories", "rows", "published"),
            paper=NOT_STATED,
            plain="rows",
            required=False,
        ),
        "url": Field(
            "", "What TFDS downloads; empty: the authors' copy of SVAMP.json.", required=False
        ),
        "tfds_dir": _TFDS_DIR,
        "worked": Field(
            "none",
            "Worked solutions: none, as published, or made of the published equations.",
            choices=("none", "equation", ""),
            required=False,
        ),
    },
)

TASKS = {"chains": _CHAINS, "gsm_symbolic": _GSM_SYMBOLIC, "gsm8k": _GSM8K, "svamp": _SVAMP}

# `task` as `default()` has it.
DEFAULT_TASK = Section(
    "Where the problems come from and how a question is put.",
    {**COMMON, "dev_size": TASKS["gsm8k"].children["dev_size"]},
)
# Fields of any task: one that the chosen task does not read is no mistake.
ANY_TASK = Section(
    DEFAULT_TASK.meaning,
    {name: child for task in TASKS.values() for name, child in task.children.items()},
)


def task(name: str) -> ConfigDict:
    """The section `task` for the task `name` (one of `TASKS`), every field with its default."""
    config = defaults(TASKS[name])
    config.name = name
    return config
