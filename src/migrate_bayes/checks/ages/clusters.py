r"""Members of open clusters in any catalogue, and their ages against the cluster's.

A star is a candidate member where, against the cluster's mean in Dias et al. (2021),

* it lies within three half-light radii (r50) of the centre on the sky,
* its parallax agrees within 3σ, the cluster being 15 pc deep,
* its proper motion is the cluster's space velocity seen at the star's own place (a convergent
  point: for the Hyades the proper motions of members differ by tens of mas/yr) within 3σ, with an
  internal dispersion of 1.5 km/s,
* its radial velocity agrees within 3σ, where both are known.

How many field stars pass by chance is estimated from the annulus of 3-6 r50, by area.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.catalog.gaia_extinction import deredden
from migrate_bayes.checks.ages.sample import Sample, observed_catalog, read_table
from migrate_bayes.core.errors import CatalogError

__all__ = ["ClusterMembers", "Sky", "find_members", "load_clusters", "members_of"]

_KMS = 4.740470  # km/s per au/yr
_DISPERSION = 1.5  # km/s
_DEPTH = 0.015  # kpc
_RADII, _ANNULUS = 3.0, 6.0
_SIGMA = 3.0
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


@dataclass(frozen=True)
class Sky:
    """Where stars are and how they move; arrays of shape (star,), NaN where unknown.

    Parameters
    ----------
    ra, dec : numpy.ndarray
        deg.
    parallax, parallax_error : numpy.ndarray
        mas.
    pmra, pmdec : numpy.ndarray
        mas/yr.
    radial_velocity : numpy.ndarray
        km/s.
    """

    ra: NDArray[np.float64]
    dec: NDArray[np.float64]
    parallax: NDArray[np.float64]
    parallax_error: NDArray[np.float64]
    pmra: NDArray[np.float64]
    pmdec: NDArray[np.float64]
    radial_velocity: NDArray[np.float64]

    @classmethod
    def of(cls, catalog: xr.Dataset) -> Sky:
        """Take the columns of a catalogue."""
        nothing = np.full(catalog.sizes["star"], np.nan)
        names = cls.__dataclass_fields__
        return cls(**{n: catalog[n].values if n in catalog else nothing for n in names})


@dataclass(frozen=True)
class ClusterMembers:
    """The candidate members of a cluster.

    Parameters
    ----------
    cluster : str
    age, age_error : float
        Gyr, of the literature; the error is that of log age.
    feh, feh_error : float
        dex, of the literature.
    distance : float
        kpc.
    a_v : float
        mag.
    stars : numpy.ndarray
        Indices of the candidates.
    field : float
        How many of them are expected to be field stars.
    """

    cluster: str
    age: float
    age_error: float
    feh: float
    feh_error: float
    distance: float
    a_v: float
    stars: NDArray[np.int64]
    field: float


def load_clusters(path: str, more: str | None = None) -> pd.DataFrame:
    """Read the clusters that have a position, a motion and an age.

    Parameters
    ----------
    path : str
        Dias et al. (2021).
    more : str, optional
        Cantat-Gaudin et al. (2020), for clusters that the other lacks; these have no [Fe/H] and no
        radial velocity, and their log ages are good to 0.2 dex.

    Raises
    ------
    CatalogError
        Where a table cannot be read or lacks a column.
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


