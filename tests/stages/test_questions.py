"""Which questions leave room for an answer."""

import pytest
from tiny_llama import Characters

from glore_jax.errors import UserError
from glore_jax.models import hf
from glore_jax.stages import models
from glore_jax.stages.questions import Reader, fit
from glore_jax.tasks.base import Problem
from glore_jax.tasks.prompts import Prompts

PROMPTS = Prompts(Characters(), "{question}\n")
PROBLEMS = [Problem(f"q{n}", "2" * n, "2") for n in (3, 5, 4, 9)]
AROUND = 2  # the beginning of the text and the end of the line


def test_a_question_fits_with_the_last_token_of_its_answer():
    found = fit(PROBLEMS, PROMPTS, context=AROUND + 4 + 10, room=10)
    assert [p.id for p in found.problems] == ["q3", "q4"]
    assert found.left_out == [("q5", AROUND + 5), ("q9", AROUND + 9)]
    line = found.describe("train", 10, 16)
    assert line.startswith("train: 2 of 4 questions left out") and "first q5 (7 tokens)" in line


def test_a_question_far_from_the_limit_is_not_encoded(monkeypatch):
    monkeypatch.setattr(PROMPTS, "question", None)
    assert fit(PROBLEMS, PROMPTS, context=1000, room=10).problems == PROBLEMS


@pytest.mark.parametrize("letter", ["2", "é", "€"])
def test_letters_of_several_tokens(letter):
    """A tokenizer that falls back on bytes makes up to three tokens of these."""

    class Bytes(Characters):
        def encode(self, text):
            return list(text.encode())

    prompts = Prompts(Bytes(), "{question}\n")
    problems = [Problem("q", letter * 100, "2")]
    tokens = len(prompts.question(problems[0].question))
    assert fit(problems, prompts, context=tokens + 10, room=10).problems == problems
    assert fit(problems, prompts, context=tokens + 9, room=10).left_out == [("q", tokens)]


@pytest.fixture
def reader(ctx):
    ctx.config.task.size.train = 6
    return Reader(ctx)


def test_a_split_is_read_once(ctx, reader, monkeypatch):
    first = reader.read(ctx, "train", ("sample.max_new",))
    monkeypatch.setattr(ctx.task, "load", None)
    assert reader.read(ctx, "train", ("sample.max_new",)) is first
    # Another room is another question, of the same problems.
    ctx.config.evaluate.max_new = 200
    other = reader.read(ctx, "train", ("sample.max_new", "evaluate.max_new"))
    assert other.problems == first.problems and len(first.problems) == 6


def test_no_room_at_all(ctx, reader):
    ctx.config.sample.max_new = 1024
    with pytest.raises(UserError, match=r"no question of train .* lower config\.sample\.max_new$"):
        reader.read(ctx, "train", ("sample.max_new",))


def test_the_student_stands_for_a_base_that_is_gone(ctx, reader):
    base = models.base_folder(ctx.config)
    hf_folder = ctx.folder("student", "hf")
    hf_folder.mkdir(parents=True)
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (hf_folder / name).write_bytes((base / name).read_bytes())
    ctx.config.model.base = "/nowhere"
    found = Reader(ctx).read(ctx, "train", ("sample.max_new",))
    ctx.config.model.base = "tiny"
    assert found == reader.read(ctx, "train", ("sample.max_new",))
    assert hf.read_config(hf_folder).max_positions == 1024
