"""The reward model: parity with token classification, start from a policy, head."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from glore_jax.models import attention, hf_export, hf_import, llama, reward


def test_golden_logits(golden, run):
    model, expected = golden("llama_reward", reward)
    logits = run(model, expected["tokens"])
    assert logits.dtype == jnp.float32 and logits.shape == (1, 600)
    np.testing.assert_allclose(logits[0, expected["at"]], expected["logits"][:, 0], atol=1e-4)


def test_logits_are_the_head_on_the_hidden_states(tiny, fresh):
    model = fresh(tiny(), module=reward)
    tokens = jnp.arange(8)[None]

    @jax.jit
    def both(params):
        module = model.with_params(params).merge()
        attend = attention.causal(jnp.ones_like(tokens), keep_kv=True)
        return module.backbone(tokens, tokens, attend), module(tokens, tokens, attend)

    (hidden, _), (logits, cache) = both(model.params)
    expected = np.asarray(hidden) @ model.params["weight"][...] + model.params["bias"][...]
    np.testing.assert_allclose(logits, expected, atol=1e-6)
    assert cache[0].shape == (2, 1, 8, 2, 8)  # the cache passes through as in the policy


@pytest.mark.parametrize("tie", [False, True])
def test_from_policy(tiny, fresh, run, tie):
    config = tiny(tie_embeddings=tie)
    policy = fresh(config)
    graphdef, shapes = reward.abstract(config)
    model = reward.from_policy(policy)
    assert model.graphdef == graphdef
    assert (model.config, model.tokenizer) == (config, policy.tokenizer)
    assert jax.tree.structure(model.params) == jax.tree.structure(shapes)
    for made, expected in zip(jax.tree.leaves(model.params), jax.tree.leaves(shapes)):
        assert (made.shape, made.dtype) == (expected.shape, expected.dtype)
    for path, variable in nnx.to_flat_state(model.params["backbone"]):
        original = policy.params
        for key in path:
            original = original[key]
        np.testing.assert_array_equal(variable.get_value(), original.get_value())
    tokens = np.arange(8)[None]
    np.testing.assert_array_equal(run(model, tokens), 0)  # the zero head: probability 1/2
    random = reward.from_policy(policy, seed=1, std=0.1)
    assert np.std(run(random, tokens)) > 0
    other = reward.from_policy(policy, seed=2, std=0.1)
    assert not np.array_equal(random.params["weight"][...], other.params["weight"][...])


def test_from_policy_computes_as_the_policy_does(tiny, fresh):
    options = dict(dtype=jnp.bfloat16, remat="full", unroll=True)
    model = reward.from_policy(fresh(tiny(), **options), likelihood=True)
    assert model.graphdef == reward.abstract(tiny(), likelihood=True, **options)[0]


# A question of two tokens and a solution of four, twice in a row, then padding.
TOKENS = np.array([[5, 9, 11, 3, 7, 2, 6, 8, 1, 4, 12, 10, 0, 0]], np.int32)
POSITIONS = np.array([[0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5, 0, 0]], np.int32)
SEGMENTS = np.array([[1] * 6 + [2] * 6 + [0] * 2], np.int32)
SOLUTION = np.array([[0, 0, 1, 1, 1, 1] * 2 + [0, 0]], np.int32)


def read(model, solution=SOLUTION):
    """(logits, values without likelihood, vocabulary logits) of the packed row."""
    return _read(model.graphdef, model.params, TOKENS, POSITIONS, SEGMENTS, solution)


@functools.partial(jax.jit, static_argnums=0)
def _read(graphdef, params, tokens, positions, segments, solution):
    module, attend = nnx.merge(graphdef, params), attention.causal(segments)
    hidden, _ = module.backbone(tokens, positions, attend)
    logits, _ = module(tokens, positions, attend, solution=solution)
    return logits, module.value(hidden), module.backbone.logits(hidden)


@pytest.mark.parametrize("tie", [False, True])
def test_the_likelihood_of_the_solution_before_a_token_counts(tiny, fresh, tie):
    model = fresh(tiny(tie_embeddings=tie), module=reward, likelihood=True)
    logits, value, words = (np.asarray(x, np.float64)[0] for x in read(model))
    logp = words - np.log(np.exp(words).sum(-1, keepdims=True))
    expected = np.zeros(12)
    for text in (0, 6):
        # At a token of the solution all those before it count, the question and the token itself
        # do not.
        for at in range(2, 6):
            expected[text + at] = sum(logp[text + t - 1, TOKENS[0, text + t]] for t in range(2, at))
    scale = float(model.params["scale"][0])
    np.testing.assert_allclose(logits[:12] - value[:12], scale * expected, atol=1e-4)
    assert np.abs(expected[5] - expected[4]) > 0.1 and scale != 1
    whole = read(model, np.ones_like(SOLUTION))[0][0]
    assert not np.allclose(whole[:12], logits[:12])


@pytest.mark.parametrize("tie", [False, True])
def test_a_fresh_model_with_likelihood_says_what_the_policy_knows(tiny, fresh, tie):
    config = tiny(tie_embeddings=tie)
    model = reward.from_policy(fresh(config), likelihood=True)
    shapes = reward.abstract(config, likelihood=True)[1]
    assert jax.tree.structure(model.params) == jax.tree.structure(shapes)
    assert ("head" in model.params["backbone"]) == (not tie)
    logits, value, _ = read(model)
    assert not np.any(value) and np.all(np.diff(logits[0, 2:6]) < 0)


def test_a_model_with_likelihood_must_know_the_solution(tiny, fresh):
    model = fresh(tiny(), module=reward, likelihood=True)
    with pytest.raises(ValueError, match="where the solution is"):
        read(model, None)


@pytest.mark.parametrize("likelihood, tie", [(True, False), (True, True), (False, False)])
def test_the_likelihood_is_kept_in_a_folder(tiny, fresh, tmp_path, likelihood, tie):
    model = fresh(tiny(tie_embeddings=tie), module=reward, likelihood=likelihood)
    hf_export.save_reward(tmp_path / "model", model, "float32")
    assert hf_import.read_reward_options(tmp_path / "model") == {"likelihood": likelihood}
    loaded = hf_import.read_reward_model(tmp_path / "model")
    assert loaded.graphdef == model.graphdef
    np.testing.assert_allclose(read(loaded)[0], read(model)[0], atol=1e-6)


def test_the_value_head_is_float32_beside_any_backbone(tiny, fresh, tmp_path):
    policy = fresh(tiny(), param_dtype=jnp.bfloat16)
    model = reward.from_policy(policy, std=0.1, likelihood=True)
    hf_export.save_reward(tmp_path, model)
    read = hf_import.read_reward_model(tmp_path, param_dtype="bfloat16")
    for params in (model.params, read.params):
        assert {x.dtype for x in jax.tree.leaves(params["backbone"])} == {jnp.dtype("bfloat16")}
        assert all(params[n][...].dtype == np.float32 for n in ("weight", "bias", "scale"))
    np.testing.assert_array_equal(read.params["weight"][...], model.params["weight"][...])


@pytest.mark.parametrize("width", [32, 1024])
def test_a_drawn_head_gives_logits_of_its_std_at_any_width(tiny, fresh, width):
    sizes = dict(hidden_size=width, intermediate_size=8, num_layers=1)
    model = reward.from_policy(fresh(tiny(**sizes)), 3, std=0.5)
    hidden = np.random.default_rng(0).standard_normal((1, 2000, width), np.float32)
    logits = model.merge().value(jnp.asarray(hidden))
    assert np.std(logits) == pytest.approx(0.5, rel=0.3)


def test_a_vocabulary_head_that_only_training_needs_is_not_kept(tiny, fresh, tmp_path):
    policy = fresh(tiny(tie_embeddings=False))
    model = reward.from_policy(policy, std=0.1, language=True)
    assert model.graphdef == reward.abstract(tiny(tie_embeddings=False), language=True)[0]
    assert "head" in model.params["backbone"]
    hf_export.save_reward(tmp_path, model)
    assert "head" in model.params["backbone"]
    loaded = hf_import.read_reward_model(tmp_path)
    assert "head" not in loaded.params["backbone"]
    np.testing.assert_array_equal(read(loaded)[0], read(model)[0])


def test_from_policy_inside_jit(tiny, fresh):
    policy = fresh(tiny())

    @jax.jit
    def make(params, key):
        return reward.from_policy(policy.with_params(params), key, std=0.1).params

    inside = make(policy.params, jax.random.key(5))
    outside = reward.from_policy(policy, 5, std=0.1).params
    np.testing.assert_allclose(inside["weight"][...], outside["weight"][...], rtol=1e-6)


def test_no_vocabulary_head_and_logical_axes(tiny):
    _, params = reward.abstract(tiny(tie_embeddings=False))
    assert "head" not in params["backbone"]
    assert params["weight"].get_metadata()["out_sharding"] == ("norm",)
    assert params["backbone"]["embedding"].get_metadata()["out_sharding"] == ("vocab", "embed")


def test_bfloat16_compute_gives_float32_logits(tiny):
    bfloat16 = dict(dtype=jnp.bfloat16, param_dtype=jnp.bfloat16)
    graphdef, params = reward.abstract(tiny(), remat="full", **bfloat16)

    def forward(params, tokens):
        return nnx.merge(graphdef, params)(tokens, tokens, attention.causal(tokens))[0]

    logits = jax.eval_shape(forward, params, jax.ShapeDtypeStruct((2, 4), jnp.int32))
    assert (logits.shape, logits.dtype) == ((2, 4), jnp.float32)


def test_head_learns_before_the_backbone(tiny, fresh):
    """With a zero head only the head has a gradient at first; one update later all have one."""
    model = reward.from_policy(fresh(tiny()))
    tokens = jnp.arange(8)[None]
    attend = attention.causal(jnp.ones_like(tokens))

    @jax.jit
    @jax.grad
    def gradient(params):
        logits, _ = model.with_params(params).merge()(tokens, tokens, attend)
        return jnp.mean(jax.nn.softplus(-logits))

    params = model.params
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
