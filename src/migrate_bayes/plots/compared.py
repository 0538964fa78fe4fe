"""Variants of a fit side by side, sources of uncertainty, and columns against published ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.plots.curves import Curve
from migrate_bayes.plots.style import BLUE, CYCLE, ODR, VERMILION, axes_of, in_style, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# On an axis, in a legend.
_WORDS = {
    "flattening_rate": (r"flattening rate [dex kpc$^{-1}$ Gyr$^{-1}$]", "flattening rate"),
    "gradient_young": (r"thin, 1 Gyr [dex kpc$^{-1}$]", "thin gradient, 1 Gyr"),
    "gradient_thick": (r"thick [dex kpc$^{-1}$]", "thick gradient"),
}
# Beyond eight variants, styles of line tell apart.
_STYLES = ("-", (0, (5, 2)), (0, (1, 1.3)), (0, (5, 1.5, 1, 1.5)))
_SYMBOLS = {
    "rg_mean": r"$R_\mathrm{g}$", "zmax": r"$Z_\mathrm{max}$", "r_peri": r"$r_\mathrm{peri}$",
    "r_apo": r"$r_\mathrm{apo}$", "eccentricity": "$e$", "age_median": "age",
}  # fmt: skip
_LEVELS = ("lo95", "lo68", "median", "hi68", "hi95")
_SOLAR = {"r0", "v0"}
#: What a figure of potentials or of solar parameters varies, and what may differ with it.
_VARIED = {"potential": ({"potential", "scaling"}, _SOLAR), "solar": (_SOLAR, set())}


def _words(quantity: str) -> tuple[str, str]:
    """Word a quantity for an axis and for a legend."""
    if quantity.startswith("sigma_rm8"):
        history = quantity.removeprefix("sigma_rm8").strip(" ()")
        symbol = r"$\sigma_\mathrm{RM8}$"
        return f"{symbol} [kpc]\n{history}", f"{symbol}, {history}"
    return _WORDS.get(quantity, (quantity, quantity))


def doubts(tree: xr.DataTree) -> dict[str, str]:
    """Return which variants of a comparison have fits that may not be believed, and why."""
    e = tree["estimates"].to_dataset() if "estimates" in tree.children else xr.Dataset()
    if "doubt" not in e:
        return {}
    both = zip(e["variant"].values.tolist(), e["doubt"].values.tolist(), strict=True)
    return {str(label): str(why) for label, why in both if why}


def marginals(tree: xr.DataTree) -> dict[str, xr.Dataset]:
    """Return what a comparison has marginalised over: the mixture, by choice."""
    if "marginal" not in tree.children:
        return {}
    return {over: node.to_dataset() for over, node in tree["marginal"].children.items()}


def _line_of(number: int, reference: int) -> dict[str, Any]:
    """Return the look of a variant's line, the same in all figures: the reference is black."""
    if number == reference:
        return {"color": "black", "ls": "-", "lw": 2.0}
    turn, place = divmod(number - 1, len(CYCLE))
    return {"color": CYCLE[place], "ls": _STYLES[turn % len(_STYLES)], "lw": 1.3}


def marked(label: str, tree: xr.DataTree) -> str:
    """Mark a variant's label if its fit may not be believed."""
    return f"× {label}" if label in doubts(tree) else label


