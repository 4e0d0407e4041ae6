"""How all plots look: one quiet style in a light and a dark version, and what every plot needs.

Colours follow the palette of Okabe and Ito, which readers with any common colour blindness can tell
apart, and a model keeps its colour and marker throughout. Plots are 6 inches wide at 160 dots an
inch, with text that reads well at 600 pixels.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

WIDTH = 6.0  # inches
DPI = 160

Colours = Mapping[str, str]

# Text, faint lines, background, then the colours by what they stand for.
LIGHT: Colours = {
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
DARK: Colours = {
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
MARKERS = {
    "pass": "D",
    "majority": "v",
    "orm": "o",
    "sorm": "s",
    "balanced_orm": "^",
    "loglik": "x",
}


def style(colours: Colours) -> dict[Any, Any]:
    """Matplotlib's settings for one version."""
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


def new_figure(height: float) -> Figure:
    """An empty figure of `height` inches."""
    return Figure(figsize=(WIDTH, height), dpi=DPI, layout="constrained")


def floats(values: Sequence[float | None] | None) -> np.ndarray:
    """float64 [N]; None becomes NaN, which is not drawn."""
    return np.asarray([] if values is None else values, float)


def percent(axis: Axis) -> None:
    """Label `axis`, which holds rates in 0..1, in per cent."""
    axis.set_major_formatter(PercentFormatter(1.0, decimals=0))
