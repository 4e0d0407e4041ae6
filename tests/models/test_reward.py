"""The reward model: parity with token classification, start from a policy, head."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from glore_jax.models import attention, hf, llama, reward
from glore_jax.models.model import Model


def test_golden_logits(golden, run):
    folder = golden / "llama_reward"
    config, expected = hf.read_config(folder), np.load(folder / "golden.npz")
    logits = run(
        reward.abstract(config)[0], hf.load_reward_params(folder, config), expected["tokens"]
    )
    assert logits.dtype == jnp.float32 and logits.shape == (1, 600)
    np.testing.assert_allclose(logits[0, expected["at"]], expected["logits"][:, 0], atol=1e-4)


def test_logits_are_the_head_on_the_hidden_states(tiny, fresh):
    graphdef, params = fresh(tiny(), module=reward)
    tokens = jnp.arange(8)[None]

    @jax.jit
    def both(params):
        model, attend = (
            nnx.merge(graphdef, params),
            attention.causal(jnp.ones_like(tokens), keep_kv=True),
        )
        return model.backbone(tokens, tokens, attend), model(tokens, tokens, attend)

    (hidden, _), (logits, cache) = both(params)
    expected = np.asarray(hidden) @ params["weight"][...] + params["bias"][...]
    np.testing.assert_allclose(logits, expected, atol=1e-6)
    assert cache[0].shape == (2, 1, 8, 2, 8)  # the cache passes through as in the policy


@pytest.mark.parametrize("tie", [False, True])
def test_from_policy(tiny, fresh, run, tie):
    config = tiny(tie_embeddings=tie)
    _, policy = fresh(config)
    graphdef, shapes = reward.abstract(config)
    params = reward.from_policy(policy, config)
    assert jax.tree.structure(params) == jax.tree.structure(shapes)
    assert [(x.shape, x.dtype) for x in jax.tree.leaves(params)] == [
        (x.shape, x.dtype) for x in jax.tree.leaves(shapes)
    ]
    for path, variable in nnx.to_flat_state(params["backbone"]):
        original = policy
        for key in path:
            original = original[key]
        np.testing.assert_array_equal(variable.get_value(), original.get_value())
    tokens = np.arange(8)[None]
    np.testing.assert_array_equal(
        run(graphdef, params, tokens), 0
    )  # the zero head: probability 1/2
    random = reward.from_policy(policy, config, seed=1, std=0.1)
    assert np.std(run(graphdef, random, tokens)) > 0
    assert not np.array_equal(
        random["weight"][...], reward.from_policy(policy, config, seed=2, std=0.1)["weight"][...]
    )


# A question of two tokens and a solution of four, twice in a row, then padding.
TOKENS = np.array([[5, 9, 11, 3, 7, 2, 6, 8, 1, 4, 12, 10, 0, 0]], np.int32)
POSITIONS = np.array([[0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5, 0, 0]], np.int32)
SEGMENTS = np.array([[1] * 6 + [2] * 6 + [0] * 2], np.int32)
SOLUTION = np.array([[0, 0, 1, 1, 1, 1] * 2 + [0, 0]], np.int32)


@functools.partial(jax.jit, static_argnums=0)
def read(graphdef, params, solution=SOLUTION):
    """(logits, hidden states, vocabulary logits) of the packed row."""
    model, attend = nnx.merge(graphdef, params), attention.causal(jnp.asarray(SEGMENTS))
    hidden, _ = model.backbone(TOKENS, POSITIONS, attend)
    logits, _ = model(TOKENS, POSITIONS, attend, solution=solution)
    return logits, model.value(hidden), model.backbone.logits(hidden)


@pytest.mark.parametrize("tie", [False, True])
def test_the_likelihood_of_the_solution_before_a_token_counts(tiny, fresh, tie):
    graphdef, params = fresh(tiny(tie_embeddings=tie), module=reward, likelihood=True)
    logits, value, words = (np.asarray(x, np.float64)[0] for x in read(graphdef, params))
    logp = words - np.log(np.exp(words).sum(-1, keepdims=True))
    expected = np.zeros(12)
    for text in (0, 6):
        for at in range(
            2, 6
        ):  # a token of the solution: all those before it count, the question and the token itself do not
            expected[text + at] = sum(logp[text + t - 1, TOKENS[0, text + t]] for t in range(2, at))
    scale = float(params["scale"][0])
    np.testing.assert_allclose(logits[:12] - value[:12], scale * expected, atol=1e-4)
    assert np.abs(expected[5] - expected[4]) > 0.1 and scale != 1
    whole = read(graphdef, params, np.ones_like(SOLUTION))[0][0]
    assert not np.allclose(whole[:12], logits[:12])


@pytest.mark.parametrize("tie", [False, True])
def test_a_fresh_model_with_likelihood_says_what_the_policy_knows(tiny, fresh, tie):
    config = tiny(tie_embeddings=tie)
    _, policy = fresh(config)
    graphdef, shapes = reward.abstract(config, likelihood=True)
    params = reward.from_policy(policy, config, likelihood=True)
    assert jax.tree.structure(params) == jax.tree.structure(shapes)
    assert ("head" in params["backbone"]) == (not tie)
    logits, value, _ = read(graphdef, params)
    assert not np.any(value) and np.all(np.diff(logits[0, 2:6]) < 0)


def test_the_likelihood_is_kept_in_a_folder(tiny, fresh, tmp_path, tokenizer):
    for likelihood, tie in ((True, False), (True, True), (False, False)):
        config, folder = tiny(tie_embeddings=tie), tmp_path / f"{likelihood} {tie}"
        graphdef, params = fresh(config, module=reward, likelihood=likelihood)
        hf.save_reward(folder, Model(None, params, config, tokenizer), "float32")
        assert hf.read_reward_options(folder) == {"likelihood": likelihood}
        loaded = hf.load_reward_params(folder, config)
        np.testing.assert_allclose(read(graphdef, loaded)[0], read(graphdef, params)[0], atol=1e-6)


def test_from_policy_keeps_bfloat16(tiny, fresh):
    _, policy = fresh(tiny(), param_dtype=jnp.bfloat16)
    params = reward.from_policy(policy, tiny(), std=0.1)
    assert {x.dtype for x in jax.tree.leaves(params)} == {jnp.dtype("bfloat16")}


def test_from_policy_inside_jit(tiny, fresh):
    _, policy = fresh(tiny())
    make = jax.jit(lambda policy, key: reward.from_policy(policy, tiny(), key, std=0.1))
    inside, outside = (
        make(policy, jax.random.key(5)),
        reward.from_policy(policy, tiny(), 5, std=0.1),
    )
    np.testing.assert_allclose(inside["weight"][...], outside["weight"][...], rtol=1e-6)


def test_no_vocabulary_head_and_logical_axes(tiny):
    _, params = reward.abstract(tiny(tie_embeddings=False))
    assert "head" not in params["backbone"]
    assert params["weight"].get_metadata()["out_sharding"] == ("norm",)
    assert params["backbone"]["embedding"].get_metadata()["out_sharding"] == ("vocab", "embed")


def test_bfloat16_compute_gives_float32_logits(tiny):
    graphdef, params = reward.abstract(
        tiny(), dtype=jnp.bfloat16, param_dtype=jnp.bfloat16, remat="full"
    )
    forward = lambda p, t: nnx.merge(graphdef, p)(t, t, attention.causal(t))[0]  # noqa: E731
    logits = jax.eval_shape(forward, params, jax.ShapeDtypeStruct((2, 4), jnp.int32))
    assert (logits.shape, logits.dtype) == ((2, 4), jnp.float32)


def test_head_learns_before_the_backbone(tiny, fresh):
    """With a zero head only the head has a gradient at first; one step later the backbone has one too."""
    _, policy = fresh(tiny())
    graphdef, _ = reward.abstract(tiny())
    tokens = jnp.arange(8)[None]

    @jax.jit
    def gradient(params):
        def loss(params):
            logits, _ = nnx.merge(graphdef, params)(
                tokens, tokens, attention.causal(jnp.ones_like(tokens))
            )
            return jnp.mean(jax.nn.softplus(-logits))

        return jax.grad(loss)(params)

    params = reward.from_policy(policy, tiny())
    first = gradient(params)
    assert np.abs(first["weight"][...]).max() > 0
    assert np.abs(first["backbone"]["embedding"][...]).max() == 0
    params["weight"] = params["weight"].replace(-first["weight"][...])
    assert np.abs(gradient(params)["backbone"]["embedding"][...]).max() > 0


def test_init_makes_a_zero_head(tiny):
    graphdef, params = reward.init(tiny(), 0)
    assert graphdef == reward.abstract(tiny())[0]
    assert np.all(params["weight"][...] == 0) and np.all(params["bias"][...] == 0)
    assert np.std(params["backbone"]["embedding"][...]) == pytest.approx(llama.INIT_STD, rel=0.1)
