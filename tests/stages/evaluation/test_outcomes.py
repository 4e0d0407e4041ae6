"""The system and its rivals on questions whose candidates are known."""

import dataclasses

import pytest
from known_records import RIGHT, WRONG, context, make_records, make_sampled

from glore_jax.stages import evaluate
from glore_jax.stages.evaluation import candidates, measures, outcomes


def choices_of(records, **fields):
    ctx = context()
    vars(ctx.config.evaluate).update(fields)
    return candidates.of_split(ctx.task, ctx.config, records)


def test_the_system_and_what_bounds_it():
    records = make_records()
    choices = choices_of(records)
    # Chosen: a global (right), b draft (wrong), c global (wrong), d draft (right), e local (wrong).
    names = [candidates.chosen(some, records.in_force).name for some in choices]
    assert names == ["global", "draft", "global", "draft", "local"]
    assert outcomes.outcomes(choices, records) == {
        "draft": [False, False, True, True, False],
        "rerank": [True, False, False, True, False],
        "oracle": [True, True, True, True, False],
    }


def test_rivals_that_draw_samples():
    """Of a: draft 6 (.2), samples 6 (.3, -1), 5 (.8, -2), 6.0 (.2, -3); of b: draft 6 (.5), samples
    5 (.9, -1), none (.1, -9), 5 (.5, -3). Drafts have -1.5."""
    records = make_sampled()
    found = outcomes.outcomes(choices_of(records), records)
    assert found["greedy2_orm"] == [True, True]
    assert found["greedy2_loglik"] == [False, True]
    # b has one vote for 6 and one for 5, which is likelier.
    assert found["majority3"] == [False, True]
    assert found["weighted3"] == [True, True]  # .8 against .2 + .3; .9 against .5
    assert found["bo3"] == [True, True] and found["bo3_oracle"] == [True, True]
    assert "equal_orm" not in found and "base_judge" not in found
    assert all(len(right) == 2 for right in found.values())


def test_tokens_are_those_that_were_drawn():
    records = make_sampled()
    spent = {name: s.tokens for name, s in outcomes.systems(choices_of(records), records).items()}
    assert spent["draft"] == 10 and spent["rerank"] == spent["oracle"] == 30
    assert spent["greedy2_orm"] == spent["bo3"] == 30
    # A local refinement from the first step is the global one, and no step marked is the draft:
    # nothing is drawn for either.
    refined = [dict(of_draft) for of_draft in records.refined]
    refined[0]["local_sorm"] = {**refined[0]["global"]}
    refined[1]["local_sorm"] = {**refined[1]["local_sorm"], "bad": None}
    records = dataclasses.replace(records, refined=refined)
    system = outcomes.systems(choices_of(records), records)["rerank"]
    assert system.tokens == 20


def test_the_base_as_judge_and_as_refiner():
    records = make_sampled()
    base = [
        {
            "base_global": {**of_draft["global"], "correct": right, "tokens": 40},
            "base_local": {**of_draft["local_sorm"], "correct": False, "tokens": 7},
        }
        for of_draft, right in zip(records.refined, (True, False), strict=True)
    ]
    judged = [
        {**row, "draft": -3.0, "global": -2.0, "local_sorm": -1.0}
        | {"base_global": -9.0, "base_local": -9.0}
        for row in records.finals["orm"]
    ]
    finals = {
        "orm": [{**row, "base_global": 0.8, "base_local": 0.1} for row in records.finals["orm"]],
        "base_loglik": judged,
        "loglik": judged,
    }
    refined = [{**r, **b} for r, b in zip(records.refined, base, strict=True)]
    records = dataclasses.replace(records, refined=refined, finals=finals)
    of_base = candidates.of_base(context().task, records)
    found = outcomes.systems(choices_of(records), records, of_base)
    assert "base_refiner_system" not in found  # the ORM is who chooses
    assert found["base_refiner"].right == [True, False]
    assert found["base_refiner"].tokens == 10 + 40 + 7
    # The local one of a and of b is right.
    assert found["base_judge"].right == found["rerank_loglik"].right == [True, True]
    assert found["base_judge"].tokens == found["rerank"].tokens


