"""What dev is asked, and what is kept of it."""

import some_records

from glore_jax import storage
from glore_jax.config import validate
from glore_jax.records import LabelledDraft, Sample
from glore_jax.stages import STAGES
from glore_jax.stages.evaluation import choices, in_force
from glore_jax.stages.evaluation.choices import Asked, Dev

# Question: the draft's labels (all good: it is right), its scores by the SORM and by the ORM, which
# is more pessimistic.
DRAFTS = {
    "a": ([1, 0, 0], [0.9, 0.4, 0.2], [0.4, 0.2, 0.1]),
    "b": ([1, 1, 0], [0.9, 0.8, 0.3], [0.5, 0.4, 0.2]),
    "c": ([1, 1, 1], [0.9, 0.9, 0.8], [0.4, 0.5, 0.9]),
}


def dev(samples=()) -> Dev:
    drafts = []
    labelled = []
    for name, (labels, _, _) in DRAFTS.items():
        right = all(labels)
        drafts.append(
            some_records.full(
                Sample, question_id=name, correct=right, steps=["s"] * 3, logprob=-2.0
            )
        )
        labelled.append(
            some_records.full(
                LabelledDraft,
                question_id=name,
                labels=labels,
                correct=right,
                first_error=-1 if right else labels.index(0),
            )
        )
    scored = {
        "sorm": [sorm for _, sorm, _ in DRAFTS.values()],
        "orm": [orm for _, _, orm in DRAFTS.values()],
    }
    return Dev(drafts, labelled, dict(samples), scored)


def test_marks_are_those_of_wrong_drafts_one_for_each_locator():
    found = choices.marks(dev(), ["orm", "sorm"])
    assert found["sorm"]["n"] == found["orm"]["n"] == 2
    assert 0.4 <= found["sorm"]["value"] < 0.8
    assert 0.2 <= found["orm"]["value"] < 0.4


def test_a_reward_model_that_places_nothing_has_a_mark_of_its_own(ctx):
    some = dev()
    some.scored["balanced_orm"] = some.scored["orm"]
    found = choices.marks(some, ["orm", "sorm", "balanced_orm"])
    assert found["balanced_orm"] == found["orm"] != found["sorm"]
    ctx.config.orm.balanced = True
    ctx.config.evaluate.mark, ctx.config.evaluate.threshold = "0.3,0.6", "0.5"
    ctx.config.evaluate.temperature = "0.8"
    given = choices.choose(ctx.inside("evaluate", STAGES["evaluate"].config))
    assert given.mark == {"orm": 0.3, "sorm": 0.6, "balanced_orm": 0.3}


def test_thresholds_of_steps_and_of_whole_drafts():
    steps = choices.step_thresholds(dev(), ["orm", "sorm"])
    finals = choices.final_thresholds(dev(), ["orm", "sorm"])
    assert steps["sorm"]["n"] == 9 and finals["sorm"]["n"] == 3
    assert 0.4 <= steps["sorm"]["value"] < 0.8
    assert 0.2 <= finals["orm"]["value"] < 0.9


def with_samples(t, right_scores):
    """Samples of the three questions at two temperatures: right ones score so much."""
    some = dev()
    samples = {}
    for temperature in (0.4, t):
        samples[temperature] = [
            some_records.full(
                Sample, question_id=q, sample_id=i, correct=i == 0, steps=["s"], logprob=-1.0
            )
            for q in DRAFTS
            for i in range(2)
        ]
    low = [[0.05], [0.01]] * 3
    high = [[score] for score in right_scores for score in (score, 0.01)]
    scored = {model: [*rows, *low, *high] for model, rows in some.scored.items()}
    return Dev(some.drafts, some.labelled, samples, scored)


def test_the_temperature_at_which_the_draft_and_two_samples_are_reranked_best():
    found = choices.temperature(with_samples(1.0, [0.7, 0.6, 0.5]), (0.4, 1.0))
    # At .4 only c's draft is chosen and right; at 1 the right samples of a and b, too.
    assert (found["value"], found["n"]) == (1.0, 3)
    assert found["curve"] == ((0.4, 1 / 3), (1.0, 1.0))
    assert choices.temperature(dev(), (0.3,))["value"] == 0.3


def test_a_combination_is_fitted_on_drafts_and_samples():
    found = choices.combination(with_samples(1.0, [0.7, 0.6, 0.5]))
    assert found["n"] == 3 and list(found["weights"]) == ["orm", "sorm", "loglik"]
    assert found["weights"]["orm"] > 0


def test_what_the_config_gives_is_not_chosen(ctx):
    evaluate = ctx.config.evaluate
    evaluate.mark, evaluate.threshold, evaluate.temperature = "0.3,0.6", "0.5", "0.8"
    validate(ctx.config)
    inside = ctx.inside("evaluate", STAGES["evaluate"].config)
    force = choices.choose(inside)  # without any model in the work directory
    assert force.mark == {"orm": 0.3, "sorm": 0.6}
    assert force.step_threshold == force.final_threshold == {"orm": 0.5, "sorm": 0.5}
    assert force.temperature == 0.8 and force.combination is None
    assert in_force.read(ctx.workdir) == force
    kept = storage.read_json(ctx.folder("evaluate", "choices.json"))
    assert kept["mark"]["orm"]["how"] == "config.evaluate.mark"


def test_what_is_chosen_stays_so(ctx, capsys):
    """A restart reads it, and says it again."""
    ctx.config.evaluate.temperature = "0.8"
    ctx.config.evaluate.mark = ctx.config.evaluate.threshold = "0.5"
    inside = ctx.inside("evaluate", STAGES["evaluate"].config)
    before = choices.choose(inside)
    said = capsys.readouterr().out
    ctx.config.evaluate.temperature = "0.2"
    again = choices.choose(ctx.inside("evaluate", STAGES["evaluate"].config))
    assert again == before and capsys.readouterr().out == said
    assert "mark: orm 0.500, sorm 0.500 (config.evaluate.mark)" in said
    assert "temperature of samples: 0.8 (config.evaluate.temperature)" in said


def test_dev_is_asked_for_what_is_auto(ctx):
    evaluate = ctx.config.evaluate

    def asked():
        found = Asked.of(evaluate)
        return found.labels, found.samples

    assert asked() == (True, True)
    evaluate.temperature = "1"
    assert asked() == (True, False)
    evaluate.mark = evaluate.threshold = "0.5"
    assert asked() == (False, False)
    evaluate.choose = "combination"
    assert asked() == (False, True)
