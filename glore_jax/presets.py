"""What the configurations of the paper share (table 4 and sections 4, 5, appendices A and F)."""

from ml_collections import ConfigDict

from glore_jax.config import default


def llama2(task: str, size: str) -> ConfigDict:
    """The published hyperparameters for LLaMA-2 7B or 13B on `gsm8k` or `svamp`.

    Table 4: expert iteration 4 epochs, 2e-5 to 2e-7, batch 128; ORM and SORM 1 epoch, 2e-6 to 2e-7, batch 256; refiners 1 epoch,
    2e-5 to 2e-7, batch 128; cosine decay everywhere. K = 96 samples at temperature 1 (appendix F), K = 8 rollouts of at most 300
    tokens (section 4.1), threshold 0.5 (section 5.2). These are the values of `glore_jax/config.py`; only what differs is set here.
    """
    c = default()
    c.name = f"{task}-llama2-{size}"
    c.task.name = task
    c.model.base = f"checkpoints/llama-2-{size}-hf"
    c.report.paper_column = f"{task.upper()} {size.upper()}"
    c.refiner.train.row_length = 2048  # a draft and its correction
    c.engine.tensor = 4  # the chips of one TPU VM host hold one copy of the model
    return c


def gsm8k(size: str, arg: str = "") -> ConfigDict:
    """GSM8K with LLaMA-2 `size`; `arg` is what stands after the colon of `--config`: "smoke" or nothing."""
    c = llama2("gsm8k", size)
    c.task.tfds_dir = ""
    c.student.ei.rounds = 3  # the paper needed 2 rounds on GSM8K
    return _variant(c, arg)


def svamp(size: str, arg: str = "") -> ConfigDict:
    """SVAMP with LLaMA-2 `size`; `arg` as in `gsm8k`."""
    c = llama2("svamp", size)
    c.task.dev_size = 50
    c.task.url = c.task.tfds_dir = ""
    c.task.worked = "equation" if arg else "none"
    # The paper prompts the base with one worked example, since SVAMP has no solutions; its text is not stated. This one is ours.
    c.student.shot.question = "Nora has 14 pencils. She buys 3 packs with 6 pencils each. How many pencils does Nora have now?"
    c.student.shot.solution = "The packs hold 3*6=<<3*6=18>>18 pencils.\nNora now has 14+18=<<14+18=32>>32 pencils.\n#### 32"
    c.student.ei.rounds = 6  # the paper needed 5 rounds on SVAMP
    return _variant(c, arg)


def _variant(c: ConfigDict, arg: str) -> ConfigDict:
    if arg not in ("", "smoke"):
        raise ValueError(f"takes smoke or nothing, not {arg!r}")
    return smoke(c) if arg else c


def smoke(c: ConfigDict) -> ConfigDict:
    """Every stage on a few real rows with a small model: give `--config.model.base=FOLDER`, a tiny LLaMA."""
    c.name += "-smoke"
    c.task.limit = ConfigDict(dict(train=12, dev=4, test=6, test_templates=0))
    c.model.dtype, c.model.remat, c.model.vocab_multiple = "float32", "none", 32
    (
        c.engine.groups,
        c.engine.siblings,
        c.engine.round_steps,
        c.engine.part_questions,
        c.engine.tensor,
    ) = (
        4,
        4,
        8,
        4,
        1,
    )
    for section in (c.student.ei, c.sample, c.rollout, c.refiner, c.evaluate):
        section.max_new = 48
    (
        c.student.ei.rounds,
        c.student.ei.k,
        c.sample.k,
        c.rollout.k,
        c.evaluate.k,
        c.evaluate.label_k,
    ) = (
        1,
        2,
        4,
        2,
        4,
        2,
    )
    c.rollout.drafts_per_question = 2
    c.sample.include_worked, c.rollout.solved_only = (
        True,
        False,
    )  # a model with random weights solves nothing
    for section in (c.student.sft, c.orm.train, c.sorm.train, c.refiner.train):
        section.batch_size, section.epochs, section.warmup = 8, 1, 1
    return c
