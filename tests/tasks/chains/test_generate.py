"""Whole problems: what the knobs promise."""

from chain_config import make_config

from glore_jax.tasks.chains.task import ChainsTask


def test_number_of_steps_follows_the_knob(problems):
    low, high = make_config().steps
    counts = {len(p.solution) - 1 for rows in problems.values() for p in rows}
    assert counts == set(range(low, high + 1))


def test_every_amount_is_a_whole_number_from_2_to_max_value(problems):
    top = make_config().max_value
    for problem in problems["train"]:
        values = problem.facts["claims"].values()
        assert all(isinstance(v, int) and 2 <= v <= top for v in values)
        assert int(problem.gold) in values


def test_distractors_are_named_but_not_used():
    def unused(rate):
        config = make_config(distractors=rate, size=dict(train=60))
        rows = ChainsTask(config).load("train")
        return sum(len(p.question.split(". ")) - len(p.solution) for p in rows) / len(rows)

    # Up to two more sentences a question, never more steps.
    assert unused(0.9) > unused(0.0) + 1
