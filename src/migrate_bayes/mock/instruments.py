# mypy: disable-error-code="no-untyped-def"
r"""Instruments of mock surveys: spectra like those of LAMOST DR5 and DD-Payne, and Gaia eDR3.

**Simple survey** (`observe`): LAMOST's errors at S/N > 50 are those that Vickers, Shen & Li (2021)
quote; below, they grow as 1/(S/N). Distances are log-normal about the truth.

**LAMOST-like survey**, spectra (`take_spectrum`):

* **S/N** in g: log-normal, median 10^(1.98 - 0.17 (g - 13.5)), scatter 0.25 dex, softly bounded by
  10 from below (the catalogue's own cut) and by 1000; r and i have 1 + 0.55 (BP - RP) and
  1 + 0.5 (BP - RP) times that: the fibres see cool stars better in the red.
* **Errors** of T_eff, log g, [Fe/H], [α/Fe] (Xiang et al. 2019, ApJS 245, 34: a floor from the
  training set, and noise as 1/(S/N)),

  .. math:: σ = σ_0 \sqrt{\tfrac12 + \tfrac12 (81/\mathrm{S/N}_g)^2}

  with σ₀ = 22.6 K, 0.05, 0.03 and 0.02 dex, what Vickers, Shen & Li (2021) quote for S/N > 50,
  where the median S/N is about 81; 3 km/s for the radial velocity, likewise. A share of `BLUNDERS`
  of the spectra is off by ten times its error, as blends and bad sky subtraction are.
* **Repeats**: a share of `REPEATS` of the stars is seen a second time, with an S/N and errors of
  its own, the fibre near the first position (a normal offset of 0.3″ on either axis).

**LAMOST-like survey**, Gaia (`see_with_gaia`): errors by magnitude, all ten correlations. Parallax
errors are those of the mission's performance model for (e)DR3
(https://www.cosmos.esa.int/web/gaia/science-performance), with G the magnitude:

.. math:: \sigma_\varpi = \sqrt{40 + 800 z + 30 z^2}\ \mathrm{μas},\qquad
   z = 10^{0.4 (\max(G, 13) - 15)}

and position and motion errors their sky averages, 0.80, 0.70 and 1.03, 0.89 times that (per year).
Each star's differ from these by a log-normal factor of 15%, as the number of transits does.

The correlation matrix has one factor, ρ_jk = λ_j λ_k, so it is positive definite by construction:
λ = 0.6 sin(2 L + φ_k) + 0.15 n, bounded by 0.8, with L the right ascension plus the declination
(the scanning law makes correlations a smooth function of the sky, of typically 0.1 to 0.4) and n a
standard normal of the star. Parallaxes have no zero-point offset.

Photometric errors are 0.003, 0.005 and 0.004 mag in G, BP and RP, with the photon noise of the
faint, 10^{0.4 (G - 19)} × 0.02 mag in BP and RP, added in quadrature.

**Distances** (`distance_quantiles`) as Bailer-Jones et al. (2021, AJ 161, 147) give them: of a
parallax ϖ ± σ and a prior of exponentially decreasing volume density (Bailer-Jones 2015, PASP
127, 994),

.. math:: p(d \mid \varpi) \propto d^2 e^{-d/L}\,
   \exp\left(-\tfrac12 \left(\frac{\varpi - 1/d}{σ}\right)^2\right)

the median and the 16th and 84th percentiles: asymmetric, and shrunk to the prior if the
parallax says little. L depends on the latitude alone here, 0.4 kpc at the poles and 1.0 kpc in the
plane (the published prior, a generalised gamma law in some 12,000 directions, has the same trend).
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

Floats = NDArray[np.float64]
Columns = dict[str, NDArray[Any]]

SPECTRUM_ERRORS = {"teff": 22.6, "logg": 0.05, "feh": 0.03, "alpha_fe": 0.02}
"""K and dex, at S/N > 50."""
RV_ERROR = 3.0
BLUNDERS, REPEATS = 0.003, 0.10
_REFERENCE_SNR = 81.0
_FIBRE = 0.3 / 3600.0  # deg

# Uniform numbers that a spectrum of the simple survey, all measurements of a star in it, and a
# visit of the LAMOST-like survey need, and the standard normal ones that Gaia needs of a star.
N_SPECTRUM, N_VISIT, N_LAMOST, N_GAIA = 4, 15, 9, 15

PROBABILITIES = (0.158655253931457, 0.5, 0.841344746068543)
_NODES = 257
_DEPTH = 16.0  # in ln p below the mode, where the integral is cut

_AXES = ("ra", "dec", "parallax", "pmra", "pmdec")
_RELATIVE = (0.80, 0.70, 1.0, 1.03, 0.89)
_PHASES = (0.0, 1.1, 2.3, 3.7, 5.2)
_PHOTOMETRY = {"g": (0.003, 0.0), "bp": (0.005, 0.02), "rp": (0.004, 0.02)}


def _spectrum(
    true: Columns, seen: Columns, worse: Floats, noise: Floats, amplify: Floats | float = 1.0
) -> None:
    """Measure into `seen`: errors of high S/N times `worse`; noise is `amplify` times that."""
    for (name, error), e in zip(SPECTRUM_ERRORS.items(), noise, strict=True):
        seen[f"{name}_error"] = error * worse
        seen[name] = true[name] + amplify * seen[f"{name}_error"] * e


def observe(true: Columns, u: Floats) -> Columns:
    """Measure everything in the simple survey from N_VISIT uniform numbers each."""
    e = iter(ndtri(u[N_SPECTRUM:]))
    seen: Columns = {}
    snr_g = 110.0 * np.exp(0.5 * next(e)) * 10 ** (-0.06 * (true["g"] - 14.0))
    seen["snr_g"] = np.clip(snr_g, 10.0, 900.0)
    seen["snr_r"], seen["snr_i"] = 1.35 * seen["snr_g"], 1.25 * seen["snr_g"]
    worse = np.maximum(50.0 / seen["snr_g"], 1.0)
    _spectrum(true, seen, worse, ndtri(u[:N_SPECTRUM]))
    seen["radial_velocity_error"] = RV_ERROR * worse
    seen["radial_velocity"] = true["rv"] + seen["radial_velocity_error"] * next(e)

    # Gaia eDR3: astrometric errors flat to G = 15, then growing (Lindegren et al. 2021).
    faint = 10 ** (0.2 * np.maximum(true["g"] - 15.0, 0.0))
    for name, error in {"parallax": 0.02, "pmra": 0.02, "pmdec": 0.018}.items():
        seen[f"{name}_error"] = error * faint
    rho = 0.7 * ndtr(next(e)) - 0.35
    e1, e2 = next(e), next(e)
    seen["pmra_pmdec_corr"] = rho
    seen["pmra"] = true["pmra"] + seen["pmra_error"] * e1
    seen["pmdec"] = true["pmdec"] + seen["pmdec_error"] * (rho * e1 + np.sqrt(1 - rho**2) * e2)
    seen["parallax"] = 1.0 / true["distance"] + seen["parallax_error"] * next(e)
    seen["ra"], seen["dec"] = true["ra"], true["dec"]
    seen["ra_error"] = seen["dec_error"] = 0.015 * faint

    # A Bailer-Jones-like distance: log-normal about the truth, upper error the larger.
    spread = np.minimum(seen["parallax_error"] * true["distance"], 0.25)
    seen["distance"] = true["distance"] * np.exp(spread * next(e))
    seen["distance_lo"] = seen["distance"] * np.exp(-spread)
    seen["distance_hi"] = seen["distance"] * np.exp(spread)

    seen["a_v"] = true["a_v"] * np.clip(1.0 + 0.05 * next(e), 0.5, 1.5)
    seen["a_v_error"] = 0.05 * true["a_v"]
    for band, error in {"g": 0.003, "bp": 0.005, "rp": 0.004}.items():
        name = f"phot_{band}_mean_mag"
        seen[f"{name}_error"] = np.full(len(true[band]), error)
        seen[name] = true[band] + error * next(e)
    return seen


def observe_again(true: Columns, seen: Columns, u: Floats) -> Columns:
    """A second spectrum of lower S/N, with its own noise; Gaia's measurements are the same."""
    seen = dict(seen)
    for band in ("g", "r", "i"):
        seen[f"snr_{band}"] = 0.6 * seen[f"snr_{band}"]
    worse = 1.5 * seen["teff_error"] / SPECTRUM_ERRORS["teff"]
    _spectrum(true, seen, worse, ndtri(u[:N_SPECTRUM]))
    return seen


