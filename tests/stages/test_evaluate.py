"""From scores to marks, from marks to refinements; equal marks are one text, and no mark is the draft itself."""

import numpy as np
import pytest
from scripted_engine import Scripted
from tiny_llama import Characters

from glore_jax.models.model import Model
from glore_jax.stages import evaluate, generation, models, rewards
from glore_jax.tasks.prompts import Prompts

PROMPTS = Prompts(Characters())
MODEL = Model(None, None, None, Characters())
# Question: steps of the draft, is it right, scores by ORM and SORM, marks of local refinement by either.
DRAFTS = {
    "none": (["2+3=5", "#### 5"], True, [0.9, 0.6], [0.8, 0.7], (None, None)),
    "first": (
        ["2+3=6", "#### 6"],
        False,
        [0.2, 0.9],
        [0.9, 0.5],
        (0, 1),
    ),  # a score at the threshold is a mark
    "same": (["2+3=6", "#### 6"], False, [0.9, 0.1], [0.7, 0.1], (1, 1)),
    "empty": ([], False, [], [], (None, None)),
}


def drafts():
    return [
        {
            "question_id": q,
            "question": "2+3?",
            "gold": "5",
            "steps": steps,
            "correct": right,
            "ended": bool(steps),
        }
        for q, (steps, right, *_) in DRAFTS.items()
    ]


def says(job, fork):
    """A right text for whole drafts, a wrong one for later marks."""
    return (
        "5=2+3\n#### 5"
        if fork.cut == 0
        else None
        if job.question_id.startswith("same")
        else "#### 7"
    )


@pytest.fixture
def refine(ctx, monkeypatch):
    """(records, trunks of the refiner as text), with bidirectional drafts."""
    ctx.config.refiner.attention, ctx.config.evaluate.keep_prefix = "prefix", False
    return refined(ctx, monkeypatch)


def refined(ctx, monkeypatch):
    engine = Scripted(says)
    trunks = []

    def make_engine(ctx, model, given, max_new, per_trunk, bidirectional):
        trunks.extend(Characters().decode(t) for t in given)
        both_ways = ctx.config.refiner.attention == "prefix"
        assert (max_new, per_trunk, bidirectional) == (ctx.config.refiner.max_new, 1, both_ways)
        return engine

    monkeypatch.setattr(models, "load_policy", lambda ctx, *parts: MODEL)
    monkeypatch.setattr(generation, "make_engine", make_engine)
    ctx.config.evaluate.mark, ctx.config.evaluate.threshold = 0.5, 0.9
    scores = {"orm": [d[2] for d in DRAFTS.values()], "sorm": [d[3] for d in DRAFTS.values()]}
    return {r["question_id"]: r for r in evaluate.refine(ctx, "test", drafts(), scores)}, trunks


def test_marks_stand_at_the_first_step_that_is_not_above_the_threshold(refine):
    marks = {q: (r["local_orm"]["bad"], r["local_sorm"]["bad"]) for q, r in refine[0].items()}
    assert marks == {q: d[4] for q, d in DRAFTS.items()}
    assert [r["global"]["bad"] for r in refine[0].values()] == [0, 0, 0, None]


def test_the_refiner_reads_each_mark_once(refine):
    draft, end = "2+3=6\n{}#### 6\n", "Correction:\n"
    whole = {"none": "[BAD]2+3=5\n#### 5\n", "other": "[BAD]2+3=6\n#### 6\n"}
    texts = [
        whole["none"],
        whole["other"],
        draft.format("[BAD]"),
        whole["other"],
        draft.format("[BAD]"),
    ]
    assert refine[1] == [f"2+3?\n{text}{end}" for text in texts]


def test_without_a_mark_the_refinement_is_the_draft(refine):
    for kind in ("local_orm", "local_sorm"):
        assert refine[0]["none"][kind] == {
            "bad": None,
            "steps": ["2+3=5", "#### 5"],
            "correct": True,
            "ended": True,
        }


