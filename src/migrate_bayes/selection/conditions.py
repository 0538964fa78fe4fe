"""Conditions on stars: a `Selection`, the elementary ones, their columns, the paper's by name.

A missing value makes a condition neither true nor false, so a star of unknown [α/Fe] belongs
neither to ``thin-chemical`` nor to ``~thin-chemical``.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.catalog.columns import COLUMNS as CATALOGUED
from migrate_bayes.core.errors import CatalogError, OrbitError, RecipeError, suggest
from migrate_bayes.core.flags import CUT, FATAL_AGE, FATAL_ORBIT, StarFlag
from migrate_bayes.core.units import number

Floats = NDArray[np.float64]
#: What is surely true and what is surely false; a star in neither is unknown.
Verdict = tuple[NDArray[np.bool_], NDArray[np.bool_]]
#: Columns by name, for one potential.
Columns = Callable[[str], Floats]

_UNUSABLE = (
    FATAL_AGE | FATAL_ORBIT | CUT | StarFlag.POOR_AGE | StarFlag.POOR_FIT
    | StarFlag.MISSING_PHASE | StarFlag.EXCLUDED
)  # fmt: skip


@dataclass(frozen=True)
class Selection:
    """A condition on stars, and its wording. Join them with ``&``, ``|`` and ``~``.

    Parameters
    ----------
    judge : callable
        Columns in, `Verdict` out: which stars meet the condition and which do not.
    description : str
        The condition in words and symbols, as a figure caption would put it.

    Examples
    --------
    >>> from migrate_bayes.selection import compare, limits
    >>> near = limits("rg_mean", 6.0, 10.0) & ~compare("feh", "<", -1.0)
    >>> near.description
    '6 ≤ R_g < 10 kpc and not ([Fe/H] < -1)'
    """

    judge: Callable[[Columns], Verdict]
    description: str

    def __and__(self, other: Selection) -> Selection:
        def judge(columns: Columns) -> Verdict:
            (t1, f1), (t2, f2) = self.judge(columns), other.judge(columns)
            return t1 & t2, f1 | f2

        return Selection(judge, f"{_bracket(self, ' or ')} and {_bracket(other, ' or ')}")

    def __or__(self, other: Selection) -> Selection:
        def judge(columns: Columns) -> Verdict:
            (t1, f1), (t2, f2) = self.judge(columns), other.judge(columns)
            return t1 | t2, f1 & f2

        return Selection(judge, f"{_bracket(self, ' and ')} or {_bracket(other, ' and ')}")

    def __invert__(self) -> Selection:
        return Selection(lambda columns: self.judge(columns)[::-1], f"not ({self.description})")

    def described(self, description: str) -> Selection:
        """Return the same condition in better words."""
        return Selection(self.judge, description)


def _bracket(selection: Selection, other_operator: str) -> str:
    """Bracket a description if the operator beside it would be read wrongly."""
    text = selection.description
    return f"({text})" if other_operator in text else text


_SYMBOL = {
    "zmax": ("Z_max", " kpc"), "alpha_fe": ("[α/Fe]", ""), "feh": ("[Fe/H]", ""),
    "teff": ("T_eff", " K"), "logg": ("log g", ""), "age_error": ("relative age error", ""),
    "rg_mean": ("R_g", " kpc"), "r_present": ("R", " kpc"), "age_ml": ("age", " Gyr"),
    "snr_g": ("S/N(g)", ""), "snr_r": ("S/N(r)", ""), "snr_i": ("S/N(i)", ""),
    "parallax_over_error": ("parallax/error", ""), "toomre_speed": ("|V − V_LSR|", " km/s"),
    "toomre_speed_local": ("|V − V_circ(R)|", " km/s"), "abs_z": ("|Z|", " kpc"),
}  # fmt: skip

# Comparisons by the sign that recipes write, and the sign that captions show.
_OPERATORS: dict[str, tuple[Callable[[Any, Any], Any], str]] = {
    "<": (operator.lt, "<"), "<=": (operator.le, "≤"),
    ">": (operator.gt, ">"), ">=": (operator.ge, "≥"),
}  # fmt: skip


def _condition(
    quantity: Callable[[Columns], Floats], holds: Callable[[Floats], Any], description: str
) -> Selection:
    """Ask `holds` of a quantity; a star whose quantity is not finite is unknown."""

    def judge(columns: Columns) -> Verdict:
        value = quantity(columns)
        known = np.isfinite(value)
        inside = known & holds(value)
        return inside, known & ~inside

    return Selection(judge, description)


def compare(column: str, sign: str, value: float) -> Selection:
    """Compare a column with a number.

    Parameters
    ----------
    column : str
        As for `limits`.
    sign : {"<", "<=", ">", ">="}
        The relation.
    value : float or Quantity
        In the column's own unit.

    Returns
    -------
    Selection
        A star without the value is in neither it nor its inverse.

    Examples
    --------
    >>> from migrate_bayes.selection import compare
    >>> compare("teff", ">", 5750).description
    'T_eff > 5750 K'
    """
    relation, shown = _OPERATORS[sign]
    symbol, unit = _SYMBOL.get(column, (column, ""))
    value = number(value, _unit_of(column), column)
    text = f"{symbol} {shown} {value:g}{unit}"
    return _condition(lambda columns: columns(column), lambda x: relation(x, value), text)


def limits(column: str, lower: float = -np.inf, upper: float = np.inf) -> Selection:
    """Require ``lower <= column < upper``.

    Parameters
    ----------
    column : str
        A per-star variable of StarPosteriors, one on (star, potential), or a derived one:
        ``zmax``, ``parallax_over_error``, ``abs_z``, ``toomre_speed``, ``toomre_speed_local``.
    lower, upper : float or Quantity
        In the column's own unit.

    Returns
    -------
    Selection
        A star without the value is in neither it nor its inverse.

    Examples
    --------
    >>> from migrate_bayes.selection import limits
    >>> limits("zmax", upper=0.25).description
    'Z_max < 0.25 kpc'
    """
    symbol, unit = _SYMBOL.get(column, (column, ""))
    lower, upper = (number(end, _unit_of(column), column) for end in (lower, upper))
    if np.isneginf(lower):
        text = f"{symbol} < {upper:g}{unit}"
    elif np.isposinf(upper):
        text = f"{symbol} ≥ {lower:g}{unit}"
    else:
        text = f"{lower:g} ≤ {symbol} < {upper:g}{unit}"
    return _condition(lambda columns: columns(column), lambda x: (x >= lower) & (x < upper), text)


def _unit_of(column: str) -> str:
    """Return the unit of a column, in which a quantity is taken; none if it is not known."""
    if column in CATALOGUED and column not in _SYMBOL:
        return CATALOGUED[column].unit
    return _SYMBOL.get(column, ("", ""))[1].strip()


def dividing_line(feh: Any) -> Any:
    """Return the [α/Fe] that divides the thin from the thick disc: min(0.15, 0.1 − 0.2 [Fe/H]).

    Parameters
    ----------
    feh : float or array
        [Fe/H], dex.

    Returns
    -------
    float or array
        dex, of the shape of `feh`.

    References
    ----------
    Vickers, Shen & Li (2021), figure 5.

    Examples
    --------
    >>> from migrate_bayes.selection import dividing_line
    >>> float(dividing_line(-0.5)), float(dividing_line(0.25))
    (0.15, 0.05)
    """
    return np.minimum(0.15, 0.1 - 0.2 * np.asarray(feh))


def line_excess(lower: float, upper: float, description: str) -> Selection:
    """Require [α/Fe] within limits counted from the dividing line."""
    return _condition(
        lambda columns: columns("alpha_fe") - dividing_line(columns("feh")),
        lambda excess: (excess >= lower) & (excess < upper),
        description,
    )


def columns_of(selection: Selection) -> set[str]:
    """Return the names of the columns that a selection reads, but for flags."""
    read: set[str] = set()

    def record(name: str) -> Floats:
        read.update(_BASES.get(name, (name,)))
        return np.full(1, np.nan)

    selection.judge(record)
    return read - {"unusable"}


def _usable(columns: Columns) -> Verdict:
    good = columns("unusable") == 0
    return good, ~good


def excluding_flags(stars: xr.Dataset) -> StarFlag:
    """Return the flags that make a star of this product unusable.

    Ages alone do not lack orbits, nor do the places of a catalogue without velocities.
    """
    orbits = "potential" in stars.coords and not _places_alone(stars)
    return _UNUSABLE if orbits else _UNUSABLE & ~FATAL_ORBIT | FATAL_AGE


def _places_alone(stars: xr.Dataset) -> bool:
    """Whether the catalogue had no velocities: its stars have a place and no orbit."""
    return stars.attrs.get("velocities") == "none"


def _unusable(column: Columns, stars: xr.Dataset) -> Floats:
    bits = (column("flag").astype(np.int64) & int(excluding_flags(stars))).astype(np.float64)
    if _places_alone(stars):
        bits[~np.isfinite(column("r_present"))] = float(StarFlag.BAD_DISTANCE)
    return bits


# What a star of a disc can have, kpc and dex: one outside would decide a fit by itself.
DISC_RADII, DISC_FEH = (0.0, 100.0), (-8.0, 2.0)


def possible_of_disc(radius: Floats, feh: Floats) -> NDArray[np.bool_]:
    """Return which stars are not impossible, by radius (kpc) and [Fe/H]: the rule of every fit."""
    in_radius = ~np.isfinite(radius) | ((radius > DISC_RADII[0]) & (radius < DISC_RADII[1]))
    return in_radius & (~np.isfinite(feh) | ((feh > DISC_FEH[0]) & (feh < DISC_FEH[1])))


# What the derived columns of catalogues and orbits are made of, as far as a product may lack it.
_BASES = {
    "parallax_over_error": ("parallax", "parallax_error"),
    "zmax": ("ln_zmax_mean",),
}


def look_up_columns(stars: xr.Dataset, potential: str) -> Columns:
    """Return a function from a name to a column, in `potential` if it depends on that."""
    if "potential" in stars.dims:
        known = [str(p) for p in stars["potential"].values]
        if potential not in known:
            raise OrbitError(f"no orbits in potential '{potential}'; {suggest(potential, known)}")
        stars = stars.sel(potential=potential)

    def look_up(name: str) -> Floats:
        if name in _DERIVED and name not in stars:
            return _DERIVED[name](look_up, stars)
        if name not in stars or "star" not in stars[name].dims:
            if name in CATALOGUED:
                raise CatalogError(f"the catalogue has no {name}, which the selection needs")
            per_star = [str(n) for n, v in stars.data_vars.items() if "star" in v.dims]
            raise RecipeError(
                f"a selection needs the column '{name}', which the stars lack; "
                f"{suggest(name, [*per_star, *_DERIVED])}"
            )
        array = stars[name]
        if array.dims != ("star",) or array.dtype.kind not in "iufb":
            raise RecipeError(f"a selection cannot use '{name}': not one number per star")
        return np.asarray(array.values, dtype=np.float64)

    return look_up


def _zmax(column: Columns, stars: xr.Dataset) -> Floats:
    if "ln_zmax_mean" not in stars:
        raise RecipeError("a selection needs the column 'zmax', which the stars lack")
    return np.exp(column("ln_zmax_mean"))


def _parallax_over_error(column: Columns, stars: xr.Dataset) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        return column("parallax") / column("parallax_error")


def _speed(column: Columns, rotation: Any) -> Floats:
    return np.sqrt((column("v_phi") - rotation) ** 2 + column("v_r") ** 2 + column("v_z") ** 2)


def _orbit_setting(stars: xr.Dataset, name: str) -> Any:
    if name not in stars:
        raise RecipeError(f"a Toomre selection needs '{name}' of the orbits, which the stars lack")
    return stars[name].values.item()  # dask, of stars on disk, knows no item


def _toomre_local(column: Columns, stars: xr.Dataset) -> Floats:
    from migrate_bayes.orbits import Potential, circular_velocity

    frame = {name: float(_orbit_setting(stars, name)) for name in ("r0", "v0")}
    potential = Potential.of_product(
        str(_orbit_setting(stars, "potential_model")), frame, str(_orbit_setting(stars, "scaling"))
    )
    return _speed(column, circular_velocity(column("r_present"), potential))


# Columns that are computed if the stars do not have them: ``unusable`` (the flags that make a star
# so), ``zmax`` (kpc, from its logarithm),
# ``parallax_over_error``, ``abs_z`` (kpc), ``toomre_speed`` and ``toomre_speed_local`` (km/s):
# √((v_φ - V)² + v_R² + v_Z²) with V the frame's V₀, or the circular speed at the star's R.
_DERIVED: dict[str, Callable[[Columns, xr.Dataset], Floats]] = {
    "unusable": _unusable,
    "zmax": _zmax,
    "parallax_over_error": _parallax_over_error,
    "toomre_speed": lambda column, stars: _speed(column, float(_orbit_setting(stars, "v0"))),
    "toomre_speed_local": _toomre_local,
    "abs_z": lambda column, stars: np.abs(column("z")),
}

_THIN = line_excess(-np.inf, 0.0, "[α/Fe] < 0.15 and [α/Fe] < −0.2 [Fe/H] + 0.1")
_THICK = (~_THIN).described("[α/Fe] > 0.15 or [α/Fe] > −0.2 [Fe/H] + 0.1")

_SNR = (
    compare("snr_g", ">", 50.0) & compare("snr_r", ">", 50.0) & compare("snr_i", ">", 50.0)
).described("S/N > 50 in g, r and i")
_AGE = compare("age_error", "<", 0.25)

#: Selections of the paper by name. All but `all` itself are taken of the usable stars (`all`).
#:
#: * ``all``: age and orbit known, no repeat observation, within the S/N and age-error cuts of the
#:   run's own ``[data]``, parameters not in conflict by ``poor_fit`` of its ``[isochrones]``.
#: * ``thin``, ``thick``: the paper's pure discs (its figures 6 and 7); ``…-chemical``: by chemistry
#:   alone. A star on the dividing line is thick.
#: * ``zmax-…``: four slices. The limits of the paper's stand only in its figure 9; ours keep its
#:   two stated limits, 0.25 and 2 kpc, and divide the space between at 1 kpc.
#: * ``alpha-…``: four slices by the lines of its figure 5, the dividing line and ±0.1 about it.
#: * ``toomre-…``: by the speed relative to the local standard of rest, below 50 km/s and 70 to 180
#:   (usual limits: Nissen 2004; Bensby, Feltzing & Oey 2014, A&A 562, A71; the paper, which tried
#:   this and left it, gives none); ``…-local``: relative to the circular speed at the star's R.
#: * ``quality``: the cuts of its section 2.2 (``snr-50``, ``age-error-25``), which `all` has
#:   already where the recipe's ``[data]`` asks for them; ``high-quality``: of its section 4.1.4;
#:   ``parallax-10``: a parallax known to 10%.
#: * ``ruwe-1.4``: an astrometric solution of a single star (Lindegren 2018); ``single-star``: none
#:   of Gaia's non-single stars; ``unblended``: two peaks in at most 2% of Gaia's windows (above,
#:   close pairs: Fabricius et al. 2021, A&A 649, A5); ``survey-clean``: not doubted by the
#:   survey's flags (of a run that keeps such stars).
#: * ``evolved``: without dwarfs below 5400 K. Isochrones of all ages lie together there, and some
#:   tens of kelvin between a survey and the models make a star of any age the oldest there is, with
#:   an error that passes the cut (docs/ages.md).
SELECTIONS: dict[str, Selection] = {
    "all": Selection(
        _usable,
        "age and orbit known, no repeat, S/N, age error and χ² of the isochrones within the cuts",
    ),
    "thin-chemical": _THIN,
    "thin": _THIN & limits("zmax", upper=0.25),
    "thick-chemical": _THICK,
    "thick": _THICK & compare("zmax", ">", 2.0),
    "zmax-below-0.25": limits("zmax", upper=0.25),
    "zmax-0.25-to-1": limits("zmax", 0.25, 1.0),
    "zmax-1-to-2": limits("zmax", 1.0, 2.0),
    "zmax-above-2": limits("zmax", 2.0),
    "alpha-lowest": line_excess(-np.inf, -0.1, "[α/Fe] more than 0.1 below the dividing line"),
    "alpha-low": line_excess(-0.1, 0.0, "[α/Fe] 0 to 0.1 below the dividing line"),
    "alpha-high": line_excess(0.0, 0.1, "[α/Fe] 0 to 0.1 above the dividing line"),
    "alpha-highest": line_excess(0.1, np.inf, "[α/Fe] more than 0.1 above the dividing line"),
    "toomre-thin": compare("toomre_speed", "<", 50.0),
    "toomre-thick": limits("toomre_speed", 70.0, 180.0),
    "toomre-thin-local": compare("toomre_speed_local", "<", 50.0),
    "toomre-thick-local": limits("toomre_speed_local", 70.0, 180.0),
    "snr-50": _SNR,
    "age-error-25": _AGE,
    "quality": _SNR & _AGE,
    "parallax-10": compare("parallax_over_error", ">", 10.0),
    "evolved": (~(compare("teff", "<", 5400.0) & compare("logg", ">", 4.0))).described(
        "no dwarf (log g > 4) below 5400 K"
    ),
    "ruwe-1.4": compare("ruwe", "<", 1.4),
    "single-star": compare("non_single_star", "<", 0.5).described("no non-single star of Gaia"),
    "unblended": compare("ipd_frac_multi_peak", "<=", 2.0).described(
        "more than one peak in at most 2% of Gaia's windows"
    ),
    "survey-clean": compare("survey_flag", "<", 0.5).described("no doubt by the survey's flags"),
    "high-quality": compare("age_error", "<=", 0.10)
    & (compare("teff", ">", 5750.0) | (compare("logg", "<", 4.0) & compare("teff", ">", 5250.0))),
}
