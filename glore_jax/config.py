"""Every field of a run's configuration with its default: the paper's value where the paper states one (table 4, sections 3 to 5).

A file in `configs/` starts from `default()` and changes what it needs; the command line overrides single fields
(`--config.rollout.k=16`). The tree is locked, so that a misspelt field is an error.
"""

from ml_collections import ConfigDict, config_dict

from glore_jax.errors import UserError


def training(lr: float, min_lr: float, batch_size: int, epochs: int) -> ConfigDict:
    """A training section. `batch_size` counts examples; `row_length` is the packed row in tokens."""
    return ConfigDict(
        dict(
            lr=lr,
            min_lr=min_lr,
            batch_size=batch_size,
            epochs=epochs,
            row_length=1024,
            microbatches=1,  # parts of a batch that are taken one after the other, for want of memory
            optimizer="adamw",  # or "muon"; [not stated]
            muon_scale=8.0,
            head_scale=1.0,  # learning rate of a value head / lr; [not stated]
            warmup=10,  # optimizer steps; [not stated]
            weight_decay=0.0,
            clip=1.0,
            save_seconds=600.0,
            profile_steps=config_dict.placeholder(
                tuple
            ),  # (first, last): trace these steps for TensorBoard
        )
    )


def default() -> ConfigDict:
    c = ConfigDict()
    c.name = "unnamed"
    c.seed = 0

    c.task = ConfigDict(
        dict(name="gsm8k", data_dir="", prompt="Question: {question}\nAnswer:\n", dev_size=256)
    )
    c.task.limit = ConfigDict(dict(train=0, dev=0, test=0, test_templates=0))  # 0 = all rows

    c.model = ConfigDict(
        dict(
            base="",  # a Hugging Face folder; "tiny" = the packaged base
            dtype="bfloat16",  # compute; parameters are trained in float32
            remat="full",
            unroll_layers=False,
            kernel="auto",  # attention of training, scoring and prefill: "xla", "splash" (TPUs), "cudnn" (NVIDIA); auto: what can run
            vocab_multiple=128,  # the embedding is padded to it after [BAD] is added, so that it can be sharded
        )
    )
    c.mesh = ConfigDict(dict(data=1, fsdp=-1, tensor=1))

    # The rollout engine. `groups` x `siblings` forks decode at a time, of `groups` x `shelves` trunks that are held.
    c.engine = ConfigDict(
        dict(
            groups=16,
            siblings=8,
            shelves=2,
            cache_bytes=0,  # keys and values a device may hold; 0 = room for the numbers above, else these are derived from it
            round_steps=16,
            tensor=1,
            lanes=0,  # engines side by side on one CPU device; 0 = one a core
            part_questions=256,
        )
    )

    c.student = ConfigDict(
        dict(
            worked=0,  # training questions whose worked solutions the student sees, of all others it gets the answer alone; 0: all
            sft=training(2e-5, 2e-7, 128, 4),
            shot=dict(
                question="", solution=""
            ),  # for tasks without worked solutions: the example of the one-shot prompt
            ei=dict(
                rounds=5,
                k=96,
                temperature=1.0,
                top_k=0,
                top_p=1.0,
                max_new=300,
                per_question=0,
                questions=0,
                patience=1,
            ),
        )
    )
    # What the reward models and the refiner learn from: samples of the student on training questions.
    c.sample = ConfigDict(
        dict(
            k=96,
            temperature=1.0,
            top_k=0,
            top_p=1.0,
            max_new=300,
            questions=0,
            include_greedy=False,  # so does the greedy draft, and comes first where few drafts are taken; [not stated]
            include_worked=False,  # the task's own solutions count as samples too
        )
    )
    c.rollout = ConfigDict(
        dict(
            k=8,
            temperature=1.0,
            top_k=0,
            top_p=1.0,
            max_new=300,
            schedule="backward",  # equal labels to "full" for fewer rollouts; "bisect" is approximate
            consistency=True,  # a verifying trace must use the prefix's last result
            drafts_per_question=4,  # [not stated]
            solved_only=True,  # only questions that some sample solves: where none does, a failure says little about a step; [not stated]
            questions=0,
        )
    )
    # likelihood: the value counts how likely the model itself finds the solution (models/reward.py); [not stated]
    c.orm = ConfigDict(
        dict(
            train=training(2e-6, 2e-7, 256, 1),
            balanced=True,
            per_question=0,
            repeats=True,
            likelihood=False,
        )
    )
    c.sorm = ConfigDict(dict(train=training(2e-6, 2e-7, 256, 1), balance=True, likelihood=False))
    c.refiner = ConfigDict(
        dict(
            train=training(2e-5, 2e-7, 128, 1),
            attention="causal",  # or "prefix": bidirectional over the source
            per_question=8,  # pairs of each kind
            turn=1.0,  # weight of the token at which a target leaves its draft; [not stated]
            failed_continuations=False,  # local drafts also from failed rollouts (paper figure 1)
            max_new=300,
        )
    )
    c.evaluate = ConfigDict(
        dict(
            threshold=0.5,  # a step or a solution whose score is no higher is called wrong
            mark=0.5,  # [BAD] stands before the first step whose score is no higher; the paper has one threshold for both
            keep_prefix=False,  # a local refinement begins with the steps before [BAD] instead of writing them again; [not stated]
            k=96,  # samples per test question for maj@k, pass@k, rerank@k and best-of-3
            temperature=1.0,
            max_new=300,
            label_k=8,
            splits=("test",),
            sample_splits=("test",),
        )
    )
    c.report = ConfigDict(dict(examples=60, paper_column=""))
    return c


