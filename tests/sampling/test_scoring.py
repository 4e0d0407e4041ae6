"""Step scores are the reward model's own, whatever shares their batch."""

import numpy as np
import pytest
from tiny_llama import CONFIG, Characters, forward, fresh

from glore_jax.errors import UserError
from glore_jax.models import llama, reward
from glore_jax.models.model import Model
from glore_jax.parallel import mesh as meshes
from glore_jax.sampling.scoring import log_likelihoods, score_steps


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "likelihood"])
def model(request):
    return fresh(module=reward, likelihood=request.param)


@pytest.fixture(scope="module")
def items():
    """Solutions of 5 to 70 tokens (two widths), ends anywhere, the last at the last token.

    One has no step.
    """
    rng = np.random.default_rng(0)
    out = []
    for length in (70, 5, 33, 64, 65, 12, 40):
        ends = sorted({*rng.integers(1, length, 3).tolist(), length})
        out.append((rng.integers(0, 60, length).tolist(), ends, length // 3))
    return [*out, (out[1][0], [], 1)]


@pytest.fixture(scope="module")
def expected(model, items):
    # What follows a solution in its row must not matter.
    rows = np.random.default_rng(1).integers(0, 60, (len(items), 80)).astype(np.int32)
    for row, (tokens, *_) in zip(rows, items, strict=True):
        row[: len(tokens)] = tokens
    sources = np.array([source for *_, source in items])
    logits = forward(*model, rows, solution=np.arange(80) >= sources[:, None])
    probability = 1 / (1 + np.exp(-np.asarray(logits, np.float64)))
    ends = [np.asarray(ends, int) for _, ends, _ in items]
    return [p[e - 1] for p, e in zip(probability, ends, strict=True)]


@pytest.mark.parametrize("rows, order, devices", [(3, 1, 1), (16, -1, 1), (3, -1, 8)])
def test_scores(model, items, expected, rows, order, devices):
    mesh = meshes.make_mesh(devices, 1, 1, None if devices == 8 else meshes.jax.devices()[:1])
    found = score_steps(Model(*model, CONFIG, None), items[::order], mesh=mesh, rows=rows)[::order]
    for scores, right in zip(found, expected, strict=True):
        assert scores.dtype == np.float32
        np.testing.assert_allclose(scores, right, atol=1e-5)
    assert np.ptp(np.concatenate(expected)) > 0.5  # scores that differ can be told apart


def test_nothing_to_score(model):
    assert score_steps(Model(*model, CONFIG, None), [], mesh=meshes.single_device_mesh()) == []


def test_too_long(model, items):
    with_long = [*items, ([5] * 161, [161], 2)]
    with pytest.raises(UserError, match="161 tokens exceeds the model's context of 160"):
        score_steps(Model(*model, CONFIG, None), with_long, mesh=meshes.single_device_mesh())


class FewWords(Characters):
    """Of the rows of the embedding only the first 50 are words."""

    vocab_size = 50


@pytest.mark.parametrize("rows, devices", [(3, 1), (16, 8)])
def test_log_likelihoods_are_those_of_the_tokens_behind_the_question(items, rows, devices):
    policy = Model(*fresh(module=llama), CONFIG, FewWords())
    texts = [([t % 50 for t in tokens], source) for tokens, _, source in items]
    mesh = meshes.make_mesh(devices, 1, 1, None if devices == 8 else meshes.jax.devices()[:1])
    found = log_likelihoods(policy, texts, mesh=mesh, rows=rows)
    padded = np.zeros((len(texts), 80), np.int32)
    for row, (tokens, _) in zip(padded, texts, strict=True):
        row[: len(tokens)] = tokens
    logits = np.asarray(forward(policy.graphdef, policy.params, padded), np.float64)[..., :50]
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    for i, (tokens, source) in enumerate(texts):
        each = [log_p[i, at - 1, tokens[at]] for at in range(source, len(tokens))]
        assert found[i] == pytest.approx(sum(each), abs=1e-3)


def test_a_text_of_nothing_but_its_question_is_certain():
    policy = Model(*fresh(module=llama), CONFIG, Characters())
    assert log_likelihoods(policy, [([5, 6], 2)], mesh=meshes.single_device_mesh()) == [0.0]
