"""How much work a config asks for."""

import pytest
from ml_collections import ConfigDict

from glore_jax import presets, storage
from glore_jax.pipeline import workload
from glore_jax.pipeline.workload import SCORE, TRAIN, WRITE, Lengths

STAGES = ("student", "sample", "rollout", "orm", "sorm", "refiner", "evaluate", "report")
COUNTS = {"train": 1000, "dev": 100, "test": 200}
LENGTHS = Lengths(question=50, solution=100, steps=5, known=True)


@pytest.fixture
def config():
    return presets.gsm8k("7b")


def work_of(config, stage, lengths=LENGTHS, counts=COUNTS):
    return {w.what: w for w in workload.workload(config, [stage], counts, lengths)}


def test_every_stage_that_uses_the_devices_has_work(config):
    works = workload.workload(config, STAGES, COUNTS, LENGTHS)
    assert list(dict.fromkeys(w.stage for w in works)) == list(STAGES[:-1])
    assert all(w.texts > 0 and w.tokens > 0 for w in works)
    assert all(bool(w.section) == (w.kind == TRAIN) for w in works)


def test_samples_are_questions_times_k(config):
    (samples,) = work_of(config, "sample").values()
    assert (samples.kind, samples.texts, samples.tokens) == (WRITE, 96_000, 9_600_000)
    assert samples.trunk_tokens == 50_000  # a trunk is read once, however many forks it has
    config.sample.questions = 10
    config.sample.include_greedy = True
    assert [w.texts for w in work_of(config, "sample").values()] == [960, 10]


def test_expert_iteration_learns_from_more_each_round(config):
    config.student.ei.rounds = 2
    config.student.ei.per_question = 4
    works = work_of(config, "student")
    assert [works[f"round {i}"].texts for i in range(3)] == [1000, 3000, 5000]
    assert works["round 0"].tokens == 4 * 1000 * 150  # epochs
    assert works["dev 2"].texts == 100
    without = Lengths(50, 100, 5, known=False)
    assert list(work_of(config, "student", without))[0] == "one-shot samples"


def test_labels_cost_what_their_schedule_tries(config):
    (full,) = (config.rollout.update(schedule="full"), *work_of(config, "rollout").values())[1:]
    assert full.texts == 1000 * 6 * 4 * 8  # drafts, prefixes, rollouts
    config.rollout.schedule = "backward"
    (backward,) = work_of(config, "rollout").values()
    assert backward.texts == full.texts / 4
    assert backward.tokens == backward.texts * 50  # half a solution


def test_reward_models_learn_from_samples_and_drafts(config):
    held = config.orm.held_out
    assert work_of(config, "orm")["plain"].texts == 96_000 * (1 - held) < 96_000
    config.orm.held_out = config.sorm.held_out = 0.0
    assert [w.texts for w in work_of(config, "orm").values()] == [96_000, 96_000]
    config.orm.balanced = False
    config.orm.per_question = 8
    assert [w.texts for w in work_of(config, "orm").values()] == [8_000]
    assert work_of(config, "sorm")["train"].texts == 6_000
    assert work_of(config, "sorm")["train"].updates == 24  # of 256
    config.sorm.train.epochs = 2
    assert work_of(config, "sorm")["train"].updates == 48


def test_pairs_are_bounded_by_question(config):
    assert work_of(config, "refiner")["train"].texts == 8_000 + 3_000
    config.refiner.per_question = 0
    assert work_of(config, "refiner")["train"].texts == 48_000 + 3_000


def test_an_evaluation_writes_and_scores(config):
    works = work_of(config, "evaluate")
    assert works["test samples"].texts == 200 * 96
    assert (works["test scores"].kind, works["test scores"].texts) == (SCORE, 3 * 200 * 97)
    config.evaluate.sample_splits = ()
    config.evaluate.mark = config.evaluate.threshold = "0.5"
    config.evaluate.temperature = "1"
    assert list(work_of(config, "evaluate")) == [
        "test drafts",
        "test scores",
        "test refinements",
        "test reranking",
    ]
    config.evaluate.extra_samples = 3
    works = work_of(config, "evaluate")
    assert works["test samples"].texts == 600 and works["test scores"].texts == 3 * 800
    assert works["test refinements"].texts == 600


def test_what_is_auto_is_chosen_on_dev(config):
    works = work_of(config, "evaluate")
    assert works["dev drafts"].texts == 100 and works["dev samples"].texts == 600
    assert works["dev labels"].texts > 0 and works["dev scores"].texts == 2 * 700


def test_lengths_are_means_or_assumed():
    assert Lengths.of([10, 20], [30, 50], [2, 4], 300) == Lengths(15, 40, 3, known=True)
    assert Lengths.of([10], [], [], 300) == Lengths(10, 120, 4, known=False)


def test_pieces_have_the_names_under_which_a_run_does_them(finished):
    config = ConfigDict(storage.read_json(finished / "config.json")["config"])
    counts = COUNTS | {split: 10 for split in config.evaluate.splits}
    works = workload.workload(config, STAGES, counts, LENGTHS)
    planned = {name for work in works for name in work.pieces}
    taken = storage.read_json(finished / "progress.json")["taken"]
    done = {name for name in taken if not name.endswith(" look")}
    assert done <= planned
    # Expert iteration may end early.
    assert all(name.startswith("student/") for name in planned - done)
