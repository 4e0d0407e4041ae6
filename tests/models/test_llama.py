"""The model against transformers (live, or golden files everywhere), and what must ever hold."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from glore_jax.models import attention, cpu, llama, rope
from glore_jax.models.config import LlamaConfig, RopeScaling

LONG = 600  # tokens: short prompts cannot show a wrong rotation


def prompt(length=LONG, batch=1, vocab=96, seed=0):
    return np.random.default_rng(seed).integers(0, vocab, (batch, length))


def inputs(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


# Golden files.


@pytest.mark.parametrize("name", ["llama_grouped", "llama_tied"])
def test_golden_logits(golden, run, name):
    model, expected = golden(name)
    logits = run(model, expected["tokens"])
    assert logits.dtype == jnp.float32
    np.testing.assert_allclose(logits[0, expected["at"]], expected["logits"], atol=1e-4)


# The ladder: norm, rotation, attention, layer, model.

VARIANTS = {
    "one kv head": dict(num_kv_heads=1),
    "two kv heads, tied": dict(num_kv_heads=2, tie_embeddings=True),
    "all kv heads, wide heads": dict(num_kv_heads=4, head_dim=16),
    "llama3 scaling, theta": dict(rope_theta=50000.0, rope_scaling=RopeScaling(4.0, 1.0, 4.0, 128)),
    "biases": dict(qkv_bias=True),
    "normed heads, tied": dict(qk_norm=True, head_dim=16, tie_embeddings=True),
    "small theta": dict(rope_theta=100.0, rms_norm_eps=1e-3),
}


@pytest.fixture(params=VARIANTS.values(), ids=VARIANTS.keys())
def pair(request, tiny, fresh, in_transformers):
    """(our model, the same in transformers)."""
    model = fresh(tiny(**request.param))
    return model, in_transformers(model)


def test_against_transformers(pair, run, torch_logits):
    torch = pytest.importorskip("torch")
    model, theirs = pair
    x = inputs(1, 1, LONG, model.config.hidden_size)

    @jax.jit
    def first_layer(params, x):
        graph, stacked = nnx.split(model.with_params(params).merge().layers)
        layer = nnx.merge(graph, jax.tree.map(lambda w: w[0], stacked))
        cos, sin = rope.angles(model.config, jnp.arange(LONG)[None])
        attend = attention.causal(jnp.ones((1, LONG), jnp.int32))
        mixed, _ = layer.attention(x, cos, sin, attend, None)
        return layer.attention_norm(x), cos, sin, mixed, layer(x, cos, sin, attend, None)[0]

    norm, cos, sin, mixed, out = first_layer(model.params, x)
    with torch.no_grad():
        block = theirs.model.layers[0]
        tx = torch.from_numpy(x)
        their_angles = theirs.model.rotary_emb(tx, torch.arange(LONG)[None])
        inside = dict(
            position_embeddings=their_angles,
            attention_mask=torch.full((LONG, LONG), -1e30).triu(1)[None, None],
        )
        their_norm = block.input_layernorm(tx)
        their_mixed, _ = block.self_attn(tx, **inside)
        their_out = block(tx, **inside)
    if not torch.is_tensor(their_out):
        their_out = their_out[0]
    np.testing.assert_allclose(norm, their_norm, atol=1e-5)
    # Their frequencies are rounded to float32 on the way; 600 positions multiply what is lost.
    np.testing.assert_allclose(np.tile(cos[:, :, 0], 2), their_angles[0], atol=2e-4)
    np.testing.assert_allclose(np.tile(sin[:, :, 0], 2), their_angles[1], atol=2e-4)
    np.testing.assert_allclose(mixed, their_mixed, atol=1e-4)
    np.testing.assert_allclose(out, their_out, atol=1e-4)

    tokens = prompt()
    np.testing.assert_allclose(run(model, tokens), torch_logits(theirs, tokens), atol=1e-4)


# Cache: the injected attend.


def decode_attend(index, length):
    """One new token per row at `index`, over a cache of (k, v) [B, S, K, C] per layer."""

    def attend(q, k, v, cache):
        keys = jax.lax.dynamic_update_slice_in_dim(cache[0], k, index, axis=1)
        values = jax.lax.dynamic_update_slice_in_dim(cache[1], v, index, axis=1)
        batch, _, heads, width = q.shape
        q = q.reshape(batch, k.shape[2], -1, width) * width**-0.5
        scores = jnp.einsum("bkgc,bskc->bkgs", q, keys)
        scores = jnp.where(jnp.arange(length) <= index, scores, -1e30)
        weights = jax.nn.softmax(scores, axis=-1)
        out = jnp.einsum("bkgs,bskc->bkgc", weights, values)
        return out.reshape(batch, 1, heads, width), (keys, values)

    return attend


@pytest.mark.parametrize(("kv_heads", "form"), [(1, "stacked"), (2, "stacked"), (4, "list")])
def test_prefill_then_decode_equals_one_pass(tiny, fresh, run, kv_heads, form):
    """With the weights and the cache of all layers in one array, or of each by itself."""
    model = fresh(tiny(num_kv_heads=kv_heads))
    batch, given, length = 2, 500, 508
    tokens = jnp.asarray(prompt(length, batch))
    expected = run(model, tokens)

    attend = attention.causal(jnp.ones((batch, given), jnp.int32), keep_kv=True)
    positions = jnp.broadcast_to(jnp.arange(given), (batch, given))

    @jax.jit
    def prefill(params):
        return model.with_params(params).merge()(tokens[:, :given], positions, attend)

    _, cache = prefill(model.params)
    assert cache[0].shape == (2, batch, given, kv_heads, 8)  # layers first
    pad = ((0, 0), (0, 0), (0, length - given), (0, 0), (0, 0))
    cache = jax.tree.map(lambda x: jnp.pad(x, pad), cache)
    if form == "list":
        model = cpu.unstack(model)
        cache = [jax.tree.map(lambda x, i=i: x[i], cache) for i in range(2)]

    @jax.jit
    def step(params, token, index, cache):
        module = model.with_params(params).merge()
        position = jnp.full((batch, 1), index)
        hidden, cache = module(token, position, decode_attend(index, length), cache)
        return module.logits(hidden), cache

    for index in range(given, length):
        logits, cache = step(model.params, tokens[:, index : index + 1], index, cache)
        np.testing.assert_allclose(logits[:, 0], expected[:, index], atol=1e-4)


def test_each_layer_gets_its_slice_of_the_cache(tiny, fresh):
    model = fresh(tiny(num_layers=3))
    zeros = jnp.zeros((1, 4), jnp.int32)

    def ask(q, k, v, cache):
        return q, {"index": cache["index"], "twice": 2 * cache["index"]}

    @jax.jit
    def ask_all(params):
        return model.with_params(params).merge()(zeros, zeros, ask, {"index": jnp.arange(3)})

    _, out = ask_all(model.params)
    np.testing.assert_array_equal(out["index"], [0, 1, 2])
    np.testing.assert_array_equal(out["twice"], [0, 2, 4])


# What must hold.


def test_later_tokens_cannot_matter(tiny, fresh, run):
    """The gradient of a token's logits by the embedding of every later token is exactly zero."""
    model = fresh(tiny())
    length, at = 24, 10
    # Distinct, so that a row of the embedding is a place in the prompt.
    tokens = jnp.arange(length)[None]

    def total(params):
        return jnp.sum(run(model.with_params(params), tokens)[0, at])

    gradient = jax.jit(jax.grad(total))(model.params)["embedding"][...]
    gradient = np.abs(gradient).sum(axis=1)
    assert (gradient[: at + 1] > 0).all()
    assert (gradient[at + 1 :] == 0).all()


