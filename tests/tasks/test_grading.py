"""Grading: exact values, whole numbers only, safe on anything a model writes."""

import time
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glore_jax.tasks import grading

DECIMALS = st.builds(
    lambda n, digits: Fraction(n, 10**digits), st.integers(0, 10**12), st.integers(0, 6)
)
WORDS = st.sampled_from(["apples", "of the", "is", "and", "kg", "x", "or", "per day", "then"])


def decimal(value: Fraction, commas: bool) -> str:
    """A non-negative finite decimal in plain notation."""
    digits = 0
    while (value * 10**digits).denominator != 1:
        digits += 1
    whole, rest = divmod(int(value * 10**digits), 10**digits)
    return (f"{whole:,}" if commas else str(whole)) + (f".{rest:0{digits}d}" if digits else "")


@pytest.mark.parametrize(
    "text, value",
    [
        ("$1,234.50", "1234.5"),
        ("-3", "-3"),
        ("\u22123", "-3"),
        ("- 3", "-3"),
        ("+3", "3"),
        ("-$5", "-5"),
        ("$-5", "-5"),
        ("€ .5", "0.5"),
        ("5$", "5"),
        ("1/2", "1/2"),
        ("-1 / 2", "-1/2"),
        ("1 1/2", "3/2"),
        ("-10 1/2 inches", "-21/2"),
        ("50%", "50"),
        ("50 percent", "50"),
        ("3.0", "3"),
        ("3.", "3"),
        ("007", "7"),
        ("  12\u00a0apples. ", "12"),
        ("5 km/h", "5"),
        ("25 dollars a day", "25"),
        ("9 m²", "9"),
        ("1,000,000", "1000000"),
        ("29 .", "29"),
        ("29!", "29"),
        ("$29/hour", "29"),
        ("29 /hour", "29"),
        ("US$29", "29"),
        ("-HK$ 1,000.50", "-1000.5"),
        ("EUR 29", "29"),
        ("Rs. 29", "29"),
        ("1\u202f000 km", "1000"),
        (r"\$29", "29"),
        (r"-\$5.", "-5"),
        (r"29\% of all", "29"),
        (r"\boxed{29}", "29"),
        (r"$\boxed{\$1{,}000}$.", "1000"),
        (r"1\,000\,\text{km}", "1000"),
        (r"\(29~\mathrm{cm}^2\)", "29"),
        (r"\boxed{\dfrac{1}{2}}", "1/2"),
        (r"-1\frac{1}{2}", "-3/2"),
        (r"90^\circ", "90"),
        ("**29**", "29"),
        ("**$29** per day.", "29"),
        ("**29 apples**.", "29"),
        ("`29`", "29"),
        ("$29$", "29"),
    ],
)
def test_numbers(text, value):
    assert grading.parse_number(text) == Fraction(value)


NOT_ONE_NUMBER = [
    *("", " ", "-", "$", "%", "apples", "x = 5", "#### 5"),
    *("5 apples and 7 pears", "5 apples and pears", "5 or more"),
    *("3 and a half", "2 million", "2 dozen eggs", "5k", "--5", "-$-5"),
    *("1,23", "1234,567", "1,0000", "1, 000", "1/0", "1/2/3", "1 2", "1e3", "0x10", "12:30"),
    *("1.2.3", "12-inch", "(5)", "five", "½", "²", "٣", "nan", "inf"),
    *("5 x 2", "3 + 4", "2^10", "1_000", "9" * 65, "1 dollar and 50 cents"),
    *(r"5 \times 2", r"\sqrt{2}", r"\boxed{2}\boxed{3}", r"\frac{1}{0}", r"2^{10}", r"\boxed{}"),
    *("**2** and **3**", "$2$3$", "1 000", "~29", "< 29", "****", "$$", "AB$5"),
]


@pytest.mark.parametrize("text", NOT_ONE_NUMBER)
def test_not_one_number(text):
    assert grading.parse_number(text) is None
    assert not grading.equal(text, text)


