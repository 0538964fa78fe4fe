"""How a mock survey measures: LAMOST DR5 and DD-Payne, Gaia eDR3, Bailer-Jones et al. (2021).

LAMOST's errors at S/N > 50 are those that Vickers, Shen & Li (2021) quote; below, they grow as
1/(S/N).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

__all__ = ["N_SPECTRUM", "N_VISIT", "observe", "observe_again"]

Columns = dict[str, NDArray[Any]]

_ERRORS = {"teff": 22.6, "logg": 0.05, "feh": 0.03, "alpha_fe": 0.02}
N_SPECTRUM = len(_ERRORS)
"""Uniform numbers that a star's spectrum needs."""
N_VISIT = N_SPECTRUM + 11
"""Uniform numbers that everything measured of a star needs."""


def _spectrum(true: Columns, seen: Columns, worse: NDArray, noise: NDArray) -> None:
    """Measure the spectrum, into `seen`: errors of high S/N times `worse`."""
    for (name, error), e in zip(_ERRORS.items(), noise, strict=True):
        seen[f"{name}_error"] = error * worse
        seen[name] = true[name] + seen[f"{name}_error"] * e


def observe(true: Columns, u: NDArray) -> Columns:
    """Measure: LAMOST-like spectra, Gaia-like astrometry and photometry."""
    e = iter(ndtri(u[N_SPECTRUM:]))
    seen: Columns = {}
    snr_g = 110.0 * np.exp(0.5 * next(e)) * 10 ** (-0.06 * (true["g"] - 14.0))
    seen["snr_g"] = np.clip(snr_g, 10.0, 900.0)
    seen["snr_r"], seen["snr_i"] = 1.35 * seen["snr_g"], 1.25 * seen["snr_g"]
    worse = np.maximum(50.0 / seen["snr_g"], 1.0)
    _spectrum(true, seen, worse, ndtri(u[:N_SPECTRUM]))
    seen["radial_velocity_error"] = 3.0 * worse
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
    seen["a_v_error"] = 0.05 * true["a_v"] + 0.005
    for band, error in {"g": 0.003, "bp": 0.005, "rp": 0.004}.items():
        name = f"phot_{band}_mean_mag"
        seen[f"{name}_error"] = np.full(len(true[band]), error)
        seen[name] = true[band] + error * next(e)
    return seen


def observe_again(true: Columns, seen: Columns, u: NDArray) -> Columns:
    """A second spectrum of lower S/N, with its own noise; Gaia's measurements are the same."""
    seen = dict(seen)
    for band in ("g", "r", "i"):
        seen[f"snr_{band}"] = 0.6 * seen[f"snr_{band}"]
    worse = 1.5 * seen["teff_error"] / _ERRORS["teff"]
    _spectrum(true, seen, worse, ndtri(u[:N_SPECTRUM]))
    return seen
