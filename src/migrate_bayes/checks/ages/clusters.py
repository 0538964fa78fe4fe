r"""Members of open clusters in any catalogue.

A star is a candidate member if, against the cluster's mean in Dias et al. (2021),

* it lies within three half-light radii (r50) of the centre on the sky,
* its parallax agrees within 3σ, the cluster being 15 pc deep,
* its proper motion is the cluster's space velocity seen at the star's own place (a convergent
  point: for the Hyades the proper motions of members differ by tens of mas/yr) within 3σ, with an
  internal dispersion of 1.5 km/s,
* its radial velocity agrees within 3σ, if both are known.

The number of field stars that pass by chance is estimated from the annulus of 3-6 r50, by area.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.catalog.gaia_extinction import deredden
from migrate_bayes.checks.ages.samples import Sample, observed_catalog, read_table
from migrate_bayes.core.errors import CatalogError

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
_SKY = ("ra", "dec", "parallax", "parallax_error", "pmra", "pmdec", "radial_velocity")


@dataclass(frozen=True)
class ClusterMembers(Sample):
    """The candidate members of a cluster; `field` field stars are expected among them."""

    field: float


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


def find_members(catalog: xr.Dataset, clusters: pd.DataFrame) -> list[ClusterMembers]:
    """Find the clusters with candidate members in a catalogue, the richest first.

    The catalogue has ``ra``, ``dec`` (deg), ``parallax`` and its error (mas), ``pmra``, ``pmdec``
    (mas/yr) and ``radial_velocity`` (km/s), NaN if unknown; ``abs_g``, or ``teff`` and
    ``phot_g_mean_mag``. Reference ages are of the literature, with the error of log age.
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
        stars = {name: values[near] for name, values in sky.items()}
        agrees = _agrees(stars, row, tuple(a[near] for a in axes))
        inside = separation[near] < _RADII * row["r50"]
        members, n = near[agrees & inside], int(np.sum(agrees & inside))
        if n >= _LEAST:
            age = 10.0 ** (row["logage"] - 9.0)
            field = float(np.sum(agrees & ~inside) * area)
            distance = float(row["Dist"]) / 1000.0
            found.append(
                ClusterMembers(
                    name=str(row["Cluster"]),
                    catalog=with_abs_g(catalog.isel(star=members), distance, float(row["Av"])),
                    reference=np.full(n, age),
                    reference_error=np.full(n, age * np.log(10.0) * float(row["elage"])),
                    reference_name="Dias et al. (2021)",
                    usable=np.ones(n, dtype=bool),
                    note=f"{n} candidates, {field:.1f} field stars expected",
                    field=field,
                )
            )
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
    off = np.hypot(
        stars["pmra"] - (east @ motion) * scale, stars["pmdec"] - (north @ motion) * scale
    )
    agrees &= off < _SIGMA * sd
    if np.isfinite(row["RV"]):
        sd_rv = np.hypot(np.nan_to_num(row["eRV"]), 3.0)
        agrees &= ~(np.abs(stars["radial_velocity"] - outward @ motion) > _SIGMA * sd_rv)
    return np.asarray(agrees)


def with_abs_g(catalog: xr.Dataset, distance: float, a_v: float) -> xr.Dataset:
    """Return stars with M_G at a cluster's distance (kpc) and extinction (mag).

    ``abs_g`` of the catalogue's own is kept (near clusters), else ``phot_g_mean_mag`` gives it.
    """
    if "abs_g" in catalog:
        return catalog
    if "phot_g_mean_mag" not in catalog:
        raise CatalogError("cluster members need 'abs_g' or 'phot_g_mean_mag'")
    n = catalog.sizes["star"]
    modulus = catalog["phot_g_mean_mag"].values - 5.0 * np.log10(distance) - 10.0
    a_g, _ = deredden(
        np.full(n, max(a_v, 0.0)),
        bp_rp_observed=np.full(n, np.nan),
        teff=catalog["teff"].values,
        abs_g_reddened=modulus,
    )
    return catalog.assign(observed_catalog({"abs_g": modulus - a_g, "abs_g_error": 0.1}))
