"""Kepler dwarfs and subgiants with asteroseismic ages (LEGACY and Kages).

Silva Aguirre et al. (2015, MNRAS 452, 2127; 2017, ApJ 835, 173): individual oscillation frequencies
fitted by stellar models, good to 10-15% in age. Of the seismic results the star is given log g,
with a spectroscopist's error of 0.05 dex in place of its own 0.006 dex: what a survey would have.
It is right by construction, so that what is tested is T_eff, [Fe/H], M_G and the isochrones; the
table of choices has the ages without it too.

The parallax is the best there is: Gaia DR2 where the table has it, else TGAS; parallax/error > 10.
A zero point of −0.05 mas (Zinn et al. 2019) would move M_G by 0.02 mag for the typical star: it is
not applied. Extinction is neglected; these stars are within 500 pc, mostly within 150 pc.
"""

from __future__ import annotations

import numpy as np

from migrate_bayes.checks.ages.sample import Sample, observed_catalog, read_table

__all__ = ["load_kepler"]

_LOGG_ERROR = 0.05
_G_ERROR = 0.02  # mag: photometry and neglected extinction
_NEEDED = (
    "KIC", "Teff", "eTeff", "feh", "efeh", "modlogg", "age", "upage", "loage", "G", "bprp",
    "plx_tgas", "e_plx_tgas", "plx_dr2", "e_plx_dr2", "parallax_sd", "parallax_error_sd",
)  # fmt: skip


def load_kepler(path: str, *, min_parallax_over_error: float = 10.0) -> Sample:
    """Read the stars; those without a good parallax keep their row, without M_G.

    Raises
    ------
    CatalogError
        Where the table cannot be read or lacks a column.
    """
    table = read_table(path, _NEEDED)
    parallax, error = np.full(len(table), np.nan), np.full(len(table), np.nan)
    for name, name_error in (
        ("parallax_sd", "parallax_error_sd"),
        ("plx_dr2", "e_plx_dr2"),
        ("plx_tgas", "e_plx_tgas"),
    ):
        take = np.isnan(parallax) & (table[name] / table[name_error] > min_parallax_over_error)
        parallax = np.where(take, table[name], parallax)
        error = np.where(take, table[name_error], error)
    abs_g = table.G.to_numpy() - 10.0 + 5.0 * np.log10(parallax)
    columns = {
        "teff": table.Teff, "teff_error": table.eTeff,
        "logg": table.modlogg, "logg_error": _LOGG_ERROR,
        "feh": table.feh, "feh_error": table.efeh,
        "abs_g": abs_g,
        "abs_g_error": np.hypot(5.0 / np.log(10.0) * error / parallax, _G_ERROR),
        "bp_rp": table.bprp, "bp_rp_error": 0.02,
    }  # fmt: skip
    return Sample(
        name="Kepler dwarfs",
        catalog=observed_catalog(columns, identifier=table.KIC.to_numpy(dtype=np.int64)),
        reference=table.age.to_numpy(dtype=np.float64),
        reference_error=0.5 * (table.upage + table.loage).to_numpy(dtype=np.float64),
        reference_name="asteroseismic",
        note="seismic log g ± 0.05 dex, spectroscopic T_eff and [Fe/H], Gaia DR2 or TGAS parallax "
        f"over error > {min_parallax_over_error:g}, no extinction",
        extra={"usable": np.isfinite(abs_g)},
    )
