"""Plots along an axis: choices among K samples, first errors by step, labels by prefix length."""

import itertools
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from glore_jax.report.names import MODELS
from glore_jax.report.plot_style import MARKERS, Colours, floats, new_figure, percent
from glore_jax.report.reading import Results, at, interval

_CHOOSERS = {"pass": "pass@K", "majority": "majority", "loglik": "log-likelihood"} | MODELS

_LABEL_GAP = 0.065  # between names at line ends, as a share of the plot's height


# The best of K samples.


def rerank(results: Results, colours: Colours) -> Figure:
    """Accuracy of the best of K samples against K, each line with a band over resamples."""
    curves = at(results, "curves.rerank")
    ks = floats(curves["k"])
    figure = new_figure(3.9)
    axes = figure.subplots()
    ends = {}
    for key in _CHOOSERS:
        if not at(curves, f"{key}.mean"):
            continue
        last = _rerank_line(axes, ks, key, curves[key], colours.get(key, colours["text"]))
        if np.isfinite(last):
            ends[key] = last
    axes.set_xscale("log", base=2)
    axes.set_xticks(ks, [f"{k:g}" for k in ks])
    axes.minorticks_off()
    axes.grid(axis="y")
    axes.set_xlabel("K, samples per question")
    axes.set_ylabel("accuracy")
    percent(axes.yaxis)
    _name_lines(axes, ks[-1], ends, colours)
    axes.set_title("Best of K samples, by who chooses")
    return figure


def _rerank_line(axes: Axes, ks: np.ndarray, key: str, curve: Mapping, colour: str) -> float:
    """Draws the means and the band of one chooser; returns the last mean."""
    mean = floats(curve["mean"])
    dashes = "--" if key == "pass" else "-"  # nobody can choose so; it bounds the others
    axes.plot(ks, mean, color=colour, marker=MARKERS[key], label=_CHOOSERS[key], ls=dashes)
    if curve.get("low") is not None and curve.get("high") is not None:
        low = floats(curve["low"])
        high = floats(curve["high"])
        axes.fill_between(ks, low, high, color=colour, alpha=0.13, lw=0)
    return mean[-1]


def _name_lines(axes: Axes, x: float, ends: Mapping[str, float], colours: Colours) -> None:
    """Writes each line's name to the right of its end at `x`, with space between the names."""
    bottom, top = axes.get_ylim()
    places = spread(list(ends.values()), (top - bottom) * _LABEL_GAP)
    for (key, end), place in zip(ends.items(), places, strict=True):
        axes.annotate(
            _CHOOSERS[key],
            (x, end),
            (x * 1.06, place),
            color=colours.get(key, colours["text"]),
            va="center",
            fontsize=9.5,
            annotation_clip=False,
        )


def spread(values: list[float], gap: float) -> list[float]:
    """`values` moved apart as little as needed so that they keep `gap` between each other."""
    order = np.argsort(values)
    placed = np.asarray(values, float)
    # Each pass pushes close neighbours half of what is missing apart, which may bring them closer
    # to the next ones; a few labels settle long before the last pass.
    for _ in range(100):
        for low, high in itertools.pairwise(order):
            short = gap - (placed[high] - placed[low])
            if short > 1e-9:
                placed[low] -= short / 2
                placed[high] += short / 2
    return placed.tolist()


# Steps.


