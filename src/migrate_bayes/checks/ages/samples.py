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
from migrate_bayes.catalog.extinction import R_V, deredden
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

_KMS = 4.740470  # km/s per au/yr
_DISPERSION = 1.5  # km/s
_DEPTH = 0.015  # kpc
_RADII, _ANNULUS = 3.0, 6.0
_SIGMA = 3.0
_LEAST = 2  # candidates of a cluster
_LARGEST = 30.0  # pc, r50
_NEEDED = (
    "Cluster", "RA_ICRS", "DE_ICRS", "r50", "pmRA", "pmDE", "Plx", "ePlx", "RV", "eRV", "Dist",
    "logage", "elage", "[Fe/H]", "eFEH", "Av",
)  # fmt: skip
_OTHER = {
    "Name": "Cluster", "RA": "RA_ICRS", "DEC": "DE_ICRS", "r50": "r50", "pmRA": "pmRA",
    "pmDE": "pmDE", "plx": "Plx", "e_plx": "e_plx", "DistPc": "Dist", "AgeNN": "logage",
    "AVNN": "Av",
}  # fmt: skip
_MEMBER = (
    "Cluster", "gmag_edr3", "bpmag_edr3", "rpmag_edr3", "teff", "teff_err", "logg", "logg_err",
    "feh", "feh_err", "AgeNN", "AVNN", "DistPc",
)  # fmt: skip
_SKY = ("ra", "dec", "parallax", "parallax_error", "pmra", "pmdec", "radial_velocity")


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
    field: float = 0.0  # field stars that are expected among a cluster's candidates

    @property
    def compared(self) -> NDArray[np.bool_]:
        """Usable stars that have a reference age."""
        return self.usable & np.isfinite(self.reference)


def observed_catalog(
    columns: Mapping[str, ArrayLike], *, identifier: ArrayLike | None = None
) -> xr.Dataset:
    """Return a catalogue of columns by their canonical names, with units."""
    n = max(np.size(v) for v in columns.values())
    whole = {name: np.broadcast_to(np.asarray(v, np.float64), (n,)) for name, v in columns.items()}
    catalog = xr.Dataset({name: ("star", v.copy(), attributes(name)) for name, v in whole.items()})
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
    (2018). The errors are LAMOST's at S/N > 50.
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

    They have APOGEE DR17 parameters without [α/Fe]; 90 of them, those of Vickers, Shen & Li (2021),
    have LAMOST DD-Payne's too (`ddpayne`). [α/Fe] is then the median of Mg, Si, Ca and Ti over Fe:
    Ti alone scatters by 0.26 dex in these stars. `usable` are stars without sign of a companion.
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
    a_v, teff = np.full(n, R_V * _M67_COLOUR_EXCESS), np.asarray(columns["teff"], np.float64)
    a_g, reddening = deredden(a_v, bp_rp_observed=colour, teff=teff, abs_g_reddened=modulus)
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


