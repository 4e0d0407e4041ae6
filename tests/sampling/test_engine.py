"""A fork says what the policy says after its prefix, whoever sits beside it."""

import jax
import numpy as np
import pytest
import tokenizers
from tiny_llama import CONFIG, Characters, forward, fresh

from glore_jax.errors import UserError
from glore_jax.models import hf_export, llama
from glore_jax.models.model import Model
from glore_jax.models.tokenizer import Tokenizer
from glore_jax.parallel import mesh as meshes
from glore_jax.sampling import budget
from glore_jax.sampling.budget import Capacity
from glore_jax.sampling.engine import Engine, Fork, Job
from glore_jax.sampling.tokens import Sampling

TOKENIZER = Characters()
GREEDY, DRAWN = Sampling(0.0, max_new=12), Sampling(1.0, max_new=12)
WIDTH = 40


def numbers(size):
    """A tokenizer file for `size` ids."""
    words = tokenizers.models.WordLevel({str(i): i for i in range(size)}, unk_token="0")
    return Tokenizer(tokenizers.Tokenizer(words), bos_id=0, eos_id=1)


def trunk(seed, length):
    return [0, *np.random.default_rng(seed).integers(3, Characters.vocab_size, length - 1).tolist()]


def engine(
    policy, *, groups=2, slots=2, shelves=1, max_trunk=24, max_new=12, round_steps=5, **options
):
    capacity = Capacity(groups, slots, shelves, max_trunk, max_new)
    return Engine(Model(*policy, CONFIG, TOKENIZER), capacity, round_steps=round_steps, **options)


@pytest.fixture(scope="module")
def policy():
    return fresh()


def completions(engine, jobs, sampling):
    """{(question, fork): completion} of all jobs."""
    return {
        (j.question_id, f): c for j in engine.run(jobs, sampling) for f, c in j.completions.items()
    }


def many_jobs():
    """Seven trunks of different lengths, four forks each from different tokens.

    More than two groups of two slots hold.
    """
    jobs = []
    for i in range(7):
        tokens = trunk(i, 8 + 2 * i)
        forks = [
            Fork(len(tokens), sample=0),
            Fork(len(tokens), sample=1),
            Fork(3 + i, cut=1),
            Fork(1, cut=2, rollout=i),
        ]
        jobs.append(Job(f"question {i}", tokens, forks))
    return jobs


@pytest.fixture(scope="module")
def plain(policy):
    """(engine, completions) of `many_jobs` in two groups of two slots, taken several times over."""
    e = engine(policy)
    return e, completions(e, many_jobs(), DRAWN)


def full_greedy(policy, prefixes, count, bidirectional=False):
    """Greedy continuations by whole forward passes, one a token: no cache, no fork."""
    rows = np.zeros((len(prefixes), WIDTH), np.int32)
    lengths = np.array([len(p) for p in prefixes])
    for row, prefix in zip(rows, prefixes, strict=True):
        row[: len(prefix)] = prefix
    both_ways = np.arange(WIDTH) < lengths[:, None] if bidirectional else None
    starts = lengths.copy()
    for _ in range(count):
        logits = np.asarray(forward(*policy, rows, both_ways))
        last = logits[np.arange(len(rows)), lengths - 1, : TOKENIZER.vocab_size]
        rows[np.arange(len(rows)), lengths] = last.argmax(-1)
        lengths += 1
    out = []
    for row, start in zip(rows, starts, strict=True):
        tokens = row[start : start + count].tolist()
        end = tokens.index(TOKENIZER.eos_id) if TOKENIZER.eos_id in tokens else count
        out.append(tuple(tokens[:end]))
    return out


@pytest.mark.parametrize("unroll", [False, True], ids=["scanned", "unrolled"])
def test_forks_continue_their_prefix(unroll):
    policy = fresh(unroll=unroll)
    tokens, cuts = trunk(0, 20), [1, 2, 5, 13, 19, 20]
    job = Job("q", tokens, [Fork(at, cut=at) for at in cuts])
    (done,) = engine(policy).run([job], GREEDY)
    assert done is job
    expected = full_greedy(policy, [tokens[:at] for at in cuts], 12)
    assert [job.completions[Fork(at, cut=at)].tokens for at in cuts] == expected
    assert len(set(expected)) > 3  # the cut matters


