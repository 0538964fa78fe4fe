"""Stars of known age: M67's selection, Kepler's parallaxes, members of clusters, statistics."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats

from migrate_bayes.catalog import read_catalog
from migrate_bayes.checks.ages.samples import (
    find_members,
    load_cks,
    load_clusters,
    load_kepler,
    load_m67,
    observed_catalog,
    sky_axes,
    turnoff,
    with_abs_g,
)
from migrate_bayes.checks.ages.statistics import Spread, line_through, spread
from migrate_bayes.core.errors import CatalogError


def test_spread_of_a_gaussian_and_of_nothing():
    x = stats.norm(3.0, 2.0).rvs(50_001, random_state=4)
    found = spread(np.append(x, np.nan))
    assert found.count == 50_001
    assert found.median == pytest.approx(3.0, abs=4 * found.median_error)
    assert found.scatter == pytest.approx(2.0, rel=0.02)
    # The median's error against medians of repeated draws.
    medians = np.median(stats.norm(0, 2.0).rvs((2000, 401), random_state=5), axis=1)
    assert Spread(0.0, 2.0, 401).median_error == pytest.approx(medians.std(), rel=0.08)
    assert spread([np.nan]).as_dict() == {
        "median": None, "median_error": None, "scatter": None, "stars": 0
    }  # fmt: skip


M67_COLUMNS = {
    "APOGEE_ID": ["a", "b", "c", "d", "e"],
    "TEFF": [6000.0, 5400.0, 5200.0, 6000.0, 6000.0],
    "LOGG": [4.1, 3.7, 3.7, 4.3, 4.1],
    "FE_H": 0.0, "G_MAG": [13.2, 12.6, 12.6, 13.8, 13.2],
    "BP_MAG": [13.5, 13.0, 13.0, 14.1, 13.5], "RP_MAG": [12.7, 12.0, 12.0, 13.3, 12.7],
    "ruwe": [1.0, 1.0, 1.0, 1.0, 3.0], "memprob": [1.0, 0.9, 1.0, 1.0, 1.0],
    "binary": [False, False, False, False, False],
    "teff_payne": [5950.0, np.nan, 5200.0, np.nan, np.nan], "logg_payne": 4.1,
    "feh_payne": -0.1, "mgh_payne": -0.1, "sih_payne": -0.05, "cah_payne": -0.05, "tih_payne": -0.9,
}  # fmt: skip


def test_m67_turn_off_is_chosen_by_its_cuts(tmp_path):
    path = tmp_path / "m67.csv"
    pd.DataFrame(M67_COLUMNS).to_csv(path, index=False)
    sample = load_m67(str(path))
    good = xr.Dataset({"age_error": ("star", [0.1, 0.1, 0.1, 0.1, 0.1])})
    assert turnoff(sample.catalog, good).tolist() == [True, True, False, False, True]
    poor = xr.Dataset({"age_error": ("star", [0.1, 0.3, 0.1, 0.1, np.nan])})
    assert turnoff(sample.catalog, poor).tolist() == [True, False, False, False, False]
    assert sample.usable.tolist() == [True, True, True, True, False]
    # G − 9.65 − A_G, with A_G about 0.1 mag at E(B−V) = 0.04.
    a_g = np.array(M67_COLUMNS["G_MAG"]) - 9.65 - sample.catalog.abs_g.values
    assert np.all((a_g > 0.08) & (a_g < 0.12))


def test_m67_ddpayne_has_its_own_stars_and_a_robust_alpha(tmp_path):
    path = tmp_path / "m67.csv"
    pd.DataFrame(M67_COLUMNS).to_csv(path, index=False)
    sample = load_m67(str(path), ddpayne=True)
    assert sample.catalog.sizes["star"] == 2
    # One bad titanium abundance does not move the median of four.
    np.testing.assert_allclose(sample.catalog.alpha_fe, 0.5 * (-0.1 - 0.05) + 0.1)
    pd.DataFrame(M67_COLUMNS).drop(columns="mgh_payne").to_csv(path, index=False)
    with pytest.raises(CatalogError, match="'mgh_payne' is absent"):
        load_m67(str(path))


def test_kepler_takes_the_best_parallax_there_is(tmp_path):
    table = pd.DataFrame(
        {
            "KIC": [1, 2, 3], "Teff": 6000.0, "eTeff": 80.0, "feh": 0.0, "efeh": 0.1,
            "modlogg": 4.2, "age": 4.0, "upage": 0.4, "loage": 0.6, "G": 10.0, "bprp": 0.7,
            "plx_tgas": [10.0, 5.0, 2.0], "e_plx_tgas": [0.3, 0.3, 0.3],
            "plx_dr2": [np.nan, 6.0, np.nan], "e_plx_dr2": [np.nan, 0.03, np.nan],
            "parallax_sd": np.nan, "parallax_error_sd": np.nan,
        }
    )  # fmt: skip
    path = tmp_path / "kepler.csv"
    table.to_csv(path, index=False)
    sample = load_kepler(str(path))
    np.testing.assert_allclose(
        sample.catalog.abs_g, [5.0, 5 * np.log10(6.0), np.nan], equal_nan=True
    )
    assert sample.usable.tolist() == [True, True, False]
    np.testing.assert_allclose(sample.reference_error, 0.5)


def moving_cluster(rng, n, velocity, centre, distance, radius):
    """Stars in a sphere that share a space velocity (km/s), seen from the origin."""
    _, _, r0 = sky_axes(np.array(centre[0]), np.array(centre[1]))
    place = distance * r0 + rng.normal(0.0, radius, (n, 3))
    d = np.linalg.norm(place, axis=1)
    ra = np.degrees(np.arctan2(place[:, 1], place[:, 0])) % 360
    dec = np.degrees(np.arcsin(place[:, 2] / d))
    east, north, outward = sky_axes(ra, dec)
    scale = 1.0 / (4.740470 * d)
    return observed_catalog({
        "ra": ra, "dec": dec, "parallax": 1.0 / d, "parallax_error": 0.02,
        "pmra": (east @ velocity) * scale, "pmdec": (north @ velocity) * scale,
        "radial_velocity": outward @ velocity, "abs_g": 5.0,
    }, identifier=np.arange(n))  # fmt: skip


def test_members_of_a_near_cluster_are_found_by_their_common_motion(tmp_path):
    rng = np.random.default_rng(8)
    velocity, distance = np.array([-6.0, 45.0, 5.0]), 0.047  # the Hyades, more or less
    sky = moving_cluster(rng, 40, velocity, (67.0, 16.0), distance, 0.004)
    centre = moving_cluster(rng, 1, velocity, (67.0, 16.0), distance, 0.0)
    # Their proper motions differ by far more than any tolerance on the cluster's mean.
    assert np.ptp(sky.pmra.values) > 30.0
    row = {
        "Cluster": "mine", "r50": 6.0,
        "RA_ICRS": float(centre.ra[0]), "DE_ICRS": float(centre.dec[0]),
        "pmRA": float(centre.pmra[0]), "pmDE": float(centre.pmdec[0]),
        "Plx": float(centre.parallax[0]), "ePlx": 0.1, "RV": float(centre.radial_velocity[0]),
        "eRV": 0.3, "Dist": 1000 * distance, "logage": 8.9,
        "elage": 0.1, "[Fe/H]": 0.1, "eFEH": 0.05, "Av": 0.0,
    }  # fmt: skip
    broken = {**row, "Cluster": "broken", "r50": 200.0}
    path = tmp_path / "clusters.csv"
    pd.DataFrame([row, broken]).to_csv(path, index=False)
    clusters = load_clusters(str(path))
    assert clusters.Cluster.tolist() == ["mine"]
    (found,) = find_members(sky, clusters)
    near = np.degrees(
        np.arccos(
            sky_axes(sky.ra, sky.dec)[2]
            @ sky_axes(np.array(row["RA_ICRS"]), np.array(row["DE_ICRS"]))[2]
        )
    )
    assert set(found.catalog.source_id.values) == set(np.flatnonzero(near < 18.0))
    assert found.reference == pytest.approx(10**-0.1)
    # The same places with velocities of the field: none.
    turned = sky.assign(pmra=-sky.pmra, pmdec=sky.pmdec + 60.0)
    assert find_members(turned, clusters) == []


def test_member_magnitudes_are_at_the_clusters_distance():
    catalog = xr.Dataset({"phot_g_mean_mag": ("star", [14.0]), "teff": ("star", [5800.0])})
    found = with_abs_g(catalog, distance=1.0, a_v=0.3)
    assert 3.7 < float(found.abs_g[0]) < 3.8  # 14 − 10 − A_G
    with pytest.raises(CatalogError, match="phot_g_mean_mag"):
        with_abs_g(catalog.drop_vars("phot_g_mean_mag"), distance=1.0, a_v=0.3)
    near = catalog.assign(abs_g=("star", [4.0]))
    assert with_abs_g(near, distance=1.0, a_v=0.3) is near


def test_a_line_and_its_error_are_those_of_least_squares():
    rng = np.random.default_rng(3)
    x = rng.normal(size=9)
    y = 0.5 + 2.0 * x + 0.3 * rng.normal(size=9)
    (slope, _), covariance = np.polyfit(x, y, 1, cov=True)
    np.testing.assert_allclose(line_through(x, y), [slope, covariance[0, 0] ** 0.5])
    assert np.isnan(line_through([1.0, 2.0], [0.0, 1.0])).all()


def test_planet_hosts_and_cluster_members_are_read_by_packaged_maps(shared_data):
    cks = load_cks(shared_data("cks/cks_gaia_dr2_even_koi.csv"))
    assert cks.compared.sum() > 400
    assert 2.0 < np.nanmedian(cks.reference) < 8.0
    path = shared_data("open_clusters/lamost_lrs_members.csv")
    members = read_catalog(path, columns="lamost-clusters")
    m67 = members["ref_cluster"].values == 9
    assert m67.sum() == 182
    np.testing.assert_allclose(members["age"].values[m67], 10**0.63)
    assert members["distance"].values[m67].tolist() == pytest.approx([0.889] * 182)
