"""Which samples get step labels."""

from types import SimpleNamespace

import all_at_once
from hypothesis import given
from hypothesis import strategies as st

from glore_jax.stages.rollout import drafts_of


def sample(question, sample_id, correct, steps=None):
    steps = [f"step {sample_id}", "#### 1"] if steps is None else steps
    return {"question_id": question, "sample_id": sample_id, "correct": correct, "steps": steps}


SAMPLES = [
    *(sample("mixed", i, i in (1, 4)) for i in range(6)),
    *(sample("never", i, False) for i in range(3)),
    *(sample("always", i, True) for i in range(3)),
]


def drafts(samples, seed=0, per_question=4, solved_only=True):
    rollout = SimpleNamespace(solved_only=solved_only, drafts_per_question=per_question)
    config = SimpleNamespace(rollout=rollout, seed=seed)
    chosen, unsolved = drafts_of(all_at_once.groups(samples), config)
    return list(chosen), unsolved


def test_questions_that_no_sample_solves_are_left_out():
    chosen, unsolved = drafts(SAMPLES, per_question=9)
    assert {s["question_id"] for s in chosen} == {"mixed", "always"} and unsolved == 1
    # Wrong samples of solved ones stay.
    assert sum(s["question_id"] == "mixed" for s in chosen) == 6
    assert drafts(SAMPLES, solved_only=False)[1] == 0


def test_a_worked_solution_does_not_count_as_solving():
    worked = sample("never", 9, True) | {"policy": "worked"}
    assert "never" not in {s["question_id"] for s in drafts([*SAMPLES, worked])[0]}


@given(
    st.lists(
        st.builds(
            lambda q, i, right, text, policy: sample(q, i, right, text) | {"policy": policy},
            st.sampled_from("ab"),
            st.integers(0, 9),
            st.booleans(),
            st.sampled_from([[], ["a"], ["b"], ["c"]]),
            st.sampled_from(["greedy", "worked", "student"]),
        ),
        max_size=12,
        unique_by=lambda s: (s["question_id"], s["sample_id"]),
    ),
    st.integers(1, 4),
    st.booleans(),
)
def test_question_by_question_is_as_all_at_once(samples, per_question, solved_only):
    found = drafts(samples, 3, per_question, solved_only)
    assert found == all_at_once.drafts_of(samples, per_question, 3, solved_only)


def test_drafts_are_right_and_wrong_in_turn_and_no_two_the_same():
    again = [sample("mixed", 9, False, ["step 0", "#### 1"]), sample("mixed", 10, False, [])]
    chosen, _ = drafts(SAMPLES + again, solved_only=False)
    mixed = [d for d in chosen if d["question_id"] == "mixed"]
    assert [d["correct"] for d in mixed] == [False, True, False, True]
    assert len({tuple(d["steps"]) for d in chosen}) >= 4 and all(d["steps"] for d in chosen)
    assert {d["sample_id"] for d in mixed if d["correct"]} == {1, 4}
    assert sum(d["question_id"] == "never" for d in chosen) == 3  # fewer than asked for
    greedy = sample("mixed", 6, False) | {"policy": "greedy"}
    same = sample("mixed", 6, True, ["step 4", "#### 1"]) | {"policy": "greedy"}  # sampled as well
    for one in (greedy, same):
        for seed in range(5):
            taken, _ = drafts([*SAMPLES, one], seed, 2)
            assert one in taken and len([d for d in taken if d["question_id"] == "mixed"]) == 2
    assert drafts(SAMPLES) == drafts(SAMPLES[::-1])
