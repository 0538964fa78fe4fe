"""M67: an old open cluster of solar composition whose age is known to half a gigayear.

Literature: 3.6-4.2 Gyr (e.g. Bellini et al. 2010; Barnes et al. 2016; Dungee et al. 2022). The
members have APOGEE DR17 parameters; 90 also have those of DD-Payne from LAMOST, the catalogue of
Vickers, Shen & Li (2021), who found 7.0 Gyr for the cluster: `load_m67_ddpayne` has these.

All stars stand at the cluster's distance modulus, 9.65, behind E(B−V) = 0.04, so that

    M_G = G − 9.65 − A_G,   A_G from the Gaia law at A0 = 3.1 · 0.04 mag and the star's colour.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from migrate_bayes.catalog.extinction import R_V
from migrate_bayes.catalog.gaia_extinction import deredden
from migrate_bayes.checks.ages.sample import Sample, observed_catalog, read_table

__all__ = [
    "COLOUR_EXCESS",
    "DISTANCE_MODULUS",
    "LITERATURE",
    "load_m67",
    "load_m67_ddpayne",
    "turnoff",
]

#: Gyr: the range of the literature.
LITERATURE = (3.6, 4.2)
DISTANCE_MODULUS = 9.65  # mag
COLOUR_EXCESS = 0.04  # mag, E(B−V)

# APOGEE dwarfs and subgiants: external comparisons of DR16/17 with photometric temperatures
# (60-100 K) and asteroseismic gravities (0.08 dex); [Fe/H] repeats to 0.01-0.02 dex and has a zero
# point good to 0.03.
_TEFF_ERROR, _LOGG_ERROR, _FEH_ERROR = 80.0, 0.08, 0.03
# DD-Payne at S/N > 50, as Vickers, Shen & Li (2021) quote it.
_DDPAYNE = {"teff": 22.6, "logg": 0.05, "feh": 0.03, "alpha_fe": 0.02}
# Distance modulus ± 0.03, E(B−V) ± 0.01 (0.026 in A_G), zero point and depth of the cluster.
_ABS_G_ERROR, _BP_RP_ERROR = 0.05, 0.02
_MAX_RUWE = 1.4  # of a single star's astrometric fit (Lindegren et al. 2021)
_NEEDED = (
    "APOGEE_ID", "TEFF", "LOGG", "FE_H", "G_MAG", "BP_MAG", "RP_MAG", "ruwe", "memprob", "binary",
    "teff_payne", "logg_payne", "feh_payne", "mgh_payne", "sih_payne", "cah_payne", "tih_payne",
)  # fmt: skip


def load_m67(path: str) -> Sample:
    """Read the members, with APOGEE parameters.

    Parameters
    ----------
    path : str
        The table of members with APOGEE DR17 and Gaia EDR3 columns.

    Raises
    ------
    CatalogError
        Where the table cannot be read or lacks a column.
    """
    table = _members(path)
    columns = {
        "teff": table.TEFF, "teff_error": _TEFF_ERROR,
        "logg": table.LOGG, "logg_error": _LOGG_ERROR,
        "feh": table.FE_H, "feh_error": _FEH_ERROR,
        **_photometry(table, table.TEFF),
    }  # fmt: skip
    return _sample(
        "M67",
        table,
        columns,
        "APOGEE DR17 T_eff ± 80 K, log g ± 0.08, [Fe/H] ± 0.03, no [α/Fe] in the table: 0; "
        "(m−M)₀ = 9.65 ± 0.03, E(B−V) = 0.04 ± 0.01",
    )


def load_m67_ddpayne(path: str) -> Sample:
    """Read the members that LAMOST saw, with DD-Payne parameters: the paper's own stars.

    [α/Fe] is the median of Mg, Si, Ca and Ti over Fe: the median, since Ti alone scatters by 0.26
    dex in these stars.

    Raises
    ------
    CatalogError
        Where the table cannot be read or lacks a column.
    """
    table = _members(path)
    table = table[np.isfinite(table.teff_payne)].reset_index(drop=True)
    elements = table[["mgh_payne", "sih_payne", "cah_payne", "tih_payne"]]
    columns = {
        "teff": table.teff_payne,
        "logg": table.logg_payne,
        "feh": table.feh_payne,
        "alpha_fe": elements.median(axis=1) - table.feh_payne,
        **{f"{name}_error": error for name, error in _DDPAYNE.items()},
        **_photometry(table, table.teff_payne),
    }
    return _sample(
        "M67 (DD-Payne)",
        table,
        columns,
        "LAMOST DD-Payne T_eff ± 22.6 K, log g ± 0.05, [Fe/H] ± 0.03, [α/Fe] ± 0.02; photometry "
        "and distance as for APOGEE",
    )


def turnoff(catalog: xr.Dataset, ages: xr.Dataset) -> NDArray[np.bool_]:
    """Select turn-off stars and subgiants with good ages, by data alone.

    T_eff > 5250 K, 3.4 < log g < 4.2, age error (half the 0.61 interval) below 25%.
    """
    teff, logg = catalog["teff"].values, catalog["logg"].values
    with np.errstate(invalid="ignore"):
        chosen = (teff > 5250.0) & (logg > 3.4) & (logg < 4.2)
        return chosen & (ages["age_error"].values < 0.25)


def _members(path: str) -> pd.DataFrame:
    table = read_table(path, _NEEDED)
    return table[table.memprob > 0.7].reset_index(drop=True)


def _photometry(table: pd.DataFrame, teff: ArrayLike) -> dict[str, ArrayLike]:
    colour = (table.BP_MAG - table.RP_MAG).to_numpy(dtype=np.float64)
    modulus = (table.G_MAG - DISTANCE_MODULUS).to_numpy(dtype=np.float64)
    a_g, reddening = deredden(
        np.full(len(table), R_V * COLOUR_EXCESS),
        bp_rp_observed=colour,
        teff=np.asarray(teff, dtype=np.float64),
        abs_g_reddened=modulus,
    )
    return {
        "abs_g": modulus - a_g,
        "abs_g_error": _ABS_G_ERROR,
        "bp_rp": colour - reddening,
        "bp_rp_error": _BP_RP_ERROR,
    }


def _sample(name: str, table: pd.DataFrame, columns: dict[str, ArrayLike], note: str) -> Sample:
    n = len(table)
    return Sample(
        name=name,
        catalog=observed_catalog(columns, identifier=table.APOGEE_ID.to_numpy(dtype=str)),
        reference=np.full(n, np.mean(LITERATURE)),
        reference_error=np.full(n, 0.5 * (LITERATURE[1] - LITERATURE[0])),
        reference_name="literature 3.6-4.2 Gyr",
        note=note,
        # Photometric and spectroscopic binaries, and astrometry that two stars disturb.
        extra={"single": ~table.binary.to_numpy(dtype=bool) & (table.ruwe.to_numpy() < _MAX_RUWE)},
    )
