"""Plots of single rates as bars, each with its 95 % interval and the paper's figure:

████████████──┼──      the bar, and above its middle the interval
████████████◇          below its middle the paper's figure, where there is one
"""

import textwrap
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from glore_jax.report import paper
from glore_jax.report.headline import best_rival
from glore_jax.report.names import REFINEMENTS, RIVALS
from glore_jax.report.plot_style import Colours, new_figure, percent
from glore_jax.report.reading import Results, interval, number

_HEIGHT = 0.64  # of a bar; rows are 1 apart
_ALPHA = 0.85
_ORACLE_ALPHA = 0.28  # of what only an oracle would add


def _bar(
    axes: Axes, place: float, value: float, n: float | None, theirs: float | None, colour: str
) -> float:
    """A bar at height `place`, with interval and the paper's figure `theirs` where there are any.

    Returns where the last of them ends.
    """
    ink = matplotlib.rcParams["text.color"]
    face = matplotlib.rcParams["axes.facecolor"]
    axes.barh(place, value, color=colour, height=_HEIGHT, alpha=_ALPHA)
    end = value
    if n:
        low, high = interval(value, n)
        axes.plot([low, high], [place + 0.13] * 2, color=ink, lw=1.2, solid_capstyle="butt")
        end = max(end, high)
    if theirs is not None:
        axes.plot(theirs, place - 0.15, "D", ms=6, mfc=face, mec=ink, mew=1.3)
        end = max(end, theirs)
    return end


def _write_after(axes: Axes, x: float, place: float, text: str) -> None:
    """`text` a little to the right of `x`."""
    axes.annotate(text, (x, place), (7, 0), textcoords="offset points", va="center", fontsize=9.5)


def _paper_key(results: Results) -> Line2D:
    """The legend's entry for the paper's figures."""
    ink = matplotlib.rcParams["text.color"]
    label = f"paper, {paper.column(results)}"
    return Line2D([], [], ls="", marker="D", ms=6, mfc="none", mec=ink, mew=1.3, label=label)


# Refinement.


def refinement(results: Results, colours: Colours) -> Figure:
    """Fix rates on wrong drafts beside the paper's, and break rates on right ones."""
    kinds = [kind for kind in REFINEMENTS if _refined(results, kind, "fix_rate") is not None]
    kinds.reverse()  # bars are drawn from the bottom up
    figure = new_figure(1.6 + 0.42 * len(kinds))
    fixed, broken = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))

    reach = _refinement_bars(fixed, results, kinds, "fix_rate", "n_wrong", colours["right"])
    fixed.set_title("Wrong drafts fixed")
    fixed.set_xlim(0, reach * 1.3)
    reach = _refinement_bars(broken, results, kinds, "break_rate", "n_right", colours["wrong"])
    broken.set_title("Right drafts broken")
    broken.set_xlim(0, reach * 1.55)  # the narrower panel needs more space for the same numbers

    if all(_refined(results, kind, "break_rate") is None for kind in kinds):
        middle = {"transform": broken.transAxes, "ha": "center", "va": "center"}
        broken.text(0.5, 0.5, "not in the results", **middle)
    names = [REFINEMENTS[kind].replace(", ", ",\n").replace(" ∪ ", " ∪\n") for kind in kinds]
    fixed.set_yticks(range(len(kinds)), names)
    figure.legend(handles=[_paper_key(results)], loc="outside lower center")
    return figure


def _refined(results: Results, kind: str, key: str) -> float | None:
    return number(results, f"refine.{kind}.{key}")


def _refinement_bars(
    axes: Axes, results: Results, kinds: Sequence[str], rate: str, count: str, colour: str
) -> float:
    """One panel: a bar for the figure `rate` of each kind. Returns how far the bars reach."""
    column = paper.column(results)
    reach = 0.02
    for place, kind in enumerate(kinds):
        value = _refined(results, kind, rate)
        if value is None:
            continue
        n = _refined(results, kind, count)
        theirs = paper.TABLE_3.value(f"refine.{kind}.{rate}", column)
        end = _bar(axes, place, value, n, theirs, colour)
        _write_after(axes, end, place, f"{value:.1%}")
        reach = max(reach, end)
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    percent(axes.xaxis)
    axes.grid(axis="x")
    axes.spines["left"].set_visible(False)
    return reach


# The pipeline.


def _pipeline_rows(results: Results) -> list[tuple[str, str, str]]:
    """From the bottom up: name, what its own choice gives, what an oracle's gives."""
    rows = [("System", "pipeline.rerank", "pipeline.oracle")]
    rival = best_rival(results)
    if rival not in (None, "bo3"):
        name = textwrap.fill(RIVALS[rival], 18)
        rows.append((f"Best rival:\n{name}", f"pipeline.{rival}", ""))
    rows.append(("Best of 3\nsamples", "pipeline.bo3", "pipeline.bo3_oracle"))
    rows.append(("Draft", "draft", ""))
    return rows


def pipeline(results: Results, colours: Colours) -> Figure:
    """Draft, rivals and the system, with what an oracle choice would reach."""
    figure = new_figure(3.4)
    axes = figure.subplots()
    names: list[str] = []
    reach = 0.0
    for name, path, oracle_path in _pipeline_rows(results):
        value = number(results, f"{path}.acc")
        if value is None:
            continue
        oracle = number(results, f"{oracle_path}.acc")
        end = _pipeline_bar(axes, len(names), results, path, value, oracle, colours["right"])
        reach = max(reach, end)
        names.append(name)
    axes.set_yticks(range(len(names)), names)
    axes.set_xlim(0, reach * 1.42)  # space for the numbers
    axes.set_xticks([tick for tick in np.arange(0, 1.01, 0.2) if tick <= reach * 1.3])
    percent(axes.xaxis)
    axes.grid(axis="x")
    axes.spines["left"].set_visible(False)
    keys = [
        Patch(color=colours["right"], alpha=_ALPHA, label="as chosen"),
        Patch(color=colours["right"], alpha=_ORACLE_ALPHA, label="oracle chooses"),
        _paper_key(results),
    ]
    figure.legend(handles=keys, loc="outside lower center", ncols=3)
    axes.set_title("Accuracy on the test set")
    return figure


def _pipeline_bar(
    axes: Axes,
    place: int,
    results: Results,
    path: str,
    value: float,
    oracle: float | None,
    colour: str,
) -> float:
    """The bar of one row; what an oracle would add follows it, paler. Returns where it ends."""
    theirs = paper.FIGURE_6.value(f"{path}.acc", paper.column(results))
    end = _bar(axes, place, value, number(results, f"{path}.n"), theirs, colour)
    text = f"{value:.1%}"
    if oracle is not None:
        more = oracle - value
        axes.barh(place, more, left=value, color=colour, height=_HEIGHT, alpha=_ORACLE_ALPHA)
        end = max(end, oracle)
        text = f"{text}, oracle {oracle:.1%}"
    _write_after(axes, end, place, text)
    return end