def load_kepler(path: str) -> Sample:
    """Read the Kepler dwarfs and subgiants with asteroseismic ages (LEGACY and Kages).

    The ages of Silva Aguirre et al. (2015, MNRAS 452, 2127; 2017, ApJ 835, 173) are of oscillation
    frequencies fitted by stellar models, good to 10-15%. The seismic log g, right by construction,
    has a survey's error of 0.05 dex in place of its own 0.006 dex. The parallax is Gaia DR2's if
    the table has it, else TGAS's; stars without a good one keep their row, without M_G. Its zero
    point of −0.05 mas (Zinn et al. 2019) would move M_G by 0.02 mag: it is not applied. Extinction
    is neglected: these stars are mostly within 150 pc.
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
        take = np.isnan(parallax) & (table[name] / table[name_error] > 10.0)
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
        "over error > 10, no extinction",
    )


def load_harps(path: str) -> Sample:
    """Read the HARPS-GTO dwarfs with StarHorse ages: another code on PARSEC isochrones.

    The table is that of Delgado Mena et al. (2017) as compiled by Anders et al. (2018), with
    StarHorse (Queiroz et al. 2018) posteriors from much the same data and a Galactic prior: they
    are no truth. All stars are near: no extinction.
    """
    # The file's units and column names are not standard FITS.
    with warnings.catch_warnings(action="ignore"):
        catalog = near_dwarfs(path, "harps-gto")
    catalog["ref_age"] = catalog["ref_age50"]
    catalog["ref_age_error"] = 0.5 * (catalog["ref_age84"] - catalog["ref_age16"])
    return _published(
        catalog, "HARPS dwarfs", "StarHorse", "abs_g",
        "HARPS T_eff ± 40 K, log g ± 0.08, [Fe/H] ± 0.03, [α/Fe] from Mg, Si, Ti ± 0.03, M_G from "
        "Gaia DR1 or Hipparcos parallaxes",
    )  # fmt: skip


def near_dwarfs(path: str, columns: str) -> xr.Dataset:
    """Read field dwarfs by a packaged map, near enough to neglect extinction."""
    return correct_extinction(read_catalog(path, columns=columns), source="none")


def _published(catalog: xr.Dataset, name: str, reference: str, known: str, note: str) -> Sample:
    """Make a sample of a catalogue that carries published ages; `known` makes a star usable."""
    age, error = catalog["ref_age"].values, catalog["ref_age_error"].values
    usable = np.isfinite(catalog[known].values)
    return Sample(name, catalog, age, error, reference, usable, note)


def load_cks(path: str) -> Sample:
    """Read the California-Kepler Survey, with ages that its own code found on Dartmouth models.

    They are of the same T_eff, log g and [Fe/H] (Johnson et al. 2017, AJ 154, 108): no truth, but a
    check of the method. Extinction (some hundredths of a magnitude) is neglected.
    """
    return _published(
        near_dwarfs(path, "cks"), "CKS planet hosts", "isoclassify", "abs_g",
        "HIRES T_eff ± 60 K, log g ± 0.1, [Fe/H] ± 0.04, no [α/Fe], M_G from Gaia DR2",
    )  # fmt: skip


def load_apokasc(path: str) -> Sample:
    """Read giants of APOKASC-2 with asteroseismic ages; `usable` are those of known state.

    The catalogue's ``ref_clump`` is 1 in the red clump and 0 on the giant branch (Pinsonneault et
    al. 2018, ApJS 239, 32). There is no G: ages are of the APOGEE spectra alone.
    """
    catalog = read_catalog(path, columns="apokasc2")
    note = "APOGEE T_eff, log g, [Fe/H], [Mg/Fe] with their own errors"
    return _published(catalog, "APOKASC-2 giants", "asteroseismic", "ref_clump", note)


def load_members(low: str, medium: str) -> Sample:
    """Read members of open clusters that LAMOST observed, in low and in medium resolution.

    T_eff, log g, [Fe/H] and errors are LAMOST's, M_G is of the cluster's distance and extinction
    (Cantat-Gaudin et al. 2020), ± 0.1 mag. ``cluster`` is the name. Stars of an impossible [Fe/H]
    (below −1: hot stars of h and χ Persei) are left out, as are clusters without an age.
    """
    tables = [read_table(path, _MEMBER) for path in (low, medium)]
    table = pd.concat(tables, ignore_index=True)
    table = table[np.isfinite(table[["AgeNN", "teff"]]).all(axis=1) & (table.feh > -1.0)]
    colour = (table.bpmag_edr3 - table.rpmag_edr3).to_numpy(dtype=np.float64)
    modulus = (table.gmag_edr3 - 5.0 * np.log10(table.DistPc / 10.0)).to_numpy(dtype=np.float64)
    a_v, teff = (table[name].to_numpy(dtype=np.float64) for name in ("AVNN", "teff"))
    a_g, _ = deredden(a_v, bp_rp_observed=colour, teff=teff, abs_g_reddened=modulus)
    columns: dict[str, ArrayLike] = {"abs_g": modulus - a_g, "abs_g_error": 0.1}
    for name in ("teff", "logg", "feh"):
        columns |= {name: table[name], f"{name}_error": table[f"{name}_err"]}
    age = 10.0 ** (table.AgeNN.to_numpy(dtype=np.float64) - 9.0)
    catalog = observed_catalog(columns)
    catalog["cluster"] = ("star", table.Cluster.to_numpy(dtype=str))
    return Sample(
        name="LAMOST members of open clusters",
        catalog=catalog,
        reference=age,
        reference_error=age * np.log(10.0) * 0.2,
        reference_name="literature",
        usable=np.ones(len(age), dtype=bool),
        note="LAMOST T_eff, log g, [Fe/H] with their own errors, M_G of the cluster's distance",
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


def load_clusters(path: str, more: str | None = None) -> pd.DataFrame:
    """Read the clusters that have a position, a motion and an age, in Dias et al. (2021).

    `more` is the table of Cantat-Gaudin et al. (2020), for clusters that the other lacks; these
    have no [Fe/H] and no radial velocity, and their log ages are good to 0.2 dex.
    """
    table = read_table(path, _NEEDED, comment="#", na_values=["nan"])
    if more is not None:
        other = read_table(more, tuple(_OTHER), skipinitialspace=True).rename(columns=_OTHER)
        other = other[~other.Cluster.isin(set(table.Cluster))]
        other = other.assign(elage=0.2, ePlx=other.e_plx)
        table = pd.concat([table, other], ignore_index=True)
    good = np.isfinite(table[["RA_ICRS", "DE_ICRS", "r50", "pmRA", "pmDE", "Plx", "logage"]])
    # Half-light radii of tens of parsecs are accidents of a table (means across 0h), not clusters.
    sane = np.radians(table.r50) * table.Dist < _LARGEST
    return table[good.all(axis=1) & sane].reset_index(drop=True)


def sky_axes(ra: NDArray, dec: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Return unit vectors towards increasing ra, dec (deg) and distance, shape (..., 3)."""
    a, d = np.radians(ra), np.radians(dec)
    east = np.stack([-np.sin(a), np.cos(a), np.zeros_like(a)], axis=-1)
    north = np.stack([-np.sin(d) * np.cos(a), -np.sin(d) * np.sin(a), np.cos(d)], axis=-1)
    outward = np.stack([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)], axis=-1)
    return east, north, outward