@given(
    value=DECIMALS,
    minus=st.sampled_from(["", "-", "- ", "\u2212", "\u2013"]),
    currency=st.sampled_from(["", "$", "$ ", "£"]),
    commas=st.booleans(),
    after=st.sampled_from(["", ".", "%", " %", " apples", " miles per hour.", "kg"]),
    space=st.sampled_from(["", " ", "\n", "\u00a0"]),
)
def test_formatted_numbers_read_back_exactly(value, minus, currency, commas, after, space):
    text = space + minus + currency + decimal(value, commas) + after + space
    expected = -value if minus else value
    assert grading.parse_number(text) == expected
    assert grading.equal(text, str(expected))
    assert not grading.equal(text, str(expected + Fraction(1, 10**7)))


@given(a=st.integers(-(10**9), 10**9), b=st.integers(1, 10**9))
def test_fractions_read_back_exactly(a, b):
    assert grading.parse_number(f"{a}/{b}") == Fraction(a, b)
    assert grading.equal(f"{a}/{b}", f"{7 * a}/{7 * b}")


@given(
    numbers=st.lists(st.integers(0, 10**6), min_size=2, max_size=5),
    words=st.lists(WORDS, min_size=5, max_size=5),
)
def test_no_number_is_picked_out_of_a_sentence(numbers, words):
    text = "".join(f"{n} {word} " for n, word in zip(numbers, words, strict=False))
    assert grading.parse_number(text) is None
    assert not any(grading.equal(text, str(n)) for n in numbers)
    assert not any(grading.equal(f"{word} {numbers[0]}", str(numbers[0])) for word in words)


@given(value=st.integers(10, 10**12), data=st.data())
def test_part_of_a_number_is_not_equal(value, data):
    digits = str(value)
    start = data.draw(st.integers(0, len(digits) - 1))
    end = data.draw(st.integers(start + 1, len(digits)))
    assert grading.equal(digits, digits[start:end]) == (int(digits[start:end]) == value)
    assert list(grading.find_numbers(f"so it is {digits}.")) == [digits]


@given(text=st.text(max_size=80) | st.text("0123456789,./-+$% x", max_size=80))
@settings(max_examples=200)
def test_any_text_is_safe(text):
    value = grading.parse_number(text)
    assert value is None or abs(value) < Fraction(10) ** grading.MAX_CHARS
    for fractions in (False, True):
        for number in grading.find_numbers(text, fractions):
            below = number.partition("/")[2].replace(",", "")
            if len(number) <= grading.MAX_CHARS and (not below or Fraction(below)):
                assert grading.parse_number(number) is not None


@pytest.mark.parametrize("unit", ["9", "1,111", "-", "- ", " ", "1/", "1.", "9 ", "$", "a "])
def test_huge_texts_take_no_time(unit):
    text = unit * (20_000 // len(unit))
    start = time.process_time()
    assert grading.parse_number(text) is None
    for number in grading.find_numbers(text, fractions=True):
        grading.parse_number(number)
    assert time.process_time() - start < 2


@pytest.mark.parametrize(
    "text, numbers",
    [
        ("He has 48/2 = $<<48/2=24>>24.", ["48", "2", "48", "2", "24", "24"]),
        ("5-3 = 2, 10 - 4 = 6, 9 -8", ["5", "3", "2", "10", "4", "6", "9", "8"]),
        ("so x = -3, not (-4.5) or -$2", ["-3", "-4.5", "-2"]),
        ("a 12-inch pipe, step-3, 20%-5", ["12", "3", "20", "5"]),
        ("$1,234.50, 1,2 and .5.", ["1,234.50", "1", "2", ".5"]),
        ("1,2345 is 1,234,5", ["1", "2345", "1,234", "5"]),
        ("2x3=6 3pm", ["2", "3", "6", "3"]),
        ("no number", []),
    ],
)
def test_number_tokens(text, numbers):
    assert list(grading.find_numbers(text)) == numbers


def test_fraction_tokens():
    text = "3/4 of 1,000/8 and -1/2, 6 / 2"
    assert list(grading.find_numbers(text, fractions=True)) == ["3/4", "1,000/8", "-1/2", "6", "2"]
