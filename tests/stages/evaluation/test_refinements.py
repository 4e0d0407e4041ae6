"""From scores to marks, from marks to refinements.

Equal marks are one text, and no mark is the draft itself.
"""

import pytest
import some_records
from scripted_engine import Scripted
from tiny_llama import Characters

from glore_jax.models.model import Model
from glore_jax.records import Sample
from glore_jax.sampling.tokens import Sampling
from glore_jax.stages import generation, models
from glore_jax.stages.evaluation import refinements, untrained
from glore_jax.tasks.prompts import Prompts

PROMPTS = Prompts(Characters())
MODEL = Model(None, None, None, Characters())
# Question: steps of the draft, is it right, scores by ORM and SORM, marks of local refinement by
# either. A score at the threshold is a mark.
MARK = {"orm": 0.5, "sorm": 0.5}
DRAFTS = {
    "none": (["2+3=5", "#### 5"], True, [0.9, 0.6], [0.8, 0.7], (None, None)),
    "first": (["2+3=6", "#### 6"], False, [0.2, 0.9], [0.9, 0.5], (0, 1)),
    "same": (["2+3=6", "#### 6"], False, [0.9, 0.1], [0.7, 0.1], (1, 1)),
    "empty": ([], False, [], [], (None, None)),
}


def drafts():
    return [
        some_records.full(
            Sample,
            question_id=name,
            question="2+3?",
            gold="5",
            steps=steps,
            correct=right,
            ended=bool(steps),
        )
        for name, (steps, right, *_) in DRAFTS.items()
    ]


def places(suspects=1):
    return [
        refinements.places_of(steps, {"orm": orm, "sorm": sorm}, MARK, suspects)
        for steps, _, orm, sorm, _ in DRAFTS.values()
    ]


def says(job, fork):
    """A right text for whole drafts, a wrong one for later marks."""
    if fork.cut == 0:
        return "5=2+3\n#### 5"
    return None if job.question_id.startswith("same") else "#### 7"


@pytest.fixture
def refine(ctx, monkeypatch):
    """(records, trunks of the refiner as text), with bidirectional drafts."""
    ctx.config.refiner.attention, ctx.config.evaluate.keep_prefix = "prefix", False
    return refined(ctx, monkeypatch)


def refined(ctx, monkeypatch):
    engine = Scripted(says)

    def make_engine(ctx, model, longest, count, max_new, per_trunk, bidirectional):
        both_ways = ctx.config.refiner.attention == "prefix"
        assert (max_new, per_trunk, bidirectional) == (ctx.config.refiner.max_new, 1, both_ways)
        return engine

    monkeypatch.setattr(models, "load_policy", lambda ctx, *parts: MODEL)
    monkeypatch.setattr(generation, "make_engine", make_engine)
    found = refinements.refine(ctx, "evaluate/test/refinements", drafts(), places())
    trunks = [Characters().decode(trunk) for trunk in engine.trunks]
    return dict(zip(DRAFTS, found, strict=True)), trunks


def test_marks_stand_at_the_first_step_that_is_not_above_the_threshold(refine):
    marks = {q: (r["local_orm"]["bad"], r["local_sorm"]["bad"]) for q, r in refine[0].items()}
    assert marks == {q: d[4] for q, d in DRAFTS.items()}
    assert [r["global"]["bad"] for r in refine[0].values()] == [0, 0, 0, None]


def test_the_refiner_reads_each_mark_once(refine):
    draft, end = "2+3=6\n{}#### 6\n", "Correction:\n"
    whole = {"none": "[BAD]2+3=5\n#### 5\n", "other": "[BAD]2+3=6\n#### 6\n"}
    local = draft.format("[BAD]")
    texts = [whole["none"], whole["other"], local, whole["other"], local]
    assert refine[1] == [f"2+3?\n{text}{end}" for text in texts]


def test_without_a_mark_the_refinement_is_the_draft(refine):
    for kind in ("local_orm", "local_sorm"):
        assert refine[0]["none"][kind] == {
            "bad": None,
            "steps": ["2+3=5", "#### 5"],
            "correct": True,
            "ended": True,
            "tokens": 0,
        }


