"""From examples to batches of a stage, and to a model that is trained and exported once."""

import functools
import pathlib

import jax
import pytest
import several
from tiny_llama import CONFIG, Characters, model

from glore_jax import storage
from glore_jax.config import training as section_of
from glore_jax.models import hf_export, llama
from glore_jax.models.model import Model, Start
from glore_jax.parallel import mesh as meshes
from glore_jax.stages import generation, models, rewards, student, training
from glore_jax.training import loop
from glore_jax.training.batches import Plan
from glore_jax.training.examples import language_example


def test_what_is_longer_than_a_row_is_counted(ctx):
    ctx.mesh = meshes.make_mesh(2, 2, 2)
    section = section_of(1e-3, 1e-4, 4, 1)
    section.row_length = 1000
    # The context is 160.
    examples = [language_example([3] * 10, [4] * n) for n in (10, 100, 151, 140, 200)]
    batches, too_long = training.make_batches(ctx, "sorm/train", examples, section, CONFIG)
    assert too_long == 2 and batches.plan.row_length == 160
    assert sorted(batches.examples.lengths) == [20, 110, 150]
    assert batches.plan.rows % 4 == 0  # of data x fsdp
    left_out, few = ctx.warnings
    assert left_out.startswith("sorm/train: 2 of 5 examples are longer than row_length=160")
    assert few.startswith("sorm/train: 1 updates are few; 100 of batch_size=4 read 400 labelled")


@pytest.mark.parametrize(
    "updates, epochs, says",
    [
        (100, 1, ""),
        (11, 1, "11 updates are few; 100 of batch_size=256 read 25,600 samples: make more"),
        (12, 4, "12 updates are few; 100 of batch_size=256 read 6,400 samples 4 times: make"),
    ],
)
def test_few_updates_say_what_it_takes(updates, epochs, says):
    advice = training.few_updates("orm", updates, 256, epochs)
    assert advice.startswith(says) and bool(advice) == bool(says)


@pytest.mark.parametrize(
    "plan, multiple, says",
    [
        (Plan(1, 128, 256, 1024, 10, 0.12, 0), 256, "88% of a batch is padding: batch_size=128 "),
        (Plan(1, 128, 256, 1024, 10, 0.12, 0), 256, "take a batch_size up to 1066"),
        (Plan(1, 128, 128, 1024, 10, 0.45, 0), 8, "take another row_length"),
        (Plan(1, 128, 32, 1024, 10, 0.9, 0), 8, ""),
    ],
)
def test_batches_that_run_mostly_empty_say_so(plan, multiple, says):
    advice = training.padding_advice(plan, multiple)
    assert says in advice and bool(advice) == bool(says)


class Saved(Characters):
    """It can be saved, and is read back by nobody."""

    def save(self, folder):
        pass


def tiny_start(ctx, *args, **options):
    """In place of `models.base_start` and `models.policy_start`."""
    graphdef, shapes = llama.abstract(CONFIG)
    shardings = meshes.param_shardings(shapes, ctx.mesh)
    described = Model(graphdef, meshes.placed(shapes, shardings), CONFIG, Saved())
    return Start(described, lambda: jax.device_put(model().params, shardings))


@pytest.fixture
def tiny(ctx, monkeypatch):
    """A context whose models are tiny, and trained for four updates; drafts are not generated."""
    ctx.mesh = meshes.single_device_mesh(jax.devices()[0])
    ctx.config.task.prompt = "question: {question}\n"
    for section in (ctx.config.student.sft, ctx.config.orm.train):
        section.update(batch_size=4, epochs=2, row_length=32, save_seconds=0.001, microbatches=1)
    monkeypatch.setattr(models, "base_start", tiny_start)
    monkeypatch.setattr(models, "policy_start", tiny_start)
    monkeypatch.setattr(models, "load_policy", lambda *args: None)
    monkeypatch.setattr(generation, "greedy", lambda *args: [])
    monkeypatch.setattr(generation, "accuracy", lambda rows: 0.5)
    monkeypatch.setattr(generation, "truncated", lambda rows: 0)
    return ctx


