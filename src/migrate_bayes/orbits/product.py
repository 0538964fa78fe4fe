"""Names, units and meanings of the orbit stage's variables."""

from __future__ import annotations

__all__ = ["MOMENTS", "build_dataset"]

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.orbits.sweep import Variant

MOMENTS = (
    ("x", "kpc", "Galactocentric x, towards the centre from the Sun in a right-handed frame"),
    ("y", "kpc", "Galactocentric y, along rotation at the Sun"),
    ("z", "kpc", "height above the plane"),
    ("v_r", "km/s", "cylindrical radial velocity, outwards"),
    ("v_phi", "km/s", "azimuthal velocity, positive for the disc"),
    ("v_z", "km/s", "vertical velocity"),
    ("r_present", "kpc", "present cylindrical radius"),
    ("distance", "kpc", "distance from the Sun"),
)

PER_POTENTIAL = {
    "rg_mean": ("kpc", "guiding radius: mean over draws"),
    "rg_sd": ("kpc", "guiding radius: sd over draws"),
    "rg_nominal": ("kpc", "guiding radius of the mean phase-space point"),
    "zmax": ("kpc", "largest height of the orbit of the mean phase-space point"),
    "zmax_sd": ("kpc", "largest height: sd, of the log-normal that ln Z_max's moments imply"),
    "ln_zmax_mean": ("", "ln(Z_max/kpc): mean over draws"),
    "ln_zmax_sd": ("", "ln(Z_max/kpc): sd over draws"),
    "cov_rg_ln_zmax": ("kpc", "covariance of guiding radius and ln(Z_max/kpc) over draws"),
    "cov_rg_distance": ("kpc2", "covariance of guiding radius and distance over draws"),
    "cov_ln_zmax_distance": ("kpc", "covariance of ln(Z_max/kpc) and distance over draws"),
    "r_peri": ("kpc", "pericentre (spherical) of the mean point's orbit"),
    "r_apo": ("kpc", "apocentre (spherical) of the mean point's orbit"),
    "eccentricity": ("", "(r_apo - r_peri)/(r_apo + r_peri)"),
    "zmax_error": ("", "relative numerical error of zmax"),
    "r_peri_error": ("", "relative numerical error of r_peri"),
    "r_apo_error": ("", "relative numerical error of r_apo"),
    "eccentricity_error": ("", "numerical error of eccentricity"),
}


def build_dataset(
    mean: NDArray[np.float64],
    sd: NDArray[np.float64],
    columns: Mapping[str, NDArray[np.float64]],
    flag: NDArray[np.int32],
    variants: Sequence[Variant],
) -> xr.Dataset:
    """Name the arrays: moments (star, 8) of `MOMENTS`, columns (star, potential), flags (star)."""
    variables: dict[str, Any] = {}
    for m, (name, unit, meaning) in enumerate(MOMENTS):
        for suffix, values, words in (("", mean, "mean over draws"), ("_sd", sd, "sd over draws")):
            # `distance` itself is the catalogue's.
            stem = f"{name}_mean" if name == "distance" and not suffix else name + suffix
            attrs = {"units": unit, "long_name": f"{meaning}: {words}"}
            variables[stem] = ("star", values[:, m], attrs)
    for name, values in columns.items():
        unit, meaning = PER_POTENTIAL[name]
        attrs = {"units": unit, "long_name": meaning}
        variables[name] = (("star", "potential"), values, attrs)
    variables["flag"] = ("star", flag, {"units": "", "long_name": "bits of StarFlag"})
    coords: dict[str, Any] = {
        "potential": [v.label for v in variants],
        "potential_model": ("potential", [v.potential for v in variants]),
        "scaling": ("potential", [v.scaling for v in variants]),
        "r0": ("potential", [v.frame.r0 for v in variants], {"units": "kpc"}),
        "v0": ("potential", [v.frame.v0 for v in variants], {"units": "km/s"}),
    }
    return xr.Dataset(variables, coords=coords)