def with_base(records, scores, place=1):
    """Of the base: a right text from the start, and a wrong one from `place`; scored so."""
    texts = {"base_global": (RIGHT, True, 0), "base_local": (WRONG, False, place)}
    base = {
        kind: {"steps": steps, "correct": right, "bad": bad, "tokens": 10}
        for kind, (steps, right, bad) in texts.items()
    }
    refined = [{**of_draft, **base} for of_draft in records.refined]
    finals = {
        scorer: [{**row, **scores[scorer]} for row in records.finals["orm"]] for scorer in scores
    }
    return dataclasses.replace(records, refined=refined, finals=finals)


def test_rivals_choose_as_the_system_does():
    """The likelihood alone decides; of the samples the likeliest is no favourite of the ORM."""
    scores = {
        "orm": {"base_global": 0.1, "base_local": 0.99},
        "sorm": {"base_global": 0.5, "base_local": 0.5},
        "loglik": {"draft": -9.0, "base_global": -1.0, "base_local": -5.0},
    }
    records = with_base(make_sampled(), scores)
    records = dataclasses.replace(
        records,
        in_force=dataclasses.replace(
            records.in_force, choose="combination", combination=(0.0, 0.0, 1.0)
        ),
    )
    of_base = candidates.of_base(context().task, records)
    found = outcomes.systems(choices_of(records), records, of_base)
    assert found["base_refiner"].right == [False, False]
    assert found["base_refiner_system"].right == [True, True]
    assert found["greedy2_system"].right == found["greedy2_loglik"].right == [False, True]
    assert found["greedy2_system"].tokens == found["greedy2_orm"].tokens
    assert found["greedy2_orm"].right == [True, True]


def test_what_the_base_wrote_once_votes_once():
    """Of a: 6 has .2 (draft) and .3 (from the mark), 5 has .4."""
    scores = {"orm": {"base_global": 0.4, "base_local": 0.3}}
    for place, right in ((1, False), (0, True), (None, True)):
        records = with_base(make_sampled(), scores, place)
        in_force = dataclasses.replace(records.in_force, choose="vote")
        records = dataclasses.replace(records, in_force=in_force)
        of_base = candidates.of_base(context().task, records)
        found = outcomes.outcomes(choices_of(records), records, of_base)
        assert found["base_refiner_system"][0] is right
    assert candidates.of_base(context().task, make_sampled()) == []


def test_a_system_of_more_candidates_is_met_by_more_samples():
    records = make_sampled()
    extra = evaluate.extra_samples(records.drafts, records.samples, 2)
    refined = [{**r, **more} for r, more in zip(records.refined, extra, strict=True)]
    finals = [{**row, "sample_1": 0.3, "sample_2": 0.8} for row in records.finals["orm"]]
    assert [text["correct"] for text in extra[0].values()] == [False, True]
    records = dataclasses.replace(records, refined=refined, finals={"orm": finals})
    choices = choices_of(records, extra_samples=2)
    assert [candidate.name for candidate in choices[0]][-2:] == ["sample_1", "sample_2"]
    found = outcomes.systems(choices, records)
    assert found["rerank"].tokens == found["equal_orm"].tokens == 50
    # The draft and all four samples: of a the ORM takes 7.
    assert found["equal_orm"].right == [False, True]
    assert "equal_system" not in found
    voting = dataclasses.replace(records.in_force, choose="vote")
    records = dataclasses.replace(records, in_force=voting)
    found = outcomes.systems(choices, records)
    assert found["equal_system"].right == found["equal_weighted"].right


def costly(records, tokens):
    """The same, with refinements of so many tokens."""
    refined = [
        {kind: {**text, "tokens": tokens} for kind, text in of_draft.items()}
        for of_draft in records.refined
    ]
    return dataclasses.replace(records, refined=refined)


