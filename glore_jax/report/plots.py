"""The report's plots as PNG bytes: matplotlib without a display, one quiet style in a light and a dark version.

Each plot is a function that draws on a fresh figure; `PLOTS` names it, the figures it needs and its caption. Colours
follow the palette of Okabe and Ito, which readers with any common colour blindness can tell apart, and a model keeps its
colour and marker throughout. Figures are 6 inches wide at 160 dots an inch, with text that reads well at 600 pixels.
"""

import dataclasses
import io
import itertools
from collections.abc import Callable, Mapping

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, PercentFormatter

from glore_jax.report import paper
from glore_jax.report.figures import at, interval, number
from glore_jax.report.tables import MODELS, REFINEMENTS

WIDTH, DPI = 6.0, 160

# Text, faint lines, background, then the colours by what they stand for.
_LIGHT = {
    "text": "#24292f",
    "faint": "#d5d9de",
    "back": "#ffffff",
    "orm": "#0072B2",
    "sorm": "#D55E00",
    "balanced_orm": "#AA4488",
    "loglik": "#7a7f87",
    "majority": "#008F68",
    "right": "#0072B2",
    "wrong": "#D55E00",
}
_DARK = {
    "text": "#d7dce2",
    "faint": "#3a4048",
    "back": "#1c2026",
    "orm": "#56B4E9",
    "sorm": "#F08A4B",
    "balanced_orm": "#DDA0CC",
    "loglik": "#9aa1ab",
    "majority": "#35C79E",
    "right": "#56B4E9",
    "wrong": "#F08A4B",
}
_MARKERS = {
    "pass": "D",
    "majority": "v",
    "orm": "o",
    "sorm": "s",
    "balanced_orm": "^",
    "loglik": "x",
}
_CURVES = {"pass": "pass@K", "majority": "majority", "loglik": "log-likelihood"} | MODELS


def _style(colours: Mapping) -> dict:
    return {
        "font.size": 10.5,
        "font.family": "DejaVu Sans",
        "axes.titlesize": 11.5,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.titlepad": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "axes.edgecolor": colours["faint"],
        "axes.facecolor": colours["back"],
        "figure.facecolor": colours["back"],
        "grid.color": colours["faint"],
        "grid.linewidth": 0.6,
        "text.color": colours["text"],
        "axes.labelcolor": colours["text"],
        "axes.titlecolor": colours["text"],
        "xtick.color": colours["text"],
        "ytick.color": colours["text"],
        "xtick.major.size": 0,
        "ytick.major.size": 0,
        "legend.frameon": False,
        "legend.fontsize": 9.5,
        "lines.linewidth": 1.8,
        "lines.markersize": 5,
    }


@dataclasses.dataclass(frozen=True)
class Plot:
    """One plot: title, what it shows, the figures it cannot do without, and the function that draws it."""

    title: str
    caption: str
    needs: str
    draw: Callable[[Mapping, Mapping], Figure]


def _figure(height: float) -> Figure:
    return Figure(figsize=(WIDTH, height), dpi=DPI, layout="constrained")


def _floats(values: object) -> np.ndarray:
    return np.asarray(
        values if values is not None else [], float
    )  # None becomes NaN, which is not drawn


def _percent(axis: object) -> None:
    axis.set_major_formatter(PercentFormatter(1.0, decimals=0))


def _spread(values: list[float], gap: float) -> list[float]:
    """`values` moved apart as little as needed so that labels at them keep `gap` between each other."""
    order = np.argsort(values)
    placed = np.asarray(values, float)
    for _ in range(100):
        for low, high in itertools.pairwise(order):
            short = gap - (placed[high] - placed[low])
            if short > 1e-9:
                placed[low] -= short / 2
                placed[high] += short / 2
    return placed.tolist()


