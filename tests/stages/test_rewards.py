"""A reward model is trained and read at one and the same place: the last token of each step."""

import contextlib
from types import SimpleNamespace

import numpy as np
import pytest
from tiny_llama import CONFIG, Characters, forward, fresh

from glore_jax.models import reward
from glore_jax.models.model import Model
from glore_jax.parallel import mesh as meshes
from glore_jax.sampling.scoring import score_steps
from glore_jax.stages import rewards
from glore_jax.stages.rewards import Examples, LabelledSolution, reward_example, score
from glore_jax.tasks.prompts import Prompts
from glore_jax.training.batches import Batches

TOKENIZER = Characters()
PROMPTS = Prompts(TOKENIZER, "question: {question}\n")
QUESTION, STEPS = "2+3, then *2?", ["2+3=5", "5*2=11", "#### 11"]


def ends_of_steps(tokens):
    """Where the newline of a step stands, after the question's own newline."""
    newline, start = TOKENIZER.encode("\n")[0], len(PROMPTS.question(QUESTION))
    return [i for i, t in enumerate(tokens) if i >= start and t == newline]


def test_labels_stand_at_the_last_token_of_each_step():
    example, _ = reward_example(PROMPTS, QUESTION, STEPS, [1, 0.25, 0], [1.0, 0.5, 1.0])
    at = ends_of_steps(example.tokens)
    assert len(at) == 3 and at[-1] == len(example.tokens) - 1
    np.testing.assert_array_equal(np.flatnonzero(example.weights), at)
    np.testing.assert_array_equal(example.weights[at], [1.0, 0.5, 1.0])
    np.testing.assert_array_equal(
        example.labels[at], np.float32([1, 0.25, 0])
    )  # fractions stay fractions
    assert example.labels.dtype == example.weights.dtype == np.float32
    assert PROMPTS.text(example.tokens) == "question: " + QUESTION + "\n" + "\n".join(STEPS) + "\n"


def test_dropped_labels_have_no_weight():
    example, _ = reward_example(PROMPTS, QUESTION, STEPS, [1, 1, 1], [0.0, 1.0, 0.0])
    np.testing.assert_array_equal(
        np.flatnonzero(example.weights), ends_of_steps(example.tokens)[1:2]
    )


def test_every_token_of_a_step_can_have_its_label():
    example, _ = reward_example(PROMPTS, QUESTION, STEPS, [1, 0, 1], [1, 0, 0.5], every_token=True)
    lengths = [len(step) + 1 for step in STEPS]
    source = [0] * len(PROMPTS.question(QUESTION))
    np.testing.assert_array_equal(example.labels, source + np.repeat([1, 0, 1], lengths).tolist())
    expected = source + np.repeat([1, 0, 0.5], lengths).tolist()
    np.testing.assert_array_equal(example.weights, expected)


def test_what_is_longer_than_a_row_keeps_the_steps_that_fit():
    whole, _ = reward_example(PROMPTS, QUESTION, STEPS, [1, 0, 0], [1, 1, 1])
    second = ends_of_steps(whole.tokens)[1] + 1
    for longest in (second, len(whole.tokens) - 1):
        cut, missing = reward_example(
            PROMPTS, QUESTION, STEPS, [1, 0, 0], [1, 1, 1], longest=longest
        )
        assert missing == 1
        np.testing.assert_array_equal(cut.tokens, whole.tokens[:second])
        np.testing.assert_array_equal(cut.labels, whole.labels[:second])
        np.testing.assert_array_equal(cut.weights, whole.weights[:second])


def test_solutions_that_are_too_long_are_cut_and_counted():
    solutions = [
        LabelledSolution(QUESTION, STEPS, [0, 0, 0], [1, 1, 1]),
        LabelledSolution(QUESTION, STEPS[:1], [1], [1]),
        LabelledSolution(QUESTION, [STEPS[0] * 20, "#### 1"], [0, 0], [1, 1]),
        LabelledSolution(QUESTION, STEPS, [0, 0, 0], [0, 0, 1]),
    ]
    row_length = len(PROMPTS.scored(QUESTION, STEPS)[0]) - 1
    examples = Examples(PROMPTS, every_token=False, row_length=row_length)
    made = list(examples.of(solutions))
    assert [int(e.weights.sum()) for e in made] == [2, 1]
    # Of the third no step fits, of the last none that has a label.
    assert (examples.cut, examples.left_out) == (1, 2)


@pytest.mark.parametrize(
    "labels, weights",
    [([1, 0], [1, 1, 1]), ([1, 0, 0], [1, 1]), ([1, 0, 0, 0], [1, 1, 1]), ([], [])],
)
def test_counts_must_match(labels, weights):
    with pytest.raises(ValueError, match="3 steps, .* of one solution: '2\\+3, then"):
        reward_example(PROMPTS, QUESTION, STEPS, labels, weights)


@pytest.fixture(scope="module")
def model():
    graphdef, params = fresh(module=reward)
    return Model(graphdef, params, CONFIG, TOKENIZER)


def test_read_where_trained(model):
    """The scores are the model's values just where a training batch has weight."""
    example, _ = reward_example(PROMPTS, QUESTION, STEPS, [1, 0, 0], [1, 1, 1])
    batch = Batches([example], batch_size=1, row_length=64, epochs=1, seed=0)[0]
    values = np.asarray(forward(model.graphdef, model.params, batch.tokens))
    expected = 1 / (1 + np.exp(-values[batch.weights > 0]))
    ctx = SimpleNamespace(
        local_mesh=meshes.single_device_mesh(),
        prompts=lambda model: PROMPTS,
        piece=lambda *described: contextlib.nullcontext(),
    )
    scores, none = score(ctx, model, [(QUESTION, STEPS), (QUESTION, [])], "test")
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    assert scores.shape == (3,) and np.ptp(scores) > 1e-3
    assert none.shape == (0,)


def test_equal_solutions_are_read_once(model, monkeypatch):
    read = []

    def counted(model, items, **options):
        read.append(len(items))
        return score_steps(model, items, **options)

    monkeypatch.setattr(rewards, "score_steps", counted)
    ctx = SimpleNamespace(
        local_mesh=meshes.single_device_mesh(),
        prompts=lambda model: PROMPTS,
        piece=lambda *described: contextlib.nullcontext(),
    )
    other = STEPS[:1] + ["5*2=10"]
    found = score(
        ctx,
        model,
        [(QUESTION, STEPS), (QUESTION, other), (QUESTION, tuple(STEPS)), ("3+2?", STEPS)],
        "test",
    )
    assert read == [3]
    np.testing.assert_array_equal(found[0], found[2])
    assert found[1].shape == (2,) and not np.allclose(found[0], found[3])
