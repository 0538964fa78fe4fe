"""HARPS-GTO dwarfs against their StarHorse ages: another code on PARSEC isochrones.

The table is that of Delgado Mena et al. (2017) as compiled by Anders et al. (2018), with StarHorse
(Queiroz et al. 2018) posteriors from much the same data. StarHorse ages have a Galactic prior and
are no truth: the difference shows what family, scale of [Fe/H] and prior do together.
"""

from __future__ import annotations

import warnings

import numpy as np

from migrate_bayes.catalog import correct_extinction, read_catalog
from migrate_bayes.checks.ages.sample import Sample

__all__ = ["load_harps"]


def load_harps(path: str) -> Sample:
    """Read the stars through the column map ``harps-gto``; all are near: no extinction.

    Raises
    ------
    CatalogError
        Where the table cannot be read or lacks a column.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the file's units and column names are not standard FITS
        catalog = correct_extinction(read_catalog(path, columns="harps-gto"), source="none")
    width = 0.5 * (catalog["ref_age84"] - catalog["ref_age16"])
    return Sample(
        name="HARPS dwarfs",
        catalog=catalog,
        reference=catalog["ref_age50"].values,
        reference_error=width.values,
        reference_name="StarHorse",
        note="HARPS T_eff ± 40 K, log g ± 0.08, [Fe/H] ± 0.03, [α/Fe] from Mg, Si, Ti ± 0.03, M_G "
        "from Gaia DR1 or Hipparcos parallaxes",
        extra={"usable": np.isfinite(catalog["abs_g"].values)},
    )
