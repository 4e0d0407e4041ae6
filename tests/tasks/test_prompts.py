"""Tokens of questions, steps and drafts: the same step has the same tokens wherever it stands."""

import os
import pathlib

import hypothesis
import pytest
import tokenizers
from hypothesis import strategies as st
from tiny_llama import Characters

from glore_jax.errors import UserError
from glore_jax.models.tokenizer import Tokenizer
from glore_jax.tasks.prompts import SEPARATOR, Prompts

TOKENIZER = Characters()
PROMPTS = Prompts(TOKENIZER, "question: {question}\n")
STEPS = ["2+3=5", "5*2=10", "#### 10"]
a_step = st.text("0123456789+-*/= abc", min_size=1, max_size=8)


class Merging(Characters):
    """Has tokens for pairs: what a text becomes depends on what it is joined to, as anywhere."""

    pairs = ("5\n", "\n5", "\n1", "=5", "10")

    def encode(self, text):
        out, i = [], 0
        while i < len(text):
            if text[i : i + 2] in self.pairs:
                out.append(100 + self.pairs.index(text[i : i + 2]))
                i += 2
            else:
                out += super().encode(text[i])
                i += 1
        return out

    def decode(self, ids):
        return "".join(
            self.pairs[i - 100] if i >= 100 else super(Merging, self).decode([i]) for i in ids
        )


@pytest.mark.parametrize("tokenizer", [Characters(), Merging()], ids=["characters", "merging"])
@hypothesis.settings(deadline=None, max_examples=50)
@hypothesis.given(steps=st.lists(a_step, min_size=1, max_size=5), ended=st.booleans())
def test_solution(tokenizer, steps, ended):
    prompts = Prompts(tokenizer, "{question}\n")
    tokens, ends = prompts.solution(steps, ended)
    assert len(ends) == len(steps) and ends[-1] == len(tokens)
    assert prompts.text(tokens) == "\n".join(steps) + "\n" * (not ended)
    if ended:
        assert tokens[-1] == tokenizer.eos_id
    for i, (start, end) in enumerate(zip([0, *ends], ends, strict=False)):
        closing = ended and i == len(steps) - 1
        last_step = [*tokenizer.encode(steps[i]), tokenizer.eos_id]
        assert tokens[start:end] == (last_step if closing else prompts.step(steps[i]))
    # A prefix of a solution, and the trunk of a rollout, are exactly its first tokens.
    for keep in range(len(steps)):
        assert prompts.solution(steps[:keep], ended=False)[0] == tokens[: ([0, *ends])[keep]]


def test_tokens_over_the_end_of_a_step_are_told():
    assert Prompts(Merging()).cuts and not PROMPTS.cuts


@pytest.fixture
def sentencepiece():
    """As LLaMA 2 has it: a space comes before a text, but not before each line of it."""
    alphabet = ["<s>", "</s>", "\u2581", "\n", *"0123456789+-*/=#?.:AQaceinorstuw"]
    words = {c: i for i, c in enumerate([*alphabet, "\u25812"])}
    model = tokenizers.models.BPE(words, [("\u2581", "2")], unk_token="</s>")
    backend = tokenizers.Tokenizer(model)
    prepend, replace = tokenizers.normalizers.Prepend, tokenizers.normalizers.Replace
    backend.normalizer = tokenizers.normalizers.Sequence(
        [prepend("\u2581"), replace(" ", "\u2581")]
    )
    backend.decoder = tokenizers.decoders.Sequence(
        [tokenizers.decoders.Replace("\u2581", " "), tokenizers.decoders.Fuse()]
    )
    return Tokenizer(backend, bos_id=0, eos_id=1)


def published(name):
    """The folder of a tokenizer that a registry package carries."""
    folder = pathlib.Path(os.environ.get("TOKENIZERS", "missing"), name)
    return Tokenizer.load(folder) if folder.is_dir() else pytest.skip("TOKENIZERS has none")


@pytest.mark.parametrize("name", ["sentencepiece", "llama2", "llama3_1", "qwen3"])
@pytest.mark.parametrize("template", ["{question}\n", "Question: {question}\nAnswer:\n"])
def test_tokens_are_those_of_the_whole_text(request, name, template):
    """As another tool makes them that reads an export."""
    tokenizer = request.getfixturevalue(name) if name == "sentencepiece" else published(name)
    prompts = Prompts(tokenizer, template)
    assert not prompts.cuts
    if name == "sentencepiece":
        question, steps = "2 + 3 is  Q?", ["2 + 3 = 5", "so 5 is it.", "#### 5"]
        assert prompts.step("2") == tokenizer.encode("\n2\n")[2:] != tokenizer.encode("2\n")
    else:
        question = "Is $2 +  3% much, na\u00efve one?"
        steps = ["2 + 3 = <<2+3=5>>5", "so $5 is it.", "#### 5"]
    tokens, ends, source = prompts.scored(question, steps)
    whole = template.replace("{question}", question) + "\n".join(steps) + "\n"
    assert tokens == tokenizer.begun(whole)
    texts = [tokenizer.decode(tokens[a:b]) for a, b in zip([source, *ends], ends, strict=False)]
    assert texts == [step + "\n" for step in steps]


