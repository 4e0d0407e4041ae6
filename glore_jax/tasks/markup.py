r"""Answers as models write them, in LaTeX or Markdown: the same answer in plain text.

    \boxed{\$1{,}000}    **29**    $\frac{1}{2}$ cup    29\,\text{km}    90^\circ
    $1,000               29        1/2 cup              29 km            90°

Only what surrounds or spells a number is taken away. What computes (`\times`, `^`, `\sqrt`) stays,
so that it is never read as a number.
"""

import re

# Whether there is anything to do.
_ANY = re.compile(r"[\\*_`{}~^]|\$.*\$")
_FORMULA = (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"))
_WORDS = r"\\(?:boxed|fbox|text|textbf|textit|textrm|mathrm|mathbf|mathit|mbox|operatorname)"
# In this order, over and over until nothing changes.
_SPELLED = tuple(
    (re.compile(pattern), plain)
    for pattern, plain in (
        # Never between digits, where a star is a product.
        (r"(?<![\w*])(\*\*|__|[*_`])(?=\S)([^*_`]*)(?<=\S)\1(?![\w*])", r"\2"),
        (r"\\[dt]?frac *\{([0-9]+)\} *\{([0-9]+)\}", r" \1/\2"),
        (rf"{_WORDS} *\{{([^{{}}]*)\}}", r" \1 "),
        (r"(?<=[0-9])(?:\{,\}|\\,|\\ |\\!)(?=[0-9]{3}(?![0-9]))", ","),
        (r"\^ *(?:\\circ|\{ *\\circ *\})", "°"),
        (r"(?<=[A-Za-z]) *\^(?:([23])|\{([23])\})", ""),  # of a unit: cm^2
        (r"\\([$%])", r"\1"),
        (r"\\[,;:! ]|(?<=[\w}])~", " "),
    )
)


def plain(text: str) -> str:
    """`text` without the markup around and in it; as it is, if it has none."""
    while _ANY.search(text):
        before = text
        text = _unwrapped(text.strip())
        for pattern, spelled in _SPELLED:
            text = pattern.sub(spelled, text)
        if text == before:
            break
    return text


def _unwrapped(text: str) -> str:
    # A full stop may stand behind what is wrapped: $29$.
    inner = text.removesuffix(".").rstrip()
    for left, right in _FORMULA:
        wraps = inner.startswith(left) and inner.endswith(right)
        if wraps and len(inner) > len(left) + len(right):
            return inner[len(left) : -len(right)]
    return text