def spectrum_error_factor(snr: Floats) -> Floats:
    """Return what multiplies the quoted errors at an S/N."""
    return np.sqrt(0.5 + 0.5 * (_REFERENCE_SNR / snr) ** 2)


def take_spectrum(true: Columns, u: Floats) -> Columns:
    """Return a spectrum's canonical columns, ``blunder`` and the fibre's offset (deg).

    `true`: ``teff logg feh alpha_fe``, ``rv`` km/s, ``sdss_g`` and ``bp rp`` mag; `u`: uniform
    numbers (N_LAMOST, n) of this visit.
    """
    e = ndtri(u[:8])
    mid = 10.0 ** (1.98 - 0.17 * (true["sdss_g"] - 13.5) + 0.25 * e[0])
    seen: Columns = {}
    seen["snr_g"] = np.minimum(np.sqrt(mid**2 + 10.0**2), 1000.0)
    colour = np.clip(true["bp"] - true["rp"], 0.0, 2.5)
    seen["snr_r"] = (1.0 + 0.55 * colour) * seen["snr_g"]
    seen["snr_i"] = (1.0 + 0.50 * colour) * seen["snr_g"]
    worse = spectrum_error_factor(seen["snr_g"])
    blunder = u[8] < BLUNDERS
    amplify = np.where(blunder, 10.0, 1.0)
    _spectrum(true, seen, worse, e[1:5], amplify)
    seen["radial_velocity_error"] = RV_ERROR * worse
    seen["radial_velocity"] = true["rv"] + seen["radial_velocity_error"] * e[5]
    return seen | {"blunder": blunder, "fibre_ra": _FIBRE * e[6], "fibre_dec": _FIBRE * e[7]}


