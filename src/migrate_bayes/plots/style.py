"""Style of figures, and their output to a page or a notebook."""

from __future__ import annotations

import base64
import builtins
import io
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from inspect import signature
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

# Okabe & Ito's colours, distinct to colour-blind readers.
BLUE, VERMILION, GREEN = "#0072B2", "#D55E00", "#009E73"
ORANGE, SKY, PURPLE, GREY = "#E69F00", "#56B4E9", "#CC79A7", "#555555"
CYCLE = (BLUE, GREEN, VERMILION, PURPLE, ORANGE, SKY, "black", "#8a6d3b")
DISCS = {"thin": BLUE, "thick": VERMILION}
# Of the baseline, in every figure; truth is black, what is published grey.
ODR = {"odr+scatter": GREEN, "odr": PURPLE}
Limits = tuple[float, float]

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

# Parameter and return value that all figures have in common: `in_style` adds them to docstrings.
_SHARED = {
    name: f"{name} : matplotlib.{kind}, optional\n    Drawn on; a new one by default.\n\n"
    f"Returns\n-------\nmatplotlib.{kind}\n    What was drawn on.\n"
    for name, kind in {"ax": "axes.Axes", "figure": "figure.Figure"}.items()
}


@contextmanager
def paper_style() -> Iterator[None]:
    """Set matplotlib's style of a journal figure within the body."""
    import matplotlib as mpl

    with mpl.rc_context(_STYLE):
        yield
        interactive = mpl.is_interactive()
    # A notebook's backend that is loaded by the first figure, within, must stay interactive: else
    # no later figure is shown.
    mpl.interactive(interactive)


def in_style[**P, R](draw: Callable[P, R]) -> Callable[P, R]:
    """Draw inside `paper_style`; document the `ax` or `figure` that is taken and returned."""

    @wraps(draw)
    def styled(*args: P.args, **kwargs: P.kwargs) -> R:
        with paper_style():
            return draw(*args, **kwargs)

    head, examples, rest = (draw.__doc__ or "").partition("\nExamples\n")
    for name, text in _SHARED.items() if examples else ():
        if name in signature(draw).parameters:
            styled.__doc__ = f"{head.rstrip()}\n{text}{examples}{rest}"
    return styled


def new_figure(width: float, height: float) -> Any:
    """Return an empty figure on Agg, inches, that lays itself out."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if hasattr(builtins, "__IPYTHON__"):
        import matplotlib.pyplot  # noqa: F401 - makes a notebook show figures
    made = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(made)
    return made


def axes_of(ax: Any, width: float, height: float) -> Any:
    """Return the axes that are given, or those of a new figure: pyplot's in a notebook."""
    if ax is not None:
        return ax
    if hasattr(builtins, "__IPYTHON__"):
        import matplotlib.pyplot as plt

        return plt.figure(figsize=(width, height), layout="constrained").add_subplot()
    return new_figure(width, height).add_subplot()


def legend_above(made: Any, panels: Any, columns: int) -> None:
    """Place one legend above all panels, with each label once."""
    entries: dict[str, Any] = {}
    for ax in panels:
        handles, labels = ax.get_legend_handles_labels()
        entries.update(zip(labels, handles, strict=True))
    if entries:
        made.legend(entries.values(), entries.keys(), loc="outside upper center", ncols=columns)


def image_base64(drawn: Any, *, dpi: int = 150) -> str:
    """Return a figure, or that of some axes, as lossless WebP (a third of PNG's bytes) in base64.

    The same figure gives the same bytes. If pyplot holds the figure, it lets go of it.
    """
    buffer = io.BytesIO()
    with paper_style():
        drawn.figure.savefig(
            buffer, format="webp", dpi=dpi, pil_kwargs={"lossless": True, "method": 1}
        )
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close(drawn.figure)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def span(values: ArrayLike, *, tail: float = 0.5) -> Limits:
    """Axis limits that hold all but the outermost `tail` percent on either side, with a margin."""
    finite = np.asarray(values)[np.isfinite(values)]
    if not finite.size:
        return 0.0, 1.0
    low, high = np.percentile(finite, [tail, 100 - tail])
    margin = 0.04 * (high - low) or 0.5
    return float(low - margin), float(high + margin)