# Bounds and choices by the last name of a field, wherever it stands.
_AT_LEAST = {
    **dict.fromkeys(
        (
            "k",
            "label_k",
            "epochs",
            "batch_size",
            "row_length",
            "max_new",
            "steps",
            "rows",
            "save_seconds",
            "microbatches",
        ),
        1,
    ),
    **dict.fromkeys(
        (
            "vocab_multiple",
            "groups",
            "siblings",
            "shelves",
            "round_steps",
            "part_questions",
            "patience",
        ),
        1,
    ),
    **dict.fromkeys(
        (
            "rounds",
            "worked",
            "questions",
            "per_question",
            "drafts_per_question",
            "warmup",
            "top_k",
            "lanes",
        ),
        0,
    ),
    **dict.fromkeys(("min_lr", "weight_decay", "dev_size", "examples", "cache_bytes"), 0),
}
_ABOVE_ZERO = ("temperature", "lr", "clip", "muon_scale", "head_scale", "top_p", "turn")
_SHARES = ("threshold", "mark", "top_p", "distractors", "shuffle", "branch", "share")
_CHOICES = {
    "schedule": ("backward", "full", "bisect"),
    "attention": ("causal", "prefix"),
    "optimizer": ("adamw", "muon"),
    "remat": ("none", "full", "dots"),
    "kernel": ("auto", "xla", "splash", "cudnn"),
    "dtype": ("bfloat16", "float32", "float16"),
}


def validate(config: ConfigDict) -> None:
    """UserError naming the first field that is out of bounds or not one of its choices."""
    for field, value in _fields(config):
        name = field.rpartition(".")[2]
        if name in _CHOICES and value not in _CHOICES[name]:
            raise UserError(
                f"config.{field} is {value!r}: choose one of {', '.join(_CHOICES[name])}"
            )
        for number in value if isinstance(value, (tuple, list)) else (value,):
            if isinstance(number, bool) or not isinstance(number, (int, float)):
                continue
            # Written so that NaN fails too.
            if name in _AT_LEAST and not number >= _AT_LEAST[name]:
                raise UserError(f"config.{field} is {value}: must be at least {_AT_LEAST[name]}")
            if name in _ABOVE_ZERO and not number > 0:
                raise UserError(f"config.{field} is {value}: must be greater than 0")
            if name in _SHARES and not 0 <= number <= 1:
                raise UserError(f"config.{field} is {value}: must be from 0 to 1")
    if config.evaluate.keep_prefix and config.refiner.attention == "prefix":
        raise UserError(
            "config.evaluate.keep_prefix is True, but with refiner.attention=prefix the draft would see the steps that are kept: "
            "take causal attention, or keep_prefix=False"
        )


def _fields(config: ConfigDict, prefix: str = ""):
    """(dotted name, value) of every leaf."""
    for key, value in config.items():
        if isinstance(value, ConfigDict):
            yield from _fields(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