def first_error(results: Results, colours: Colours) -> Figure:
    """How many wrong drafts go wrong first at which step."""
    histogram = at(results, "draft.first_error_histogram")
    pairs = sorted((int(step), int(n)) for step, n in histogram)
    steps = [step for step, _ in pairs]
    counts = [n for _, n in pairs]
    figure = new_figure(3.2)
    axes = figure.subplots()
    bars = axes.bar(steps, counts, color=colours["wrong"], width=0.72, alpha=0.85)
    axes.margins(y=0.12)
    axes.bar_label(bars, padding=2, fontsize=9.5, color=colours["text"])
    axes.set_xticks(steps if len(steps) <= 16 else steps[:: len(steps) // 10])
    axes.set_xlabel("first wrong step E of the draft")
    axes.set_ylabel("wrong drafts")
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.grid(axis="y")
    axes.set_title(f"Where wrong drafts go wrong first (n = {sum(counts)})")
    return figure


# Whose rollout labels: their key in `curves`, name, colour, marker, line.
_LABELS = (
    ("label_rate_training", "training", "sorm", "s", "-"),
    ("label_rate", "test drafts", "orm", "o", "--"),
)


def label_rate(results: Results, colours: Colours) -> Figure:
    """Share of good labels by prefix length, and how many prefixes there are."""
    figure = new_figure(3.9)
    top, bottom = figure.subplots(2, sharex=True, height_ratios=(3, 1))
    known = [row for row in _LABELS if at(results, f"curves.{row[0]}")]
    for i, (key, name, colour, marker, dashes) in enumerate(known):
        group = at(results, f"curves.{key}")
        length, rates, n = (floats(group.get(field)) for field in ("length", "rate", "n"))
        intervals = [_known_interval(rate, count) for rate, count in zip(rates, n, strict=True)]
        ends = np.array(intervals).reshape(-1, 2)
        shade = colours[colour]
        top.fill_between(length, ends[:, 0], ends[:, 1], color=shade, alpha=0.15, lw=0)
        top.plot(length, rates, color=shade, marker=marker, ls=dashes, label=name)
        width = 0.76 / len(known)  # bars of one length stand side by side
        bottom.bar(length + width * (i - (len(known) - 1) / 2), n, color=shade, width=width)
    top.axhline(0.5, color=colours["text"], lw=0.8, ls=":")
    top.set_title("Share of good step labels, before balancing")
    bottom.set_xlabel("prefix length in steps")
    bottom.xaxis.set_major_locator(MaxNLocator(12, integer=True))
    _rates_over_counts(top, "good", bottom, "prefixes")
    return figure


def _rates_over_counts(top: Axes, rate: str, bottom: Axes, counted: str) -> None:
    """Names and scales of a plot of rates that stands on one of how many there are."""
    top.set_ylim(-0.02, 1.02)
    top.set_ylabel(rate)
    percent(top.yaxis)
    top.grid(axis="y")
    top.legend(loc="best")
    bottom.set_ylabel(counted)
    bottom.yaxis.set_major_locator(MaxNLocator(2, integer=True))
    bottom.grid(axis="y")


# By length of the question.

_SYSTEMS = {"draft": ("draft", "loglik"), "rerank": ("system", "orm"), "oracle": ("oracle", "pass")}


def by_steps(results: Results, colours: Colours) -> Figure:
    """Accuracy of draft, system and oracle by steps of the worked solution, and their number."""
    rows = at(results, "by_steps")
    steps = floats([row["steps"] for row in rows])
    n = floats([row["n"] for row in rows])
    figure = new_figure(3.9)
    top, bottom = figure.subplots(2, sharex=True, height_ratios=(3, 1))
    for i, (key, (name, style)) in enumerate(_SYSTEMS.items()):
        accs = floats([row.get(key) for row in rows])
        ends = np.array([_known_interval(a, count) for a, count in zip(accs, n, strict=True)])
        around = np.abs(ends.reshape(-1, 2).T - accs)
        colour = colours.get(style, colours["text"])
        dashes = "--" if key == "oracle" else "-"
        places = steps + 0.08 * (i - 1)  # intervals stand side by side
        options = {"color": colour, "marker": MARKERS[style], "ls": dashes, "lw": 1.5}
        top.errorbar(places, accs, around, elinewidth=1, label=name, **options)
    top.set_title("Accuracy by steps of the worked solution")
    bottom.bar(steps, n, color=colours["loglik"], width=0.6)
    bottom.set_xlabel("steps")
    bottom.set_xticks(steps, [f"{step:g}" for step in steps])
    _rates_over_counts(top, "accuracy", bottom, "questions")
    return figure


def _known_interval(rate: float, n: float) -> tuple[float, float]:
    """The 95 % interval of `rate`; NaN, which is not drawn, for a rate that is not known."""
    return interval(rate, n) if np.isfinite(rate) else (np.nan, np.nan)
