"""The Sun as a star: T_eff 5772 K, log g 4.438, [Fe/H] = [α/Fe] = 0, M_G 4.67, BP−RP 0.82.

T_eff and log g are the IAU 2015 nominal values, M_G and BP−RP those of Casagrande & VandenBerg
(2018); its age is 4.57 Gyr (Bahcall et al. 1995). The errors are LAMOST's at S/N > 50 with M_G ±
0.1, so that the interval is that of a survey star; the age must be within it, whatever the family.
"""

from __future__ import annotations

import xarray as xr

from migrate_bayes.checks.ages.sample import observed_catalog

__all__ = ["SOLAR_AGE", "sun_catalog"]

#: Gyr, since the Sun formed.
SOLAR_AGE = 4.57


def sun_catalog() -> xr.Dataset:
    """Return a catalogue of one star: the Sun."""
    return observed_catalog({
        "teff": 5772.0, "teff_error": 22.6,
        "logg": 4.438, "logg_error": 0.05,
        "feh": 0.0, "feh_error": 0.03,
        "alpha_fe": 0.0, "alpha_fe_error": 0.02,
        "abs_g": 4.67, "abs_g_error": 0.1,
        "bp_rp": 0.82, "bp_rp_error": 0.02,
    })  # fmt: skip
