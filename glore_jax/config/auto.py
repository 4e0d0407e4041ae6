"""Fields whose value is a number, or `auto`: chosen by the run itself, on split `dev`."""

AUTO = "auto"

# What `evaluate.temperature=auto` tries, and the samples of a dev question at each: with the draft,
# as many solutions as the system writes.
TEMPERATURES = (0.4, 0.7, 1.0)
SAMPLES = 2


def numbers(text: str) -> tuple[float, ...] | None:
    """The numbers of such a field, in the order written (`0.4,0.7`); None for `auto`.

    ValueError if it is neither.
    """
    if text.strip() == AUTO:
        return None
    return tuple(float(part) for part in text.split(","))
