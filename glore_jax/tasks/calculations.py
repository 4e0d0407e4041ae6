"""The calculations that a solution writes down, checked exactly.

    6 shares * $24/share = $144                  6 * 24 is 144
    Half of 17 is 17*0.5 = <<17*0.5=8>>8 tubes   17 * 0.5 is not 8

What is written for people is read as far as it is sure: units are skipped, and what has letters for
numbers, or words for operations ("20% of 80"), is not judged. So much that is false stays unseen,
and little that is right is reported (`docs/tasks.md` has the figures).
"""

import re
from collections.abc import Iterator
from fractions import Fraction

from glore_jax.tasks import grading
from glore_jax.tasks.base import MARK

_NUMBER = r"(?:[0-9]+(?:,[0-9]{3})*(?:\.[0-9]+)?|\.[0-9]+)"
_CURRENCY = "$€£¥₹"
_TOKEN = re.compile(
    rf"(?P<number>{_NUMBER})"
    r"|(?P<word>[^\W\d_]+)"
    r"|(?P<op>[-+*/×÷·()%])"
    r"|(?P<end>[,;:.?!](?=\s|$))"
    r"|(?P<other>\S)"
)
_OPERATORS = {"×": "*", "·": "*", "÷": "/"}
# Between two numbers they compute or count anew: what stands before the second one matters.
_COMPUTES = {
    *("of", "times", "plus", "minus", "by", "over", "less", "more", "fewer", "and"),
    *("half", "twice", "double", "triple", "percent", "dozen"),
}
# They begin a clause, whatever was counted before.
_CLAUSES = {"is", "are", "was", "were", "so", "because", "means", "makes", "then"}
# 60 / 3/4 and 15÷2/5 divide by a fraction.
_BY_FRACTION = re.compile(r"(/\s|÷)\s*([0-9]+/[0-9]+)")
_OPERAND = re.compile(rf"\s*[{_CURRENCY}]?\s*-?[{_CURRENCY}]?[0-9.(]")
_FACTOR = re.compile(rf"\s*[{_CURRENCY}]?\s*[0-9.(]")