def _rerank(results: Mapping, colours: Mapping) -> Figure:
    """Accuracy of the best of K samples against K, a band over resamples, named at the right end of each line."""
    curves = at(results, "curves.rerank")
    ks = _floats(curves["k"])
    figure = _figure(3.9)
    axes = figure.subplots()
    ends = []
    for key, name in _CURVES.items():
        if not at(curves, f"{key}.mean"):
            continue
        curve, colour = curves[key], colours.get(key, colours["text"])
        mean = _floats(curve["mean"])
        axes.plot(
            ks,
            mean,
            color=colour,
            marker=_MARKERS[key],
            label=name,
            ls="--" if key == "pass" else "-",
        )
        if curve.get("low") is not None and curve.get("high") is not None:
            axes.fill_between(
                ks, _floats(curve["low"]), _floats(curve["high"]), color=colour, alpha=0.13, lw=0
            )
        if np.isfinite(mean[-1]):
            ends.append((mean[-1], name, colour))
    axes.set_xscale("log", base=2)
    axes.set_xticks(ks, [f"{k:g}" for k in ks])
    axes.minorticks_off()
    axes.grid(axis="y")
    axes.set_xlabel("K, samples per question")
    axes.set_ylabel("accuracy")
    _percent(axes.yaxis)
    low, high = axes.get_ylim()
    places = _spread([end for end, _, _ in ends], (high - low) * 0.065)
    for (end, name, colour), place in zip(ends, places, strict=True):
        axes.annotate(
            name,
            (ks[-1], end),
            (ks[-1] * 1.06, place),
            color=colour,
            va="center",
            fontsize=9.5,
            annotation_clip=False,
        )
    axes.set_title("Best of K samples, by who chooses")
    return figure


def _first_error(results: Mapping, colours: Mapping) -> Figure:
    """How many wrong drafts go wrong first at which step."""
    pairs = sorted((int(step), int(n)) for step, n in at(results, "draft.first_error_histogram"))
    steps, counts = [step for step, _ in pairs], [n for _, n in pairs]
    figure = _figure(3.2)
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


def _label_rate(results: Mapping, colours: Mapping) -> Figure:
    """Share of good labels by prefix length, and how many prefixes there are."""
    group = at(results, "curves.label_rate")
    length, rate, n = (_floats(group.get(key)) for key in ("length", "rate", "n"))
    figure = _figure(3.7)
    top, bottom = figure.subplots(2, sharex=True, height_ratios=(3, 1))
    ends = np.array(
        [
            interval(r, k) if np.isfinite(r) else (np.nan, np.nan)
            for r, k in zip(rate, n, strict=True)
        ]
    )
    top.fill_between(length, ends[:, 0], ends[:, 1], color=colours["sorm"], alpha=0.15, lw=0)
    top.plot(length, rate, color=colours["sorm"], marker="s")
    top.axhline(0.5, color=colours["text"], lw=0.8, ls=":")
    top.set_ylim(-0.02, 1.02)
    top.set_ylabel("positive")
    _percent(top.yaxis)
    top.grid(axis="y")
    bottom.bar(length, n, color=colours["loglik"], width=0.6)
    bottom.set_ylabel("prefixes")
    bottom.set_xlabel("prefix length in steps")
    bottom.yaxis.set_major_locator(MaxNLocator(2, integer=True))
    bottom.xaxis.set_major_locator(MaxNLocator(12, integer=True))
    bottom.grid(axis="y")
    top.set_title("Share of positive step labels, before balancing")
    return figure


def _reliability(results: Mapping, colours: Mapping) -> Figure:
    """What the scores promise against what happens; the area of a point grows with its count."""
    group = at(results, "curves.reliability")
    figure = _figure(4.2)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=colours["text"], lw=0.8, ls=":")
    for key, name in MODELS.items():
        p, rate, n = (_floats(at(group, f"{key}.{field}")) for field in ("p", "rate", "n"))
        if not p.size:
            continue
        axes.plot(p, rate, color=colours[key], lw=1.5)
        area = 12 + 110 * n / max(np.nanmax(n), 1)
        axes.scatter(
            p, rate, area, color=colours[key], marker=_MARKERS[key], alpha=0.85, lw=0, label=name
        )
    axes.set_xlim(-0.03, 1.03)
    axes.set_ylim(-0.03, 1.03)
    axes.set_xlabel("predicted probability")
    axes.set_ylabel("share of positive labels")
    _percent(axes.xaxis)
    _percent(axes.yaxis)
    axes.grid()
    legend = axes.legend(loc="upper left", markerscale=1)
    for handle in legend.legend_handles:
        handle.set_sizes([40])
    axes.set_title("Reliability of step scores")
    return figure


