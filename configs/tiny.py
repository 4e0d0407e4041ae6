"""The embedded default: grade-school chains and the packaged tiny base, on any machine.

    python -m glore_jax.main --config=configs/tiny.py --workdir=runs/tiny
    python -m glore_jax.main --config=configs/tiny.py:smoke --workdir=runs/smoke       # every stage, under a minute of compute
    python -m glore_jax.main --config=configs/tiny.py:base --workdir=runs/base         # make the packaged base again (hours)

The learning rates are those of a model of 1.2 million parameters, not the paper's. Of what the paper leaves open, some is chosen for so
small a model, too: both reward models count the likelihood of a solution (`orm.likelihood`, `sorm.likelihood`), the student's greedy
drafts are among the samples (`sample.include_greedy`), the token at which a correction leaves its draft weighs more (`refiner.turn`),
and a local refinement keeps the steps before its mark (`evaluate.keep_prefix`). The student is shown the worked solutions of 400 of
the training questions (`student.worked`): on the others it goes wrong as it will on new ones.
"""

from ml_collections import ConfigDict

from glore_jax.config import default, training


def get_config(arg: str = "") -> ConfigDict:
    c = default()
    c.name = "tiny"
    c.task = ConfigDict(
        dict(
            name="chains",
            data_dir="",
            prompt="{question}\n",
            seed=1,
            size=dict(train=1000, dev=200, test=500, test_templates=100),
            limit=dict(train=0, dev=0, test=0, test_templates=0),
            steps=(5, 5),
            operand=(3, 99),
            factor=(2, 9),
            max_value=999,
            distractors=0.7,
            shuffle=0.0,
            branch=0.9,
        )
    )
    c.model.base, c.model.dtype, c.model.remat, c.model.unroll_layers, c.model.vocab_multiple = (
        "tiny",
        "float32",
        "none",
        True,
        32,
    )
    c.engine.groups, c.engine.siblings, c.engine.round_steps, c.engine.part_questions = (
        16,
        8,
        8,
        100,
    )
    for section in (c.student.ei, c.sample, c.rollout, c.refiner, c.evaluate):
        section.max_new = 240

    c.student.sft, c.student.worked = tune(lr=4e-4, batch_size=16, epochs=1, row_length=304), 400
    c.student.ei.rounds, c.student.ei.k, c.student.ei.per_question, c.student.ei.questions = (
        1,
        4,
        1,
        200,
    )
    c.sample.k, c.sample.questions, c.sample.include_greedy = 3, 1000, True
    c.rollout.questions, c.rollout.drafts_per_question = 450, 2
    c.orm.train, c.orm.per_question = tune(lr=6e-4, batch_size=16, epochs=1, row_length=320), 4
    c.sorm.train = tune(lr=1.5e-4, batch_size=16, epochs=1, row_length=320)
    for reward in (c.orm, c.sorm):
        reward.likelihood, reward.train.head_scale = True, 20.0
    c.orm.balanced = False
    c.refiner.train, c.refiner.per_question = (
        tune(lr=2e-4, batch_size=16, epochs=1, row_length=576),
        6,
    )
    c.refiner.turn = 10.0
    c.evaluate.k, c.evaluate.splits = 4, ("test", "test_templates")
    c.evaluate.mark, c.evaluate.keep_prefix = 0.8, True
    if arg == "smoke":
        return smoke(c)
    if arg == "base":
        return base(c)
    if arg:
        raise ValueError(f"configs/tiny.py takes smoke or base, not {arg!r}")
    return c


def tune(lr: float, batch_size: int, epochs: int, row_length: int) -> ConfigDict:
    section = training(lr, lr / 20, batch_size, epochs)
    section.row_length, section.save_seconds, section.optimizer, section.muon_scale = (
        row_length,
        60.0,
        "muon",
        6.0,
    )
    section.microbatches = 8  # two rows at a time stay in a core's cache
    return section


def reading(lr: float, steps: int, seed: int) -> ConfigDict:
    """One reading of the corpus."""
    p = training(lr, lr / 50, 1, 1)
    del p.batch_size, p.epochs, p.row_length  # the batches have their own shapes
    p.optimizer, p.muon_scale, p.warmup, p.weight_decay, p.save_seconds = (
        "muon",
        8.0,
        100,
        0.02,
        300.0,
    )
    p.steps, p.seed, p.export_every = steps, seed, 1500
    p.depth, p.share = 0, 0.0  # see `losses.joint_loss`
    # Judging waits until there is something to compare a text with: predictions of one's own.
    p.judging = ConfigDict(
        dict(
            early=dict(weight=0.3, slip=1.0, after=1.0, newline=1.0),
            late=dict(weight=1.0, slip=20.0, after=0.5, newline=4.0),
        )
    )
    return p