class Chatting(Characters):
    def chat_prompt(self):
        return "a:{question}\nb:"


def test_a_chat_is_the_tokenizers_own():
    assert Prompts(Chatting(), "chat").question("1+1")[1:] == TOKENIZER.encode("a:1+1\nb:")


class Named(Characters):
    """Knows the text of its beginning of text."""

    def encode(self, text):
        if text.startswith("<s>"):
            return [self.bos_id, *super().encode(text.removeprefix("<s>"))]
        return super().encode(text)


def test_one_beginning_of_text():
    tokenizer = Named()
    named = Prompts(tokenizer, "<s>[{question}]\n").question("1+1")
    assert named == Prompts(tokenizer, "[{question}]\n").question("1+1")
    assert named == [tokenizer.bos_id, *tokenizer.encode("[1+1]\n")]


def test_no_steps():
    assert PROMPTS.solution([]) == ([], [])


def test_question():
    assert PROMPTS.question("2+3?") == [0, *TOKENIZER.encode("question: 2+3?\n")]
    assert PROMPTS.question("2+3?") is not PROMPTS.question("2+3?")  # a caller may append to it
    without = Characters()
    without.bos_id = None
    assert Prompts(without, "{question}\n").question("2+3?") == TOKENIZER.encode("2+3?\n")


@hypothesis.settings(deadline=None, max_examples=50)
@hypothesis.given(steps=st.lists(a_step, max_size=5))
def test_scored(steps):
    """A reward model reads each step, the last one too, at the newline that closes it."""
    tokens, ends, source = PROMPTS.scored("2+3?", steps)
    question = PROMPTS.question("2+3?")
    assert source == len(question)
    assert tokens == question + PROMPTS.solution(steps, ended=False)[0]
    newline = TOKENIZER.encode("\n")[0]
    assert ends == [i + 1 for i, t in enumerate(tokens) if t == newline and i >= len(question)]
    assert len(ends) == len(steps) and TOKENIZER.eos_id not in tokens


def test_results_are_the_callers_own():
    PROMPTS.step("2+3=5").append(7)
    PROMPTS.question("2+3?").append(7)
    assert 7 not in PROMPTS.step("2+3=5")[-1:] and PROMPTS.question("2+3?")[-1] != 7


def test_template_is_filled_once():
    class Recorder(Characters):
        def encode(self, text):
            self.seen = text
            return [5]

    recorder = Recorder()
    Prompts(recorder, "{question} {other}\n").question("a {question} with {braces}")
    assert recorder.seen == "a {question} with {braces} {other}\n"
    with pytest.raises(UserError, match="task.prompt is 'no field': it needs the field {question}"):
        Prompts(recorder, "no field")


@pytest.mark.parametrize("bad", [None, 0, 1, 2])
def test_refine(bad):
    draft = [*STEPS[:2], "#### 11"]
    tokens = PROMPTS.refine("2+3?", draft, bad)
    lines = [f"{'[BAD]' if i == bad else ''}{step}\n" for i, step in enumerate(draft)]
    assert PROMPTS.text(tokens) == "question: 2+3?\n" + "".join(lines) + SEPARATOR
    assert tokens.count(TOKENIZER.bad_id) == (bad is not None)
    # But for the mark, a draft has the tokens it has as a prefix of a solution.
    unmarked = [t for t in tokens if t != TOKENIZER.bad_id]
    question, (solution, _) = PROMPTS.question("2+3?"), PROMPTS.solution(draft, ended=False)
    assert unmarked == question + solution + TOKENIZER.encode(SEPARATOR)


def test_refine_from_steps_that_stand_already():
    source = PROMPTS.refine("2+3?", STEPS, 2)
    tokens = PROMPTS.refine("2+3?", STEPS, 2, STEPS[:2])
    assert tokens == source + PROMPTS.solution(STEPS[:2], ended=False)[0]
    # As in training, where they are written: the target follows the source token by token.
    assert tokens[len(source) :] == PROMPTS.solution(STEPS)[0][: len(tokens) - len(source)]


@pytest.mark.parametrize("bad", [-1, 3])
def test_mark_outside_of_the_draft(bad):
    with pytest.raises(ValueError, match=r"\[BAD\] at step .* of a draft with 3 steps"):
        PROMPTS.refine("2+3?", STEPS, bad)


def test_tokenizer_without_the_mark():
    plain = Characters()
    plain.bad_id = None
    prompts = Prompts(plain, "{question}\n")
    assert prompts.refine("2+3?", STEPS, None)
    with pytest.raises(UserError, match=r"no \[BAD\] token"):
        prompts.refine("2+3?", STEPS, 1)
