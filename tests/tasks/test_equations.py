"""Worked solutions from equations."""

import re
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glore_jax.tasks import grading
from glore_jax.tasks.equations import solution_of


def test_innermost_operation_first():
    assert solution_of("( ( 8.0 - 2.0 ) * 3.0 )", "18") == (
        "8 - 2 = <<8-2=6>>6",
        "6 * 3 = <<6*3=18>>18",
        "#### 18",
    )
    assert solution_of("( 5.0 / 2.0 )", "2.5") == ("5 / 2 = <<5/2=2.5>>2.5", "#### 2.5")


@pytest.mark.parametrize(
    "equation, gold",
    [
        ("", "3"),
        ("3.0", "3"),  # no operation, no line
        ("( 1.0 + 2.0 ) x", "3"),
        ("1.0 + 2.0", "3"),
        ("( 1.0 + 2.0", "3"),
        ("( 4.0 / 0.0 )", "4"),
        ("( 1.0 + 2.0 )", "4"),
    ],
)
def test_other_equations_have_no_solution(equation, gold):
    assert solution_of(equation, gold) == ()


trees = st.recursive(
    st.integers(0, 50),
    lambda inner: st.tuples(inner, st.sampled_from("+-*/"), inner),
    max_leaves=5,
)


def value_and_text(tree):
    """(exact value or None, as the data set writes it)."""
    if isinstance(tree, int):
        return Fraction(tree), f"{tree}.0"
    (a, left), op, (b, right) = value_and_text(tree[0]), tree[1], value_and_text(tree[2])
    text = f"( {left} {op} {right} )"
    if a is None or b is None or (op == "/" and not b):
        return None, text
    return {"+": a + b, "-": a - b, "*": a * b, "/": a / b if b else None}[op], text


@given(trees)
def test_any_tree_of_operations(tree):
    """Every line computes what it says (decimals: to four places), the last what is asked."""
    value, text = value_and_text(tree)
    gold = "0" if value is None else str(value.numerator)
    solution = solution_of(text, gold)
    if isinstance(tree, int) or value is None or value.denominator != 1:
        assert solution == ()
        return
    *lines, last = solution
    assert last == f"#### {gold}" and len(lines) == len(re.findall(r"[+*/]|- ", text))
    for line in lines:
        a, op, b, c = re.fullmatch(r"(\S+) (\S) (\S+) = <<.*=(\S+)>>\4", line).groups()
        assert f"<<{a}{op}{b}={c}>>{c}" in line
        assert grading.parse_number(c) is not None
    assert grading.equal(c, gold)
