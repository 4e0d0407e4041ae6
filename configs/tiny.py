"""The embedded default: grade-school chains and the packaged tiny base, on any machine.

    python -m glore_jax.main --config=configs/tiny.py --workdir=runs/tiny

A quarter of an hour on two cores. Three variants:

    python -m glore_jax.main --config=configs/tiny.py:smoke --workdir=runs/smoke
    python -m glore_jax.main --config=configs/tiny.py:base --workdir=runs/base
    python -m glore_jax.main --config=configs/tiny.py:paper --workdir=runs/paper

The first runs every stage, a few minutes, most of them for compiling; the second makes the packaged
base again (hours; figures in glore_jax/assets/tiny_base/README.md); the third follows the published
recipe to the letter, but for its sizes (`presets.SIZES`).

The learning rates are those of a model of 1.2 million parameters, not the paper's. Of what the
paper leaves open, some is chosen for so small a model, too: both reward models count the
likelihood of a solution (`orm.likelihood`, `sorm.likelihood`), the student's greedy drafts are
among the samples (`sample.include_greedy`), the token at which a correction leaves its draft
weighs more (`refiner.turn`), and a local refinement keeps the steps before its mark
(`evaluate.keep_prefix`). The student is shown the worked solutions of 400 of the training
questions (`student.worked`): on the others it goes wrong as it will on new ones.
"""

from ml_collections import ConfigDict

from glore_jax import presets
from glore_jax.config import default, task, training


def get_config(arg: str = "") -> ConfigDict:
    """`arg`: what stands after the colon of `--config`: "smoke", "base", "paper" or nothing."""
    if arg not in ("", "smoke", "base", "paper"):
        raise ValueError(f"configs/tiny.py takes smoke, base or paper, not {arg!r}")
    c = default()
    c.name = "tiny"
    set_task(c)
    set_machine(c)
    set_stages(c)
    if arg == "smoke":
        return smoke(c)
    if arg == "base":
        return base(c)
    if arg == "paper":
        return presets.paper(c, keep=presets.SIZES)
    return c


def set_task(c: ConfigDict) -> None:
    """Problems of five steps, with amounts that are not needed."""
    c.task = task("chains")
    c.task.prompt = "{question}\n"
    c.task.seed = 1
    c.task.size.train = 1000
    c.task.size.dev = 200
    c.task.size.test = 500
    c.task.size.test_templates = 100
    c.task.steps = (5, 5)
    c.task.operand = (3, 99)
    c.task.factor = (2, 9)
    c.task.max_value = 999
    c.task.distractors = 0.7
    c.task.shuffle = 0.0
    c.task.branch = 0.9


def set_machine(c: ConfigDict) -> None:
    """The packaged base, and what suits it on the cores of a CPU."""
    c.model.base = "tiny"
    c.model.dtype = "float32"
    c.model.remat = "none"
    c.model.unroll_layers = True
    c.model.vocab_multiple = 32
    c.engine.groups = 16
    c.engine.siblings = 8
    c.engine.round_steps = 8
    c.engine.part_questions = 100


def set_stages(c: ConfigDict) -> None:
    """What each stage trains on and how much it draws."""
    for section in (c.student.ei, c.sample, c.rollout, c.refiner, c.evaluate):
        section.max_new = 240

    c.student.sft = tune(lr=4e-4, row_length=304)
    c.student.worked = 400
    c.student.ei.rounds = 1
    c.student.ei.k = 4
    c.student.ei.per_question = 1
    c.student.ei.questions = 200

    c.sample.k = 3
    c.sample.questions = 1000
    c.sample.include_greedy = True
    c.rollout.questions = 450
    c.rollout.drafts_per_question = 2

    c.orm.train = tune(lr=6e-4, row_length=320)
    c.orm.per_question = 4
    c.orm.balanced = False
    c.sorm.train = tune(lr=1.5e-4, row_length=320)
    c.orm.train.head_step = 1.5
    c.sorm.train.head_step = 0.4
    for reward in (c.orm, c.sorm):
        reward.likelihood = True

    c.refiner.train = tune(lr=2e-4, row_length=576)
    c.refiner.per_question = 6
    c.refiner.turn = 10.0

    c.evaluate.k = 4
    c.evaluate.splits = ("test", "test_templates")
    c.evaluate.keep_prefix = True


def tune(lr: float, row_length: int) -> ConfigDict:
    """A training section: one epoch with Muon."""
    section = training(lr, min_lr=lr / 20, batch_size=16, epochs=1)
    section.row_length = row_length
    section.save_seconds = 60.0
    section.optimizer = "muon"
    section.muon_scale = 6.0
    section.microbatches = 8  # two rows at a time stay in a core's cache
    return section


def smoke(c: ConfigDict) -> ConfigDict:
    """Every stage on a few questions."""
    c.name = "tiny-smoke"
    c.task.size.train = 24
    c.task.size.dev = 8
    c.task.size.test = 12
    c.task.size.test_templates = 8
    c.task.steps = (3, 3)
    c.model.unroll_layers = False
    c.engine.groups = 4
    c.engine.siblings = 4
    c.engine.part_questions = 8
    for section in (c.student.ei, c.sample, c.rollout, c.refiner, c.evaluate):
        section.max_new = 144
    for section in (c.student.ei, c.sample, c.rollout, c.evaluate):
        section.k = 4
    c.evaluate.label_k = 4
    for section in (c.student.sft, c.orm.train, c.sorm.train, c.refiner.train):
        section.batch_size = 8
        section.row_length = 512
        section.epochs = 1
        section.microbatches = 1
    return c


