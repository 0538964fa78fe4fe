# mypy: disable-error-code="no-untyped-def"
"""Absolute magnitudes and dereddened colours.

    M_G = G - 5 log10(d / 10 pc) - A_G,    (BP-RP)_0 = (BP-RP) - E(BP-RP)

with A_G and E(BP-RP) from A_V, taken for the A0 of the law below (the two differ by about a per
cent). Errors add in quadrature: photometry, distance (5 / ln 10 times the mean of the two relative
distance errors) and extinction (the catalogue's own error if it has one, else 10 per cent of the
extinction).

The law of the Gaia collaboration for (E)DR3: the curve of Fitzpatrick et al. (2019), with A0 the
monochromatic extinction near 550 nm, acting on Kurucz spectra in the bands of Riello et al. (2021);
the form is that of Danielski et al. (2018) and Babusiaux et al. (2018, A&A 616, A10, eq. 1) with
terms in A0³, A0 X² and A0² X besides::

    k = A_m / A0 = a1 + a2 X + a3 X² + a4 X³ + a5 A0 + a6 A0² + a7 A0³
                   + a8 X A0 + a9 X² A0 + a10 X A0²

X is the *intrinsic* BP-RP, valid in [-0.06, 2.5], or T_eff / 5040 K, in 3500-10,000 K. There are
two fits: the top of the Hertzsprung-Russell diagram (giants, and dwarfs to M_G about 5) and the
lower main sequence. ``gaia_extinction.csv`` has the coefficients, from ESA's tables; the fit is
good to 3.5, 1.5 and 1 per cent at worst in G, BP, RP, and knows solar metallicity only.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import warnings
from collections.abc import Callable, Sequence, Set
from functools import lru_cache
from importlib.resources import files
from typing import Any

import numpy as np
import xarray as xr
from numba import njit
from numpy.typing import NDArray

from migrate_bayes.catalog.columns import attributes
from migrate_bayes.catalog.measured import validate_required, with_flag
from migrate_bayes.catalog.reader import as_catalog
from migrate_bayes.core.errors import CatalogError, suggest
from migrate_bayes.core.flags import StarFlag
from migrate_bayes.core.parallel import map_blocks
from migrate_bayes.core.units import in_unit

Floats = NDArray[np.float64]

R_V = 3.1
_RELATIVE_ERROR = 0.1
_SOLAR_RATIO = (0.86, 0.44)
_MAPS = (
    "Combined15", "Combined19", "Green15", "Green19", "Marshall06", "Drimmel03", "SFD", "Sale14",
    "Zucker25",
)  # fmt: skip
# Of dustmaps: module, class, settings, and A_V of a unit of the map. Edenhofer et al. (2023) are in
# units of Zhang, Green & Rix (2023), 2.8 mag of A_V; E(B-V) of SFD is 2.742 mag (Schlafly &
# Finkbeiner 2011, R_V = 3.1).
_DUSTMAPS: dict[str, tuple[str, str, tuple[tuple[str, Any], ...], float]] = {
    "edenhofer2023": ("edenhofer2023", "Edenhofer2023Query", (("integrated", True),), 2.8),
    "edenhofer2023-2kpc": (
        "edenhofer2023", "Edenhofer2023Query",
        (("integrated", True), ("flavor", "less_data_but_2kpc")), 2.8,
    ),
    "sfd": ("sfd", "SFDQuery", (), 2.742),
}  # fmt: skip
_SAYS_NONE = (
    "no extinction in the catalogue (a_v or ebv): map such a column, or say extinction = "
    '"mwdust:Combined15" (a map of dust), or "none" if the stars are near enough'
)

BANDS = ("G", "BP", "RP")
COLOUR_RANGE = (-0.06, 2.5)
TEFF_RANGE = (3500.0, 10000.0)
LOWER_MAIN_SEQUENCE = 5.0
"""Absolute G (mag) from which on the fit of the main sequence is used."""

_BLOCK = 65_536

# [fit: top of the diagram, main sequence][X: colour, teff/5040][band][a1..a10]
_TABLE = files("migrate_bayes.catalog").joinpath("gaia_extinction.csv").read_text("utf-8")
_COEFFICIENTS = np.loadtxt(_TABLE.splitlines(), delimiter=",", usecols=range(3, 13))
_COEFFICIENTS = _COEFFICIENTS.reshape(2, 2, len(BANDS), 10)


def correct_extinction(
    catalog: xr.Dataset, *, source: str | Sequence[str] = "auto", distance_aware: bool = True
) -> xr.Dataset:
    """Add absolute magnitudes and dereddened colours.

    Parameters
    ----------
    catalog : xarray.Dataset
        With ``phot_g_mean_mag`` and distances; ``phot_bp_mean_mag`` and ``phot_rp_mean_mag`` (or
        ``bp_rp_observed``) if there are.
    source : str or sequence of str
        ``"a_v"``, ``"ebv"`` (with R_V = 3.1), ``"auto"`` (the first of these two that there is),
        ``"none"`` (no extinction at all, for nearby stars), ``"mwdust:<map>"`` for a
        three-dimensional map, which mwdust downloads (gigabytes) at first use, or
        ``"dustmaps:edenhofer2023"`` (to 1.25 kpc, ``-2kpc`` to 2), ``"dustmaps:sfd"`` (the whole
        column of dust), whose files dustmaps must have. Of several, a star takes the first that
        knows its extinction: ``["dustmaps:edenhofer2023", "mwdust:Combined19"]``.
    distance_aware : bool
        For a map: evaluate it at the star's distance and its two percentiles, half the difference
        being an error of the extinction; if not, at the distance alone.

    Returns
    -------
    xarray.Dataset
        With ``abs_g``, ``abs_g_error``, ``a_g``, ``bp_rp``, ``bp_rp_error`` (as far as they
        follow) and ``flag``, in which ``MISSING_PHOTOMETRY`` now means that there is no ``abs_g``.
        Of several sources, ``extinction_map`` is the number of the one that served the star, -1 if
        none did.
        ``attrs["extinction"]`` of the Dataset says what was done.

    Raises
    ------
    CatalogError
        For an unknown source, or one that is absent: column, package or its files.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from migrate_bayes import correct_extinction
    >>> columns = {"phot_g_mean_mag": 10.0, "distance": 0.1, "distance_lo": 0.09,
    ...            "distance_hi": 0.11}
    >>> stars = xr.Dataset({name: ("star", [value]) for name, value in columns.items()})
    >>> stars["flag"] = ("star", np.zeros(1, dtype=np.int32))
    >>> correct_extinction(stars, source="none")["abs_g"].values.tolist()
    [5.0]
    """
    catalog = as_catalog(catalog)
    validate_required(catalog, needs="photometry")
    n = catalog.sizes["star"]
    if source is None:
        raise CatalogError('no source of the extinction: "none" is one, of 0')
    sources = [source] if isinstance(source, str) else list(source)
    check_extinction(sources, set(map(str, catalog)))
    a_v, a_v_error, served, said = _extinction(catalog, sources, distance_aware)

    distance = catalog["distance"].values
    g = catalog["phot_g_mean_mag"].values
    with np.errstate(divide="ignore", invalid="ignore"):
        reddened = g - 5.0 * np.log10(distance) - 10.0
    colour, colour_error = _observed_colour(catalog)
    teff = catalog["teff"].values if "teff" in catalog else np.full(n, np.nan)
    a_g, e_bp_rp = deredden(a_v, bp_rp_observed=colour, teff=teff, abs_g_reddened=reddened)

    with np.errstate(divide="ignore", invalid="ignore"):
        # What a magnitude of A_V does in G and in BP-RP; a Sun-like star's if A_V is zero.
        k_g = np.where(a_v > 0, a_g / a_v, _SOLAR_RATIO[0])
        k_colour = np.where(a_v > 0, e_bp_rp / a_v, _SOLAR_RATIO[1])
        width = 0.5 * (catalog["distance_hi"].values - catalog["distance_lo"].values) / distance
    doubt = np.where(np.isfinite(a_v_error), a_v_error, _RELATIVE_ERROR * a_v)
    g_error = _error(catalog, "phot_g_mean_mag")
    distance_error = 5.0 / np.log(10.0) * width
    abs_g = reddened - a_g
    abs_g_error = np.sqrt(g_error**2 + distance_error**2 + (k_g * doubt) ** 2)
    # A magnitude without a finite error cannot be compared with anything.
    whole = np.isfinite(abs_g) & np.isfinite(abs_g_error)

    new = {"abs_g": np.where(whole, abs_g, np.nan)}
    new |= {"abs_g_error": np.where(whole, abs_g_error, np.nan), "a_g": a_g}
    # If there are the columns, not values: it must not depend on how stars are chunked.
    if {"phot_bp_mean_mag", "phot_rp_mean_mag"} <= set(catalog) or "bp_rp_observed" in catalog:
        new["bp_rp"] = colour - e_bp_rp
        colour_error = np.hypot(colour_error, k_colour * doubt)
        new["bp_rp_error"] = np.where(np.isfinite(new["bp_rp"]), colour_error, np.nan)
    out = catalog.assign({name: ("star", v, attributes(name)) for name, v in new.items()})
    if not isinstance(source, str):
        out = out.assign(extinction_map=("star", served, {
            "units": "", "long_name": "source of the extinction, by number",
            "flag_values": np.arange(-1, len(sources), dtype=np.int32),
            "flag_meanings": " ".join(["no_source", *sources]),
        }))  # fmt: skip
    out = with_flag(out, ~whole, StarFlag.MISSING_PHOTOMETRY)
    out.attrs["extinction"] = said
    return out


def _observed_colour(catalog: xr.Dataset) -> tuple[Floats, Floats]:
    """Return BP-RP and its error; NaN without the columns."""
    if "phot_bp_mean_mag" in catalog and "phot_rp_mean_mag" in catalog:
        bp, rp = "phot_bp_mean_mag", "phot_rp_mean_mag"
        error = np.hypot(_error(catalog, bp), _error(catalog, rp))
        return catalog[bp].values - catalog[rp].values, error
    error = _error(catalog, "bp_rp_observed")
    if "bp_rp_observed" in catalog:
        return catalog["bp_rp_observed"].values, error
    return np.full(catalog.sizes["star"], np.nan), error


def _error(catalog: xr.Dataset, name: str) -> Floats:
    """Return the photometric error, 0 if the catalogue gives none (Gaia's are millimagnitudes)."""
    if f"{name}_error" not in catalog:
        return np.zeros(catalog.sizes["star"])
    return np.nan_to_num(catalog[f"{name}_error"].values)


def check_extinction(sources: str | Sequence[str], there: Set[str]) -> None:
    """Raise a `CatalogError` for a source that is unknown, or whose column or package lacks."""
    columns = [name for name in ("a_v", "ebv") if name in there]
    valid = ["auto", "a_v", "ebv", "none", *(f"mwdust:{m}" for m in _MAPS)]
    valid += [f"dustmaps:{m}" for m in _DUSTMAPS]
    for source in [sources] if isinstance(sources, str) else sources:
        kind, _, name = source.partition(":")
        if source == "auto" and not columns:
            raise CatalogError(_SAYS_NONE)
        if source in ("a_v", "ebv") and source not in there:
            said = suggest(source, [*columns, "none", "mwdust:<map>"])
            raise CatalogError(f"the catalogue has no {source}: {said}")
        of_map = bool(name) if kind == "mwdust" else kind == "dustmaps" and name in _DUSTMAPS
        if source not in ("auto", "a_v", "ebv", "none") and not of_map:
            raise CatalogError(f"no extinction source '{source}': {suggest(source, valid)}")
        if of_map and not _is_installed(kind):
            raise CatalogError(
                f"extinction '{source}' needs the package {kind}: "
                "pip install 'migrate-bayes[dust]' (its maps are gigabytes)"
            )
        if of_map and not {"ra", "dec"} <= there:
            raise CatalogError(f"extinction '{source}' needs ra and dec, which the catalogue lacks")


def _is_installed(package: str) -> bool:
    if package in sys.modules:
        return sys.modules[package] is not None
    return importlib.util.find_spec(package) is not None


def _extinction(
    catalog: xr.Dataset, sources: Sequence[str], distance_aware: bool
) -> tuple[Floats, Floats, NDArray[np.int32], str]:
    """Return A_V, its error (NaN if unknown), the number of the source, and what they are from."""
    n = catalog.sizes["star"]
    a_v, error, served = np.full(n, np.nan), np.full(n, np.nan), np.full(n, -1, dtype=np.int32)
    texts = []
    for i, source in enumerate(sources):
        rest = np.flatnonzero(served < 0)
        stars = catalog if i == 0 else catalog.isel(star=rest)
        value, doubt, said = _of_source(stars, source, distance_aware)
        texts.append(said)
        known = np.isfinite(value)
        here = rest[known]
        a_v[here], error[here], served[here] = value[known], doubt[known], i
    law = "" if sources == ["none"] else "; Gaia (E)DR3 law (Fitzpatrick et al. 2019), A_V for A0"
    return a_v, error, served, ", beyond it ".join(texts) + law


def _of_source(
    catalog: xr.Dataset, source: str, distance_aware: bool
) -> tuple[Floats, Floats, str]:
    """Return A_V, its error (NaN if unknown) and what they are from, of one source."""
    n = catalog.sizes["star"]
    if source == "auto":
        source = "a_v" if "a_v" in catalog else "ebv"
    if source == "none":
        return np.zeros(n), np.zeros(n), "none: A_V = 0 for every star"
    if source in ("a_v", "ebv"):
        factor, name = (1.0, "a_v") if source == "a_v" else (R_V, f"ebv, R_V = {R_V:g}")
        error, doubt = np.full(n, np.nan), "error 10% of the extinction"
        if f"{source}_error" in catalog:
            error, doubt = catalog[f"{source}_error"].values * factor, "its own error"
        # A fit may give a slightly negative extinction: it is zero with the same error.
        a_v = np.where(catalog[source].values < 0, 0.0, catalog[source].values * factor)
        return a_v, error, f"column {name}; {doubt}"
    return *_from_map(catalog, source, distance_aware), source


@lru_cache(maxsize=4)
def _opened(make: Callable[..., Any], settings: tuple[tuple[str, Any], ...]) -> Any:
    """Open a map once: it is gigabytes."""
    return make(**dict(settings))


def _from_map(catalog: xr.Dataset, source: str, distance_aware: bool) -> tuple[Floats, Floats]:
    """Return A_V at the distances, NaN beyond the map, and its error."""
    from astropy import units as u
    from astropy.coordinates import SkyCoord

    kind, _, name = source.partition(":")
    names = ("distance", "distance_lo", "distance_hi") if distance_aware else ("distance",)
    distances = np.stack([catalog[k].values for k in names], axis=1)
    place = SkyCoord(catalog["ra"].values * u.deg, catalog["dec"].values * u.deg).galactic
    longitude, latitude = place.l.deg, place.b.deg
    good = np.isfinite(distances).all(axis=1) & np.isfinite(longitude)
    a_v = np.full(distances.shape, np.nan)
    ask = _ask_mwdust if kind == "mwdust" else _ask_dustmaps
    a_v[good] = ask(name, longitude[good], latitude[good], distances[good])
    # One of the two distances may be beyond the map.
    low, high = (a_v[:, k] if distance_aware else a_v[:, 0] for k in (1, -1))
    low, high = (np.where(np.isfinite(end), end, a_v[:, 0]) for end in (low, high))
    both = np.isfinite(a_v).all(axis=1)
    width = np.where(both, 0.5, 1.0) * (high - low)
    return a_v[:, 0], np.hypot(_RELATIVE_ERROR * a_v[:, 0], width)


def _ask_mwdust(name: str, longitude: Floats, latitude: Floats, distances: Floats) -> Floats:
    import mwdust

    if not hasattr(mwdust, name):
        known = [m for m in dir(mwdust) if m[:1].isupper()] or list(_MAPS)
        raise CatalogError(f"mwdust has no map '{name}': {suggest(name, known)}")
    # Schlafly & Finkbeiner's (2011) coefficients, R_V = 3.1: in this filter the map gives A_V.
    dust = _opened(getattr(mwdust, name), (("filter", "CTIO V"), ("sf10", True)))
    places = zip(longitude, latitude, distances, strict=True)
    a_v = [np.atleast_1d(dust(one_l, one_b, d)) for one_l, one_b, d in places]
    return np.array(a_v).reshape(distances.shape)


def _ask_dustmaps(name: str, longitude: Floats, latitude: Floats, distances: Floats) -> Floats:
    from astropy import units as u
    from astropy.coordinates import SkyCoord

    module, query, settings, factor = _DUSTMAPS[name]
    maps = importlib.import_module(f"dustmaps.{module}")
    try:
        dust = _opened(getattr(maps, query), settings)
    except OSError as absent:
        raise CatalogError(
            f"dustmaps has no file of its map '{name}' ({absent}): fetch it once, in Python "
            f"`import dustmaps.{module} as m; m.fetch()`"
            + (", with fetch_2kpc=True" if name.endswith("2kpc") else "")
        ) from absent
    near = np.ones(distances.shape)
    if hasattr(dust, "distances"):
        # Nearer than the map begins, dust grows evenly with distance.
        first = 1.000001 * float(dust.distances[0].to_value(u.kpc))
        near = np.minimum(distances / first, 1.0)
        distances = np.maximum(distances, first)
    ones = np.ones_like(distances)
    places = SkyCoord(
        longitude[:, None] * ones * u.deg, latitude[:, None] * ones * u.deg,
        distance=distances * u.kpc, frame="galactic",
    )  # fmt: skip
    # dustmaps 1.0 sets shapes in place, of which NumPy warns.
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        return factor * near * np.asarray(dust(places), dtype=np.float64)


@njit(cache=True, nogil=True)
def _k(a: Floats, x: float, a0: float) -> float:
    colour = a[0] + x * (a[1] + x * (a[2] + x * a[3]))
    return colour + a0 * (a[4] + a0 * (a[5] + a0 * a[6]) + x * (a[7] + x * a[8] + a0 * a[9]))


@njit(cache=True, nogil=True)
def _intrinsic_colour(table: Floats, observed: float, a0: float, limits: Floats) -> float:
    """Solve c + E(c) = observed by Newton's method inside a bracket (the left side increases)."""
    low, high = observed - a0, observed
    c = observed - 0.42 * a0
    for _ in range(80):
        x = min(max(c, limits[0]), limits[1])
        f = c + a0 * (_k(table[1], x, a0) - _k(table[2], x, a0)) - observed
        if f > 0.0:
            high = c
        else:
            low = c
        slope = 1.0
        if x == c:
            d = table[1] - table[2]
            mixed = d[7] + 2 * x * d[8] + a0 * d[9]
            slope += a0 * (d[1] + x * (2 * d[2] + 3 * x * d[3]) + a0 * mixed)
        new = c - f / slope if slope > 0.0 else low
        if not low < new < high:
            new = 0.5 * (low + high)
        if abs(new - c) < 1e-13:
            return new
        c = new
    return c


@njit(cache=True, nogil=True)
def _deredden_block(tables, observed, teff, a0, modulus_g, limits, a_g, reddening):
    """Fill in A_G and E(BP-RP) star by star; the number of iterations differs between stars."""
    for i in range(a0.size):
        a_g[i] = np.nan
        reddening[i] = np.nan
        ext = a0[i]
        if not np.isfinite(ext):
            continue
        if ext == 0.0:  # needs no colour
            a_g[i] = 0.0
            reddening[i] = 0.0
            continue
        table = 0
        for _ in range(2):  # the second time with the table that the first M_G asks for
            if np.isfinite(observed[i]):
                c = _intrinsic_colour(tables[table, 0], observed[i], ext, limits)
                x = min(max(c, limits[0]), limits[1])
                kind = 0
            elif np.isfinite(teff[i]):
                x = min(max(teff[i], limits[2]), limits[3]) / 5040.0
                kind = 1
            else:
                break
            a_g[i] = ext * _k(tables[table, kind, 0], x, ext)
            reddening[i] = ext * (
                _k(tables[table, kind, 1], x, ext) - _k(tables[table, kind, 2], x, ext)
            )
            if modulus_g[i] - a_g[i] > limits[4] and table == 0:
                table = 1
            else:
                break


def extinction_ratio(
    band: str,
    a0: Floats | float,
    *,
    bp_rp: Floats | float | None = None,
    teff: Floats | float | None = None,
    main_sequence: bool = False,
) -> Floats:
    """Return A_band / A0 for an intrinsic BP-RP (mag) or a T_eff (K), held at the law's edges.

    `a0` in mag; `main_sequence` takes the fit of the lower main sequence, not that for M_G < 5.
    """
    if (bp_rp is None) == (teff is None):
        raise ValueError("give bp_rp or teff")
    a = _COEFFICIENTS[int(main_sequence), int(bp_rp is None), BANDS.index(band)]
    if bp_rp is not None:
        x = np.clip(in_unit(bp_rp, "mag", "bp_rp"), *COLOUR_RANGE)
    else:
        x = np.clip(in_unit(teff, "K", "teff"), *TEFF_RANGE) / 5040.0
    e = in_unit(a0, "mag", "a0")
    poly = a[0] + a[1] * x + a[2] * x**2 + a[3] * x**3 + a[4] * e + a[5] * e**2 + a[6] * e**3
    return np.asarray(poly + a[7] * x * e + a[8] * x**2 * e + a[9] * x * e**2)


def deredden(
    a0: Floats,
    *,
    bp_rp_observed: Floats,
    teff: Floats,
    abs_g_reddened: Floats,
    workers: int | None = None,
) -> tuple[Floats, Floats]:
    """Compute A_G and E(BP-RP), mag, solving for the intrinsic colour if the colour is observed.

    T_eff (K) stands in for a colour (mag) that is NaN; without both the result is NaN unless the
    extinction `a0` (mag) is zero. `abs_g_reddened`, G minus the distance modulus, chooses between
    the two fits; NaN takes the upper one. All are of shape (n,); `workers` are threads.
    """
    a0, bp_rp_observed, abs_g_reddened = (
        in_unit(v, "mag") for v in (a0, bp_rp_observed, abs_g_reddened)
    )
    teff, n = in_unit(teff, "K", "teff"), a0.size
    a_g, reddening = np.empty(n), np.empty(n)
    limits = np.array([*COLOUR_RANGE, *TEFF_RANGE, LOWER_MAIN_SEQUENCE])

    def run(start: int, stop: int) -> None:
        part = slice(start, stop)
        _deredden_block(
            _COEFFICIENTS, bp_rp_observed[part], teff[part], a0[part], abs_g_reddened[part],
            limits, a_g[part], reddening[part],
        )  # fmt: skip

    map_blocks(run, n, _BLOCK, workers=workers)
    return a_g, reddening
