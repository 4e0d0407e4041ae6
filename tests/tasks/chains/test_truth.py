"""The truth about steps that are wrong in one way each."""

import random

from glore_jax.tasks.chains.slips import slip
from glore_jax.tasks.chains.truth import step_truth


def test_wrong_answer_line_is_the_first_error(task, problems):
    for problem in problems["dev"]:
        steps = [*problem.solution[:-1], f"#### {int(problem.gold) + 1}"]
        assert task.step_truth(problem, steps) == [True] * (len(steps) - 1) + [False]
        assert not task.grade(steps, problem.gold)


def test_wrong_number_makes_its_step_and_all_later_ones_wrong(task, problems):
    for problem in problems["dev"]:
        at = len(problem.solution) // 2
        result = task.step_result(problem.solution[at])
        steps = list(problem.solution)
        steps[at] = steps[at].replace(f"={result}>>{result}", f"={result}9>>{result}9")
        if at < len(steps) - 1:
            assert task.step_truth(problem, steps) == [True] * at + [False] * (len(steps) - at)


def test_right_value_by_wrong_arithmetic_or_of_an_unknown_amount_is_wrong(task, problems):
    problem = problems["dev"][0]
    first = problem.solution[0]
    value = task.step_result(first)
    expression = first[first.index("<<") : first.index("=", first.index("<<"))]
    assert task.step_truth(problem, [first]) == [True]
    assert task.step_truth(problem, [first.replace(expression, "<<1+1")]) == [False]
    misnamed = [f"{expression}={value}>>{value}, so somebody has {value}."]
    assert task.step_truth(problem, misnamed) == [True]
    assert task.step_truth(problem, misnamed, strict=True) == [False]
    last = first.rindex(f" {value}")  # the value that the line concludes with
    other = f" {value}1{first[last + len(f' {value}') :]}"
    assert task.step_truth(problem, [first[:last] + other]) == [False]
    assert task.step_truth(problem, [first.replace(f">>{value}", f">>{value}0")]) == [False]
    assert task.step_truth(problem, ["So it is clear."]) == [False]


def test_the_strict_reading_is_never_the_laxer_one(chains):
    """And no step is right after one that is wrong, by either."""
    lax_only = 0
    for i, chain in enumerate(chains):
        lines, _ = slip(chain, random.Random(i))
        lax, strict = (
            step_truth(lines, chain.claims, chain.gold, strict) for strict in (False, True)
        )
        assert all(a >= b for a, b in zip(lax, strict))
        for truth in (lax, strict):
            assert truth == sorted(truth, reverse=True)
        lax_only += lax != strict
    assert lax_only > 0
