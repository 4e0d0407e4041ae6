"""The embedded task as the stages see it: its problems, their ids, and their truth."""

import pytest
from chain_config import SIZE, make_config

from glore_jax import storage
from glore_jax.errors import UserError
from glore_jax.tasks.chains import splits
from glore_jax.tasks.chains.task import ChainsTask


def test_sizes_ids_and_limit(problems):
    assert {split: len(rows) for split, rows in problems.items()} == SIZE
    ids = [p.id for rows in problems.values() for p in rows]
    assert ids[0] == "chains-train-00000" and len(set(ids)) == sum(SIZE.values())
    assert ChainsTask(make_config(limit=dict(dev=7))).load("dev") == problems["dev"][:7]


def test_own_solutions_are_right_to_the_last_step(task, problems):
    for problem in (p for rows in problems.values() for p in rows):
        assert task.step_truth(problem, problem.solution) == [True] * len(problem.solution)
        assert task.grade(problem.solution, problem.gold)
        assert task.split_steps("\n".join(problem.solution)) == list(problem.solution)


def test_problems_are_a_function_of_the_config(problems):
    assert ChainsTask(make_config()).load("test") == problems["test"]
    assert ChainsTask(make_config(size=dict(test=20))).load("test") == problems["test"][:20]
    other_seed = ChainsTask(make_config(seed=2)).load("test")
    assert not {p.question for p in other_seed} & {p.question for p in problems["test"]}


def test_problems_of_a_seed_never_change():
    """If they must: put the new value here, raise `Chains.VERSION`, make the base again."""
    task = ChainsTask(make_config(steps=(4, 5), shuffle=0.0))
    rows = [
        (p.question, p.gold, p.solution, p.facts)
        for split in splits.SPLITS
        for p in task.load(split)
    ]
    assert storage.fingerprint(rows) == "824488681d787cd2"


def test_empty_split():
    with pytest.raises(UserError, match="split 'dev' is empty"):
        ChainsTask(make_config(size=dict(dev=0))).load("dev")


def test_unknown_split(task):
    with pytest.raises(
        UserError, match="no split 'validation'; choose one of train, dev, test, test_templates"
    ):
        task.load("validation")