@pytest.fixture(scope="module")
def loss_and_gradient(tiny, fresh):
    """Of the same model and row under any options."""

    @functools.cache
    def compute(**options):
        model = fresh(tiny(), **options)
        tokens = jnp.asarray(prompt(24))
        attend = attention.causal(jnp.ones_like(tokens))

        def loss(params):
            module = model.with_params(params).merge()
            hidden, _ = module(tokens, jnp.arange(24)[None], attend)
            return module.logits(hidden).std()

        return jax.jit(jax.value_and_grad(loss))(model.params)

    return compute


@pytest.mark.parametrize(
    "options",
    [dict(remat="full"), dict(remat="attention"), dict(remat="dots"), dict(unroll=True)],
    ids=str,
)
def test_remat_and_unroll_change_nothing(loss_and_gradient, options):
    same = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6)
    jax.tree.map(same, loss_and_gradient(**options), loss_and_gradient())


def test_full_remat_keeps_less():
    """The residuals of the backward pass shrink: remat is not an empty option."""
    config = LlamaConfig(96, 32, 48, 2, 4, 2, 8)

    def residuals(remat):
        graphdef, params = llama.abstract(config, remat=remat)

        def loss(params, tokens):
            attend = attention.causal(jnp.ones_like(tokens))
            hidden, _ = nnx.merge(graphdef, params)(tokens, tokens, attend)
            return hidden.sum()

        def backward(params, tokens):
            return jax.vjp(lambda p: loss(p, tokens), params)[1]

        vjp = jax.eval_shape(backward, params, jax.ShapeDtypeStruct((2, 64), jnp.int32))
        return sum(x.size for x in jax.tree.leaves(vjp))

    kept = [residuals(remat) for remat in ("full", "attention", "dots", "none")]
    assert kept == sorted(kept) and len(set(kept)) == 4


