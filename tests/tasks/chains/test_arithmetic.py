"""Lines computed, misread, and drawn by themselves."""

import itertools
import random
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from glore_jax.tasks.chains import arithmetic
from glore_jax.tasks.chains.difficulty import Difficulty

an_op = st.sampled_from("+-*/")
a_number = st.integers(0, 200)


@given(an_op, a_number, a_number)
def test_exact_and_rounded_down(op, a, b):
    exact, rounded = arithmetic.exact(op, a, b), arithmetic.rounded_down(op, a, b)
    if op == "/" and b == 0:
        assert exact is rounded is None
        return
    value = {"+": a + b, "-": a - b, "*": a * b, "/": Fraction(a, b or 1)}[op]
    assert exact == (value if value == int(value) else None)
    assert rounded == value // 1


@given(a_number, st.randoms())
def test_a_misread_number_is_another_one(n, rng):
    assert arithmetic.misread(n, rng) != n


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32))
def test_facts_are_true_and_in_bounds(seed):
    difficulty = Difficulty()
    facts = arithmetic.draw_facts(random.Random(seed), difficulty)
    for fact in itertools.islice(facts, 30):
        assert fact.value == arithmetic.exact(fact.op, fact.a, fact.b)
        assert 0 <= min(fact.a, fact.value) and max(fact.a, fact.value) <= difficulty.max_value
