"""The zero point of Gaia's parallaxes, by magnitude, colour and ecliptic latitude.

Parallaxes of Gaia (E)DR3 are too small by some tens of microarcseconds (Lindegren et al. 2021, A&A
649, A4). The package gaiadr3-zeropoint has the fit; it is asked for five- or six-parameter
solutions as the archive's colour columns say them apart: ``nu_eff_used_in_astrometry`` is of the
first, ``pseudocolour`` of the second. Where a catalogue has neither, the effective wavenumber is
that of BP-RP (Lindegren et al. 2021, A&A 649, A2, eq. 3), as of a five-parameter solution.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.catalog.measured import complete_distances, with_flag
from migrate_bayes.catalog.reader import as_catalog
from migrate_bayes.core.errors import CatalogError, suggest
from migrate_bayes.core.flags import StarFlag
from migrate_bayes.core.units import number

Floats = NDArray[np.float64]

LINDEGREN = "lindegren2021"
_OBLIQUITY = np.radians(84381.41100 / 3600.0)  # of Gaia's ecliptic, at J2000
_FIVE, _SIX = 31, 95  # `astrometric_params_solved` of the archive


def correct_parallax(catalog: xr.Dataset, *, zero_point: str | float = LINDEGREN) -> xr.Dataset:
    """Subtract the zero point of Gaia's parallaxes; distances that are inverse ones follow.

    Parameters
    ----------
    catalog : xarray.Dataset
        With ``parallax`` (mas). ``"lindegren2021"`` also needs ``ra``, ``dec``,
        ``phot_g_mean_mag``, and ``nu_eff_used_in_astrometry`` or ``pseudocolour`` (1/um) or else
        BP-RP. Distances of the catalogue's own are kept.
    zero_point : str or float
        ``"lindegren2021"``, by the package gaiadr3-zeropoint, or one number for all stars, mas.

    Returns
    -------
    xarray.Dataset
        With a new ``parallax``. A star outside the fit (G from 6 to 21, effective wavenumber from
        1.1 to 1.9, pseudocolour from 1.24 to 1.72 per micrometre) keeps the published one and is
        flagged ``NO_ZERO_POINT``. ``attrs["parallax_zero_point"]`` says what was done.

    Raises
    ------
    CatalogError
        Without the columns or the package, for an unknown zero point, or if the parallaxes have
        been corrected before.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from migrate_bayes.catalog import correct_parallax
    >>> stars = xr.Dataset({"parallax": ("star", [2.0], {"units": "mas"}),
    ...                     "flag": ("star", np.zeros(1, dtype=np.int32))})
    >>> correct_parallax(stars, zero_point=-0.04)["parallax"].values.round(3).tolist()
    [2.04]
    """
    catalog = as_catalog(catalog)
    if "parallax_zero_point" in catalog.attrs:
        raise CatalogError("the zero point has been taken from these parallaxes before")
    check_zero_point(zero_point, catalog)
    parallax = catalog["parallax"].values
    if isinstance(zero_point, str):
        shift, colour = _lindegren(catalog)
        said = f"Lindegren et al. (2021), A&A 649, A4; {colour}"
    else:
        value = number(zero_point, "mas", "parallax_zero_point")
        shift, said = np.full(parallax.size, value), f"{value:g} mas"
    known = np.isfinite(shift)
    corrected = np.where(known, parallax - shift, parallax)
    out = catalog.assign(parallax=("star", corrected, catalog["parallax"].attrs))
    out = with_flag(out, ~known & np.isfinite(parallax), StarFlag.NO_ZERO_POINT)
    if "distance" in catalog and _is_inverse(catalog["distance"]):
        values = {"parallax": corrected, "parallax_error": catalog["parallax_error"].values}
        source = str(complete_distances(values)).replace("no zero-point shift", "zero point taken")
        out = out.assign({
            name: ("star", values[name], catalog[name].attrs | {"source": source})
            for name in ("distance", "distance_lo", "distance_hi")
        })  # fmt: skip
        out = with_flag(out, ~np.isfinite(values["distance"]), StarFlag.BAD_DISTANCE)
    out.attrs["parallax_zero_point"] = said
    return out


def _is_inverse(distance: xr.DataArray) -> bool:
    return str(distance.attrs.get("source", "")).startswith("1/parallax")


def check_zero_point(zero_point: str | float, there: xr.Dataset | set[str]) -> None:
    """Raise a `CatalogError` if columns or package lack, or the zero point is unknown."""
    if isinstance(zero_point, str) and zero_point != LINDEGREN:
        said = suggest(zero_point, [LINDEGREN, "none"])
        raise CatalogError(f"no zero point '{zero_point}', nor a number of mas: {said}")
    if not isinstance(zero_point, str):
        value = number(zero_point, "mas", "parallax_zero_point")
        if not abs(value) < 1.0:
            raise CatalogError(f"a parallax_zero_point of {value:g} mas is none: is it in μas?")
    needed = ["parallax"]
    if zero_point == LINDEGREN:
        needed += ["ra", "dec", "phot_g_mean_mag"]
        colours = {"nu_eff_used_in_astrometry", "pseudocolour", "bp_rp_observed"} & set(there)
        if not colours and "phot_bp_mean_mag" not in there:
            needed += ["nu_eff_used_in_astrometry"]
        elif not colours:
            needed += ["phot_rp_mean_mag"]
    if lacking := [name for name in needed if name not in there]:
        raise CatalogError(
            f"the catalogue has no {', '.join(lacking)}, needed for the parallax zero point: map "
            'such a column, or set parallax_zero_point to a number of mas or "none"'
        )
    if zero_point == LINDEGREN:
        _package()


def _package():  # type: ignore[no-untyped-def]
    try:
        from zero_point import zpt
    except ImportError as absent:
        raise CatalogError(
            f"parallax_zero_point = '{LINDEGREN}' needs the package gaiadr3-zeropoint: "
            "pip install 'migrate-bayes[zeropoint]'"
        ) from absent
    return zpt


def _lindegren(catalog: xr.Dataset) -> tuple[Floats, str]:
    """Return the zero point (mas), NaN where it is not known, and what the colours are from."""
    zpt = _package()
    g = catalog["phot_g_mean_mag"].values
    nothing = np.full(g.size, np.nan)

    def column(name: str) -> Floats:
        return catalog[name].values if name in catalog else nothing

    wavenumber, pseudocolour = column("nu_eff_used_in_astrometry"), column("pseudocolour")
    bp_rp = column("phot_bp_mean_mag") - column("phot_rp_mean_mag")
    bp_rp = np.where(np.isfinite(bp_rp), bp_rp, column("bp_rp_observed"))
    neither = ~np.isfinite(wavenumber) & ~np.isfinite(pseudocolour)
    of_colour = 1.76 - 1.61 / np.pi * np.arctan(0.531 * bp_rp)
    wavenumber = np.where(neither, of_colour, wavenumber)
    six = ~np.isfinite(wavenumber)
    ra, dec = (np.radians(catalog[name].values) for name in ("ra", "dec"))
    sine = np.sin(dec) * np.cos(_OBLIQUITY) - np.cos(dec) * np.sin(_OBLIQUITY) * np.sin(ra)
    latitude = np.degrees(np.arcsin(np.clip(sine, -1.0, 1.0)))
    known = np.isfinite(g) & np.isfinite(np.where(six, pseudocolour, wavenumber))
    known &= np.isfinite(latitude)
    shift = nothing.copy()
    if known.any():
        zpt.load_tables()
        shift[known] = zpt.get_zpt(
            g[known], wavenumber[known], pseudocolour[known], latitude[known],
            np.where(six, _SIX, _FIVE)[known], _warnings=False,
        )  # fmt: skip
    archive = {"nu_eff_used_in_astrometry", "pseudocolour"} & set(catalog)
    return shift, "colours of the astrometry" if archive else "colours from BP-RP"