def test_packed_rows_equal_separate_rows(tiny, fresh, run):
    model = fresh(tiny())
    a, b = prompt(30, seed=1), prompt(50, seed=2)
    tokens = np.concatenate([a, b, np.zeros((1, 16), int)], axis=1)
    segments = jnp.asarray([[1] * 30 + [2] * 50 + [0] * 16])
    positions = jnp.asarray([[*range(30), *range(50), *[0] * 16]])
    packed = run(model, tokens, positions, segments)
    np.testing.assert_allclose(packed[:, :30], run(model, a), atol=2e-5)
    np.testing.assert_allclose(packed[:, 30:80], run(model, b), atol=2e-5)


def test_relative_positions_only(tiny, fresh, run):
    model = fresh(tiny())
    tokens = prompt(40)
    shifted = run(model, tokens, positions=100 + jnp.arange(40)[None])
    np.testing.assert_allclose(shifted, run(model, tokens), atol=2e-4)
    stretched = run(model, tokens, positions=2 * jnp.arange(40)[None])
    assert np.abs(stretched - run(model, tokens)).max() > 0.01


OTHER = dict(
    vocab_size=100,
    hidden_size=48,
    intermediate_size=40,
    num_layers=3,
    num_heads=8,
    num_kv_heads=4,
    head_dim=10,
    rope_theta=500.0,
    rope_scaling=RopeScaling(4.0, 1.0, 4.0, 128),
    rms_norm_eps=0.1,
    tie_embeddings=True,
    max_positions=16,
    qkv_bias=True,
    qk_norm=True,
)


def shapes_of(params):
    return [x.shape for x in jax.tree.leaves(params)]


@pytest.mark.parametrize("field", [f.name for f in dataclasses.fields(LlamaConfig)])
def test_every_config_field_is_consumed(tiny, fresh, run, field):
    """Another value changes the parameters' shapes, the logits of the same ones, or is refused."""
    config, tokens = tiny(), prompt(40)
    changed = dataclasses.replace(config, **{field: OTHER[field]})
    model = fresh(config)
    graphdef, shapes = llama.abstract(changed)
    if shapes_of(shapes) != shapes_of(model.params):
        return
    try:
        logits = run(dataclasses.replace(model, graphdef=graphdef), tokens)
    except ValueError as refused:
        assert field in str(refused)
    else:
        assert np.abs(logits - run(model, tokens)).max() > 1e-3


