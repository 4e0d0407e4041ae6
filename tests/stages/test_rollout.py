"""Which samples get step labels."""

from glore_jax.stages.rollout import choose_drafts, of_solved


def sample(question, sample_id, correct, steps=None):
    steps = [f"step {sample_id}", "#### 1"] if steps is None else steps
    return {"question_id": question, "sample_id": sample_id, "correct": correct, "steps": steps}


SAMPLES = [
    *(sample("mixed", i, i in (1, 4)) for i in range(6)),
    *(sample("never", i, False) for i in range(3)),
    *(sample("always", i, True) for i in range(3)),
]


def test_questions_that_no_sample_solves_are_left_out():
    assert {s["question_id"] for s in of_solved(SAMPLES)} == {"mixed", "always"}
    assert (
        sum(s["question_id"] == "mixed" for s in of_solved(SAMPLES)) == 6
    )  # their wrong samples stay


def test_a_worked_solution_does_not_count_as_solving():
    worked = sample("never", 9, True) | {"policy": "worked"}
    assert "never" not in {s["question_id"] for s in of_solved([*SAMPLES, worked])}


def test_drafts_are_right_and_wrong_in_turn_and_no_two_the_same():
    again = [sample("mixed", 9, False, ["step 0", "#### 1"]), sample("mixed", 10, False, [])]
    drafts = choose_drafts(SAMPLES + again, 4, seed=0)
    mixed = [d for d in drafts if d["question_id"] == "mixed"]
    assert [d["correct"] for d in mixed] == [False, True, False, True]
    assert len({tuple(d["steps"]) for d in drafts}) >= 4 and all(d["steps"] for d in drafts)
    assert {d["sample_id"] for d in mixed if d["correct"]} == {1, 4}
    assert sum(d["question_id"] == "never" for d in drafts) == 3  # fewer than asked for
    greedy = sample("mixed", 6, False) | {"policy": "greedy"}
    same = sample("mixed", 6, True, ["step 4", "#### 1"]) | {"policy": "greedy"}  # sampled as well
    for one in (greedy, same):
        for seed in range(5):
            taken = choose_drafts([*SAMPLES, one], 2, seed)
            assert one in taken and len([d for d in taken if d["question_id"] == "mixed"]) == 2
    assert choose_drafts(SAMPLES, 4, seed=0) == choose_drafts(SAMPLES[::-1], 4, seed=0)
