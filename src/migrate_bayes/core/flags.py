"""Why a star is, or is not, used: one bit per reason.

Stages set bits and keep the row. Bits in `FATAL_AGE` mean that the star has no age posterior,
those in `FATAL_ORBIT` that it has no guiding radius; the other bits inform, or are set by a
switchable cut.
"""

from __future__ import annotations

from enum import IntFlag

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray


class StarFlag(IntFlag):
    """Reasons, as bits of the `flag` variable (int32)."""

    MISSING_PARAMETERS = 1 << 0
    MISSING_ASTROMETRY = 1 << 1
    MISSING_RADIAL_VELOCITY = 1 << 2
    BAD_DISTANCE = 1 << 3
    BAD_ERROR = 1 << 4
    BAD_COVARIANCE = 1 << 5
    MISSING_PHOTOMETRY = 1 << 6
    DUPLICATE = 1 << 7
    LOW_SNR = 1 << 8
    OFF_GRID = 1 << 9
    POOR_FIT = 1 << 10
    EDGE_YOUNG = 1 << 11
    EDGE_OLD = 1 << 12
    POOR_AGE = 1 << 13
    UNBOUND = 1 << 14
    RETROGRADE = 1 << 15
    NEAR_CENTRE = 1 << 16
    ZMAX_FAILED = 1 << 17
    MISSING_AGE = 1 << 18
    UNKNOWN_KINEMATIC_ERROR = 1 << 19


FLAG_MEANING: dict[StarFlag, str] = {
    StarFlag.MISSING_PARAMETERS: "T_eff, log g or [Fe/H] missing: no isochrone age",
    StarFlag.MISSING_ASTROMETRY: "position or proper motion missing: no orbit",
    StarFlag.MISSING_RADIAL_VELOCITY: "radial velocity missing: no orbit",
    StarFlag.BAD_DISTANCE: "no positive distance (or parallax/error below 10): no orbit",
    StarFlag.BAD_ERROR: "an error is missing, zero, negative or infinite",
    StarFlag.BAD_COVARIANCE: "astrometric covariance not positive definite: correlations ignored",
    StarFlag.MISSING_PHOTOMETRY: "no absolute magnitude: age from the spectrum alone",
    StarFlag.DUPLICATE: "repeat observation; the one of highest S/N is kept",
    StarFlag.LOW_SNR: "S/N below the cut in some band",
    StarFlag.OFF_GRID: "no isochrone within the window: no age",
    StarFlag.POOR_FIT: "best isochrone point has an improbable chi-square",
    StarFlag.EDGE_YOUNG: "age likelihood piles up at the youngest isochrone",
    StarFlag.EDGE_OLD: "age likelihood piles up at the oldest isochrone",
    StarFlag.POOR_AGE: "relative age error above the cut",
    StarFlag.UNBOUND: "energy above the escape energy in some potential",
    StarFlag.RETROGRADE: "angular momentum zero or negative: guiding radius of |L_z|",
    StarFlag.NEAR_CENTRE: "orbit or star within 0.1 kpc of the Galactic centre",
    StarFlag.ZMAX_FAILED: "Z_max could not be computed to tolerance",
    StarFlag.MISSING_AGE: "no external age in the catalogue",
    StarFlag.UNKNOWN_KINEMATIC_ERROR: "an astrometric or velocity error is missing: taken as 0",
}

FATAL_AGE = (
    StarFlag.MISSING_PARAMETERS | StarFlag.OFF_GRID | StarFlag.MISSING_AGE | StarFlag.BAD_ERROR
)
FATAL_ORBIT = (
    StarFlag.MISSING_ASTROMETRY
    | StarFlag.MISSING_RADIAL_VELOCITY
    | StarFlag.BAD_DISTANCE
    | StarFlag.UNBOUND
)


def add_flag(flag: NDArray[np.int32], where: ArrayLike, reason: StarFlag) -> None:
    """Set a reason's bit, in place, for the stars in a boolean mask."""
    flag[np.asarray(where, dtype=bool)] |= np.int32(reason)


def count_flags(flag: ArrayLike | xr.DataArray) -> dict[StarFlag, int]:
    """Count the stars that carry each reason, in bit order, leaving out reasons of no star."""
    bits = np.asarray(flag)
    counts = {reason: int(np.count_nonzero(bits & np.int32(reason))) for reason in StarFlag}
    return {reason: n for reason, n in counts.items() if n}
