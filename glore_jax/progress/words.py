"""Times and rates for a person."""


def duration(seconds: float) -> str:
    """A measured time in the unit that suits it."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    if seconds < 7200:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h"


def about(seconds: float) -> str:
    """A time that is guessed, in two digits."""
    for size, unit in ((3600.0, "h"), (60.0, "min")):
        if seconds >= 2 * size:
            count = seconds / size
            return f"{count:.2g} {unit}" if count < 10 else f"{count:.0f} {unit}"
    return f"{seconds:.0f} s"


def rate(per_second: float) -> str:
    """How often something happens, in the unit in which it happens at least once."""
    for size, unit in ((1.0, "s"), (60.0, "min")):
        if (count := per_second * size) >= 1:
            return f"{count:.0f}/{unit}" if count >= 10 else f"{count:.1f}/{unit}"
    return f"{per_second * 3600:.1f}/h"
