"""Stars whose ages are known otherwise: one loader per sample, each from a table to a `Sample`."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from migrate_bayes.catalog import correct_extinction, read_catalog
from migrate_bayes.catalog.columns import attributes
from migrate_bayes.catalog.extinction import R_V
from migrate_bayes.catalog.gaia_extinction import deredden
from migrate_bayes.checks.ages.aims import M67_LITERATURE
from migrate_bayes.core.errors import CatalogError

# M67: distance modulus 9.65 ± 0.03 and E(B−V) 0.04 ± 0.01 (0.026 in A_G), mag; the errors of M_G
# and BP−RP contain them, the zero point and the cluster's depth.
_M67_MODULUS, _M67_COLOUR_EXCESS, _M67_ABS_G_ERROR, _M67_BP_RP_ERROR = 9.65, 0.04, 0.05, 0.02
_MAX_RUWE = 1.4  # of a single star's astrometric fit (Lindegren et al. 2021)
# Column and error. APOGEE dwarfs and subgiants: external comparisons of DR16/17 with photometric
# temperatures (60-100 K) and asteroseismic gravities (0.08 dex); [Fe/H] repeats to 0.01-0.02 dex
# and has a zero point good to 0.03.
_APOGEE = {"teff": ("TEFF", 80.0), "logg": ("LOGG", 0.08), "feh": ("FE_H", 0.03)}
# DD-Payne at S/N > 50, as Vickers, Shen & Li (2021) quote it.
_DDPAYNE = {
    "teff": ("teff_payne", 22.6), "logg": ("logg_payne", 0.05), "feh": ("feh_payne", 0.03),
    "alpha_fe": ("alpha_payne", 0.02),
}  # fmt: skip
_M67_ALPHA = ["mgh_payne", "sih_payne", "cah_payne", "tih_payne"]
_M67_NEEDED = (
    "APOGEE_ID", "TEFF", "LOGG", "FE_H", "G_MAG", "BP_MAG", "RP_MAG", "ruwe", "memprob", "binary",
    "teff_payne", "logg_payne", "feh_payne", *_M67_ALPHA,
)  # fmt: skip
_KEPLER_G_ERROR = 0.02  # mag: photometry and neglected extinction


@dataclass(frozen=True)
class Sample:
    """A catalogue of stars and what is known of their ages; arrays have the shape (star,)."""

    name: str
    catalog: xr.Dataset  # as `estimate_ages` takes it
    reference: NDArray[np.float64]  # the other age, Gyr; NaN without one
    reference_error: NDArray[np.float64]  # 1σ, Gyr
    reference_name: str
    usable: NDArray[np.bool_]  # stars that comparisons count: single, or with a good parallax
    note: str  # what a referee should know of the numbers that went in

    @property
    def compared(self) -> NDArray[np.bool_]:
        """Usable stars that have a reference age."""
        return self.usable & np.isfinite(self.reference)


def observed_catalog(
    columns: Mapping[str, ArrayLike], *, identifier: ArrayLike | None = None
) -> xr.Dataset:
    """Return a catalogue of columns by their canonical names, with units."""
    n = max(np.size(v) for v in columns.values())
    catalog = xr.Dataset({
        name: (
            "star",
            np.broadcast_to(np.asarray(value, dtype=np.float64), (n,)).copy(),
            attributes(name),
        )
        for name, value in columns.items()
    })  # fmt: skip
    if identifier is not None:
        catalog = catalog.assign_coords(source_id=("star", np.asarray(identifier)))
    return catalog


def read_table(path: str, needed: tuple[str, ...], **options: object) -> pd.DataFrame:
    """Read a comma-separated table that has the columns `needed`, else raise `CatalogError`."""
    try:
        table = pd.read_csv(path, **options)  # type: ignore[call-overload]
    except (OSError, ValueError) as error:
        raise CatalogError(f"{path}: cannot be read as a table: {error}") from error
    absent = [name for name in needed if name not in table]
    if absent:
        raise CatalogError(f"{path}: column '{absent[0]}' is absent; it has {list(table)[:12]} …")
    return table


def sun_catalog() -> xr.Dataset:
    """Return a catalogue of one star: the Sun, as LAMOST would see it.

    T_eff and log g are the IAU 2015 nominal values, M_G and BP−RP those of Casagrande & VandenBerg
    (2018). The errors are LAMOST's at S/N > 50 with M_G ± 0.1 mag, so that the interval is that of
    a survey star.
    """
    return observed_catalog({
        "teff": 5772.0, "teff_error": 22.6,
        "logg": 4.438, "logg_error": 0.05,
        "feh": 0.0, "feh_error": 0.03,
        "alpha_fe": 0.0, "alpha_fe_error": 0.02,
        "abs_g": 4.67, "abs_g_error": 0.1,
        "bp_rp": 0.82, "bp_rp_error": 0.02,
    })  # fmt: skip


def load_m67(path: str, *, ddpayne: bool = False) -> Sample:
    """Read the members of M67, an old open cluster of solar composition.

    They have APOGEE DR17 parameters without [α/Fe]; 90 of them have LAMOST DD-Payne parameters too:
    with `ddpayne`, the stars of Vickers, Shen & Li (2021), who found 7.0 Gyr. [α/Fe] is then the
    median of Mg, Si, Ca and Ti over Fe: the median, since Ti alone scatters by 0.26 dex in these
    stars. `usable` are single stars: no photometric or spectroscopic binary, and no astrometry that
    two stars disturb.

    All stars have the cluster's distance modulus and reddening, M_G = G − 9.65 − A_G, with A_G from
    the Gaia law at A0 = 3.1 · 0.04 mag and the star's colour.
    """
    table = read_table(path, _M67_NEEDED)
    table["alpha_payne"] = table[_M67_ALPHA].median(axis=1) - table.feh_payne
    chosen = (table.memprob > 0.7) & (np.isfinite(table.teff_payne) | (not ddpayne))
    table = table[chosen].reset_index(drop=True)
    columns: dict[str, ArrayLike] = {}
    for name, (column, error) in (_DDPAYNE if ddpayne else _APOGEE).items():
        columns |= {name: table[column], f"{name}_error": error}
    colour = (table.BP_MAG - table.RP_MAG).to_numpy(dtype=np.float64)
    modulus = (table.G_MAG - _M67_MODULUS).to_numpy(dtype=np.float64)
    n = len(table)
    a_g, reddening = deredden(
        np.full(n, R_V * _M67_COLOUR_EXCESS),
        bp_rp_observed=colour,
        teff=np.asarray(columns["teff"], dtype=np.float64),
        abs_g_reddened=modulus,
    )
    columns |= {"abs_g": modulus - a_g, "abs_g_error": _M67_ABS_G_ERROR}
    columns |= {"bp_rp": colour - reddening, "bp_rp_error": _M67_BP_RP_ERROR}
    low, high = M67_LITERATURE
    return Sample(
        name="M67 (DD-Payne)" if ddpayne else "M67",
        catalog=observed_catalog(columns, identifier=table.APOGEE_ID.to_numpy(dtype=str)),
        reference=np.full(n, np.mean(M67_LITERATURE)),
        reference_error=np.full(n, 0.5 * (high - low)),
        reference_name=f"literature {low}-{high} Gyr",
        usable=~table.binary.to_numpy(dtype=bool) & (table.ruwe.to_numpy() < _MAX_RUWE),
        note="LAMOST DD-Payne T_eff ± 22.6 K, log g ± 0.05, [Fe/H] ± 0.03, [α/Fe] ± 0.02; "
        "photometry and distance as for APOGEE"
        if ddpayne
        else "APOGEE DR17 T_eff ± 80 K, log g ± 0.08, [Fe/H] ± 0.03, no [α/Fe] in the table: 0; "
        "(m−M)₀ = 9.65 ± 0.03, E(B−V) = 0.04 ± 0.01",
    )


def good_age(ages: xr.Dataset) -> NDArray[np.bool_]:
    """Return the stars whose age error, half the 0.61 interval over the age, is below 25%."""
    return ages["age_error"].values < 0.25


def turnoff(catalog: xr.Dataset, ages: xr.Dataset) -> NDArray[np.bool_]:
    """Select turn-off stars and subgiants: T_eff > 5250 K, 3.4 < log g < 4.2, good ages."""
    teff, logg = catalog["teff"].values, catalog["logg"].values
    return (teff > 5250.0) & (logg > 3.4) & (logg < 4.2) & good_age(ages)


def load_kepler(path: str, *, min_parallax_over_error: float = 10.0) -> Sample:
    """Read the Kepler dwarfs and subgiants with asteroseismic ages (LEGACY and Kages).

    The ages of Silva Aguirre et al. (2015, MNRAS 452, 2127; 2017, ApJ 835, 173) are of individual
    oscillation frequencies fitted by stellar models, good to 10-15%. Of the seismic results the
    star is given log g, with a spectroscopist's error of 0.05 dex in place of its own 0.006 dex:
    what a survey would have. It is right by construction, so that what is tested is T_eff, [Fe/H],
    M_G and the isochrones; the table of choices has the ages without it too.

    The parallax is the best there is: Gaia DR2 if the table has it, else TGAS; stars without a good
    one keep their row, without M_G. A zero point of −0.05 mas (Zinn et al. 2019) would move M_G by
    0.02 mag for the typical star: it is not applied. Extinction is neglected; these stars are
    within 500 pc, mostly within 150 pc.
    """
    parallaxes = {
        "parallax_sd": "parallax_error_sd", "plx_dr2": "e_plx_dr2", "plx_tgas": "e_plx_tgas",
    }  # fmt: skip
    needed = (
        "KIC", "Teff", "eTeff", "feh", "efeh", "modlogg", "age", "upage", "loage", "G", "bprp",
        *parallaxes, *parallaxes.values(),
    )  # fmt: skip
    table = read_table(path, needed)
    parallax, error = np.full(len(table), np.nan), np.full(len(table), np.nan)
    for name, name_error in parallaxes.items():
        take = np.isnan(parallax) & (table[name] / table[name_error] > min_parallax_over_error)
        parallax = np.where(take, table[name], parallax)
        error = np.where(take, table[name_error], error)
    abs_g = table.G.to_numpy() - 10.0 + 5.0 * np.log10(parallax)
    columns = {
        "teff": table.Teff, "teff_error": table.eTeff,
        "logg": table.modlogg, "logg_error": 0.05,
        "feh": table.feh, "feh_error": table.efeh,
        "abs_g": abs_g,
        "abs_g_error": np.hypot(5.0 / np.log(10.0) * error / parallax, _KEPLER_G_ERROR),
        "bp_rp": table.bprp, "bp_rp_error": 0.02,
    }  # fmt: skip
    return Sample(
        name="Kepler dwarfs",
        catalog=observed_catalog(columns, identifier=table.KIC.to_numpy(dtype=np.int64)),
        reference=table.age.to_numpy(dtype=np.float64),
        reference_error=0.5 * (table.upage + table.loage).to_numpy(dtype=np.float64),
        reference_name="asteroseismic",
        usable=np.isfinite(abs_g),
        note="seismic log g ± 0.05 dex, spectroscopic T_eff and [Fe/H], Gaia DR2 or TGAS parallax "
        f"over error > {min_parallax_over_error:g}, no extinction",
    )


def load_harps(path: str) -> Sample:
    """Read the HARPS-GTO dwarfs with StarHorse ages: another code on PARSEC isochrones.

    The table is that of Delgado Mena et al. (2017) as compiled by Anders et al. (2018), with
    StarHorse (Queiroz et al. 2018) posteriors from much the same data. StarHorse ages have a
    Galactic prior and are no truth: the difference shows what family, scale of [Fe/H] and prior do
    together. All stars are near: no extinction.
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
        usable=np.isfinite(catalog["abs_g"].values),
        note="HARPS T_eff ± 40 K, log g ± 0.08, [Fe/H] ± 0.03, [α/Fe] from Mg, Si, Ti ± 0.03, M_G "
        "from Gaia DR1 or Hipparcos parallaxes",
    )