# The recipe of the packaged base (stage `pretrain`).


def base(c: ConfigDict) -> ConfigDict:
    """One reading of a corpus, then two reviews of the model's own drafts."""
    c.name = "tiny-base"
    c.pretrain = ConfigDict(
        dict(
            seed=7,
            reviews=("review", "again"),
            read=first_reading(),
            review=review(
                lr=1e-3,
                steps=5000,
                seed=8,
                drafts=dict(problems=8000, k=2, temperature=0.8, seed=7),
                facts=0.05,
                solved=0.35,
                long=0.4,
            ),
            # What is greedily wrong is what a refiner will be shown: more problems rather than
            # more drafts of each.
            again=review(
                lr=1e-3,
                steps=7000,
                seed=9,
                drafts=dict(problems=12000, k=1, temperature=1.0, seed=9),
                facts=0.15,
                solved=0.4,
                long=0.45,
            ),
            model=dict(
                hidden_size=128,
                intermediate_size=352,
                num_layers=6,
                num_heads=4,
                num_kv_heads=2,
                head_dim=32,
                tie_embeddings=True,
                max_positions=1024,
            ),
            difficulty=dict(
                steps=(1, 6),
                operand=(3, 99),
                factor=(2, 9),
                max_value=999,
                distractors=0.4,
                shuffle=0.25,
                branch=0.5,
            ),
        )
    )
    return c


def first_reading() -> ConfigDict:
    """Arithmetic first, then the binding of names to amounts on short problems, then problems of
    the task's length, wrong and corrected work among them."""
    p = reading(lr=2e-3, steps=15000, seed=7)
    p.batches = ConfigDict(
        dict(
            arithmetic=batch(
                15, 176, (1, 2), facts=0.35, checked=0.15, told=0.1, solved=0.3, slipped=0.1
            ),
            short=batch(
                15, 176, (1, 3), facts=0.08, checked=0.12, told=0.2, solved=0.35, slipped=0.25
            ),
            full=batch(
                9, 272, (2, 5), facts=0.04, checked=0.08, told=0.1, solved=0.38, slipped=0.4
            ),
            long=batch(5, 480, (2, 5), corrected=1.0),
        )
    )
    p.phases = (
        (0.06, (("arithmetic", 1.0),), "early"),
        (0.42, (("short", 1.0),), "early"),
        (1.0, (("full", 0.75), ("long", 0.25)), "late"),
    )
    return p


def review(
    lr: float, steps: int, seed: int, drafts: dict, facts: float, solved: float, long: float
) -> ConfigDict:
    """One reading of the corpus and of own drafts.

    Args:
      drafts: what is drafted: problems, k, temperature, seed.
      facts, solved: shares of bare arithmetic and of solved problems among the short documents.
      long: share of the batches that hold drafts with their correction.
    """
    p = reading(lr, steps, seed)
    p.drafts = ConfigDict(dict(steps=(3, 5), max_new=224, **drafts))
    # What lower layers know, higher ones can attend to: that a token was not the one to be
    # expected, say.
    p.depth = 4
    p.share = 0.5
    reviewed = 0.95 - facts - solved
    p.batches = ConfigDict(
        dict(
            full=batch(9, 272, (3, 5), facts=facts, told=0.05, solved=solved, reviewed=reviewed),
            long=batch(5, 480, (3, 5), redone=1.0),
        )
    )
    p.phases = ((1.0, (("full", 1 - long), ("long", long)), "late"),)
    p.wrong = ConfigDict(dict(reviewed=0.6, redone=0.85))
    return p


def reading(lr: float, steps: int, seed: int) -> ConfigDict:
    """What all readings share."""
    p = training(lr, min_lr=lr / 50, batch_size=1, epochs=1)
    del p.batch_size, p.epochs, p.row_length  # the batches have their own shapes
    p.optimizer = "muon"
    p.muon_scale = 8.0
    p.warmup_share = 100 / steps
    p.weight_decay = 0.02
    p.save_seconds = 300.0
    p.steps = steps
    p.seed = seed
    p.export_every = 1500
    p.depth = 0  # see `glore_jax.training.losses.joint_loss`
    p.share = 0.0
    # Judging waits until there is something to compare a text with: predictions of one's own.
    p.judging = ConfigDict(
        dict(
            early=dict(weight=0.3, slip=1.0, after=1.0, newline=1.0),
            late=dict(weight=1.0, slip=20.0, after=0.5, newline=4.0),
        )
    )
    return p


def batch(rows: int, row_length: int, steps: tuple[int, int], **kinds: float) -> dict:
    """A kind of batch: `rows` of `row_length` tokens, problems of so many `steps`, and the share of
    each kind of document, in the order in which they are drawn."""
    return dict(rows=rows, row_length=row_length, steps=steps, kinds=tuple(kinds.items()))
