"""What the configurations of the paper share (table 4, sections 4 and 5, appendices A and F).

A config without an argument is what we take for best: the paper's hyperparameters, and our choices
where we know of a better one. Its variant `paper` is the published recipe to the letter. Where the
paper states nothing, `docs/config.md` lists what the variant takes.
"""

from ml_collections import ConfigDict

from glore_jax.config import default, published, task

# What the paper states for models of billions of parameters and thousands of questions: a smaller
# config's `paper` keeps its own.
SIZES = (
    *(f"student.ei.{name}" for name in ("rounds", "k", "questions", "max_new")),
    *("sample.k", "sample.questions", "rollout.questions", "rollout.max_new", "evaluate.k"),
    *("student.sft", "orm.train", "sorm.train", "refiner.train"),
)

# The paper prompts the base with one worked example, since SVAMP has no solutions; its text is not
# stated. This one is ours.
SHOT_QUESTION = (
    "Nora has 14 pencils. She buys 3 packs with 6 pencils each. "
    "How many pencils does Nora have now?"
)
SHOT_SOLUTION = (
    "The packs hold 3*6=<<3*6=18>>18 pencils.\nNora now has 14+18=<<14+18=32>>32 pencils.\n#### 32"
)


def gsm8k(size: str, arg: str = "") -> ConfigDict:
    """GSM8K with LLaMA-2.

    Args:
      size: "7b" or "13b".
      arg: what stands after the colon of `--config`: "paper", "smoke" or nothing.
    """
    c = llama2("gsm8k", size)
    c.student.ei.rounds = 4  # the paper needed 2: two more rounds show that it has ended
    # How many the paper labels is not stated. A batch holds 256: 4 of each of 7,200 questions are
    # some 100 updates at most, and not all have a label that the balance keeps.
    c.rollout.drafts_per_question = 6
    return _variant(c, arg)


def svamp(size: str, arg: str = "") -> ConfigDict:
    """SVAMP with LLaMA-2; arguments as of `gsm8k`."""
    c = llama2("svamp", size)
    # A model with random weights writes no right answer to start from.
    c.task.worked = "equation" if arg == "smoke" else "none"
    c.student.shot.question = SHOT_QUESTION
    c.student.shot.solution = SHOT_SOLUTION
    c.student.ei.rounds = 7  # the paper needed 5
    c.rollout.drafts_per_question = 48  # of some 600 questions: as many updates as on GSM8K
    return _variant(c, arg)


def llama2(task_name: str, size: str) -> ConfigDict:
    """The published hyperparameters for LLaMA-2 `size` on `task_name`.

    Table 4: expert iteration 4 epochs, 2e-5 to 2e-7, batch 128; ORM and SORM 1 epoch, 2e-6 to 2e-7,
    batch 256; refiners 1 epoch, 2e-5 to 2e-7, batch 128; cosine decay everywhere. K = 96 samples at
    temperature 1 (appendix F), K = 8 rollouts of at most 300 tokens (section 4.1), threshold 0.5
    (section 5.2). These are the defaults of `glore_jax/config`; only what differs is set here.
    """
    c = default()
    c.name = f"{task_name}-llama2-{size}"
    c.task = task(task_name)
    c.model.base = f"checkpoints/llama-2-{size}-hf"
    c.report.paper_column = f"{task_name.upper()} {size.upper()}"
    c.refiner.train.row_length = 2048  # a draft and its correction
    c.engine.tensor = 4  # the chips of one TPU VM host hold one copy of the model
    return c


def _variant(c: ConfigDict, arg: str) -> ConfigDict:
    variants = {"": lambda c: c, "smoke": smoke, "paper": paper}
    if arg not in variants:
        raise ValueError(f"takes paper, smoke or nothing, not {arg!r}")
    return variants[arg](c)


def paper(c: ConfigDict, keep: tuple[str, ...] = ()) -> ConfigDict:
    """`c` with every value that the paper states, and the plainest ones where it states none.

    keep: dotted names of fields and sections that stay as they are.
    """
    c.name += "-paper"
    kept = tuple(f"{name}." for name in keep)
    values = published(c)
    c.update_from_flattened_dict(
        {name: value for name, value in values.items() if not f"{name}.".startswith(kept)}
    )
    return c


def smoke(c: ConfigDict) -> ConfigDict:
    """Every stage on a few real rows with a small model.

    Give `--config.model.base=FOLDER`, a tiny LLaMA.
    """
    c.name += "-smoke"
    c.task.limit.train = 12
    c.task.limit.dev = 4
    c.task.limit.test = 6

    c.model.dtype = "float32"
    c.model.remat = "none"
    c.model.vocab_multiple = 32

    c.engine.groups = 4
    c.engine.siblings = 4
    c.engine.round_steps = 8
    c.engine.part_questions = 4
    c.engine.tensor = 1

    for section in (c.student.ei, c.sample, c.rollout, c.refiner, c.evaluate):
        section.max_new = 48
    for section in (c.student.sft, c.orm.train, c.sorm.train, c.refiner.train):
        section.batch_size = 8
        section.epochs = 1

    c.student.ei.rounds = 1
    c.student.ei.k = 2
    c.sample.k = 4
    c.rollout.k = 2
    c.rollout.drafts_per_question = 2
    c.evaluate.k = 4
    c.evaluate.label_k = 2
    # A model with random weights solves nothing.
    c.sample.include_worked = True
    c.rollout.solved_only = False
    return c