def test_a_mark_at_the_first_step_gives_the_global_text(refine):
    record = refine[0]["first"]
    assert record["local_orm"] == record["global"]
    assert record["global"]["steps"] == ["5=2+3", "#### 5"] and record["global"]["correct"]


def test_a_refinement_is_graded_on_its_own(refine):
    local = refine[0]["first"]["local_sorm"]
    assert not local["correct"] and local["steps"] == ["#### 7"]
    truncated = refine[0]["same"]["local_orm"]
    assert not truncated["ended"] and truncated["steps"] == []
    assert truncated == refine[0]["same"]["local_sorm"]


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
    kinds = [refine[0]["empty"][kind] for kind in refinements.KINDS]
    assert kinds == [{"bad": None, "steps": [], "correct": False, "ended": False, "tokens": 0}] * 3


def test_each_locator_has_its_own_mark():
    scores = {"orm": [0.3, 0.2], "sorm": [0.7, 0.6]}
    found = refinements.places_of(["a", "b"], scores, {"orm": 0.25, "sorm": 0.7})
    assert found == {"global": 0, "local_orm": 1, "local_sorm": 0}


def test_the_next_suspect_is_where_the_score_falls_most():
    """Also where nothing is flagged; with one step less there is none."""
    found = dict(zip(DRAFTS, places(suspects=2), strict=True))
    assert {q: p["local_sorm_2"] for q, p in found.items()} == {
        "none": 0,
        "first": 0,
        "same": 0,
        "empty": None,
    }
    assert [p["local_sorm"] for p in found.values()] == [p["local_sorm"] for p in places()]


def test_the_student_goes_on_from_the_step_before_the_mark(ctx, monkeypatch):
    engine = Scripted(lambda job, fork: f"#### {5 + fork.rollout}")
    asked = {}

    def make_engine(ctx, model, longest, count, max_new, per_trunk, seed):
        asked.update(longest=longest, count=count, per_trunk=per_trunk)
        return engine

    monkeypatch.setattr(models, "load_policy", lambda ctx, *parts: MODEL)
    monkeypatch.setattr(generation, "make_engine", make_engine)
    ctx.config.evaluate.backtrack = 2
    sampling = Sampling(0.7, max_new=24)
    folder = "evaluate/test/backtracks"
    found = dict(
        zip(DRAFTS, refinements.backtrack(ctx, folder, drafts(), places(), sampling), strict=True)
    )
    assert found["none"] == found["empty"] == {}
    assert [Characters().decode(trunk) for trunk in engine.trunks] == ["2+3?\n2+3=6\n"] * 2
    assert asked == {"longest": len("2+3?\n2+3=6\n") + 1, "count": 2, "per_trunk": 2}
    first = found["first"]
    assert list(first) == ["backtrack_1", "backtrack_2"]
    assert first["backtrack_1"]["steps"] == ["2+3=6", "#### 5"] and first["backtrack_1"]["correct"]
    assert first["backtrack_2"]["steps"] == ["2+3=6", "#### 6"]
    assert first["backtrack_2"]["tokens"] == len("#### 6")
    assert engine.sampling.temperature == 0.7


def test_the_untrained_base_is_told_where_by_the_steps_that_stand(ctx, monkeypatch):
    """It does not know [BAD]; what it reads is the refiner's prompt without it."""
    engine = Scripted(says)
    monkeypatch.setattr(models, "load_base", lambda ctx: MODEL)
    monkeypatch.setattr(generation, "make_engine", lambda *args: engine)
    found = dict(
        zip(DRAFTS, untrained.refine(ctx, "evaluate/test/base", drafts(), places()), strict=True)
    )
    texts = [Characters().decode(trunk) for trunk in engine.trunks]
    assert not any("[BAD]" in text for text in texts)
    asked = "2+3?\n2+3=6\n#### 6\nCorrection:\n"
    assert texts[1:3] == [asked, f"{asked}2+3=6\n"]
    assert found["first"]["base_local"]["steps"] == ["2+3=6", "#### 7"]
    assert found["first"]["base_global"]["correct"]
    assert found["none"]["base_local"]["steps"] == ["2+3=5", "#### 5"]  # nothing is marked
    assert "\n\n" in engine.sampling.stop