@pytest.mark.parametrize("tokens, equal", [(10, None), (11, 40), (15, 40), (16, 50), (20, 50)])
def test_rivals_have_no_fewer_tokens_than_a_system_of_three_candidates(tokens, equal):
    """A draft of 10 tokens and two refinements; samples have 10."""
    records = costly(make_sampled(), tokens)
    found = outcomes.systems(choices_of(records), records)
    assert found["rerank"].tokens == 10 + 2 * tokens and found["greedy2_orm"].tokens == 30
    assert ("equal_orm" in found) is (equal is not None)
    for name in ("equal_orm", "equal_loglik", "equal_majority", "equal_weighted"):
        if equal is not None:
            assert found[name].tokens == equal >= found["rerank"].tokens


def test_samples_are_counted_at_their_own_cost():
    """The first ones are short: two of them do not pay for what two of mean length would."""
    records = costly(make_sampled(), 15)
    samples = [{**s, "tokens": (5, 5, 15, 25)[s["sample_id"]]} for s in records.samples]
    found = outcomes.systems(choices_of(records), dataclasses.replace(records, samples=samples))
    assert found["rerank"].tokens == 40 and found["greedy2_orm"].tokens == 20
    assert found["equal_orm"].tokens == 10 + 5 + 5 + 15 + 25  # three have 35


def test_rivals_with_too_few_tokens_are_warned_of():
    ctx = context()
    for tokens in (10, 20):
        figures = measures.measure(ctx, costly(make_sampled(), tokens)).figures
        evaluate.warn_of_short_rivals(ctx, "test", figures)
    assert not ctx.warnings
    figures = measures.measure(ctx, costly(make_sampled(), 21)).figures
    evaluate.warn_of_short_rivals(ctx, "test", figures)
    assert ctx.warnings == [
        "test: the system draws 52.0 tokens a question, its rivals that draw samples no more than "
        "50.0, all that evaluate.k=4 gives them: raise it"
    ]
    assert figures.pipeline.equal_orm.tokens == 50.0  # they stand with what there is


def test_too_few_samples_make_no_rival():
    records = make_sampled()
    kept = [i for i, sample in enumerate(records.samples) if sample["sample_id"] < 2]
    samples = [records.samples[i] for i in kept]
    scored = {m: [rows[i] for i in kept] for m, rows in records.scored["samples"].items()}
    records = dataclasses.replace(
        records, samples=samples, scored={**records.scored, "samples": scored}
    )
    found = outcomes.outcomes(choices_of(records), records)
    assert "greedy2_orm" in found and "bo3" not in found


@pytest.mark.parametrize(
    "choose, place, right", [("orm", 2, False), ("vote", 2, True), ("vote", 1, False)]
)
def test_copies_have_no_vote(choose, place, right):
    """Of b: draft and global say 6 with .5 and .3, the local one and that at another place say 5
    with .45 each. From the place of the local one it is the same text once more."""
    records = make_sampled()
    finals = [{**row, "local_sorm_2": row["local_sorm"]} for row in records.finals["orm"]]
    finals[1] |= {"draft": 0.5, "global": 0.3, "local_sorm": 0.45, "local_sorm_2": 0.45}
    refined = [{**r, "local_sorm_2": {**r["local_sorm"], "bad": place}} for r in records.refined]
    in_force = dataclasses.replace(records.in_force, choose=choose)
    records = dataclasses.replace(
        records, refined=refined, finals={"orm": finals}, in_force=in_force
    )
    choices = choices_of(records, suspects=2)
    assert choices[1][3].name == "local_2" and choices[1][3].copy == (place == 1)
    assert outcomes.outcomes(choices, records)["rerank"] == [True, right]


def test_a_combination_chooses_by_all_scores():
    records = make_sampled()
    finals = records.finals["orm"]
    # The likelihood alone decides: the local refinement of either question.
    likely = [{**row, "draft": -9.0, "global": -5.0, "local_sorm": -1.0} for row in finals]
    in_force = dataclasses.replace(
        records.in_force, choose="combination", combination=(0.0, 0.0, 1.0)
    )
    records = dataclasses.replace(
        records,
        finals={"orm": finals, "sorm": finals, "loglik": likely},
        in_force=in_force,
    )
    some = choices_of(records)[0]
    assert candidates.chosen(some, in_force).name == "local"