def load_lamost(path: str) -> xr.Dataset:
    """Read LAMOST × Gaia stars of one sightline: a catalogue to search for cluster members.

    The table has no errors: those of LAMOST's own pipeline at S/N of 30-50 are assumed (T_eff 50 K,
    log g 0.1, [Fe/H] 0.05 dex; Luo et al. 2015), and no [α/Fe]. There are no absolute magnitudes.
    """
    needed = (
        "source_id", "ra_gaia", "dec_gaia", "parallax", "parallax_over_error", "pmra", "pmdec",
        "phot_g_mean_mag", "teff", "logg", "feh", "rv",
    )  # fmt: skip
    table = read_table(path, needed)
    columns: dict[str, ArrayLike] = {
        "ra": table.ra_gaia, "dec": table.dec_gaia,
        "parallax": table.parallax,
        "parallax_error": np.abs(table.parallax / table.parallax_over_error),
        "pmra": table.pmra, "pmdec": table.pmdec,
        "radial_velocity": table.rv,
        "phot_g_mean_mag": table.phot_g_mean_mag,
        "teff": table.teff, "teff_error": 50.0,
        "logg": table.logg, "logg_error": 0.1,
        "feh": table.feh, "feh_error": 0.05,
    }  # fmt: skip
    return observed_catalog(columns, identifier=table.source_id.to_numpy(dtype=np.int64))
