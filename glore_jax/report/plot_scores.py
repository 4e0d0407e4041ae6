"""Plots of step scores: are they calibrated, and do they tell right from wrong steps?"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from glore_jax.report.names import MODELS
from glore_jax.report.plot_style import MARKERS, Colours, floats, new_figure, percent
from glore_jax.report.reading import Results, at, number


def reliability(results: Results, colours: Colours) -> Figure:
    """What the scores promise against what happens; a point's area grows with its count."""
    group = at(results, "curves.reliability")
    figure = new_figure(4.2)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=colours["text"], lw=0.8, ls=":")
    for model in MODELS:
        _reliability_line(axes, group, model, colours[model])
    axes.set_xlim(-0.03, 1.03)
    axes.set_ylim(-0.03, 1.03)
    axes.set_xlabel("predicted probability")
    axes.set_ylabel("share of positive labels")
    percent(axes.xaxis)
    percent(axes.yaxis)
    axes.grid()
    legend = axes.legend(loc="upper left", markerscale=1)
    for handle in legend.legend_handles:
        # Points of the plot differ in size; those of the legend must not.
        if isinstance(handle, PathCollection):
            handle.set_sizes([40])
    axes.set_title("Reliability of step scores")
    return figure


def _reliability_line(axes: Axes, group: Results, model: str, colour: str) -> None:
    p, rate, n = (floats(at(group, f"{model}.{field}")) for field in ("p", "rate", "n"))
    if not p.size:
        return
    axes.plot(p, rate, color=colour, lw=1.5)
    area = 12 + 110 * n / max(np.nanmax(n), 1)  # points squared
    marker = MARKERS[model]
    axes.scatter(p, rate, area, color=colour, marker=marker, alpha=0.85, lw=0, label=MODELS[model])


def scores(results: Results, colours: Colours) -> Figure:
    """Step scores of right and wrong steps, each as shares of its own kind; a panel a model."""
    group = {}
    for model in MODELS:
        if counts := at(results, f"curves.scores.{model}"):
            group[model] = counts
    figure = new_figure(3.3)
    panels = np.atleast_1d(figure.subplots(1, len(group), sharey=True))
    for axes, (model, counts) in zip(panels, group.items(), strict=True):
        _score_panel(axes, counts, colours)
        if (threshold := number(results, f"marks.step_threshold.{model}")) is not None:
            axes.axvline(threshold, color=colours["text"], lw=0.8, ls=":")
        axes.set_title(MODELS[model])
    panels[0].set_ylabel("share of its kind")
    # All panels have the same two names; the legend has each once.
    handles = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles[label] = handle
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=2)
    return figure


def _score_panel(axes: Axes, counts: Results, colours: Colours) -> None:
    for kind, dashes in (("right", "-"), ("wrong", "--")):
        values = floats(counts.get(kind))
        if values.sum() > 0:
            shares = values / values.sum()
            edges = np.linspace(0, 1, len(values) + 1)
            colour = colours[kind]
            axes.stairs(shares, edges, color=colour, fill=True, alpha=0.25)
            axes.stairs(shares, edges, color=colour, lw=1.6, ls=dashes, label=f"{kind} steps")
    axes.set_xlabel("score")
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.5, 1])
    axes.grid(axis="y")
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    percent(axes.yaxis)
