r"""LAMOST-like spectra: S/N by magnitude, DD-Payne-like errors that grow at low S/N, repeats.

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
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

__all__ = ["BLUNDERS", "N_LAMOST", "REPEATS", "spectrum_error_factor", "take_spectrum"]

Floats = NDArray[np.float64]
Columns = dict[str, NDArray[Any]]

ERRORS = {"teff": 22.6, "logg": 0.05, "feh": 0.03, "alpha_fe": 0.02}
RV_ERROR = 3.0
BLUNDERS = 0.003
REPEATS = 0.10
N_LAMOST = 9
"""Uniform numbers that a visit needs."""
_REFERENCE_SNR = 81.0
_FIBRE = 0.3 / 3600.0  # deg


def spectrum_error_factor(snr: Floats) -> Floats:
    """Return what multiplies the quoted errors at an S/N."""
    return np.sqrt(0.5 + 0.5 * (_REFERENCE_SNR / snr) ** 2)


def take_spectrum(true: Columns, u: Floats) -> Columns:
    """Observe.

    Parameters
    ----------
    true : dict
        ``teff logg feh alpha_fe``, ``rv`` km/s, ``sdss_g`` and ``bp rp`` mag.
    u : ndarray, shape (N_LAMOST, n)
        Uniform numbers of this visit.

    Returns
    -------
    dict
        Canonical columns, and ``blunder`` (bool).
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
    for noise, (name, error) in zip(e[1:5], ERRORS.items(), strict=True):
        seen[f"{name}_error"] = error * worse
        seen[name] = true[name] + amplify * seen[f"{name}_error"] * noise
    seen["radial_velocity_error"] = RV_ERROR * worse
    seen["radial_velocity"] = true["rv"] + seen["radial_velocity_error"] * e[5]
    return seen | {"blunder": blunder, "fibre_ra": _FIBRE * e[6], "fibre_dec": _FIBRE * e[7]}
