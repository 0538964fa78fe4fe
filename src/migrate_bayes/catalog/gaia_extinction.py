"""Extinction in the Gaia (E)DR3 bands as a function of colour, or T_eff, and of A0.

The law of the Gaia collaboration for (E)DR3: the curve of Fitzpatrick et al. (2019), with A0 the
monochromatic extinction near 550 nm, acting on Kurucz spectra in the bands of Riello et al. (2021);
the form is that of Danielski et al. (2018) and Babusiaux et al. (2018, A&A 616, A10, eq. 1) with
terms in A0³, A0 X² and A0² X besides::

    k = A_m / A0 = a1 + a2 X + a3 X² + a4 X³ + a5 A0 + a6 A0² + a7 A0³
                   + a8 X A0 + a9 X² A0 + a10 X A0²

X is the *intrinsic* BP-RP, valid in [-0.06, 2.5], or T_eff / 5040 K, in 3500-10,000 K. There are
two fits: the top of the Hertzsprung-Russell diagram (giants, and dwarfs to M_G about 5) and the
lower main sequence. The coefficients are those of the tables ``Fitz19_EDR3_HRDTop.csv`` and
``Fitz19_EDR3_MainSequence.csv`` at https://www.cosmos.esa.int/web/gaia/edr3-extinction-law; the fit
is good to 3.5, 1.5 and 1 per cent at worst in G, BP, RP, and knows solar metallicity only.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from migrate_bayes.core.parallel import map_blocks

__all__ = ["BANDS", "COLOUR_RANGE", "TEFF_RANGE", "deredden", "extinction_ratio"]

BANDS = ("G", "BP", "RP")
COLOUR_RANGE = (-0.06, 2.5)
TEFF_RANGE = (3500.0, 10000.0)
LOWER_MAIN_SEQUENCE = 5.0
"""Absolute G (mag) from which on the fit of the main sequence is used."""

_BLOCK = 65_536

# [table: top of the diagram, main sequence][X: colour, teff/5040][band][a1..a10]
_COEFFICIENTS = np.array([
    [
        [
            [0.996727636184546, -0.161532912039159, 0.0121894634053956, 0.00108655443373807,
             -0.0378418720324357, 0.00150218619071414, -2.43558666819941e-05,
             0.0119452762544019, -0.000900410348061063, -0.000285148019567325],
            [1.15477509956089, -0.0860151175561996, -0.0302071198654238, 0.0140420820336445,
             -0.0223968266786066, 0.000823544766886717, -1.20366204386921e-05,
             0.00699684361199003, -0.000499920649896623, -0.000148686538559682],
            [0.662595389120923, -0.0167121614962357, -0.00144198404916194, -0.00133749382473256,
             -0.00655783097133718, 3.36125225635362e-05, 1.61356747065676e-06,
             2.20748538619438e-05, 0.000178453487002225, 1.0336186431516e-05],
        ],
        [
            [0.235975767531247, 0.974642001154732, -0.454849105677279, 0.0809472883012553,
             0.00143267173083805, 0.000711522982426832, -2.43558666819971e-05,
             -0.0330300302504699, 0.00626996185287723, 0.000448105647489681],
            [0.701997072298603, 0.490866299480625, -0.164808457543591, 0.0170922494342349,
             0.00289871460851645, 0.000425850523466046, -1.20366204386936e-05,
             -0.023177965407382, 0.0051461571124259, 0.000222767475712585],
            [0.397757193443918, 0.47830422684147, -0.298201519568948, 0.0631162856810166,
             -0.00417918495688091, 6.38932013394025e-05, 1.61356747065524e-06,
             -0.0030271096995944, 0.000947582042228708, -1.74529998636095e-05],
        ],
    ],
    [
        [
            [0.995969721536602, -0.159726460302015, 0.0122380738156057, 0.00090726555099859,
             -0.0377160263914123, 0.00151347495244888, -2.52364537395142e-05,
             0.0114522658102451, -0.000936914989014318, -0.000260296774134201],
            [1.15363197483424, -0.0814012991657388, -0.036013023976704, 0.0192143585568966,
             -0.022397548243016, 0.000840562680547171, -1.31018008013549e-05,
             0.00660124080271006, -0.000882247501989453, -0.000111215755291684],
            [0.66320787941067, -0.0179847164933981, 0.000493769449961458, -0.00267994405695751,
             -0.00651422146709376, 3.30179903473159e-05, 1.57894227641527e-06,
             -7.9800898337247e-05, 0.000255679812110045, 1.10476584967393e-05],
        ],
        [
            [0.259021858973784, 0.93676111876298, -0.43744649958549203, 0.0783508476444952,
             -0.0013612743323522401, 0.000797222688660053, -2.52364537395233e-05,
             -0.029981504413869, 0.005555060174347979, 0.000402778419603886],
            [0.8880889146966658, 0.11318390480077001, 0.0846337732558566, -0.0371265818793239,
             -0.00296140793334905, 0.000538660562947277, -1.3101800801351199e-05,
             -0.0164152179931537, 0.00323902299833464, 0.000169011297620409],
            [0.38271966845463296, 0.505895415656219, -0.314981478333036, 0.0665302085130136,
             -0.0038378046816949798, 6.50490784002505e-05, 1.57894227640801e-06,
             -0.00348740736346628, 0.0011087715942676801, -1.8313141658225e-05],
        ],
    ],
])  # fmt: skip


@njit(cache=True, nogil=True)
def _k(a: NDArray[np.float64], x: float, a0: float) -> float:
    colour = a[0] + x * (a[1] + x * (a[2] + x * a[3]))
    return colour + a0 * (a[4] + a0 * (a[5] + a0 * a[6]) + x * (a[7] + x * a[8] + a0 * a[9]))


@njit(cache=True, nogil=True)
def _intrinsic_colour(
    table: NDArray[np.float64], observed: float, a0: float, limits: NDArray[np.float64]
) -> float:
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
    tables: NDArray[np.float64],
    observed: NDArray[np.float64],
    teff: NDArray[np.float64],
    a0: NDArray[np.float64],
    modulus_g: NDArray[np.float64],
    limits: NDArray[np.float64],
    a_g: NDArray[np.float64],
    reddening: NDArray[np.float64],
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
    a0: NDArray[np.float64] | float,
    *,
    bp_rp: NDArray[np.float64] | float | None = None,
    teff: NDArray[np.float64] | float | None = None,
    main_sequence: bool = False,
) -> NDArray[np.float64]:
    """Return A_band / A0 for an intrinsic colour, or for an effective temperature.

    Parameters
    ----------
    band : {"G", "BP", "RP"}
        The band.
    a0 : float or array
        Monochromatic extinction near 550 nm, mag.
    bp_rp, teff : float or array
        Intrinsic BP-RP (mag), or T_eff (K): give one. Held at the edge outside the law's validity.
    main_sequence : bool
        The fit of the lower main sequence, in place of the one for M_G < 5.
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
    a0: NDArray[np.float64],
    *,
    bp_rp_observed: NDArray[np.float64],
    teff: NDArray[np.float64],
    abs_g_reddened: NDArray[np.float64],
    workers: int | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute A_G and E(BP-RP), solving for the intrinsic colour where the colour is observed.

    Parameters
    ----------
    a0 : array, shape (n,)
        Extinction, mag; NaN where unknown.
    bp_rp_observed, teff : array, shape (n,)
        Observed colour (mag); where it is NaN, T_eff (K) is used, where that is NaN too the result
        is NaN unless the extinction is zero.
    abs_g_reddened : array, shape (n,)
        G - distance modulus (mag), which chooses between the two fits; NaN takes the upper one.
    workers : int, optional
        Threads.

    Returns
    -------
    a_g, e_bp_rp : array, shape (n,)
        Mag.
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
