"""The reading of solutions in GSM8K's format that all tasks share."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glore_jax.errors import UserError
from glore_jax.tasks.base import Problem, Task


class FiveProblems(Task):
    name = "five"
    splits = ("train", "dev", "nothing")

    def load(self, split):
        self._check_split(split)
        five = [Problem(f"five-{i}", "?", str(i)) for i in range(5)]
        train, dev = self._hold_out(five, default=2)
        return self._take({"train": train, "dev": dev, "nothing": []}[split], split)


TASK = FiveProblems({})


def ids(split, **config):
    return [problem.id for problem in FiveProblems(config).load(split)]


def test_split_steps():
    text = "  First 1+1 = <<1+1=2>>2. \r\n\n\t\nThen 2\u2028still the second step\n#### 2\n"
    assert TASK.split_steps(text) == [
        "First 1+1 = <<1+1=2>>2.",
        "Then 2\u2028still the second step",
        "#### 2",
    ]
    assert TASK.split_steps(" \n") == []
    # Nothing is read after the answer.
    assert TASK.split_steps("a\n#### 3\nand so on\n#### 4") == ["a", "#### 3"]


@given(st.text(st.sampled_from("ab1 #\t\n\r\u2028") | st.characters(), max_size=40))
def test_steps_read_again_are_the_same(text):
    steps = TASK.split_steps(text)
    assert TASK.split_steps("\n".join(steps)) == steps
    assert all(step and step == step.strip() and "\n" not in step for step in steps)
    assert not any(step.startswith("####") for step in steps[:-1])


@pytest.mark.parametrize(
    "steps, answer",
    [
        (["2+3 = 5", "#### 5"], "5"),
        (["####5"], "5"),
        (["#### $1,250 "], "$1,250"),
        (["#### 5", "and so on"], None),  # only the last step counts
        (["The answer is #### 5"], None),  # and only if it starts with the mark
        (["#### 4", "#### 5"], "5"),
        (["#### 4 #### 5"], "4 #### 5"),  # read, but never graded as right
        (["The answer is 5"], None),
        (["####"], None),
        ([], None),
    ],
)
def test_answer_is_anchored(steps, answer):
    assert TASK.answer(steps) == answer


@pytest.mark.parametrize(
    "last, gold, right",
    [
        ("#### 1,250", "1250", True),
        ("#### 12.0", "12", True),
        ("#### 12 apples", "12", True),
        ("#### 12", "2", False),
        ("#### 2 apples and 12 pears", "12", False),
        ("#### 4 #### 5", "5", False),
        ("#### 4 #### 5", "4", False),
        ("12", "12", False),
        ("####", "12", False),
    ],
)
def test_grade(last, gold, right):
    assert TASK.grade(["6+6 = <<6+6=12>>12", last], gold) is right


def test_nothing_written_is_wrong():
    assert TASK.grade([], "0") is False


@pytest.mark.parametrize(
    "step, result",
    [
        ("Half of 30 is 30/2 = <<30/2=15>>15 pens, and 4 are red.", "15"),
        ("<<2*3=6>>6 and 6+1 = <<6+1=7>>7 of 9", "7"),
        ("That is 3*.5 = $<<3*.5=1.50>>1.50 a day", "1.50"),
        ("She owes 2-5 = <<2-5=-3>>-3", "-3"),
        ("A share is 1/4 = <<1/4=1/4>>1/4", "1/4"),
        ("x = <<x=y>>, so 8-5 = 3 cups", "3"),  # the mark computes no number: fall back to the text
        ("<<5>>5 + 4 = 9 of 10", "9"),  # a mark without a computation
        ("8 - 5 = 3 cups of 4", "3"),
        ("4 + 4 = 8 = 8.0 kg", "8.0"),
        ("He sells 3/4 = 3/4 of it", "3/4"),
        ("2 bags hold 1,200 marbles.", "1,200"),
        ("So 7 = x", "7"),  # nothing behind the sign: the last number
        ("Let x be the number of cups.", None),
        ("9" * 200, None),
        ("#### $1,250", "$1,250"),
        ("#### 12 apples", "12 apples"),
        ("#### no idea", None),
        ("####", None),
        ("", None),
    ],
)
def test_step_result(step, result):
    assert TASK.step_result(step) == result


@pytest.mark.parametrize(
    "result, later, used",
    [
        ("12", ["12+3 = <<12+3=15>>15", "#### 15"], True),
        ("12", ["#### 12"], True),
        ("2", ["12+3 = 15", "#### 15"], False),
        ("1", ["1.5 kg"], False),
        ("5", ["1.5 kg"], False),
        ("0.50", ["costs $.5 each"], True),
        ("1200", ["1,200 marbles"], True),
        ("$15", ["15 - 3 = 12"], True),
        ("12 apples", ["half of 12"], True),
        ("3", ["5-3 = 2"], True),
        ("-3", ["5-3 = 2"], False),
        ("-3", ["5 + -3 = 2"], True),
        ("3/4", ["3/4 * 8 = 6"], True),
        ("3/4", ["0.75 * 8 = 6"], True),
        ("3/4", ["3 and 4"], False),
        ("24", ["48/2 is a lot"], False),  # a fraction is not computed for a result that is none
        ("48", ["48/2 = 24"], True),
        ("12", [], False),
        ("twelve", ["twelve 12"], False),
    ],
)
def test_is_used(result, later, used):
    assert TASK.is_used(result, later) is used


@given(value=st.integers(0, 10**6), others=st.lists(st.integers(0, 10**6), max_size=6))
def test_is_used_exactly_if_the_number_is_there(value, others):
    later = [f"then {n} more" for n in others]
    assert TASK.is_used(str(value), later) is (value in others)
    assert TASK.is_used(f"{value:,}.0", [*later, f"so {value}-1"]) is True


@given(a=st.integers(0, 10**6), b=st.integers(1, 10**6))
def test_result_of_a_well_formed_step(a, b):
    step = f"He now has {a}+{b} = <<{a}+{b}={a + b}>>{a + b} of them, 3 more."
    assert TASK.step_result(step) == str(a + b)
    assert TASK.step_result(step.replace("<<", "").replace(">>", " ")) == str(a + b)


def test_step_truth_is_unknown_unless_a_task_knows_it():
    assert TASK.step_truth(Problem("a", "?", "1"), ["#### 1"]) is None


def test_a_problem_without_variations_is_a_story_by_itself():
    assert Problem("a", "?", "1").story == "a"
    assert Problem("a", "?", "1", variation_of="b").story == "b"


def test_hold_out_and_limit():
    assert ids("train") == ["five-0", "five-1", "five-2"] and ids("dev") == ["five-3", "five-4"]
    assert ids("dev", dev_size=1) == ["five-4"]
    assert len(ids("train", dev_size=0)) == 5
    limit = {"train": 2, "dev": 0}
    assert ids("train", limit=limit) == ["five-0", "five-1"]
    assert ids("dev", limit=limit) == ["five-3", "five-4"]
    assert len(ids("dev", limit={"dev": 99})) == 2


@pytest.mark.parametrize(
    "split, config, message",
    [
        ("test", {}, "task five has no split 'test'; choose one of train, dev, nothing"),
        ("nothing", {}, "task five: split 'nothing' is empty"),
        ("dev", {"dev_size": 0}, "task five: split 'dev' is empty"),
        ("dev", {"dev_size": 5}, "task.dev_size = 5"),
        ("dev", {"dev_size": -1}, "task.dev_size = -1"),
        ("dev", {"limit": {"dev": -1}}, "task.limit.dev = -1"),
    ],
)
def test_user_errors(split, config, message):
    with pytest.raises(UserError, match=message):
        FiveProblems(config).load(split)
