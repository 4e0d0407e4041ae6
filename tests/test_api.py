"""What a notebook gets from the folders of a finished run."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tokenizers
from tiny_llama import forward

import glore_jax
from glore_jax import api, parquet
from glore_jax.errors import UserError
from glore_jax.models import hf_import, llama
from glore_jax.models.model import Model
from glore_jax.models.tokenizer import Tokenizer
from glore_jax.sampling.jobs import Completion, Fork, Job


@pytest.fixture(scope="module")
def policy(finished):
    return glore_jax.load_policy(str(finished / "student" / "hf"))


@pytest.fixture(scope="module")
def prompts(finished):
    """Three questions of the test split, the longest one first."""
    rows = parquet.read_records(finished / "evaluate" / "test" / "drafts")
    return sorted((r["question"] + "\n" for r in rows[:3]), key=len, reverse=True)


def test_logits_are_those_of_the_exported_model(policy, finished):
    tokens = np.random.default_rng(0).integers(0, policy.tokenizer.vocab_size, (2, 9))
    logits = policy.logits(tokens)
    assert logits.shape == (2, 9, policy.config.vocab_size) and logits.dtype == jnp.float32
    graphdef, shapes = llama.abstract(hf_import.read_config(finished / "student" / "hf"))
    params = hf_import.read_weights(finished / "student" / "hf", shapes)
    expected = forward(graphdef, params, jnp.asarray(tokens))
    np.testing.assert_allclose(logits, expected, atol=1e-4)


@pytest.fixture(scope="module")
def greedy(policy, prompts):
    return policy.generate(prompts[:2], samples=2, temperature=0.0, max_new=12)


def test_greedy_takes_the_best_token(policy, prompts, greedy):
    tokenizer = policy.tokenizer
    row = [tokenizer.bos_id, *tokenizer.encode(prompts[0])]
    start = len(row)
    tokens = np.zeros((1, start + 12), np.int32)
    tokens[0, :start] = row
    for i in range(start, start + 12):  # zeros behind a token are not seen
        logits = policy.logits(tokens)[0, i - 1]
        tokens[0, i] = logits[: tokenizer.vocab_size].argmax()
    new = tokens[0, start:].tolist()
    end = new.index(tokenizer.eos_id) if tokenizer.eos_id in new else len(new)
    assert greedy[0] == [tokenizer.decode(new[:end])] * 2
    assert greedy[0] != greedy[1]


def test_a_text_does_not_depend_on_the_other_prompts(policy, prompts):
    def draw(two, seed=0):
        texts = policy.generate(two, samples=2, temperature=3.0, max_new=12, seed=seed)
        return dict(zip(two, texts, strict=True))

    a, b, c = prompts
    first, second = draw([a, b]), draw([c, a])
    assert first[a] == second[a]
    assert len({*first[a], *first[b], *second[c]}) > 3  # two samples each
    assert draw([a, b], seed=1)[a] != first[a]


def test_another_prompt_of_its_kind_compiles_nothing(policy):
    compiled = []

    def listen(event, *_, **__):
        if "backend_compile" in event:
            compiled.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)

    def generate(*texts, max_new=12):
        assert all(len(policy.tokenizer.encode(text)) < 63 for text in texts)
        policy.generate(texts, samples=2, temperature=0.0, max_new=max_new)

    generate("Mia has 3 pens.\n", "Ben has 22 pies.\n")
    del compiled[:]
    generate("Mia has 3 pens. Rosa has 4 pies more than Mia has pens.\n", "Ben\n")
    assert not compiled
    generate("Mia has 3 pens.\n", "Ben has 22 pies.\n", max_new=13)
    assert compiled  # what is counted is what is meant


def test_a_text_ends_before_a_stop_string(policy, prompts, greedy):
    stop = greedy[0][0][3:5]
    found = policy.generate(prompts[:2], samples=2, temperature=0.0, max_new=12, stop=[stop])
    assert found[0] == [greedy[0][0][: greedy[0][0].index(stop)]] * 2


def test_a_text_begins_with_the_space_that_follows_on_its_prompt():
    words = {word: i for i, word in enumerate(["<s>", "</s>", "▁Mia", "▁has", "▁apples"])}
    backend = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="</s>"))
    backend.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    backend.decoder = tokenizers.decoders.Metaspace()
    tokenizer = Tokenizer(backend, bos_id=0, eos_id=1)
    writer = api.Policy(Model(None, None, None, tokenizer))
    job = Job("Mia has", tokenizer.begun("Mia has"))
    job.completions = {
        Fork(3, sample=1): Completion((4,), "apples", 0.0, True),
        Fork(3, sample=0): Completion((4, 4), "apples", 0.0, True),  # up to a stop text
    }
    assert writer._texts_of(job) == [" apples", " apples"]


def test_no_prompt_gives_no_text(policy):
    assert policy.generate([]) == []


def test_a_text_beyond_the_context_is_refused(policy, prompts):
    context = policy.config.max_positions
    with pytest.raises(UserError, match=f"exceed the model's context of {context}"):
        policy.generate(prompts, max_new=context)


@pytest.mark.parametrize("kind", ["orm", "sorm"])
def test_step_scores_are_those_of_the_evaluation(finished, kind):
    drafts = parquet.read_records(finished / "evaluate" / "test" / "drafts")
    stored = parquet.read_records(finished / "evaluate" / "test" / "scores" / kind)[: len(drafts)]
    model = glore_jax.load_reward_model(finished / kind / "hf")
    for draft, row in list(zip(drafts, stored, strict=True))[:3]:
        scores = model.step_scores(draft["question"], draft["steps"])
        assert scores.dtype == np.float32 and scores.shape == (len(draft["steps"]),)
        np.testing.assert_allclose(scores, row["scores"], atol=1e-4)
    assert model.step_scores("2+3?", []).shape == (0,)


def test_the_template_is_part_of_what_is_read(finished):
    plain, other = (
        api.load_reward_model(finished / "sorm" / "hf", template=t).step_scores("2+3?", ["#### 5"])
        for t in ("{question}\n", "Q: {question}\n")
    )
    assert plain != other


def test_a_folder_of_the_wrong_kind_is_refused(finished):
    with pytest.raises(UserError, match="no-such-folder"):
        api.load_policy(finished / "no-such-folder")
    with pytest.raises(UserError, match="student"):
        api.load_reward_model(finished / "student" / "hf")


def test_names_of_the_package():
    assert all(hasattr(glore_jax, name) for name in glore_jax.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'load_polcy'"):
        glore_jax.load_polcy  # noqa: B018
