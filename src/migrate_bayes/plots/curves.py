"""Metallicity gradient against age: hierarchical curve over the baseline's points, and variants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.mock.truth import as_truth
from migrate_bayes.plots.style import CYCLE, DISCS, ODR, ORANGE, axes_of, in_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: What Vickers, Shen & Li (2021) find, by component: gradient (dex/kpc) at 1 Gyr, and its rate
#: (dex/kpc/Gyr).
PAPER = {"thin": (-0.075, 0.003), "thick": (0.02, 0.0)}
PAPER_AGES = (1.0, 12.25)
_METHODS = {"odr+scatter": "ODR + scatter", "odr": "ODR"}
# The band of a fit stands behind in blue: the first variant is not blue.
_TINTS = (ORANGE, *(colour for colour in CYCLE if colour != ORANGE))
_DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
# Bands of more than these hide one another.
_BANDS = 4


class Points(NamedTuple):
    """A baseline and how its points look: `tints` by method, methods left out are not drawn.

    `markers` are those with scatter and without. In the legend the method and `suffix`, or `label`
    in their place; `line` adds the baseline's own straight line, `spread` the horizontal bars.
    """

    data: xr.Dataset
    suffix: str = ""
    tints: Mapping[str, str] = MappingProxyType(ODR)
    markers: str = "so"
    label: str = ""
    line: bool = False
    spread: bool = True


class Curve(NamedTuple):
    """A variant of a measurement, for `overlay`.

    Parameters
    ----------
    label : str
        Its name in the legend.
    baseline : xarray.Dataset, optional
        From `migrate_bayes.fit_baseline`.
    ages, low, middle, high : ndarray, shape (n,), optional
        Fitted gradient: Gyr, and quantiles 16, 50 and 84% in dex/kpc.
    tint, dash : int
        Number of the colour and of the dashes; by default each variant has its own colour.

    Examples
    --------
    >>> import migrate_bayes as mb
    >>> mb.plots.Curve("McMillan17").baseline is None
    True
    """

    label: str
    baseline: xr.Dataset | None = None
    ages: NDArray[np.float64] | None = None
    low: NDArray[np.float64] | None = None
    middle: NDArray[np.float64] | None = None
    high: NDArray[np.float64] | None = None
    tint: int | None = None
    dash: int = 0


@in_style
def gradient(
    fit: xr.DataTree | None,
    baseline: xr.Dataset | None = None,
    *,
    thick_baseline: xr.Dataset | None = None,
    truth: Mapping[str, float] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw d[Fe/H]/dR against age.

    Bands hold 68% and 95% of the posterior at each age. Horizontal bars of the points are the 68%
    interval of the error-expanded ages of a bin, vertical bars 1σ.

    Parameters
    ----------
    fit : xarray.DataTree, optional
        From `PopulationModel.sample`.
    baseline, thick_baseline : xarray.Dataset, optional
        From `migrate_bayes.fit_baseline`, of the thin and the thick disc.
    truth : mapping, optional
        A mock's ``gradient_young`` (dex/kpc, at 1 Gyr), ``flattening_rate`` (dex/kpc/Gyr) and
        ``gradient_thick`` (dex/kpc), or its `migrate_bayes.mock.truth.Truth`.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> import migrate_bayes as mb
    >>> curve = xr.DataArray(
    ...     np.full((1, 9, 1, 3), -0.07),
    ...     coords={"component": ["thin"], "age": [1.0, 5.0, 9.0]},
    ...     dims=("chain", "draw", "component", "age"),
    ... )
    >>> fit = xr.DataTree.from_dict({"posterior": xr.Dataset({"gradient": curve})})
    >>> ax = mb.plots.gradient(fit, truth={"gradient_young": -0.075, "flattening_rate": 0.003})
    >>> ax.get_legend_handles_labels()[1]
    ['hierarchical, thin disc', 'truth']
    """
    ax = axes_of(ax, 7.2, 4.9)
    points = []
    if baseline is not None:
        points.append(Points(baseline, "" if thick_baseline is None else ", thin"))
    if thick_baseline is not None:
        points.append(Points(thick_baseline, ", thick", markers="D^"))
    draw_gradient(ax, fit, points, truth)
    ax.set_ylabel(gradient_label(fit, baseline))
    return ax


