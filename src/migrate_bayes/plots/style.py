"""How the figures look, and how they reach the page.

Every figure is a `matplotlib.figure.Figure` drawn on Agg, without pyplot, inside `paper_style`.
Colours are Okabe & Ito's (distinct to colour-blind readers) and cividis or viridis.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "BLUE",
    "GREEN",
    "GREY",
    "ORANGE",
    "PURPLE",
    "SKY",
    "VERMILION",
    "figure",
    "image_base64",
    "in_style",
    "span",
]

BLUE, VERMILION, GREEN = "#0072B2", "#D55E00", "#009E73"
ORANGE, SKY, PURPLE, GREY = "#E69F00", "#56B4E9", "#CC79A7", "#555555"

_STYLE = {
    "font.family": "STIXGeneral",
    "mathtext.fontset": "stix",
    "font.size": 12.0,
    "figure.labelsize": 13.0,
    "axes.labelsize": 13.0,
    "axes.titlesize": 12.0,
    "axes.linewidth": 0.8,
    "axes.unicode_minus": True,
    "legend.fontsize": 10.5,
    "legend.frameon": False,
    "xtick.direction": "in",
    "ytick.direction": "in",
    "xtick.top": True,
    "ytick.right": True,
    "xtick.minor.visible": True,
    "ytick.minor.visible": True,
    "xtick.labelsize": 11.0,
    "ytick.labelsize": 11.0,
    "lines.linewidth": 1.4,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}


@contextmanager
def paper_style() -> Iterator[None]:
    """Matplotlib settings of a journal's figure, for the body only."""
    import matplotlib as mpl

    with mpl.rc_context(_STYLE):
        yield


def in_style[**P, R](draw: Callable[P, R]) -> Callable[P, R]:
    """Draw inside `paper_style`."""

    @wraps(draw)
    def styled(*args: P.args, **kwargs: P.kwargs) -> R:
        with paper_style():
            return draw(*args, **kwargs)

    return styled


def figure(width: float, height: float) -> Any:
    """Return an empty figure on Agg, inches, that lays itself out."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    made = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(made)
    return made


def image_base64(made: Any, *, dpi: int = 150) -> str:
    """Return a figure as lossless WebP in base64, the same bytes for the same figure.

    Lossless WebP holds a figure in a third of PNG's bytes; every browser of today shows it.
    """
    buffer = io.BytesIO()
    with paper_style():
        made.savefig(buffer, format="webp", dpi=dpi, pil_kwargs={"lossless": True, "method": 1})
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def span(values: NDArray[np.floating], *, tail: float = 0.5) -> tuple[float, float]:
    """Axis limits that hold all but the outermost `tail` percent on either side, with a margin."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0, 1.0
    low, high = np.percentile(finite, [tail, 100 - tail])
    margin = 0.04 * (high - low) or 0.5
    return float(low - margin), float(high + margin)