def test_bidirectional_trunk(policy):
    trunks = [trunk(i, n) for i, n in enumerate((20, 13, 7))]
    jobs = [Job(f"q{i}", t, [Fork(len(t))]) for i, t in enumerate(trunks)]
    found = completions(engine(policy, bidirectional=True), jobs, GREEDY)
    expected = full_greedy(policy, trunks, 12, bidirectional=True)
    assert [found[f"q{i}", Fork(len(t))].tokens for i, t in enumerate(trunks)] == expected
    assert expected != full_greedy(policy, trunks, 12)  # the direction matters


@pytest.mark.parametrize(
    "shape",
    [
        dict(groups=3, slots=1, round_steps=3, max_new=40),
        dict(groups=5, slots=4, round_steps=16),
        dict(groups=1, slots=3, shelves=3),
    ],
    ids=["single slots, room for more", "everything at once", "shelves"],
)
def test_text_does_not_depend_on_company(policy, plain, shape):
    jobs = many_jobs()
    for job in jobs:
        job.waiting.reverse()
    found = completions(engine(policy, **shape), jobs[3:] + jobs[:3], DRAWN)
    assert found.keys() == plain[1].keys() and len(found) == 28
    for name, completion in found.items():
        assert completion.tokens == plain[1][name].tokens
        assert completion.logprob == pytest.approx(plain[1][name].logprob, abs=1e-3)
    assert len({c.tokens for c in found.values()}) > 25  # they differ among themselves


