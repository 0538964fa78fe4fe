r"""What stars are by what a survey sees: giants, in the red clump, hardly evolved.

**Clump.** The giant branch is a line in the Kiel diagram whose temperature hardly depends on age,

.. math:: T_\mathrm{RGB} = 4640\,\mathrm{K} + 466\,(\log g - 2.5) - 346\,\phi

with φ the [Fe/H] of equal total metallicity: the fit to 1,752 giant-branch stars of APOKASC-2
(Pinsonneault et al. 2018, ApJS 239, 32); MIST and Dartmouth have 4644 + 445 (log g − 2.5) − 408 φ
and 4602 + 459 (log g − 2.5) − 476 φ. A clump star is 50 to 300 K hotter. As in the published
selections (Bovy et al. 2014, ApJ 790, 127) the region's upper limit in log g rises with the
temperature: hot clump stars are the massive ones. The limits of `in_clump_region` are those that
leave 3% of APOKASC-2's clump stars out at the least loss of its giant branch (8%).

**Zero-age main sequence.** Above 6000 K LAMOST's log g of stars on the zero-age main sequence (M35,
M34, NGC 2548, Stock 2: 0.13-0.4 Gyr) is lower than it can be,

.. math:: \log g_\mathrm{ZAMS} = 4.30 + 0.19\,\max(0, 7 - T/1000\,\mathrm{K}) - 0.2\,[\mathrm{Fe/H}]

by 0.15 at 6250 K, 0.20 at 6750, 0.28 at 7500 and 0.36 dex at 8500 K. Such a star is taken for one
half through its life on the main sequence, with a small error, whichever its age.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from migrate_bayes.isochrones.grid import salaris

#: A giant has a lower log g and T_eff than these: it is cooler than the gap of subgiants.
GIANT_LOGG, GIANT_TEFF = 3.5, 5600.0
_GIANT_BP_RP = 0.8  # mag, of GIANT_TEFF
_BRANCH_TEFF, _PER_LOGG, _PER_PHI = 4640.0, 466.0, -346.0  # K, K/dex, K/dex: see the text
# The clump: log g from, and up to at the branch's temperature, dex; dex/K; K above the branch.
_CLUMP_LOGG, _CLUMP_TOP, _CLUMP_SLOPE, _CLUMP_EXCESS = 2.3, 2.4, 0.002, 80.0
_CLUMP_TYPICAL = 190.0  # K above the branch: for a star of unknown temperature
#: M_G of log g 2.45, and the error of log g from M_G: masses of 0.9 to 2 of the Sun's.
_CLUMP_ABS_G, _ABS_G_ERROR = 0.5, 0.15
# The zero-age main sequence above _HOT (K), and how far below it surveys put its stars, dex.
_HOT, _ZAMS_LOGG, _ZAMS_PER_KK, _ZAMS_PER_FEH = 6000.0, 4.30, 0.19, -0.2
_SCALE, _SCALE_PER_KK = 0.20, 0.10


class Seen(NamedTuple):
    """Observed values and errors, each of shape (star, 2); a value that is missing is NaN."""

    teff: NDArray[np.float64]  # K
    logg: NDArray[np.float64]
    abs_g: NDArray[np.float64]  # mag
    bp_rp: NDArray[np.float64]  # mag
    feh: NDArray[np.float64]
    alpha_fe: NDArray[np.float64]

    @property
    def gravity(self) -> NDArray[np.float64]:
        """Gravity log g and its error; from M_G where log g is missing, as of a star at 4800 K."""
        magnitude, error = self.abs_g.T
        other = [2.45 + 0.4 * (magnitude - _CLUMP_ABS_G), np.hypot(0.4 * error, _ABS_G_ERROR)]
        return np.where(np.isfinite(self.logg[:, :1]), self.logg, np.stack(other, axis=1))


def is_giant(seen: Seen) -> NDArray[np.bool_]:
    """Return which stars are on the giant branch or in the clump, by observed values."""
    teff, bp_rp = seen.teff[:, 0], seen.bp_rp[:, 0]
    cool = np.where(np.isfinite(teff), teff < GIANT_TEFF, bp_rp > _GIANT_BP_RP)
    return cool & (seen.gravity[:, 0] < GIANT_LOGG)


def in_clump_region(seen: Seen) -> NDArray[np.bool_]:
    """Return which stars may be in the red clump, within one of their errors."""
    (logg, logg_error), (teff, teff_error) = seen.gravity.T, seen.teff.T
    feh, feh_error = seen.feh.T
    with np.errstate(over="ignore"):  # an absurd [α/Fe]
        phi = feh + np.nan_to_num(salaris(seen.alpha_fe[:, 0]))
    excess = teff - (_BRANCH_TEFF + _PER_LOGG * (logg - 2.5) + _PER_PHI * phi)
    unknown = np.isnan(excess)
    excess = np.where(unknown, _CLUMP_TYPICAL, excess)
    error = np.where(unknown, 0.0, np.hypot(teff_error, _PER_PHI * feh_error))
    top = _CLUMP_TOP + _CLUMP_SLOPE * excess
    inside = (logg + logg_error > _CLUMP_LOGG) & (logg - logg_error < top)
    return is_giant(seen) & inside & (excess + error > _CLUMP_EXCESS)


def near_zams(seen: Seen) -> NDArray[np.bool_]:
    """Return hot stars whose log g a survey may give to one on the zero-age main sequence.

    Within the scale's error of the module's text and one of their own.
    """
    (teff, _), (logg, error), feh = seen.teff.T, seen.logg.T, seen.feh[:, 0]
    hotter = 1e-3 * (teff - _HOT)
    zams = _ZAMS_LOGG + _ZAMS_PER_KK * np.maximum(1.0 - hotter, 0.0) + _ZAMS_PER_FEH * feh
    return (hotter > 0.0) & (logg + error > zams - _SCALE - _SCALE_PER_KK * hotter)
