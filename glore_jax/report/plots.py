"""The report's plots as PNG bytes, drawn by matplotlib without a display.

`PLOTS` names each plot with its caption and the figures it needs; what draws it stands in
`plot_curves.py`, `plot_scores.py` or `plot_bars.py`.
"""

import dataclasses
import io
from collections.abc import Callable

import matplotlib
from matplotlib.figure import Figure

from glore_jax.report import plot_bars, plot_curves, plot_scores
from glore_jax.report.plot_style import DARK, LIGHT, Colours, style
from glore_jax.report.reading import Results, at
from glore_jax.report.table import dependence


@dataclasses.dataclass(frozen=True)
class Plot:
    """One plot.

    Attributes:
      title: its name for readers.
      caption: what it shows.
      needs: path of the figures it cannot do without.
      draw: draws it from the results, on a fresh figure.
      least: entries of these figures without which there is nothing to compare.
      intervals: it shows 95% intervals of single shares.
    """

    title: str
    caption: str
    needs: str
    draw: Callable[[Results, Colours], Figure]
    least: int = 1
    intervals: bool = False


PLOTS = {
    "pipeline": Plot(
        "The reranked pipeline",
        "Accuracy of the draft, of its rivals, and of the system, which chooses among its "
        "candidates. Light: what an oracle choice would add. Lines are 95% intervals of "
        "each alone; those of the differences, which are paired and narrower, stand in the table.",
        "pipeline.rerank.acc",
        plot_bars.pipeline,
        intervals=True,
    ),
    "by_steps": Plot(
        "Accuracy by number of steps",
        "Accuracy on questions whose worked solution has so many steps. Bars are 95% intervals; "
        "below, how many questions there are.",
        "by_steps",
        plot_curves.by_steps,
        least=2,
        intervals=True,
    ),
    "rerank": Plot(
        "Best of K samples",
        "Accuracy of one answer chosen from K samples, against K. Bands are over resamples of K.",
        "curves.rerank.k",
        plot_curves.rerank,
    ),
    "first_error": Plot(
        "First errors",
        "The first wrong step of wrong drafts, by the truth where the task knows it, "
        "else by rollout labels.",
        "draft.first_error_histogram",
        plot_curves.first_error,
    ),
    "label_rate": Plot(
        "Label rate by prefix length",
        "Share of prefixes from which some rollout ends right, and their number: of the drafts "
        "that the SORM learns from, before they are balanced, and of the greedy test drafts. Early "
        "prefixes can mostly still be solved and late ones seldom, which is why labels are "
        "balanced at each length. Bands are 95% intervals.",
        "curves.label_rate.length",
        plot_curves.label_rate,
        intervals=True,
    ),
    "reliability": Plot(
        "Reliability of step scores",
        "A calibrated score lies on the dotted line. Larger points hold more steps.",
        "curves.reliability",
        plot_scores.reliability,
    ),
    "scores": Plot(
        "Scores of right and wrong steps",
        "Step scores split by whether the prefix is right, and the threshold in force. "
        "The better a model, the less the two overlap.",
        "curves.scores",
        plot_scores.scores,
    ),
    "refinement": Plot(
        "Refinement",
        "Share of wrong drafts put right and of right drafts made wrong. Lines are 95% intervals.",
        "refine.global.fix_rate",
        plot_bars.refinement,
        intervals=True,
    ),
}


def missing(name: str, results: Results) -> str | None:
    """Why plot `name` is left out of the report of `results`; None if it can be drawn."""
    plot = PLOTS[name]
    value = at(results, plot.needs)
    if value is not None and not hasattr(value, "__len__"):
        return None
    entries = len(value or ())
    if entries >= plot.least:
        return None
    if entries:
        return f"Left out: plot {plot.title!r} (`{plot.needs}` has only {entries} entry)."
    return f"Left out: plot {plot.title!r} (the results hold no `{plot.needs}`)."


def caption(name: str, results: Results) -> str:
    """What plot `name` shows, and how far its intervals can be trusted in these results."""
    plot = PLOTS[name]
    return plot.caption + (dependence(at(results, "draft")) if plot.intervals else "")


def draw(results: Results, dark: bool = False) -> dict[str, bytes]:
    """PNG bytes of every plot that `results` has the figures for, by name."""
    colours = DARK if dark else LIGHT
    images = {}
    with matplotlib.rc_context(style(colours)):
        for name, plot in PLOTS.items():
            if missing(name, results) is None:
                images[name] = _png(plot.draw(results, colours))
    return images


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    # No software version in the file: the same results give the same bytes.
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