def test_long_texts_cross_blocks(monkeypatch):
    """Suffixes of several blocks, which rotate while older and younger forks sit side by side."""
    policy = fresh(unroll=True)
    monkeypatch.setattr(budget, "suffix_blocks", lambda max_new: (-(-max_new // 8) + 1, 8))
    tokens = trunk(3, 12)
    forks = [Fork(12 - i % 5, rollout=i) for i in range(14)]
    e = engine(policy, groups=1, slots=3, round_steps=3, max_new=30)
    thirty = Sampling(1.0, max_new=30)
    found = completions(e, [Job("long", tokens, forks)], thirty)
    alone = completions(engine(policy, max_new=100), [Job("long", tokens, [forks[3]])], thirty)
    assert found["long", forks[3]].tokens == alone["long", forks[3]].tokens
    assert e.capacity.blocks == 5 and max(len(c.tokens) for c in found.values()) == 30
    greedy = completions(e, [Job("greedy", tokens, forks[:5])], Sampling(0.0, max_new=30))
    expected = full_greedy(policy, [tokens[: f.at] for f in forks[:5]], 28)
    assert [greedy["greedy", f].tokens[:28] for f in forks[:5]] == expected


@pytest.mark.parametrize(
    "temperature, top_k, top_p", [(1.0, 0, 1.0), (0.6, 0, 1.0), (1.0, 6, 1.0), (1.3, 0, 0.7)]
)
def test_frequencies_of_what_is_drawn(policy, temperature, top_k, top_p):
    """Chi-square of the first tokens of 1024 forks against the softmax that was asked for."""
    tokens = trunk(1, 9)
    forks = [Fork(9, rollout=i) for i in range(1024)]
    e = engine(policy, groups=1, slots=256, max_new=1)
    sampling = Sampling(temperature, top_k, top_p, max_new=1)
    found = completions(e, [Job("q", tokens, forks)], sampling)
    drawn = [(c.tokens or (TOKENIZER.eos_id,))[0] for c in found.values()]
    logits = np.asarray(forward(*policy, np.array([tokens], np.int32)))
    logits = logits[0, -1, : TOKENIZER.vocab_size].astype(float)
    p = np.exp((logits - logits.max()) / temperature)
    order = np.argsort(-p)
    p[order[top_k or len(p) :]] = 0
    p /= p.sum()
    p[order[np.cumsum(p[order]) - p[order] >= top_p]] = 0
    p /= p.sum()
    counts = np.bincount(drawn, minlength=len(p))
    assert not counts[p == 0].any()
    likely = p * len(drawn) >= 5
    pooled = [(counts[i], p[i]) for i in np.flatnonzero(likely)]
    pooled.append((counts[~likely].sum(), p[~likely].sum()))
    statistic = sum((c - q * len(drawn)) ** 2 / (q * len(drawn)) for c, q in pooled if q > 0)
    freedom = sum(q > 0 for _, q in pooled) - 1
    assert statistic < freedom + 4 * (2 * freedom) ** 0.5  # four standard deviations


def test_transformers_writes_the_same(policy, tmp_path):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    model = Model(None, policy[1], CONFIG, numbers(CONFIG.vocab_size))
    hf_export.save_policy(tmp_path / "hf", model, "float32")
    load = transformers.LlamaForCausalLM.from_pretrained
    reference = load(tmp_path / "hf", dtype=torch.float32).eval()
    # Rows of the embedding that are no words.
    padding = list(range(TOKENIZER.vocab_size, CONFIG.vocab_size))
    tokens, cuts = trunk(5, 20), [2, 9, 20]
    (job,) = engine(policy).run([Job("q", tokens, [Fork(at, cut=at) for at in cuts])], GREEDY)
    for at in cuts:
        ids = torch.tensor([tokens[:at]])
        out = reference.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=12,
            suppress_tokens=padding,
            eos_token_id=TOKENIZER.eos_id,
            pad_token_id=0,
        )
        written = out[0, at:].tolist()
        expected = tuple(t for t in written if t != TOKENIZER.eos_id)
        assert job.completions[Fork(at, cut=at)].tokens == expected


def test_logprob_is_teacher_forced(policy, plain):
    trunks = {j.question_id: j.trunk for j in many_jobs()}
    names = list(plain[1])
    rows, spans = np.zeros((len(names), WIDTH), np.int32), []
    for row, (question, fork) in zip(rows, names, strict=True):
        completion = plain[1][question, fork]
        end = [TOKENIZER.eos_id] * completion.ended
        whole = [*trunks[question][: fork.at], *completion.tokens, *end]
        row[: len(whole)] = whole
        spans.append((fork.at, len(whole)))
    logits = forward(*policy, rows)[..., : TOKENIZER.vocab_size]
    logprobs = np.asarray(jax.nn.log_softmax(logits))
    for i, (name, (start, end)) in enumerate(zip(names, spans, strict=True)):
        expected = sum(logprobs[i, t - 1, rows[i, t]] for t in range(start, end))
        assert plain[1][name].logprob == pytest.approx(expected, abs=1e-3)


def test_ends(plain):
    found = plain[1].values()
    assert {c.ended for c in found} == {True, False}  # both ways to end occur
    for c in found:
        assert TOKENIZER.eos_id not in c.tokens and max(c.tokens, default=0) < TOKENIZER.vocab_size
        assert len(c.tokens) == 12 if not c.ended else len(c.tokens) < 12
        assert c.text == TOKENIZER.decode(c.tokens)


def test_work_is_counted_once(plain):
    stats, found = plain[0].stats, plain[1]
    # Once a trunk and group that its forks come to, not once a fork: two groups, four forks each.
    once = sum(len(j.trunk) for j in many_jobs())
    assert once <= stats.prefill_tokens <= 2 * once
    assert stats.tokens == sum(len(c.tokens) + c.ended for c in found.values())
    assert stats.forks == 28 and stats.seconds > 0
    assert 0.5 < stats.occupancy <= 1


def test_identity_decides_the_text(policy, plain):
    tokens = trunk(4, 16)
    forks = [
        Fork(16),
        Fork(16, sample=1),
        Fork(16, cut=1),
        Fork(16, rollout=1),
        Fork(16, sample=1, rollout=1),
    ]
    e = engine(policy)
    jobs = [Job("question 4", tokens, forks), Job("another", tokens, forks[:1])]
    found = completions(e, jobs, DRAWN)
    texts = [c.tokens for c in found.values()]
    assert len(set(texts)) == len(texts)
    of_another_engine = plain[1]["question 4", Fork(16)]
    assert found["question 4", Fork(16)].tokens == of_another_engine.tokens
    reseeded = completions(engine(policy, seed=1), [Job("question 4", tokens, forks)], DRAWN)
    assert all(reseeded["question 4", f].tokens != found["question 4", f].tokens for f in forks)


def test_an_error_while_grading_is_raised(policy):
    class Broken(Job):
        def done(self, fork, completion):
            raise RuntimeError("cannot grade")

    with pytest.raises(RuntimeError, match="cannot grade"):
        list(engine(policy).run([Broken("b", trunk(0, 5), [Fork(5)])], DRAWN))


@pytest.mark.parametrize("shelves", [1, 3])
def test_jobs_may_ask_for_more(policy, shelves):
    class Chain(Job):
        """After each fork one further back, until the first token."""

        def done(self, fork, completion):
            assert self.completions[fork] is completion
            return [Fork(fork.at - 1, cut=fork.cut + 1)] if fork.at > 1 else []

    jobs = [Chain(f"chain {i}", trunk(i, 4 + i), [Fork(4 + i)]) for i in range(3)]
    nothing = Job("nothing", trunk(9, 5))
    e = engine(policy, groups=1, shelves=shelves)
    order = [j.question_id for j in e.run([*jobs, nothing], DRAWN)]
    assert sorted(order) == ["chain 0", "chain 1", "chain 2", "nothing"]
    assert nothing.completions == {}
    for i, job in enumerate(jobs):
        assert sorted(f.at for f in job.completions) == list(range(1, 5 + i))
    assert e.stats.prefill_tokens == sum(len(j.trunk) for j in jobs)


def test_stop_texts(policy, plain):
    """A text ends before the first stop string, wherever tokens and rounds end."""
    e, whole = plain[0], plain[1]
    texts = [c.text for c in whole.values()]
    longest = max(texts, key=len)
    stop = (longest[4:6], max(texts, key=lambda t: (len(t), t))[1])  # two tokens long, and one
    before = e.stats.tokens
    found = completions(e, many_jobs(), Sampling(1.0, max_new=12, stop=stop))
    cut = 0
    for name, completion in found.items():
        at = min((i for s in stop if (i := whole[name].text.find(s)) >= 0), default=None)
        assert completion.text == whole[name].text[:at]
        assert completion.ended == (whole[name].ended or at is not None)
        cut += at is not None
    assert 0 < cut < len(found)
    unstopped = sum(len(c.tokens) + c.ended for c in whole.values())
    assert e.stats.tokens - before < unstopped  # stopped slots stop


@pytest.mark.parametrize("data, fsdp, tensor", [(8, 1, 1), (2, 2, 2)])
def test_many_devices_write_the_same(policy, plain, data, fsdp, tensor):
    mesh = meshes.make_mesh(data, fsdp, tensor)
    shardings = meshes.param_shardings(llama.abstract(CONFIG)[1], mesh)
    graphdef, params = policy
    e = engine((graphdef, jax.device_put(params, shardings)), groups=3, mesh=mesh)
    assert e.capacity.groups == (8 if tensor == 1 else 4)
    found = completions(e, many_jobs(), DRAWN)
    assert {k: c.tokens for k, c in found.items()} == {k: c.tokens for k, c in plain[1].items()}


def test_trunk_that_is_too_long(policy):
    with pytest.raises(UserError, match="question seven has 25 tokens, more than the 24"):
        list(engine(policy).run([Job("seven", trunk(0, 25), [Fork(25)])], GREEDY))


def test_room_beyond_the_context(policy):
    with pytest.raises(UserError, match="context of 160"):
        engine(policy, max_trunk=149)
    with pytest.raises(ValueError, match="max_new 13 exceeds the engine's 12"):
        list(engine(policy).run([Job("q", trunk(0, 5), [Fork(5)])], Sampling(max_new=13)))