def parallax_error(g: Floats) -> Floats:
    """Return the typical standard error of a parallax, mas, at a G magnitude."""
    z = 10.0 ** (0.4 * (np.maximum(g, 13.0) - 15.0))
    return 1e-3 * np.sqrt(40.0 + z * (800.0 + 30.0 * z))


def see_with_gaia(true: Columns, e: Floats) -> Columns:
    """Return the canonical columns of astrometry and photometry.

    `true`: ``ra dec`` deg, ``distance`` kpc, ``pmra pmdec`` mas/yr, ``g bp rp`` mag; `e`: standard
    normal numbers (N_GAIA, n).
    """
    seen: Columns = {}
    typical = parallax_error(true["g"]) * np.exp(0.15 * e[0])
    sky = np.radians(true["ra"] + true["dec"])
    load = [
        np.clip(0.6 * np.sin(2.0 * sky + phase) + 0.15 * noise, -0.8, 0.8)
        for phase, noise in zip(_PHASES, e[2:7], strict=True)
    ]
    values = {**true, "parallax": 1.0 / true["distance"]}
    in_deg = {"ra": np.cos(np.radians(true["dec"])) * 3.6e6, "dec": 3.6e6}  # mas
    for k, axis in enumerate(_AXES):
        error = _RELATIVE[k] * typical
        noise = load[k] * e[1] + np.sqrt(1.0 - load[k] ** 2) * e[7 + k]
        seen[axis] = values[axis] + error * noise / in_deg.get(axis, 1.0)
        seen[f"{axis}_error"] = error
    for i, first in enumerate(_AXES):
        for j in range(i + 1, len(_AXES)):
            seen[f"{first}_{_AXES[j]}_corr"] = load[i] * load[j]
    faint = 10.0 ** (0.4 * (true["g"] - 19.0))
    for k, (band, (floor, photons)) in enumerate(_PHOTOMETRY.items()):
        error = np.hypot(floor, photons * faint)
        seen[f"phot_{band}_mean_mag"] = true[band] + error * e[12 + k]
        seen[f"phot_{band}_mean_mag_error"] = error
    seen["ra"] %= 360.0
    return seen


