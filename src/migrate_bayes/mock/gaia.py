r"""Gaia eDR3-like astrometry and photometry: errors by magnitude, all ten correlations.

Parallax errors are those of the mission's performance model for (e)DR3
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
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["N_GAIA", "parallax_error", "see_with_gaia"]

Floats = NDArray[np.float64]
Columns = dict[str, NDArray[Any]]

N_GAIA = 15
"""Standard normal numbers that a star needs."""

_AXES = ("ra", "dec", "parallax", "pmra", "pmdec")
_RELATIVE = (0.80, 0.70, 1.0, 1.03, 0.89)
_PHASES = (0.0, 1.1, 2.3, 3.7, 5.2)
_PHOTOMETRY = {"g": (0.003, 0.0), "bp": (0.005, 0.02), "rp": (0.004, 0.02)}


def parallax_error(g: Floats) -> Floats:
    """Return the typical standard error of a parallax, mas, at a G magnitude."""
    z = 10.0 ** (0.4 * (np.maximum(g, 13.0) - 15.0))
    return 1e-3 * np.sqrt(40.0 + z * (800.0 + 30.0 * z))


def see_with_gaia(true: Columns, e: Floats) -> Columns:
    """Measure.

    Parameters
    ----------
    true : dict
        ``ra dec`` deg, ``distance`` kpc, ``pmra pmdec`` mas/yr, ``g bp rp`` mag.
    e : ndarray, shape (N_GAIA, n)
        Standard normal numbers.

    Returns
    -------
    dict
        Canonical columns.
    """
    seen: Columns = {}
    typical = parallax_error(true["g"]) * np.exp(0.15 * e[0])
    sky = np.radians(true["ra"] + true["dec"])
    shared = e[1]
    load = [
        np.clip(0.6 * np.sin(2.0 * sky + phase) + 0.15 * noise, -0.8, 0.8)
        for phase, noise in zip(_PHASES, e[2:7], strict=True)
    ]
    values = {**true, "parallax": 1.0 / true["distance"]}
    in_deg = {"ra": np.cos(np.radians(true["dec"])) * 3.6e6, "dec": 3.6e6}  # mas
    for k, axis in enumerate(_AXES):
        error = _RELATIVE[k] * typical
        noise = load[k] * shared + np.sqrt(1.0 - load[k] ** 2) * e[7 + k]
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