@in_style
def overlay(
    variants: Sequence[Curve],
    *,
    fit: xr.DataTree | None = None,
    component: str = "thin",
    truth: Mapping[str, float] | None = None,
    methods: Sequence[str] = ("odr+scatter",),
    symbol: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Draw gradient(age) of several variants: potentials, solar parameters, samples.

    Counterpart of figures 11, 12 and 13 of Vickers, Shen & Li (2021). Up to four curves have their
    bands; of more the first one alone, so that they can be told apart.

    Parameters
    ----------
    variants : sequence of Curve
        What is drawn; the legend has their labels.
    fit : xarray.DataTree, optional
        A fit whose band stands behind.
    component : {"thin", "thick"}
    truth : mapping, optional
        See `gradient`.
    methods : sequence of {"odr", "odr+scatter"}
        Of the baselines.
    symbol : str
        Of the radius, in TeX; by default that of the fit or the baseline.

    Examples
    --------
    >>> import numpy as np
    >>> import migrate_bayes as mb
    >>> ages = np.array([1.0, 5.0, 9.0])
    >>> level = np.full(3, -0.07)
    >>> one = mb.plots.Curve("one", None, ages, level - 0.01, level, level + 0.01)
    >>> mb.plots.overlay([one, one._replace(label="other")]).get_xlabel()
    'age [Gyr]'
    """
    ax = axes_of(ax, 8.2, 5.2)
    points: list[Points] = []
    middle = 0.5 * (len(variants) - 1)
    fitted = [k for k, v in enumerate(variants) if v.middle is not None]
    banded = fitted if len(fitted) <= _BANDS else fitted[:1]
    for k, one in enumerate(variants):
        tint = _TINTS[(k if one.tint is None else one.tint) % len(_TINTS)]
        if k in banded:
            ax.fill_between(one.ages, one.low, one.high, color=tint, alpha=0.25, lw=0)  # type: ignore[arg-type]
        if one.middle is not None and one.ages is not None:
            label = one.label if one.baseline is None else None
            dashes = _DASHES[one.dash % len(_DASHES)]
            ax.plot(one.ages, one.middle, color=tint, ls=dashes, label=label)
        if one.baseline is not None:
            # Side by side, so that bars do not hide one another.
            shift = (k - middle) * min(0.12, 0.6 / max(len(variants), 1))
            data = one.baseline.assign_coords(age_bin=one.baseline["age_bin"] + shift)
            tints = dict.fromkeys(methods, tint)
            # The ages in a bin spread alike in all: bars of the first are enough.
            look: dict[str, Any] = {"label": one.label, "line": True}
            if len(methods) > 1:
                look = {"suffix": f", {one.label}"}
            points.append(Points(data, tints=tints, spread=not points, **look))
    draw_gradient(ax, fit, points, truth, components=(component,), paper=(component,), legend=False)
    first = next((v.baseline for v in variants if v.baseline is not None), None)
    ax.set_ylabel(gradient_label(fit, first, symbol=symbol))
    ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=10)
    return ax


def radius_symbol(attrs: Any) -> str:
    """The radius of a product, in TeX: guiding or present."""
    return "R" if attrs.get("radius") == "r_present" else r"R_\mathrm{g}"


def gradient_label(
    fit: xr.DataTree | None, baseline: xr.Dataset | None = None, *, symbol: str = ""
) -> str:
    """Word the axis of a gradient: in the guiding radius, the present one, or a given symbol."""
    source = fit if fit is not None else baseline
    radius = symbol or radius_symbol({} if source is None else source.attrs)
    return rf"$\mathrm{{d[Fe/H]}}/\mathrm{{d}}{radius}$  [dex kpc$^{{-1}}$]"


def draw_gradient(
    ax: Any,
    fit: xr.DataTree | None,
    points: Sequence[Points] = (),
    truth: Mapping[str, float] | None = None,
    *,
    components: Sequence[str] = ("thin", "thick"),
    paper: Sequence[str] = (),
    legend: bool = True,
) -> None:
    """Draw bands and truth of `components`, points and, without a truth, the lines of `paper`."""
    ax.axhline(0.0, color="0.75", lw=0.8, zorder=0)
    shown: list[float] = []
    curve = None
    if fit is not None and "posterior" in fit.children:
        curve = fit["posterior"].to_dataset().get("gradient")
    for component in components:
        if curve is None or component not in curve["component"].values:
            continue
        ages, colour = curve["age"].values, DISCS[component]
        draws = curve.sel(component=component).transpose("chain", "draw", "age").values
        low2, low, mid, high, high2 = np.percentile(draws, (2.5, 16, 50, 84, 97.5), axis=(0, 1))
        ax.fill_between(ages, low2, high2, color=colour, alpha=0.15, lw=0)
        ax.fill_between(ages, low, high, color=colour, alpha=0.35, lw=0)
        ax.plot(ages, mid, color=colour, label=f"hierarchical, {component} disc")
        # The grid may run past the ages that have stars: the axis follows the inner part.
        inner = (ages >= 1) & (ages <= 12.5)
        shown += [*low[inner], *high[inner]]
    for group in points:
        shown += _draw_points(ax, group)
    age, label = np.linspace(0.0, 14.0, 141), "truth"
    for component in components:
        line = as_truth(truth).gradient(component, age)
        if line is not None:
            ax.plot(age, line, label=label, color="black", ls=(0, (4, 2)), lw=1.1, zorder=5)
            label = "_truth"
    if not truth:
        label = "Vickers et al. (2021)"
        for component in paper:
            start, rate = PAPER[component]
            x = np.array(PAPER_AGES)
            y = start + rate * (x - 1.0)
            ax.plot(x, y, color="0.35", ls="-.", lw=1.2, zorder=3, label=label)
            shown += [*y]
            label = "_paper"
    if shown:
        bottom, top = min(*shown, 0.0), max(*shown, 0.0)
        margin = 0.12 * (top - bottom)
        ax.set_ylim(bottom - margin, top + (2.2 if legend else 1.0) * margin)
    ax.set_xlim(0.0, 14.0)
    ax.set_xlabel("age [Gyr]")
    if legend and ax.get_legend_handles_labels()[0]:
        ax.legend(ncols=2, loc="upper left", columnspacing=1.2, handlelength=1.8)


def _draw_points(ax: Any, group: Points) -> list[float]:
    """Draw the methods of a baseline; return the heights to keep in view."""
    shown: list[float] = []
    methods = [m for m in group.tints if m in group.data["regression"].values]
    errors = group.data["slope_error"].sel(regression=methods).values
    smallest = np.min(errors[errors > 0], initial=np.inf)
    alike = len(set(group.tints.values())) < len(group.tints)
    for method, colour in group.tints.items():
        rows = group.data.sel(regression=method)
        age, slope = rows["age_bin"].values, rows["slope"].values
        error = rows["slope_error"].values
        good = np.isfinite(slope)
        if not good.any():
            continue
        sides = np.abs(np.stack([age - rows["age_p16"].values, rows["age_p84"].values - age]))
        # If both methods have one colour, the one without scatter is hollow.
        hollow = {"mfc": "white", "mec": colour} if alike and method == "odr" else {"mec": "black"}
        ax.errorbar(
            age[good], slope[good], xerr=sides[:, good] if group.spread else None, yerr=error[good],
            fmt=group.markers[method == "odr"], ms=5, color=colour, mew=0.5 + alike / 2,
            elinewidth=0.9, lw=0, label=group.label or f"{_METHODS[method]}{group.suffix}",
            zorder=4, **hollow,
        )  # fmt: skip
        if group.line and np.isfinite(float(rows["trend"])):
            x = np.array([age[good][0], age[good][-1]])
            y = float(rows["slope_at_1gyr"]) + float(rows["trend"]) * (x - 1.0)
            ax.plot(x, y, color=colour, lw=1.0, ls="--", zorder=3)
        # A bin of a few stars may stand far off; it must not flatten the rest. A slope that is
        # known to no better than 0.1 dex/kpc says nothing of gradients of hundredths.
        firm = good & (error <= 10 * smallest) & (error < 0.1)
        shown += [*(slope - error)[firm], *(slope + error)[firm]]
    return shown