def test_dtypes(tiny):
    """bfloat16 compute leaves weights and logits in float32; the weights' own dtype is apart."""
    graphdef, params = llama.abstract(tiny(), dtype=jnp.bfloat16)

    def forward(params, tokens):
        model = nnx.merge(graphdef, params)
        hidden, _ = model(tokens, tokens, attention.causal(tokens))
        return hidden, model.logits(hidden)

    hidden, logits = jax.eval_shape(forward, params, jax.ShapeDtypeStruct((1, 16), jnp.int32))
    assert (hidden.dtype, logits.dtype) == (jnp.bfloat16, jnp.float32)
    assert {x.dtype for x in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    _, half = llama.abstract(tiny(), param_dtype=jnp.bfloat16)
    assert {x.dtype for x in jax.tree.leaves(half)} == {jnp.dtype("bfloat16")}


def test_norm_statistics_are_float32(tiny):
    """The square of 3e4 is beyond float16, and a bfloat16 sum of ones stops at 256."""
    norm = jax.jit(llama.RMSNorm(4096, 1e-5, rngs=nnx.Rngs(0), param_dtype=jnp.float32))
    for x in (jnp.ones((1, 4096), jnp.bfloat16), jnp.full((1, 4096), 3e4, jnp.float16)):
        np.testing.assert_allclose(norm(x).astype(jnp.float32), 1, atol=0.005)
        assert norm(x).dtype == x.dtype


def test_rows_beyond_max_positions_are_refused(tiny, fresh, run):
    model = fresh(tiny(max_positions=16))
    run(model, prompt(16))
    with pytest.raises(ValueError, match="max_positions 16"):
        run(model, prompt(17))


def test_unknown_remat_is_refused(tiny):
    with pytest.raises(ValueError, match="remat"):
        llama.init(tiny(), 0, remat="half")


# Parameters.

AXES = {
    "embedding": ("vocab", "embed"),
    "head": ("embed", "vocab"),
    "norm/scale": ("norm",),
    "layers/attention_norm/scale": ("layers", "norm"),
    "layers/attention/q": ("layers", "embed", "heads"),
    "layers/attention/k": ("layers", "embed", "kv_heads"),
    "layers/attention/v": ("layers", "embed", "kv_heads"),
    "layers/attention/o": ("layers", "heads", "embed"),
    "layers/mlp_norm/scale": ("layers", "norm"),
    "layers/mlp/gate": ("layers", "embed", "mlp"),
    "layers/mlp/up": ("layers", "embed", "mlp"),
    "layers/mlp/down": ("layers", "mlp", "embed"),
}


def test_logical_axes_and_shapes(tiny):
    config = tiny(num_layers=3, head_dim=16)
    sizes = dict(layers=3, vocab=96, embed=32, norm=32, heads=64, kv_heads=32, mlp=48)
    _, params = llama.abstract(config)
    flat = {"/".join(path): variable for path, variable in nnx.to_flat_state(params)}
    assert {path: v.get_metadata()["out_sharding"] for path, v in flat.items()} == AXES
    for path, variable in flat.items():
        assert variable.get_value().shape == tuple(sizes[name] for name in AXES[path]), path


def test_tied_models_have_no_head(tiny):
    assert "head" not in llama.abstract(tiny(tie_embeddings=True))[1]


def test_abstract_is_init_without_arrays(tiny):
    graphdef, params = llama.init(tiny(), 0, remat="full")
    abstract_graphdef, shapes = llama.abstract(tiny(), remat="full")
    assert graphdef == abstract_graphdef and hash(graphdef) == hash(abstract_graphdef)
    assert jax.tree.structure(params) == jax.tree.structure(shapes)
    assert all(isinstance(x, jax.ShapeDtypeStruct) for x in jax.tree.leaves(shapes))
    assert shapes_of(params) == shapes_of(shapes)


@pytest.fixture(scope="module")
def initialised(tiny):
    sizes = dict(hidden_size=64, intermediate_size=128, num_layers=8, num_heads=8)
    config = tiny(vocab_size=2000, **sizes)
    return config, llama.init(config, 3)[1]


def test_initial_scale(initialised):
    for path, variable in nnx.to_flat_state(initialised[1]):
        if "scale" in path:
            expected = 0.0
        elif path[-1] in ("o", "down"):
            expected = 0.02 / 4
        else:
            expected = 0.02
        assert np.std(variable.get_value()) == pytest.approx(expected, rel=0.05), path


def test_seed_and_key_fix_the_weights(initialised):
    config, params = initialised
    q = params["layers"]["attention"]["q"][...]

    @jax.jit
    def q_by_key(key):
        return llama.init(config, key)[1]["layers"]["attention"]["q"][...]

    np.testing.assert_allclose(q_by_key(jax.random.key(3)), q, rtol=1e-6)
    assert np.abs(q_by_key(jax.random.key(4)) - q).max() > 0.01
    assert np.abs(q[0] - q[1]).max() > 0.01  # layers differ


def test_layers_are_one_program(tiny):
    """Scanned: the program of 12 layers is no longer than that of 2."""

    def size(layers):
        graphdef, params = llama.abstract(tiny(num_layers=layers))
        tokens = jax.ShapeDtypeStruct((1, 8), jnp.int32)

        def forward(params, tokens):
            return nnx.merge(graphdef, params)(tokens, tokens, attention.causal(tokens))[0]

        return len(str(jax.make_jaxpr(forward)(params, tokens)).splitlines())

    assert size(12) == size(2)
