"""Why a star is, or is not, used: one bit per reason.

Stages set bits and keep the row. Bits in `FATAL_AGE` mean that the star has no age posterior,
those in `FATAL_ORBIT` that it has no guiding radius; the other bits inform, or are set by a
switchable cut.
"""

from __future__ import annotations

from enum import IntFlag
from typing import Self

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray


class StarFlag(IntFlag):
    """Reasons, as bits of the `flag` variable (int32), each with its `meaning`."""

    meaning: str

    def __new__(cls, bit: int, meaning: str = "") -> Self:
        """Keep what a bit means beside it."""
        flag = int.__new__(cls, bit)
        flag._value_, flag.meaning = bit, meaning
        return flag

    MISSING_PARAMETERS = 1 << 0, "T_eff, log g or [Fe/H] missing: no isochrone age"
    MISSING_ASTROMETRY = 1 << 1, "position or proper motion missing: no orbit"
    MISSING_RADIAL_VELOCITY = 1 << 2, "radial velocity missing: no orbit"
    BAD_DISTANCE = 1 << 3, "no positive distance (or parallax/error below 10): no orbit"
    BAD_ERROR = 1 << 4, "an error is missing, zero, negative or infinite, or a correlation is none"
    BAD_COVARIANCE = 1 << 5, "astrometric covariance not positive definite: correlations ignored"
    MISSING_PHOTOMETRY = 1 << 6, "no absolute magnitude: age from the spectrum alone"
    DUPLICATE = 1 << 7, "repeat observation; the one of highest S/N is kept"
    LOW_SNR = 1 << 8, "S/N below the cut in some band"
    OFF_GRID = 1 << 9, "no isochrone within the window: no age"
    POOR_FIT = 1 << 10, "best isochrone point has an improbable chi-square: parameters in conflict"
    EDGE_YOUNG = 1 << 11, "age likelihood piles up at the youngest isochrone"
    EDGE_OLD = 1 << 12, "age likelihood piles up at the oldest isochrone"
    POOR_AGE = 1 << 13, "relative age error above the cut"
    UNBOUND = 1 << 14, "energy above the escape energy in some potential"
    RETROGRADE = 1 << 15, "angular momentum zero or negative: guiding radius of |L_z|"
    NEAR_CENTRE = 1 << 16, "orbit or star within 0.1 kpc of the Galactic centre"
    ZMAX_FAILED = 1 << 17, "Z_max could not be computed to tolerance"
    MISSING_AGE = 1 << 18, "no external age in the catalogue"
    UNKNOWN_KINEMATIC_ERROR = 1 << 19, "an astrometric or velocity error is missing: taken as 0"
    MISSING_PHASE = (
        1 << 20,
        "giant in a phase that its isochrones lack: red clump or end",
    )
    GIANT_FAMILY = 1 << 21, "giant: age from the isochrones that the recipe names for giants"
    EXCLUDED = 1 << 22, "of a kind that the recipe's isochrones leave out"
    NEAR_ZAMS = 1 << 23, "hot dwarf, unevolved within a survey's error of log g: may be younger"
    ABSURD_RADIUS = 1 << 24, "guiding radius or its error above 100 kpc: its data are wrong"
    SURVEY_FLAG = 1 << 25, "the survey's own flags doubt its parameters"
    NO_ZERO_POINT = 1 << 26, "parallax zero point not known here: parallax as published"
    SKIPPED = 1 << 27, "cut before ages and orbits are computed (skip_cut): it has none"


FLAG_MEANING: dict[StarFlag, str] = {flag: flag.meaning for flag in StarFlag}

#: Reasons that are known of a star before its age and its orbit are.
CUT = StarFlag.DUPLICATE | StarFlag.LOW_SNR | StarFlag.SURVEY_FLAG

FATAL_AGE = (
    StarFlag.MISSING_PARAMETERS | StarFlag.OFF_GRID | StarFlag.MISSING_AGE | StarFlag.BAD_ERROR
    | StarFlag.SKIPPED
)  # fmt: skip
FATAL_ORBIT = (
    StarFlag.MISSING_ASTROMETRY
    | StarFlag.MISSING_RADIAL_VELOCITY
    | StarFlag.BAD_DISTANCE
    | StarFlag.UNBOUND
    | StarFlag.ABSURD_RADIUS
    | StarFlag.SKIPPED
)


def add_flag(flag: NDArray[np.int32], where: ArrayLike, reason: StarFlag) -> None:
    """Set a reason's bit, in place, for the stars in a boolean mask."""
    flag[np.asarray(where, dtype=bool)] |= np.int32(reason)


def are_skipped(stars: xr.Dataset) -> NDArray[np.bool_]:
    """Say which stars of a catalogue are `SKIPPED`."""
    if "flag" not in stars:
        return np.zeros(stars.sizes["star"], dtype=bool)
    return stars["flag"].values & np.int32(StarFlag.SKIPPED) != 0


def count_flags(flag: ArrayLike | xr.DataArray) -> dict[StarFlag, int]:
    """Count the stars that carry each reason, in bit order, leaving out reasons of no star."""
    bits = np.asarray(flag)
    counts = {reason: int(np.count_nonzero(bits & np.int32(reason))) for reason in StarFlag}
    return {reason: n for reason, n in counts.items() if n}