def _axes(ra: NDArray, dec: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Return unit vectors towards increasing ra, dec and distance, shape (..., 3)."""
    a, d = np.radians(ra), np.radians(dec)
    east = np.stack([-np.sin(a), np.cos(a), np.zeros_like(a)], axis=-1)
    north = np.stack([-np.sin(d) * np.cos(a), -np.sin(d) * np.sin(a), np.cos(d)], axis=-1)
    outward = np.stack([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)], axis=-1)
    return east, north, outward


def find_members(sky: Sky, clusters: pd.DataFrame, *, least: int = 2) -> list[ClusterMembers]:
    """Find the clusters with candidate members among stars.

    Parameters
    ----------
    sky : Sky
        The stars.
    clusters : pandas.DataFrame
        From `load_clusters`.
    least : int
        Leave out clusters with fewer candidates.
    """
    east, north, outward = _axes(sky.ra, sky.dec)
    found = []
    for row in clusters.to_dict("records"):
        e0, n0, r0 = _axes(np.array(row["RA_ICRS"]), np.array(row["DE_ICRS"]))
        with np.errstate(invalid="ignore"):
            separation = np.degrees(np.arccos(np.clip(outward @ r0, -1.0, 1.0)))
            near = np.flatnonzero(separation < _ANNULUS * row["r50"])
        if len(near) < least or not row["Plx"] > 0:
            continue
        plx, velocity = row["Plx"], row["RV"] if np.isfinite(row["RV"]) else 0.0
        motion = _KMS / plx * (row["pmRA"] * e0 + row["pmDE"] * n0) + velocity * r0
        agrees = _agrees(sky, near, row, plx, motion, (east, north, outward))
        inside = separation[near] < _RADII * row["r50"]
        members = near[agrees & inside]
        area = _RADII**2 / (_ANNULUS**2 - _RADII**2)
        if len(members) >= least:
            age = 10.0 ** (row["logage"] - 9.0)
            found.append(
                ClusterMembers(
                    cluster=str(row["Cluster"]),
                    age=age,
                    age_error=age * np.log(10.0) * float(row["elage"]),
                    feh=float(row["[Fe/H]"]),
                    feh_error=float(row["eFEH"]),
                    distance=float(row["Dist"]) / 1000.0,
                    a_v=float(row["Av"]),
                    stars=members,
                    field=float(np.sum(agrees & ~inside) * area),
                )
            )
    return sorted(found, key=lambda m: -len(m.stars))


def _agrees(
    sky: Sky,
    near: NDArray,
    row: dict,
    plx: float,
    motion: NDArray,
    axes: tuple[NDArray, NDArray, NDArray],
) -> NDArray[np.bool_]:
    east, north, outward = (a[near] for a in axes)
    with np.errstate(invalid="ignore"):
        plx_error = np.hypot(np.nan_to_num(sky.parallax_error[near]), plx**2 * _DEPTH)
        agrees = np.abs(sky.parallax[near] - plx) < _SIGMA * np.hypot(plx_error, 0.05)
        # Seen at the parallax of the star where that is well known (the depth of near clusters).
        own_error = sky.parallax_error[near]
        own = np.where(sky.parallax[near] > 10.0 * own_error, sky.parallax[near], plx)
        scale = own / _KMS
        sd = np.hypot(_DISPERSION * scale, 0.1)
        off = np.hypot(
            sky.pmra[near] - (east @ motion) * scale, sky.pmdec[near] - (north @ motion) * scale
        )
        agrees &= off < _SIGMA * sd
        if np.isfinite(row["RV"]):
            rv = sky.radial_velocity[near]
            sd_rv = np.hypot(np.nan_to_num(row["eRV"]), 3.0)
            agrees &= ~(np.abs(rv - outward @ motion) > _SIGMA * sd_rv)
    return np.asarray(agrees)


def members_of(cluster: ClusterMembers, catalog: xr.Dataset) -> Sample:
    """Return a cluster's members as a sample, M_G at the cluster's distance and extinction.

    Parameters
    ----------
    cluster : ClusterMembers
    catalog : xarray.Dataset
        The catalogue searched; ``abs_g`` of its own is kept (near clusters), else it is made from
        ``phot_g_mean_mag``.
    """
    rows = catalog.isel(star=cluster.stars)
    if "abs_g" not in rows:
        if "phot_g_mean_mag" not in rows:
            raise CatalogError("cluster members need 'abs_g' or 'phot_g_mean_mag'")
        n = len(cluster.stars)
        modulus = rows["phot_g_mean_mag"].values - 5.0 * np.log10(cluster.distance) - 10.0
        a_g, _ = deredden(
            np.full(n, max(cluster.a_v, 0.0)),
            bp_rp_observed=np.full(n, np.nan),
            teff=rows["teff"].values,
            abs_g_reddened=modulus,
        )
        made = observed_catalog({"abs_g": modulus - a_g, "abs_g_error": np.full(n, 0.1)})
        rows = rows.assign({name: made[name] for name in made})
    n = len(cluster.stars)
    return Sample(
        name=cluster.cluster,
        catalog=rows,
        reference=np.full(n, cluster.age),
        reference_error=np.full(n, cluster.age_error),
        reference_name="Dias et al. (2021)",
        note=f"{n} candidates, {cluster.field:.1f} field stars expected",
    )