def prior_length(b: Floats) -> Floats:
    """Return the prior's length L (kpc) at a Galactic latitude (deg)."""
    return 0.4 + 0.6 * np.cos(np.radians(b)) ** 2


@numba.njit(cache=True, nogil=True)
def _log_density(d, parallax, error, length):
    miss = (parallax - 1.0 / d) / error
    return 2.0 * np.log(d) - d / length - 0.5 * miss * miss


@numba.njit(cache=True, nogil=True)
def _mode(parallax, error, length):
    """Largest density and its distance, of a coarse scan, since there may be two maxima."""
    best, where = -np.inf, 2.0 * length
    low, high = np.log(1e-3), np.log(60.0 * length)
    for k in range(129):
        d = np.exp(low + (high - low) * k / 128)
        value = _log_density(d, parallax, error, length)
        if value > best:
            best, where = value, d
    if parallax > 0:
        value = _log_density(1.0 / parallax, parallax, error, length)
        if value > best:
            best, where = value, 1.0 / parallax
    return best, where


@numba.njit(cache=True, nogil=True)
def _edge(start, factor, level, parallax, error, length):
    """Walk outwards from the mode, in growing strides, until the density is below `level`."""
    d, stride = start, factor
    for _ in range(200):
        d *= stride
        if _log_density(d, parallax, error, length) < level:
            break
        stride = stride**1.3
    return d


@numba.njit(cache=True, nogil=True)
def _fill(parallax, error, length, probabilities, out):
    density = np.empty(_NODES)
    total = np.empty(_NODES)
    for i in range(parallax.size):
        w, s, scale = parallax[i], error[i], length[i]
        best, where = _mode(w, s, scale)
        first = min(0.02, 0.5 * s * where)  # of the relative width
        low = np.log(_edge(where, 1.0 / (1.0 + first), best - _DEPTH, w, s, scale))
        high = np.log(_edge(where, 1.0 + first, best - _DEPTH, w, s, scale))
        step = (high - low) / (_NODES - 1)
        total[0] = 0.0
        for k in range(_NODES):
            x = low + step * k
            density[k] = np.exp(_log_density(np.exp(x), w, s, scale) - best + x)
            if k:
                total[k] = total[k - 1] + 0.5 * (density[k] + density[k - 1])
        k = 1
        for j in range(len(probabilities)):
            target = probabilities[j] * total[_NODES - 1]
            while total[k] < target and k < _NODES - 1:
                k += 1
            # The density is straight between nodes: solve for the area.
            a, b, need = density[k - 1], density[k] - density[k - 1], target - total[k - 1]
            t = 2.0 * need / (a + np.sqrt(max(a * a + 2.0 * b * need, 0.0)) + 1e-300)
            out[i, j] = np.exp(low + step * (k - 1 + t))


def distance_quantiles(parallax: Floats, error: Floats, length: Floats) -> Floats:
    """Return the posterior's 16th, 50th and 84th percentile (n, 3), kpc.

    `parallax` and `error` (n) in mas, the prior's `length` (n) in kpc.
    """
    out = np.empty((len(parallax), 3))
    columns = (np.ascontiguousarray(v, dtype=np.float64) for v in (parallax, error, length))
    _fill(*columns, np.array(PROBABILITIES), out)
    return out