def review(
    lr: float, steps: int, seed: int, drafts: dict, facts: float, solved: float, long: float
) -> ConfigDict:
    """One reading of the corpus and of own drafts. `facts`, `solved`: shares of bare arithmetic and of solved problems among the short
    documents; `long`: share of the batches that hold drafts with their correction."""
    p = reading(lr, steps, seed)
    p.drafts = ConfigDict(dict(steps=(3, 5), max_new=224, **drafts))
    # What lower layers know, higher ones can attend to: that a token was not the one to be expected, say.
    p.depth, p.share = 4, 0.5
    kinds = (
        ("facts", facts),
        ("told", 0.05),
        ("solved", solved),
        ("reviewed", 0.95 - facts - solved),
    )
    p.batches = ConfigDict(
        dict(
            full=dict(rows=9, row_length=272, steps=(3, 5), kinds=kinds),
            long=dict(rows=5, row_length=480, steps=(3, 5), kinds=(("redone", 1.0),)),
        )
    )
    p.phases = ((1.0, (("full", 1 - long), ("long", long)), "late"),)
    p.wrong = ConfigDict(dict(reviewed=0.6, redone=0.85))
    return p


def smoke(c: ConfigDict) -> ConfigDict:
    """Every stage on a few questions."""
    c.name = "tiny-smoke"
    c.task.size = ConfigDict(dict(train=24, dev=8, test=12, test_templates=8))
    c.task.steps = (3, 3)
    c.model.unroll_layers = False
    c.engine.groups, c.engine.siblings, c.engine.part_questions = 4, 4, 8
    for section in (c.student.ei, c.sample, c.rollout, c.refiner, c.evaluate):
        section.max_new = 144
    c.rollout.k, c.evaluate.label_k, c.sample.k, c.student.ei.k, c.evaluate.k = 4, 4, 4, 4, 4
    for section in (c.student.sft, c.orm.train, c.sorm.train, c.refiner.train):
        section.batch_size, section.row_length, section.epochs, section.microbatches = 8, 512, 1, 1
    return c


def base(c: ConfigDict) -> ConfigDict:
    """The recipe of the packaged base. Figures: glore_jax/assets/tiny_base/README.md."""
    c.name = "tiny-base"
    p = ConfigDict(dict(seed=7, read=reading(2e-3, 15000, 7), reviews=("review", "again")))
    # Arithmetic first, then the binding of names to amounts on short problems, then problems of the task's length, wrong and
    # corrected work among them.
    p.read.batches = ConfigDict(
        dict(
            arithmetic=dict(
                rows=15,
                row_length=176,
                steps=(1, 2),
                kinds=(
                    ("facts", 0.35),
                    ("checked", 0.15),
                    ("told", 0.1),
                    ("solved", 0.3),
                    ("slipped", 0.1),
                ),
            ),
            short=dict(
                rows=15,
                row_length=176,
                steps=(1, 3),
                kinds=(
                    ("facts", 0.08),
                    ("checked", 0.12),
                    ("told", 0.2),
                    ("solved", 0.35),
                    ("slipped", 0.25),
                ),
            ),
            full=dict(
                rows=9,
                row_length=272,
                steps=(2, 5),
                kinds=(
                    ("facts", 0.04),
                    ("checked", 0.08),
                    ("told", 0.1),
                    ("solved", 0.38),
                    ("slipped", 0.4),
                ),
            ),
            long=dict(rows=5, row_length=480, steps=(2, 5), kinds=(("corrected", 1.0),)),
        )
    )
    p.read.phases = (
        (0.06, (("arithmetic", 1.0),), "early"),
        (0.42, (("short", 1.0),), "early"),
        (1.0, (("full", 0.75), ("long", 0.25)), "late"),
    )
    p.review = review(
        1e-3,
        5000,
        8,
        dict(problems=8000, k=2, temperature=0.8, seed=7),
        facts=0.05,
        solved=0.35,
        long=0.4,
    )
    # What is greedily wrong is what a refiner will be shown: more problems rather than more drafts of each.
    p.again = review(
        1e-3,
        7000,
        9,
        dict(problems=12000, k=1, temperature=1.0, seed=9),
        facts=0.15,
        solved=0.4,
        long=0.45,
    )
    p.model = ConfigDict(
        dict(
            hidden_size=128,
            intermediate_size=352,
            num_layers=6,
            num_heads=4,
            num_kv_heads=2,
            head_dim=32,
            tie_embeddings=True,
            max_positions=1024,
        )
    )
    p.difficulty = ConfigDict(
        dict(
            steps=(1, 6),
            operand=(3, 99),
            factor=(2, 9),
            max_value=999,
            distractors=0.4,
            shuffle=0.25,
            branch=0.5,
        )
    )
    c.pretrain = p
    return c
