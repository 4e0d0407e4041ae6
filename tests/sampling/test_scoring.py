"""Step scores are the reward model's own, whatever shares their batch."""

import numpy as np
import pytest
from tiny_llama import CONFIG, forward, fresh

from glore_jax.errors import UserError
from glore_jax.models import reward
from glore_jax.models.model import Model
from glore_jax.parallel import mesh as meshes
from glore_jax.sampling.scoring import score_steps


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