def _scores(results: Mapping, colours: Mapping) -> Figure:
    """Step scores of right and wrong steps, each as shares of its own kind."""
    group = {key: value for key in MODELS if (value := at(results, f"curves.scores.{key}"))}
    figure = _figure(3.3)
    panels = np.atleast_1d(figure.subplots(1, len(group), sharey=True))
    for axes, (key, counts) in zip(panels, group.items(), strict=True):
        for kind in ("right", "wrong"):
            values = _floats(counts.get(kind))
            if values.sum() > 0:
                edges = np.linspace(0, 1, len(values) + 1)
                shares = values / values.sum()
                axes.stairs(shares, edges, color=colours[kind], fill=True, alpha=0.25)
                axes.stairs(
                    shares,
                    edges,
                    color=colours[kind],
                    lw=1.6,
                    ls="-" if kind == "right" else "--",
                    label=f"{kind} steps",
                )
        axes.axvline(0.5, color=colours["text"], lw=0.8, ls=":")
        axes.set_title(MODELS[key])
        axes.set_xlabel("score")
        axes.set_xlim(0, 1)
        axes.set_xticks([0, 0.5, 1])
        axes.grid(axis="y")
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        _percent(axes.yaxis)
    panels[0].set_ylabel("share of its kind")
    handles = {
        label: handle
        for axes in panels
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=2)
    return figure


def _bar(
    axes: Axes, place: float, value: float, n: float | None, theirs: float | None, colour: str
) -> float:
    """A horizontal bar, its 95% interval in the upper half, a hollow diamond at the paper's figure in the lower half.

    Returns where the last of them ends.
    """
    ink, face = matplotlib.rcParams["text.color"], matplotlib.rcParams["axes.facecolor"]
    axes.barh(place, value, color=colour, height=0.64, alpha=0.85)
    ends = [value]
    if n:
        low, high = interval(value, n)
        axes.plot([low, high], [place + 0.13] * 2, color=ink, lw=1.2, solid_capstyle="butt")
        ends.append(high)
    if theirs is not None:
        axes.plot(theirs, place - 0.15, "D", ms=6, mfc=face, mec=ink, mew=1.3)
        ends.append(theirs)
    return max(ends)


def _note(axes: Axes, x: float, place: float, text: str) -> None:
    axes.annotate(text, (x, place), (7, 0), textcoords="offset points", va="center", fontsize=9.5)


def _paper_key(results: Mapping) -> Line2D:
    """The legend's entry for the paper's figures."""
    ink = matplotlib.rcParams["text.color"]
    label = f"paper, {paper.column(results)}"
    return Line2D([], [], ls="", marker="D", ms=6, mfc="none", mec=ink, mew=1.3, label=label)


def _refinement(results: Mapping, colours: Mapping) -> Figure:
    """Fix rates on wrong drafts beside the paper's, and break rates on right ones."""
    keys = [key for key in REFINEMENTS if number(results, f"refine.{key}.fix_rate") is not None]
    column = paper.column(results)
    figure = _figure(3.7)
    panels = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    kinds = (
        ("Wrong drafts fixed", "fix_rate", "n_wrong", "right"),
        ("Right drafts broken", "break_rate", "n_right", "wrong"),
    )
    for axes, (title, figure_name, count_name, colour) in zip(panels, kinds, strict=True):
        reach = 0.02
        for place, key in enumerate(reversed(keys)):
            value = number(results, f"refine.{key}.{figure_name}")
            if value is not None:
                n = number(results, f"refine.{key}.{count_name}")
                theirs = paper.TABLE_3.value(f"refine.{key}.{figure_name}", column)
                end = _bar(axes, place, value, n, theirs, colours[colour])
                _note(axes, end, place, f"{value:.1%}")
                reach = max(reach, end)
        axes.set_title(title)
        axes.set_xlim(0, reach * (1.3 if figure_name == "fix_rate" else 1.55))
        axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        _percent(axes.xaxis)
        axes.grid(axis="x")
        axes.spines["left"].set_visible(False)
    fix, broken = panels
    if all(number(results, f"refine.{key}.break_rate") is None for key in keys):
        broken.text(
            0.5, 0.5, "not in the results", transform=broken.transAxes, ha="center", va="center"
        )
    names = [REFINEMENTS[key].replace(", ", ",\n").replace(" ∪ ", " ∪\n") for key in reversed(keys)]
    fix.set_yticks(range(len(keys)), names)
    figure.legend(handles=[_paper_key(results)], loc="outside lower center")
    return figure