def find_members(catalog: xr.Dataset, clusters: pd.DataFrame) -> list[Sample]:
    """Find the clusters with candidate members in any catalogue, the richest first.

    A candidate lies within three half-light radii (r50) of the centre on the sky. Within 3σ it has
    the cluster's parallax (15 pc deep), its radial velocity if both are known, and its space
    velocity (dispersion 1.5 km/s) as proper motion at the star's own place: those of the Hyades
    differ by tens of mas/yr. Field stars that pass by chance are estimated from the annulus of 3-6
    r50, by area. Columns are canonical: ``abs_g``, or ``teff`` and ``phot_g_mean_mag``. Reference
    ages are of the literature, with the error of log age.
    """
    nothing = np.full(catalog.sizes["star"], np.nan)
    sky = {name: catalog[name].values if name in catalog else nothing for name in _SKY}
    axes = sky_axes(sky["ra"], sky["dec"])
    area = _RADII**2 / (_ANNULUS**2 - _RADII**2)
    found = []
    for row in clusters.to_dict("records"):
        _, _, centre = sky_axes(np.array(row["RA_ICRS"]), np.array(row["DE_ICRS"]))
        with np.errstate(invalid="ignore"):
            separation = np.degrees(np.arccos(np.clip(axes[2] @ centre, -1.0, 1.0)))
        near = np.flatnonzero(separation < _ANNULUS * row["r50"])
        if len(near) < _LEAST or not row["Plx"] > 0:
            continue
        own = {name: values[near] for name, values in sky.items()}
        agrees = _agrees(own, row, tuple(a[near] for a in axes))
        inside = separation[near] < _RADII * row["r50"]
        members, n = near[agrees & inside], int(np.sum(agrees & inside))
        if n >= _LEAST:
            stars = with_abs_g(catalog.isel(star=members), row["Dist"] / 1000.0, row["Av"])
            age = np.full(n, 10.0 ** (row["logage"] - 9.0))
            error, single = age * np.log(10.0) * row["elage"], np.ones(n, dtype=bool)
            field = float(np.sum(agrees & ~inside) * area)
            note = f"{n} candidates, {field:.1f} field stars expected"
            source = "Dias et al. (2021)"
            found.append(Sample(row["Cluster"], stars, age, error, source, single, note, field))
    return sorted(found, key=lambda m: -len(m.reference))


def _agrees(stars: dict[str, NDArray], row: dict, axes: tuple[NDArray, ...]) -> NDArray[np.bool_]:
    """Return the stars whose parallax and motion are those of the cluster `row`."""
    east, north, outward = axes
    e0, n0, r0 = sky_axes(np.array(row["RA_ICRS"]), np.array(row["DE_ICRS"]))
    plx, velocity = row["Plx"], row["RV"] if np.isfinite(row["RV"]) else 0.0
    motion = _KMS / plx * (row["pmRA"] * e0 + row["pmDE"] * n0) + velocity * r0
    own_plx, own_error = stars["parallax"], stars["parallax_error"]
    plx_error = np.hypot(np.nan_to_num(own_error), plx**2 * _DEPTH)
    agrees = np.abs(own_plx - plx) < _SIGMA * np.hypot(plx_error, 0.05)
    # Seen at the parallax of the star if that is well known (the depth of near clusters).
    scale = np.where(own_plx > 10.0 * own_error, own_plx, plx) / _KMS
    sd = np.hypot(_DISPERSION * scale, 0.1)
    pmra, pmdec = stars["pmra"], stars["pmdec"]
    off = np.hypot(pmra - (east @ motion) * scale, pmdec - (north @ motion) * scale)
    agrees &= off < _SIGMA * sd
    if np.isfinite(row["RV"]):
        sd_rv = np.hypot(np.nan_to_num(row["eRV"]), 3.0)
        agrees &= ~(np.abs(stars["radial_velocity"] - outward @ motion) > _SIGMA * sd_rv)
    return np.asarray(agrees)


def with_abs_g(catalog: xr.Dataset, distance: float, a_v: float) -> xr.Dataset:
    """Return stars with M_G: their own, else that of G at a cluster's distance, kpc, and A_V."""
    if "abs_g" in catalog:
        return catalog
    if "phot_g_mean_mag" not in catalog:
        raise CatalogError("cluster members need 'abs_g' or 'phot_g_mean_mag'")
    modulus = catalog["phot_g_mean_mag"].values - 5.0 * np.log10(distance) - 10.0
    extinction, colour = (np.full(catalog.sizes["star"], v) for v in (max(a_v, 0.0), np.nan))
    teff = catalog["teff"].values
    a_g, _ = deredden(extinction, bp_rp_observed=colour, teff=teff, abs_g_reddened=modulus)
    return catalog.assign(observed_catalog({"abs_g": modulus - a_g, "abs_g_error": 0.1}))
