"""The system of a run in words: who chooses, among what.

Both are the config's (`evaluate.choose`, `.suspects`, `.backtrack`, `.extra_samples`), so that a
text which names them asks here. Of a run that does not tell, the paper's are meant.
"""

from glore_jax.report.reading import Results, at

_CHOOSES = {
    "orm": "ORM chooses",
    "vote": "vote by ORM score",
    "combination": "combination of scores chooses",
}
_CHOICE = {
    "orm": "The ORM's choice",
    "vote": "The choice of a vote by ORM score",
    "combination": "The choice of a combination of scores",
}
_HOW = {
    "orm": "The solution with the highest ORM score at its last step is chosen.",
    "vote": "The answer with the largest sum of ORM scores is chosen, and of its solutions the one "
    "with the highest.",
    "combination": "The solution with the highest combination, fitted on dev, of the ORM's score, "
    "the SORM's lowest and the log-likelihood is chosen.",
}
_FURTHER = (
    ("backtrack", "continuation from the mark"),
    ("extra_samples", "sample"),
)


def _who(results: Results) -> str:
    return str(at(results, "marks.choose") or "orm")


def _further(results: Results) -> list[str]:
    """The candidates beyond the draft and one refinement of either kind."""
    settings = at(results, "about.settings") or {}
    found = ["local at the next suspect"] if _number(settings, "suspects") > 1 else []
    for field, name in _FURTHER:
        if count := _number(settings, field):
            found.append(f"{count} {name}{'s' if count > 1 else ''}")
    return found


def _number(settings: Results, field: str) -> int:
    """The field of section `evaluate`, 0 where it is not known; settings are JSON texts."""
    return int(settings.get(f"evaluate.{field}", 0))


def candidates(results: Results) -> str:
    """The candidates, as the name of a row: `Draft, global, local`."""
    return ", ".join(["Draft, global, local", *_further(results)])


def row(results: Results) -> str:
    """Who chooses among what, as the name of a row."""
    return f"{candidates(results)}: {_CHOOSES[_who(results)]}"


def oracle_row(results: Results) -> str:
    """The same where an oracle chooses."""
    return f"{candidates(results)}: oracle chooses"


def choice(results: Results) -> str:
    """Who chooses among what, as the beginning of a sentence."""
    return f"{_CHOICE[_who(results)]} among {_listed(['draft', 'global', 'local'], results)}"


def among(results: Results) -> str:
    """What there is to choose from, within a sentence."""
    return _listed(["the draft", "its refinements"], results)


def _listed(first: list[str], results: Results) -> str:
    """`first` and what the config adds, within a sentence."""
    *most, last = [*first, *_further(results)]
    return f"{', '.join(most)} and {last}"


def how(results: Results) -> str:
    """The sentence that says which solution is chosen."""
    return _HOW[_who(results)]
