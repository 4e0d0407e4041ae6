"""Which written calculations are told to be false."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glore_jax.tasks.calculations import false_calculations

FALSE = [
    ("Richard has 17*0.5=8 tubes of red paint", ["17*0.5 = 8"]),
    ("Half of 17 is 17*0.5 = <<17*0.5=8>>8 tubes", ["17*0.5 = 8"]),  # told once
    ("She had 50-8 = <<52-8=44>>44 bracelets left.", ["50-8 = 44"]),
    ("They made $4200+$3000 = $8600 from it", ["4200+3000 = $8600"]),
    ("12 toy cars * €10 = €130 on toy cars", ["12*10 = €130"]),
    ("13 girls x 3 boys/girl = 40 boys", ["13*3 = 40"]),
    ("That takes 15÷2/5=37 minutes", ["15/(2/5) = 37"]),
    ("39% of them are 0.39*80 = 31 students", ["0.39*80 = 31"]),
    ("10/3 = 3.34", ["10/3 = 3.34"]),
    ("There are 5 jars, and 3 tins hold 4 + 2 = 7 things", ["4+2 = 7"]),
    ("2(49+39) = 177", ["2*(49+39) = 177"]),
    ("4 - 6 = 2", ["4-6 = 2"]),
    ("25% + 25% = 60%", ["25%+25% = 60%"]),
    ("1 + 1 = 3, so 2 + 2 = 5", ["1+1 = 3", "2+2 = 5"]),
]


@pytest.mark.parametrize("step, found", FALSE)
def test_false_ones(step, found):
    assert false_calculations(step) == found


@pytest.mark.parametrize(
    "step",
    [
        "6 shares * $24/share = $144",
        "112 spools / 280 spools * 100% = 40%",
        "10/3 = 3.33 or 20/3 = 6.67 or 2/3 = 0.666",  # cut, or rounded
        "13 yards * (3 feet / 1 yards) = 39 feet",
        "4(21)=84 minutes",
        "5*4 = 20*3 = 60, that is 20*3 = 60",
        "$0.25/glass x 10 glasses = 250 cents",
        "It is -3 + 5 = 2 and 2 - 5 = -3",
        "1,000 + 1,250 = 2,250",
        "1/2 + 1/4 = 3/4",
        # not judged: letters for numbers, words that compute, mixed numbers, what is not all
        "2x + 150 = 308",
        "74 + 45 + 20 + T = 139 + T = 185",
        "192 / 1.2 = 1.2Y / 1.2",
        "20% of 80 + 4 = 20",
        "half * 26 ladybugs = 13 bees",
        "3 times 4 + 2 = 14",
        "2 + 1/2 = 2 1/2",
        "1 1/2 + 1 = 2.5",
        "17/3 = 5 and 2/3 loads",
        "50 / 3 = 16 stickers each, with 2 remaining",
        "1/2 a cup = 4 ounces",
        "5/0 = 7",
        "= 5",
        "x = 5",
        "#### 5",
        "",
    ],
)
def test_true_ones_and_what_is_not_judged(step):
    assert false_calculations(step) == []


whole = st.integers(0, 10**6)


@given(a=whole, b=whole, op=st.sampled_from("+-*"), off=st.integers(1, 9))
def test_one_operation(a, b, op, off):
    value = {"+": a + b, "-": a - b, "*": a * b}[op]
    for step in ("He has {0} jars {1} {2} jars = {3} jars.", "So {0}{1}{2}=<<{0}{1}{2}={3}>>{3}"):
        assert false_calculations(step.format(a, op, b, value)) == []
        assert len(false_calculations(step.format(a, op, b, value + off))) == 1


@given(st.text(max_size=80) | st.text("0123456789,./-+$%*()=x ", max_size=80))
def test_any_text_is_safe(text):
    assert all(" = " in found for found in false_calculations(text))


@pytest.mark.parametrize("unit", ["9", "9*", "(", "1=", "(1+", "-", "1/1/", "x ", "=1 "])
def test_huge_texts_take_little_time(unit):
    text = unit * (20_000 // len(unit)) + "=1"
    start = time.process_time()
    false_calculations(text)
    assert time.process_time() - start < 10