def test_a_mark_at_the_first_step_gives_the_global_text(refine):
    record = refine[0]["first"]
    assert record["local_orm"] == record["global"]
    assert record["global"]["steps"] == ["5=2+3", "#### 5"] and record["global"]["correct"]


def test_a_refinement_is_graded_on_its_own(refine):
    assert not refine[0]["first"]["local_sorm"]["correct"] and refine[0]["first"]["local_sorm"][
        "steps"
    ] == ["#### 7"]
    truncated = refine[0]["same"]["local_orm"]
    assert (
        not truncated["ended"]
        and truncated["steps"] == []
        and truncated == refine[0]["same"]["local_sorm"]
    )


def test_a_local_refinement_may_begin_with_the_steps_before_the_mark(ctx, monkeypatch):
    ctx.config.evaluate.keep_prefix = True
    records, trunks = refined(ctx, monkeypatch)
    local = [t for t in trunks if "\n[BAD]####" in t]
    assert local == ["2+3?\n2+3=6\n[BAD]#### 6\nCorrection:\n2+3=6\n"] * 2
    assert all(t.endswith("Correction:\n") for t in trunks if t not in local)
    assert records["first"]["local_sorm"]["steps"] == ["2+3=6", "#### 7"]
    assert records["first"]["global"]["steps"] == ["5=2+3", "#### 5"]
    truncated = records["same"]["local_sorm"]
    assert truncated["steps"] == ["2+3=6"] and not truncated["correct"] and not truncated["ended"]


def test_an_empty_draft_stays_as_it_is(refine):
    kinds = [refine[0]["empty"][kind] for kind in evaluate.KINDS]
    assert kinds == [{"bad": None, "steps": [], "correct": False, "ended": False}] * 3


@pytest.fixture
def scorer(ctx, monkeypatch):
    """Scores tell which model read what: one hundred for each model, the number of the text, a tenth for each step."""
    calls = []

    def score(ctx, model, solutions, name):
        calls.append(name)
        return [
            np.float32([model + i + step / 10 for step in range(len(s))])
            for i, (_, s) in enumerate(solutions)
        ]

    values = {("orm", "hf"): 100.0, ("orm", "balanced_hf"): 200.0, ("sorm", "hf"): 300.0}
    monkeypatch.setattr(models, "load_reward", lambda ctx, *parts: values[parts])
    monkeypatch.setattr(rewards, "score", score)
    return calls


def test_every_model_scores_drafts_and_samples(ctx, scorer):
    ctx.config.orm.balanced = True
    samples = [{"question": "2+3?", "steps": ["a"]}, {"question": "2+3?", "steps": ["a", "b"]}]
    found = evaluate.score_all(ctx, "test", drafts()[2:], samples)
    for base, name in ((100, "orm"), (200, "balanced_orm"), (300, "sorm")):
        assert found["drafts"][name] == [pytest.approx([base, base + 0.1]), []]
        assert found["samples"][name] == [
            pytest.approx([base + 2]),
            pytest.approx([base + 3, base + 3.1]),
        ]
    assert len(scorer) == 3
    assert (
        evaluate.score_all(ctx, "test", drafts()[2:], samples) == found and len(scorer) == 3
    )  # kept


def test_without_the_balanced_model(ctx, scorer):
    ctx.config.orm.balanced = False
    assert set(evaluate.score_all(ctx, "test", drafts(), [])["drafts"]) == {"orm", "sorm"}


def test_a_refinement_has_the_score_of_its_last_step(ctx, scorer):
    texts = [["a", "b", "c"], ["a"], []]
    refined = [
        {"question": "2+3?"}
        | {kind: {"steps": s} for kind, s in zip(evaluate.KINDS, texts, strict=True)}
    ] * 2
    rows = evaluate.score_refinements(ctx, "test", refined)
    assert rows == [
        {"global": pytest.approx(100.2), "local_orm": pytest.approx(101), "local_sorm": 0.0},
        {"global": pytest.approx(103.2), "local_orm": pytest.approx(104), "local_sorm": 0.0},
    ]
    assert evaluate.score_refinements(ctx, "test", refined) == rows and len(scorer) == 1
