"""Extinction in the Gaia (E)DR3 bands as a function of colour, or T_eff, and of A0.

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

from importlib.resources import files

import numpy as np
from numba import njit
from numpy.typing import NDArray

from migrate_bayes.core.parallel import map_blocks

Floats = NDArray[np.float64]

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
def _deredden_block(
    tables: Floats,
    observed: Floats,
    teff: Floats,
    a0: Floats,
    modulus_g: Floats,
    limits: Floats,
    a_g: Floats,
    reddening: Floats,
) -> None:
    """Fill in A_G and E(BP-RP), star by star: each does its own number of iterations."""
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

    `a0` is the monochromatic extinction near 550 nm, mag; `main_sequence` takes the fit of the
    lower main sequence, in place of the one for M_G < 5.
    """
    if (bp_rp is None) == (teff is None):
        raise ValueError("give bp_rp or teff")
    a = _COEFFICIENTS[int(main_sequence), int(bp_rp is None), BANDS.index(band)]
    if bp_rp is not None:
        x = np.clip(np.asarray(bp_rp, dtype=np.float64), *COLOUR_RANGE)
    else:
        x = np.clip(np.asarray(teff, dtype=np.float64), *TEFF_RANGE) / 5040.0
    e = np.asarray(a0, dtype=np.float64)
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
    n = a0.size
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
