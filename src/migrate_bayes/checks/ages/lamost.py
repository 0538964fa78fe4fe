"""LAMOST × Gaia stars of one sightline, searched for cluster members.

The table has no errors: those of LAMOST's own pipeline at S/N of 30-50 are assumed (T_eff 50 K, log
g 0.1, [Fe/H] 0.05 dex; Luo et al. 2015), and no [α/Fe].
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from migrate_bayes.checks.ages.sample import observed_catalog, read_table

__all__ = ["load_lamost"]

_NEEDED = (
    "source_id", "ra_gaia", "dec_gaia", "parallax", "parallax_over_error", "pmra", "pmdec",
    "phot_g_mean_mag", "teff", "logg", "feh", "rv",
)  # fmt: skip


def load_lamost(path: str) -> xr.Dataset:
    """Read the stars as a catalogue without absolute magnitudes.

    Raises
    ------
    CatalogError
        Where the table cannot be read or lacks a column.
    """
    table = read_table(path, _NEEDED)
    return observed_catalog(
        {
            "ra": table.ra_gaia, "dec": table.dec_gaia,
            "parallax": table.parallax,
            "parallax_error": np.abs(table.parallax / table.parallax_over_error),
            "pmra": table.pmra, "pmdec": table.pmdec,
            "radial_velocity": table.rv,
            "phot_g_mean_mag": table.phot_g_mean_mag,
            "teff": table.teff, "teff_error": 50.0,
            "logg": table.logg, "logg_error": 0.1,
            "feh": table.feh, "feh_error": 0.05,
        },
        identifier=table.source_id.to_numpy(dtype=np.int64),
    )  # fmt: skip
