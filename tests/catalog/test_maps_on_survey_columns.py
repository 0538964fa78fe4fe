"""The survey maps on tables that spell their columns as the archives do."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from astropy.table import Table

from migrate_bayes.catalog import read_catalog
from migrate_bayes.catalog.measured import validate_required


def gaia_table(n=5):
    rng = np.random.default_rng(9)
    table = Table()
    table["source_id"] = np.arange(n, dtype=np.int64) + 3_000_000_000_000_000_000
    for name, value in {
        "ra": 100.0, "dec": 20.0, "parallax": 2.0, "parallax_error": 0.02, "pmra": 3.0,
        "pmra_error": 0.02, "pmdec": -4.0, "pmdec_error": 0.02, "pmra_pmdec_corr": 0.3,
        "r_med_geo": 500.0, "r_lo_geo": 495.0, "r_hi_geo": 506.0, "phot_g_mean_mag": 13.0,
        "phot_bp_mean_mag": 13.4, "phot_rp_mean_mag": 12.4, "bp_rp": 1.0,
        "phot_g_mean_flux_over_error": 2000.0,
    }.items():  # fmt: skip
        table[name] = value + 1e-3 * rng.normal(size=n)
    return table


def test_gaia(tmp_path):
    table = gaia_table()
    table.write(tmp_path / "gaia.fits")
    catalog = read_catalog(tmp_path / "gaia.fits", columns="gaia")
    np.testing.assert_allclose(catalog["distance"], table["r_med_geo"] / 1e3)
    error = 2.5 / np.log(10) / table["phot_g_mean_flux_over_error"]
    np.testing.assert_allclose(catalog["phot_g_mean_mag_error"], error)
    np.testing.assert_array_equal(catalog["bp_rp_observed"], table["bp_rp"])
    np.testing.assert_array_equal(catalog["pmra_pmdec_corr"], table["pmra_pmdec_corr"])
    assert "Bailer-Jones" in catalog["distance"].attrs["source"]
    assert "bp_rp" not in catalog
    assert "teff" not in catalog


@pytest.mark.parametrize(
    "names",
    [
        ("TEFF", "TEFF_ERR", "LOGG", "LOGG_ERR", "FEH", "FEH_ERR", "ALPHA_FE", "ALPHA_FE_ERR"),
        ("Teff", "e_Teff", "logg", "e_logg", "[Fe/H]", "e_[Fe/H]", "[a/Fe]", "e_[a/Fe]"),
    ],
)
def test_lamost_in_either_spelling(tmp_path, names):
    table = gaia_table()
    for name, value in zip(names, (5800, 23, 4.3, 0.05, -0.1, 0.03, 0.05, 0.02), strict=True):
        table[name] = np.full(5, float(value))
    table[names[6]][2] = -9999.0
    table[names[7]][2] = -9999.0
    table["rv"], table["rv_err"] = np.full(5, 20.0), np.full(5, 3.0)
    table["snrg"], table["snrr"], table["snri"] = 60.0, 80.0, 90.0
    table.write(tmp_path / "lamost.csv")
    catalog = read_catalog(tmp_path / "lamost.csv", columns="lamost-ddpayne-gaia-bj")
    for needs in ("ages", "orbits", "photometry"):
        validate_required(catalog, needs=needs)
    assert float(catalog["feh"][0]) == -0.1
    assert np.isnan(catalog["alpha_fe"].values).tolist() == [0, 0, 1, 0, 0]
    assert float(catalog["snr_i"][0]) == 90.0
    assert not catalog["flag"].values.any()


@pytest.mark.parametrize("ending", ["fits", "csv"])
def test_gzipped(tmp_path, ending):
    plain = tmp_path / f"gaia.{ending}"
    gaia_table().write(plain)
    zipped = tmp_path / f"gaia.{ending}.gz"
    zipped.write_bytes(gzip.compress(plain.read_bytes()))
    a, b = read_catalog(plain, columns="gaia"), read_catalog(zipped, columns="gaia")
    np.testing.assert_array_equal(a["ra"], b["ra"])
    np.testing.assert_array_equal(a["source_id"], b["source_id"])