SOLUTIONS = [{"question_id": str(i), "question": f"{i}+1?", "steps": ["#### 5"]} for i in range(8)]
LABELLED = [rewards.LabelledSolution(f"{i}+1?", ["#### 5"], [1.0], [1.0]) for i in range(8)]


def student_round(ctx):
    ctx.stage = "student"
    return student.tune_round(ctx, 0, SOLUTIONS, [])


def orm(ctx):
    """As stage `orm` does it."""
    ctx.stage = "orm"
    make = functools.partial(
        rewards.train_reward, ctx, "orm/plain", LABELLED, ctx.config.orm, "orm/hf"
    )
    counts = ctx.step("plain", make)
    training.drop_checkpoints(ctx, "orm/plain")
    return counts


class Killed(BaseException):
    pass


def kill_at(monkeypatch, place, name, when=lambda *args: True):
    """The next call of `place.name` for which `when` is true ends the run."""
    function = getattr(place, name)

    def die(*args, **options):
        if when(*args):
            raise Killed
        return function(*args, **options)

    monkeypatch.setattr(place, name, die)


def _is(name):
    return lambda file, *args: str(file).endswith(name)


POINTS = {
    # The moment of the kill -> (stage, the call, whether it trains again).
    "figures of training": (student_round, (storage, "write_json", _is("/trained.json")), True),
    "export": (student_round, (hf_export, "save_policy"), True),
    "dev evaluation": (student_round, (generation, "greedy"), False),
    "drafts for TensorBoard": (student_round, (student, "show_drafts"), False),
    "record of the round": (student_round, (storage, "write_json", _is("/round-0.json")), False),
    "clean-up": (student_round, (training, "drop_checkpoints"), False),
    "export of a reward model": (orm, (hf_export, "save_reward"), True),
    "record of a reward model": (orm, (storage, "write_json", _is("/plain.json")), False),
}


@pytest.mark.parametrize("moment", POINTS)
def test_a_kill_after_training_trains_nothing_again(tiny, monkeypatch, moment):
    stage, point, trains_again = POINTS[moment]
    trained = []
    train = loop.train

    def counted(*args, **options):
        trained.append(train(*args, **options))
        return trained[-1]

    monkeypatch.setattr(loop, "train", counted)
    with monkeypatch.context() as patch:
        kill_at(patch, *point)
        with pytest.raises(Killed):
            stage(tiny)
    (first,) = trained
    trained.clear()
    figures = stage(tiny)
    assert len(trained) == trains_again  # then from its last checkpoint, which is still there
    assert figures["loss"] == first.metrics["loss"]
    assert not list(pathlib.Path(tiny.workdir).rglob("checkpoints"))
    assert stage(tiny) == figures and len(trained) == trains_again


_OTHER_DATA = """
import sys
from glore_jax.parallel import processes
processes.initialize(sys.argv[2], 2, int(sys.argv[3]), timeout=60)
import tiny_run
from glore_jax.errors import UserError
from glore_jax.training.examples import language_example
tiny_run.counting = lambda: [
    language_example([5], [6 + (i == 9) * int(sys.argv[3])] * 7) for i in range(16)
]
try:
    tiny_run.train(sys.argv[1], (1, 2, 1))
except UserError as error:
    print(error)
    processes.announce_exit(2, str(error))
"""


def test_processes_with_different_examples_end_before_the_first_update(tmp_path):
    """One token of one example differs."""

    def arguments(address, index):
        return "-c", _OTHER_DATA, tmp_path / "run", address, index

    with several.together(2, arguments) as run:
        ends = several.ended(run)
    assert [code for code, *_ in ends] == [2, 2], ends
    for _, out, _ in ends:
        assert "the training set of tiny is not the same everywhere" in out
    assert not (tmp_path / "run").exists()