@in_style
def comparison(tree: xr.DataTree, *, figure: Figure | None = None) -> Figure:
    """Draw each variant's posterior interval (forest plot), a panel for each quantity.

    Thick bars hold 68%, thin ones 95%; the grey band is the reference's 68%; open squares are ODR
    with scatter; the dashed line is a mock's truth. Grey and marked × are variants whose fits may
    not be believed.

    Parameters
    ----------
    tree : xarray.DataTree
        Product of ``migrate-bayes compare``: its groups `estimates` and `baseline`.

    Examples
    --------
    >>> import xarray as xr
    >>> import migrate_bayes as mb
    >>> dims, values = ("variant", "quantity"), [[-0.08], [-0.07]]
    >>> names = ("lo95", "lo68", "median", "hi68", "hi95")
    >>> group = xr.Dataset(
    ...     {name: (dims, values) for name in names},
    ...     coords={"variant": ["reference", "other"], "quantity": ["gradient_young"]},
    ... )
    >>> tree = xr.DataTree.from_dict({"estimates": group})
    >>> tree.attrs["reference"] = "reference"
    >>> len(mb.plots.comparison(tree).axes)
    1
    """
    e = tree["estimates"].to_dataset()
    quantities, labels = e["quantity"].values.tolist(), e["variant"].values.tolist()
    rows = np.arange(len(labels))[::-1]
    reference, doubted = labels.index(str(tree.attrs["reference"])), doubts(tree)
    colours = [VERMILION if i == reference else BLUE for i in range(len(labels))]
    colours = ["0.65" if v in doubted else c for v, c in zip(labels, colours, strict=True)]
    baseline = None
    if "baseline" in tree.children:
        baseline = tree["baseline"].to_dataset().sel(regression="odr+scatter")
    columns = min(len(quantities), 3)
    tiers = -(-len(quantities) // columns)
    made = figure or new_figure(2.2 + 2.5 * columns, (1.3 + 0.30 * len(labels)) * tiers)
    grid = made.subplots(tiers, columns, sharey=True, squeeze=False).ravel()
    for spare in grid[len(quantities) :]:
        spare.set_axis_off()
    for ax, q in zip(grid, quantities, strict=False):
        c = e.sel(quantity=q)
        lo95, lo68, mid, hi68, hi95 = (c[n].values for n in _LEVELS)
        ax.axvspan(lo68[reference], hi68[reference], color="0.9", lw=0, zorder=0)
        if "truth" in e and np.isfinite(c["truth"]):
            ax.axvline(float(c["truth"]), color="black", ls=(0, (4, 2)), lw=1.1, zorder=1)
        ax.hlines(rows, lo95, hi95, color=colours, lw=1.0)
        ax.hlines(rows, lo68, hi68, color=colours, lw=3.2)
        ax.scatter(mid, rows, s=26, color=colours, edgecolor="white", linewidth=0.6, zorder=4)
        if baseline is not None and q in baseline:
            x, error = baseline[q].values, baseline[f"{q}_error"].values
            # A wild bin of the baseline must not set the axis.
            width = max(np.nanmax(hi95 - lo95), 1e-12)
            near = np.isfinite(x) & (np.abs(x - np.median(mid)) < 6 * width)
            ax.errorbar(
                x[near], rows[near] - 0.27, xerr=error[near], fmt="s", ms=3.4, mfc="white",
                color=ODR["odr+scatter"], elinewidth=0.8, lw=0, zorder=2,
            )  # fmt: skip
        ax.set_xlabel(_words(q)[0])
        ax.locator_params(axis="x", nbins=4)
        ax.tick_params(axis="y", which="both", left=False, right=False)
        ax.set_ylim(-0.7, len(labels) - 0.3)
    grid[0].set_yticks(rows, [marked(v, tree) for v in labels])
    return made


@in_style
def comparison_gradient(
    tree: xr.DataTree, component: str = "thin", *, figure: Figure | None = None
) -> Figure:
    """Draw gradient(age) of each variant, and its difference from the reference.

    Marked × are variants whose fits may not be believed.

    Parameters
    ----------
    tree : xarray.DataTree
        Product of ``migrate-bayes compare``: its group `curve`.
    component : {"thin", "thick"}

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> import migrate_bayes as mb
    >>> values = (("component", "variant", "age"), np.full((1, 2, 3), 0.01))
    >>> coords = {"component": ["thin"], "variant": ["A", "B"], "age": [1.0, 5.0, 9.0]}
    >>> group = xr.Dataset({"mean": values, "sd": values}, coords)
    >>> tree = xr.DataTree.from_dict({"curve": group})
    >>> tree.attrs["reference"] = "A"
    >>> len(mb.plots.comparison_gradient(tree).axes)
    2
    """
    curve = tree["curve"].to_dataset().sel(component=component)
    labels = curve["variant"].values.tolist()
    reference = labels.index(str(tree.attrs["reference"]))
    age, mean, sd = curve["age"].values, curve["mean"].values, curve["sd"].values
    made = figure or new_figure(8.4, 6.2)
    top, below = made.subplots(2, 1, sharex=True, height_ratios=[1.5, 1.0])
    band = {"color": "0.85", "lw": 0, "zorder": 0}
    top.fill_between(age, (mean - sd)[reference], (mean + sd)[reference], **band)
    below.fill_between(age, -sd[reference], sd[reference], **band)
    for i, label in enumerate(labels):
        look = _line_of(i, reference)
        top.plot(age, mean[i], label=marked(label, tree), **look)
        below.plot(age, mean[i] - mean[reference], **look)
    if "truth" in curve:
        top.plot(age, curve["truth"].values, label="truth", color="black", ls=(0, (1, 2)), lw=1.6)
    slope = r"$\mathrm{d[Fe/H]}/\mathrm{d}R_\mathrm{g}$ [dex kpc$^{-1}$]"
    top.set_ylabel(f"{component} disc, {slope}")
    below.set_ylabel(r"minus reference")
    below.set_xlabel("age [Gyr]")
    below.set_xlim(age[0], age[-1])
    made.legend(*top.get_legend_handles_labels(), loc="outside right upper", fontsize=9.5)
    return made


@in_style
def variance(tree: xr.DataTree, *, ax: Axes | None = None) -> Axes:
    """Draw each source's standard deviation, relative to that of the stars.

    Parameters
    ----------
    tree : xarray.DataTree
        Product of ``migrate-bayes compare``: its group `variance`.

    Examples
    --------
    >>> import xarray as xr
    >>> import migrate_bayes as mb
    >>> group = xr.Dataset(
    ...     {"sd": (("source", "quantity"), [[0.002], [0.001]])},
    ...     coords={"source": ["stars", "potential"], "quantity": ["gradient_young"]},
    ... )
    >>> ax = mb.plots.variance(xr.DataTree.from_dict({"variance": group}))
    >>> [bar.get_width() for bar in ax.patches]
    [np.float64(1.0), np.float64(0.5)]
    """
    v = tree["variance"].to_dataset()
    quantities, sources = v["quantity"].values.tolist(), v["source"].values.tolist()
    relative = (v["sd"] / v["sd"].sel(source="stars")).sel(quantity=quantities)
    own, ax = ax is None, axes_of(ax, 7.6, 1.4 + 0.36 * len(sources))
    height = 0.8 / len(quantities)
    rows = np.arange(len(sources))[::-1]
    for k, q in enumerate(quantities):
        place = rows + 0.4 - (k + 0.5) * height
        values, colour = relative.sel(quantity=q).values, CYCLE[k % len(CYCLE)]
        ax.barh(place, values, height=0.85 * height, color=colour, label=_words(q)[1])
    ax.axvline(1.0, color="0.4", lw=0.8, ls=(0, (2, 2)))
    ax.set_yticks(rows, sources)
    ax.tick_params(axis="y", which="both", left=False, right=False)
    ax.set_xlabel("standard deviation of the source / that of the stars")
    legend = ax.figure.legend if own else ax.legend
    legend(loc="outside right upper" if own else None, fontsize=9.5)
    return ax


@in_style
def marginal(tree: xr.DataTree, over: str = "family", *, figure: Figure | None = None) -> Figure:
    """Draw each quantity's posterior under each level of a choice, and marginalised over them.

    Lines are densities by weight, the grey area is their sum; the bar below holds 95% (thin) and
    68% of it; the dashed line is a mock's truth.

    Parameters
    ----------
    tree : xarray.DataTree
        Product of ``migrate-bayes compare``: its groups `draws` and `marginal`.
    over : str
        The choice.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> import migrate_bayes as mb
    >>> draws = np.random.default_rng(1).normal([[[-0.08], [-0.07]]], 0.002, (1, 2, 50))
    >>> coords = {"quantity": ["gradient_young"], "variant": ["reference", "mist"]}
    >>> each = xr.Dataset({"value": (("quantity", "variant", "draw"), draws)}, coords)
    >>> levels = ("lo95", "lo68", "median", "hi68", "hi95")
    >>> both = {name: ("quantity", [-0.075]) for name in levels}
    >>> both["weight"] = ("variant", [0.5, 0.5])
    >>> both = xr.Dataset(both, coords | {"level": ("variant", ["dartmouth", "mist"])})
    >>> tree = xr.DataTree.from_dict({"draws": each, "marginal/family": both})
    >>> len(mb.plots.marginal(tree).axes)
    1
    """
    from scipy.stats import gaussian_kde

    mixed, each = marginals(tree)[over], tree["draws"].to_dataset()["value"]
    quantities, labels = (mixed[name].values.tolist() for name in ("quantity", "variant"))
    every = each["variant"].values.tolist()
    reference = str(tree.attrs.get("reference", every[0]))
    columns = min(len(quantities), 3)
    tiers = -(-len(quantities) // columns)
    made = figure or new_figure(2.2 + 2.5 * columns, 3.0 * tiers)
    grid = made.subplots(tiers, columns, squeeze=False).ravel()
    for spare in grid[len(quantities) :]:
        spare.set_axis_off()
    for ax, q in zip(grid, quantities, strict=False):
        c, draws = mixed.sel(quantity=q), each.sel(quantity=q)
        shown = draws.sel(variant=labels).values
        x = np.linspace(shown.min(), shown.max(), 400)
        total = np.zeros(len(x))
        for k, label in enumerate(labels):
            values, weight = shown[k], float(c["weight"][k])
            if not weight > 0.0 or not np.ptp(values) > 0.0:
                continue
            density = weight * gaussian_kde(values)(x)
            total += density
            name = str(c["level"].values[k]).partition(":")[0]
            look = _line_of(every.index(label), every.index(reference))
            ax.plot(x, density, label=f"{name} ({weight:.2f})", **look)
        ax.fill_between(x, total, color="0.85", lw=0, zorder=0, label="marginal")
        lo95, lo68, mid, hi68, hi95 = (float(c[n]) for n in _LEVELS)
        below = -0.06 * max(total.max(), 1e-300)
        ax.hlines(below, lo95, hi95, color="black", lw=1.0)
        ax.hlines(below, lo68, hi68, color="black", lw=3.2)
        ax.scatter([mid], [below], s=26, color="black", edgecolor="white", linewidth=0.6, zorder=4)
        if "truth" in c and np.isfinite(c["truth"]):
            ax.axvline(float(c["truth"]), color="black", ls=(0, (4, 2)), lw=1.1, zorder=1)
        ax.set_xlabel(_words(str(q))[0])
        ax.set_yticks([])
        ax.locator_params(axis="x", nbins=4)
    made.legend(*grid[0].get_legend_handles_labels(), loc="outside right upper", fontsize=9.5)
    return made


class PublishedPanel(NamedTuple):
    """One quantity, ours against a published one, for `published`.

    Parameters
    ----------
    name, reference : str
        Names of our column and of theirs.
    unit : str
        Of all values.
    theirs, ours : ndarray, shape (n,)
        Values star by star.
    again : ndarray, shape (n,), optional
        Ours from their own phase space, if that was integrated.
    title : str
        Above the panel.

    Examples
    --------
    >>> import numpy as np
    >>> import migrate_bayes as mb
    >>> mb.plots.PublishedPanel("zmax", "ref_zmax", "kpc", np.ones(3), np.ones(3)).unit
    'kpc'
    """

    name: str
    reference: str
    unit: str
    theirs: NDArray[np.float64]
    ours: NDArray[np.float64]
    again: NDArray[np.float64] | None = None
    title: str = ""


@in_style
def published(panels: Sequence[PublishedPanel], *, figure: Figure | None = None) -> Figure:
    r"""Draw each quantity against its published value, and below it what their own start gives.

    Parameters
    ----------
    panels : sequence of PublishedPanel
        A column of the figure each.

    Examples
    --------
    >>> import numpy as np
    >>> import migrate_bayes as mb
    >>> theirs = np.linspace(0.1, 1.0, 9)
    >>> panel = mb.plots.PublishedPanel("zmax", "ref_zmax", "kpc", theirs, 1.02 * theirs)
    >>> mb.plots.published([panel]).axes[0].get_xlabel()
    '$Z_\\mathrm{max}$, published  [kpc]'
    """
    n = len(panels)
    two = any(p.again is not None for p in panels)
    made = figure or new_figure(2.6 * n, 5.4 if two else 2.9)
    grid = made.subplots(2 if two else 1, n, squeeze=False)
    for panel, column in zip(panels, grid.T, strict=True):
        unit = f"  [{panel.unit}]" if panel.unit else ""
        symbol = _SYMBOLS.get(panel.name, panel.name)
        theirs = np.abs(panel.theirs) if panel.name == "rg_mean" else panel.theirs
        finite = np.isfinite(theirs) & np.isfinite(panel.ours)
        shown = np.concatenate([theirs[finite], panel.ours[finite]])
        low, high = np.percentile(shown, [0.3, 99.0]) if shown.size else (0.0, 1.0)
        pad = 0.05 * (high - low)
        limits = (low - pad, high + pad)
        column[0].set_title(panel.title, fontsize=10)
        looks = ((panel.ours, BLUE, ""), (panel.again, VERMILION, ", their start"))
        for ax, (values, colour, start) in zip(column, looks, strict=False):
            if values is None:
                ax.set_axis_off()
                continue
            ax.plot(limits, limits, color="0.3", lw=0.9, zorder=1)
            ax.plot(theirs, values, ".", ms=3.0, mew=0, color=colour, alpha=0.6, zorder=2)
            ax.set(xlim=limits, ylim=limits, aspect="equal")
            ax.set_xlabel(f"{symbol}, published{unit}")
            ax.set_ylabel(f"{symbol}{start}{unit}")
            ax.locator_params(nbins=4)
    return made


def solar_label(r0: float, v0: float) -> str:
    """Word a solar frame: kpc, km/s."""
    return rf"$R_0$ = {r0:g}, $V_0$ = {v0:g}"


def comparison_curves(
    tree: xr.DataTree, kind: str, *, reference: str = "reference", component: str = "thin"
) -> list[Curve]:
    """Take a comparison's variants in potential or solar parameters, from its group `curve`.

    `kind` is a key of `_VARIED`. The reference, so called among potentials, is the first; the list
    is empty if no variant is of this kind.
    """
    if "curve" not in tree.children:
        return []
    curve = tree["curve"].to_dataset().sel(component=component)
    factors = [c for c in curve.coords if c != "variant" and curve[c].dims == ("variant",)]
    level = {str(f): [*map(str, curve[f].values)] for f in factors}
    varied, along = _VARIED[kind]
    # Solar parameters are two factors: colours are speeds, dashes are distances.
    order = {f: list(dict.fromkeys(v)) for f, v in level.items() if f in _SOLAR}
    doubted = doubts(tree)
    found = []
    for k in range(curve.sizes["variant"]):
        one = curve.isel(variant=k)
        differs = {f for f, values in level.items() if values[k] != values[0]}
        if k and not (differs & varied and differs <= varied | along):
            continue
        mean, sd = one["mean"].values, one["sd"].values
        label = str(one["variant"].item())
        tint, dash = None, 0
        if kind == "solar":
            label = solar_label(one["r0"].item(), one["v0"].item())
            tint, dash = (order[f].index(level[f][k]) for f in ("v0", "r0"))
        elif not k:
            label = reference
        values = (curve["age"].values, mean - sd, mean, mean + sd)
        label = f"× {label}" if str(one["variant"].item()) in doubted else label
        found.append(Curve(label, None, *values, tint, dash))
    return found if len(found) > 1 else []
