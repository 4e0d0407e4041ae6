"""Reading and comparing numbers, exactly.

One grader serves labels and evaluation alike, so that neither is laxer than the other. A text
either *is* a number, with a sign, a currency sign, a percent sign or a unit around it, or it is not
one; a number somewhere inside a sentence never counts, so gold 2 is not "found" in 12, nor in
"2 apples and 3 pears". Values are `fractions.Fraction`: no rounding.
"""

import re
from collections.abc import Iterator
from fractions import Fraction

from glore_jax.tasks import markup

# Longer texts are not numbers; this also bounds the arithmetic on what a model made up.
MAX_CHARS = 64

# Hyphens, dashes and minus signs of Unicode, all read as "-".
MINUS = str.maketrans({c: "-" for c in "\u2010\u2011\u2012\u2013\u2014\u2212\uff0d"})
# With thousands commas where they belong; plain; or without a whole part.
_UNSIGNED = r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])(?:\.[0-9]+)?|[0-9]+(?:\.[0-9]+)?|\.[0-9]+)"
_CODES = r"(?:USD|EUR|GBP|CAD|AUD|INR|Rs\.?)(?= ?[0-9])"  # behind a number they are a unit
_CURRENCY = rf"(?:(?:US|CA|AU|NZ|HK|SG|[ACRS])?\$|[€£¥₹]|{_CODES})"
# Spaces that divide thousands; a plain one may stand between two numbers.
_GROUPS = re.compile("(?<=[0-9])[\u00a0\u2009\u202f](?=[0-9]{3}(?![0-9]))")

_NUMBER = re.compile(
    rf"(?P<sign>[-+]?) *{_CURRENCY}? *(?P<sign2>[-+]?) *"
    r"(?:(?P<whole>[0-9]+) +(?=[0-9]+ */))?"  # of a mixed number: "1 1/2"
    rf"(?P<number>{_UNSIGNED})"
    rf"(?: */ *(?P<below>{_UNSIGNED}))?"  # denominator
    r" *[.,;!]? *"
    # It holds no digit: no second number. "/hour" is one too.
    rf"(?P<unit>(?:{_CURRENCY}|%|°|/? *[^\W\d_])[^\d]*)?"
)
# Words that make a text more than one number with a unit: "3 and a half", "4 or more", "2 million".
_NOT_A_UNIT = {
    *("and", "or", "to", "plus", "minus", "times", "by"),
    *("half", "halves", "quarter", "quarters", "third", "thirds"),
    *("dozen", "dozens", "hundred", "hundreds", "thousand", "thousands", "k"),
    *("million", "millions", "billion", "billions"),
}

# A number in running text. A minus is its sign if it can be neither a subtraction nor a hyphen:
# "= -3", not "5-3" nor "step-3". Whether it is one behind a space ("10 -3") `find_numbers` sees.
_TOKEN = re.compile(
    rf"(?P<minus>(?<![\w)%.>-])-{_CURRENCY}?)?"
    rf"(?P<number>{_UNSIGNED})"
    rf"(?P<below>/{_UNSIGNED})?"
)
_OPERAND_ENDS = tuple("0123456789)%>")


def _fraction(number: str) -> Fraction:
    return Fraction(number.replace(",", ""))


def parse_number(text: str) -> Fraction | None:
    """The exact value of `text` if it is one number, else None.

    Understood: `-3`, `- 3`, `+3`, `1,234.50`, `$5`, `-$5`, `$-5`, `5$`, `.5`, `1/2`, `1 1/2`,
    `US$5`, Unicode minus signs, a final full stop, and a unit behind the number (`12 apples`,
    `5 km/h`, `$5/hour`); LaTeX and Markdown around it (`\\boxed{5}`, `**5**`). A percent sign is a
    unit: `50%` is 50. Thousands commas must be where they belong. None for anything else, for texts
    longer than `MAX_CHARS`, and for division by 0.
    """
    text = text.strip()
    if len(text) > MAX_CHARS:
        return None
    text = _GROUPS.sub(",", markup.plain(text)).strip()
    text = re.sub(r"\s+", " ", text.translate(MINUS))
    match = _NUMBER.fullmatch(text)
    if not match or (match["sign"] and match["sign2"]):
        return None
    words_of_unit = re.findall(r"[^\W\d_]+", (match["unit"] or "").lower())
    if not _NOT_A_UNIT.isdisjoint(words_of_unit):
        return None
    value = _fraction(match["number"])
    if match["below"]:
        below = _fraction(match["below"])
        if not below:
            return None
        value = value / below + int(match["whole"] or 0)
    return -value if "-" in (match["sign"], match["sign2"]) else value


def equal(a: str, b: str) -> bool:
    """Whether both texts are numbers (see `parse_number`) of exactly the same value."""
    value = parse_number(a)
    return value is not None and value == parse_number(b)


def find_numbers(text: str, fractions: bool = False) -> Iterator[str]:
    """The number tokens of running text from left to right, as written.

    Whole tokens only: `12` holds no `2`. With `fractions` a literal fraction without spaces (`3/4`)
    is one token, else it is two. `parse_number` reads every token that is not longer than
    `MAX_CHARS` and does not divide by zero.
    """
    text = text.translate(MINUS)
    for match in _TOKEN.finditer(text):
        minus = ""
        if match["minus"]:
            # "10 -3" is a subtraction, "is -3" is not.
            before = text[: match.start()].rstrip()
            minus = "" if before.endswith(_OPERAND_ENDS) else "-"
        below = match["below"] or ""  # with its "/"
        if below and not fractions:
            yield minus + match["number"]
            yield below.removeprefix("/")
        else:
            yield minus + match["number"] + below