_STATED = re.compile(
    rf"\s*(?P<minus>-)?\s*[{_CURRENCY}]?\s*(?P<sign>-)?(?P<number>{_NUMBER})"
    r"(?:/(?P<below>[0-9]+))?\s*(?P<percent>%?)\s*(?P<cents>cents?\b)?"
)
# Behind the number there is more to it: an operation, a letter for a number, a fraction, a rest.
_GOES_ON = re.compile(rf"[-+*×÷·/(]\s*[{_CURRENCY}]?[0-9.(]|\b[A-Zx-z]\b|^[A-Za-z]\b|\bx\s*[0-9]")
_NOT_ALL = re.compile(r"^\s*(?:[0-9]|and\b)|remain|left over|leftover", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[,;:.?!](?:\s|$)")


def false_calculations(step: str) -> list[str]:
    """Each `expression = number` of `step` that is false, as it was read: `17*0.5 = 8`.

    A number with decimals may be cut or rounded to these; a percent sign may stand or be left out.
    """
    found: list[str] = []
    for text in (*MARK.findall(step), MARK.sub("", step)):
        for shown in _false_in(text.translate(grading.MINUS)):
            if shown not in found:
                found.append(shown)
    return found


def _false_in(text: str) -> Iterator[str]:
    sides = text.split("=")
    for left, right in zip(sides, sides[1:], strict=False):
        stated = _stated(right)
        tokens = _last_expression(left)
        if not stated or not any(token in "+-*/" for token in tokens[1:]):
            continue
        value = _value(tokens)
        if value is not None and not _agrees(value, stated, "%" in tokens):
            yield f"{''.join(tokens)} = {stated[0].strip()}"


def _stated(right: str) -> re.Match[str] | None:
    """The number that `right` begins with, if it is all that stands there."""
    stated = _STATED.match(right)
    if not stated or len(stated[0]) > grading.MAX_CHARS:
        return None
    rest = right[stated.end() :]
    end = _SENTENCE_END.search(rest)
    sentence = rest[: end.start()] if end else rest
    if _GOES_ON.search(sentence) or _NOT_ALL.search(rest):
        return None
    return stated


def _agrees(value: Fraction, stated: re.Match[str], has_percent: bool) -> bool:
    """Whether `value` is the number that stands behind the `=`, or is cut or rounded to it."""
    number = Fraction(stated["number"].replace(",", ""))
    if stated["below"]:
        if not int(stated["below"]):
            return True
        number /= int(stated["below"])
    if stated["minus"] or stated["sign"]:
        number = -number
    decimals = len(stated["number"].partition(".")[2])
    scaled = has_percent or stated["percent"] or stated["cents"]
    scales = (1, 100, Fraction(1, 100)) if scaled else (1,)
    return any(_is_written_as(value * scale, number, decimals) for scale in scales)


def _is_written_as(value: Fraction, number: Fraction, decimals: int) -> bool:
    """Whether `number`, written with so many decimals, is `value`, or it cut or rounded to them."""
    if value == number or not decimals:
        return value == number
    unit = Fraction(1, 10**decimals)
    return abs(value - number) <= unit / 2 or 0 <= abs(value) - abs(number) < unit


# Expressions


def _last_expression(left: str) -> list[str]:
    """The tokens of the expression that `left` ends with; empty if none can be read for sure.

    It begins where a sentence does, or where a number follows another one with harmless words in
    between: in "his 5 jars hold 4 + 2" it is 4 + 2.
    """
    left = _BY_FRACTION.sub(r"\1(\2)", left)
    tokens: list[str] = []
    words: set[str] = set()  # since the last token
    sure = True
    for match in _TOKEN.finditer(left):
        kind, text = match.lastgroup, match[0]
        behind = left[match.end() :]
        needs_operand = not tokens or tokens[-1] in "+-*/("
        if kind == "end":
            tokens, words, sure = [], set(), True
        elif kind == "word":
            if text == "x" and not needs_operand and _FACTOR.match(behind):
                tokens.append("*")
                words = set()
            else:
                words.add(text.lower())
                # Other letters are unknown numbers, and these are behind a digit.
                is_letter = len(text) == 1 and (text not in "aIs" or _follows_digit(left, match))
                sure = sure and not is_letter
        elif kind == "number":
            if not needs_operand:  # "2 1/2" is one number, "5 jars 4 + 2" are two
                harmless = _COMPUTES.isdisjoint(words) or not _CLAUSES.isdisjoint(words)
                sure = bool(words) and harmless
                tokens = []
            tokens.append(text.replace(",", ""))
            words = set()
        elif kind == "op":
            if text == "(" and not needs_operand:
                # 2(21) is a product; "5 jars (3 + 4" begins anew.
                tokens = [*tokens, "*", "("] if _follows_digit(left, match) else ["("]
            elif text in "()%" or _OPERAND.match(behind):
                tokens.append(_OPERATORS.get(text, text))
            elif text not in "-/":  # these are hyphens, or "per" of a unit
                sure = False
        elif text not in _CURRENCY + "'\"’":
            sure = False
    is_fraction_of = len(tokens) == 3 and tokens[1] == "/" and words
    if not sure or is_fraction_of or not _COMPUTES.isdisjoint(words):
        return []
    return _without_open(tokens)


def _follows_digit(text: str, match: re.Match[str]) -> bool:
    return text[: match.start()][-1:].isdigit()


def _without_open(tokens: list[str]) -> list[str]:
    """What stands behind the last parenthesis that is not closed."""
    depth = 0
    for place in range(len(tokens) - 1, -1, -1):
        depth += (tokens[place] == ")") - (tokens[place] == "(")
        if depth < 0:
            return tokens[place + 1 :]
    return tokens


def _value(tokens: list[str]) -> Fraction | None:
    """The value of an expression; None if it is none, or divides by 0."""
    if len("".join(tokens)) > _MAX_EXPRESSION:
        return None
    rest = tokens[::-1]
    try:
        value = _sum(rest)
    except (IndexError, ValueError, ZeroDivisionError):
        return None
    return value if not rest else None


_MAX_EXPRESSION = 200  # characters; it bounds the arithmetic on what a model made up


def _sum(rest: list[str]) -> Fraction:
    value = _product(rest)
    while rest and rest[-1] in "+-":
        sign = 1 if rest.pop() == "+" else -1
        value += sign * _product(rest)
    return value


def _product(rest: list[str]) -> Fraction:
    value = _factor(rest)
    while rest and rest[-1] in "*/":
        divides = rest.pop() == "/"
        factor = _factor(rest)
        value = value / factor if divides else value * factor
    return value


def _factor(rest: list[str]) -> Fraction:
    token = rest.pop()
    if token == "-":
        return -_factor(rest)
    if token == "(":
        value = _sum(rest)
        if rest.pop() != ")":
            raise ValueError("not closed")
    else:
        value = Fraction(token)  # ValueError: no number
    if rest and rest[-1] == "%":
        rest.pop()
        value /= 100
    return value