def _pipeline(results: Mapping, colours: Mapping) -> Figure:
    """Draft, best of 3 and the reranked three, with what an oracle choice would reach, beside the paper's."""
    rows = [
        ("Draft, global,\nlocal", "pipeline.rerank", "pipeline.oracle"),
        ("Best of 3\nsamples", "pipeline.bo3", "pipeline.bo3_oracle"),
        ("Draft", "draft", ""),
    ]
    rows = [row for row in rows if number(results, f"{row[1]}.acc") is not None]
    figure = _figure(3.1)
    axes = figure.subplots()
    reach = 0.0
    for place, (_, path, oracle_path) in enumerate(rows):
        value, oracle = number(results, f"{path}.acc"), number(results, f"{oracle_path}.acc")
        theirs = paper.FIGURE_6.value(f"{path}.acc", paper.column(results))
        end = _bar(axes, place, value, number(results, f"{path}.n"), theirs, colours["right"])
        text = f"{value:.1%}"
        if oracle is not None:
            axes.barh(
                place, oracle - value, left=value, height=0.64, color=colours["right"], alpha=0.28
            )
            end, text = max(end, oracle), f"{text}, oracle {oracle:.1%}"
        _note(axes, end, place, text)
        reach = max(reach, end)
    axes.set_yticks(range(len(rows)), [name for name, _, _ in rows])
    axes.set_xlim(0, reach * 1.42)
    axes.set_xticks([tick for tick in np.arange(0, 1.01, 0.2) if tick <= reach * 1.3])
    _percent(axes.xaxis)
    axes.grid(axis="x")
    axes.spines["left"].set_visible(False)
    keys = [
        Patch(color=colours["right"], alpha=a, label=f"{who} chooses")
        for who, a in (("ORM", 0.85), ("oracle", 0.28))
    ]
    figure.legend(handles=[*keys, _paper_key(results)], loc="outside lower center", ncols=3)
    axes.set_title("Accuracy on the test set")
    return figure


PLOTS = {
    "pipeline": Plot(
        "The reranked pipeline",
        "Accuracy of the draft, of the best of three samples, and of the choice among draft, global and local refinement. "
        "Dark: the ORM chooses. Light: what an oracle choice would add. Lines are 95% intervals.",
        "pipeline.rerank.acc",
        _pipeline,
    ),
    "rerank": Plot(
        "Best of K samples",
        "Accuracy of one answer chosen from K samples, against K. Bands are over resamples of K.",
        "curves.rerank.k",
        _rerank,
    ),
    "first_error": Plot(
        "First errors",
        "The first wrong step of wrong drafts, by the truth where the task knows it, else by rollout labels.",
        "draft.first_error_histogram",
        _first_error,
    ),
    "label_rate": Plot(
        "Label rate by prefix length",
        "Share of prefixes from which some rollout ends right, and their number. Early prefixes can mostly still be solved "
        "and late ones seldom, which is why labels are balanced at each length. The band is the 95% interval.",
        "curves.label_rate.length",
        _label_rate,
    ),
    "reliability": Plot(
        "Reliability of step scores",
        "A calibrated score lies on the dotted line. Larger points hold more steps.",
        "curves.reliability",
        _reliability,
    ),
    "scores": Plot(
        "Scores of right and wrong steps",
        "Step scores split by whether the prefix is right. The better a model, the less the two overlap.",
        "curves.scores",
        _scores,
    ),
    "refinement": Plot(
        "Refinement",
        "Share of wrong drafts put right and of right drafts made wrong. Lines are 95% intervals.",
        "refine.global.fix_rate",
        _refinement,
    ),
}


def missing(name: str, results: Mapping) -> str | None:
    """Why plot `name` is left out of the report of `results`; None if it can be drawn."""
    value = at(results, PLOTS[name].needs)
    empty = value is None or (hasattr(value, "__len__") and len(value) == 0)
    return (
        f"Left out: plot {PLOTS[name].title!r} (the results hold no `{PLOTS[name].needs}`)."
        if empty
        else None
    )


def draw(results: Mapping, dark: bool = False) -> dict[str, bytes]:
    """PNG bytes of every plot that `results` has the figures for, by name."""
    colours = _DARK if dark else _LIGHT
    images = {}
    with matplotlib.rc_context(_style(colours)):
        for name, plot in PLOTS.items():
            if missing(name, results) is None:
                buffer = io.BytesIO()
                # No software version in the file: the same results give the same bytes.
                plot.draw(results, colours).savefig(
                    buffer, format="png", metadata={"Software": None}
                )
                images[name] = buffer.getvalue()
    return images
