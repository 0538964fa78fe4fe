"""Ages of real stars: M67's turn-off and subgiants, Kepler dwarfs with asteroseismic ages."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from migrate_bayes.catalog import correct_extinction, read_catalog
from migrate_bayes.checks.ages import aims, spread
from migrate_bayes.isochrones import estimate_ages


def catalogue(columns):
    return xr.Dataset({k: ("star", np.asarray(v, dtype=float)) for k, v in columns.items()})


@pytest.fixture(scope="module")
def m67(shared_data):
    stars = pd.read_csv(shared_data("m67/m67_apogee_edr3.csv"))
    abs_g = stars.G_MAG - 9.65 - 0.84 * 3.1 * 0.04
    chosen = (abs_g > 2.2) & (abs_g < 3.9) & (stars.TEFF > 5000) & (stars.memprob > 0.7)
    stars, abs_g = stars[chosen], abs_g[chosen]
    n = len(stars)
    return catalogue({
        "teff": stars.TEFF, "teff_error": np.full(n, 80.0),
        "logg": stars.LOGG, "logg_error": np.full(n, 0.08),
        "feh": stars.FE_H, "feh_error": np.full(n, 0.03),
        "abs_g": abs_g, "abs_g_error": np.full(n, 0.05),
    })  # fmt: skip


@pytest.fixture(scope="module")
def kepler(shared_data):
    stars = pd.read_csv(shared_data("kepler_dwarfs/legacy_kages_with_parallax.csv"))
    parallax = stars.parallax_sd.fillna(stars.plx_dr2)
    error = stars.parallax_error_sd.fillna(stars.e_plx_dr2)
    good = parallax / error > 10
    stars, parallax, error = stars[good], parallax[good], error[good]
    table = catalogue({
        "teff": stars.Teff, "teff_error": stars.eTeff,
        "logg": stars.modlogg, "logg_error": np.full(len(stars), 0.05),
        "feh": stars.feh, "feh_error": stars.efeh,
        "abs_g": stars.G - 10 + 5 * np.log10(parallax),
        "abs_g_error": np.hypot(2.17 * error / parallax, 0.02),
    })  # fmt: skip
    return table, stars.age.to_numpy()


@pytest.mark.parametrize("source", ["dartmouth", "native", "mist", "parsec"])
def test_m67_turn_off_has_the_age_of_the_literature(m67, source, shared_data):
    name = f"dartmouth-native:{shared_data('dartmouth_gaia')}" if source == "native" else source
    result = estimate_ages(m67, source=name, show_progress=False)
    assert m67.sizes["star"] > 40
    assert aims.M67_AGE.met(float(result.age_median.median()))


@pytest.mark.parametrize(
    ("source", "aim"),
    [
        ("dartmouth", aims.KEPLER_OFFSET),
        ("parsec", aims.KEPLER_OFFSET),
        ("mist", aims.KEPLER_OFFSET_OF_ANY_FAMILY),
    ],
)
def test_kepler_dwarfs_agree_with_asteroseismology(kepler, source, aim):
    table, seismic = kepler
    result = estimate_ages(table, source=source, show_progress=False)
    offset = result.age_median.values - seismic
    assert np.isfinite(offset).sum() > 20
    assert aim.met(np.nanmedian(offset))
    assert aims.KEPLER_SCATTER.met(spread(offset / seismic).scatter)
    assert np.nanmedian(np.abs(offset) / seismic) < aims.KEPLER_SCATTER.high


def test_cool_dwarfs_are_not_as_old_as_their_isochrones(shared_data):
    """Why `evolved` leaves them out: they move, and are enriched, as stars of half the age are."""
    stars = read_catalog(shared_data("harps_gto/DelgadoMena2017.fits"), columns="harps-gto")
    stars = stars.merge(estimate_ages(correct_extinction(stars, source="none"), show_progress=False)
                        [["age_ml", "age_error"]])  # fmt: skip
    good = (stars["age_error"] < 0.25) & (stars["logg"] > 3.8) & np.isfinite(stars["ref_vZg"])
    old, cool = stars["age_ml"] > 12, stars["teff"] < 5400

    def look(which):
        few = stars.isel(star=np.flatnonzero((good & which).values))
        v_z = few["ref_vZg"].values
        spread = 1.4826 * np.median(np.abs(v_z - np.median(v_z)))
        return few.sizes["star"], spread, float(few["alpha_fe"].median())

    n, cold, poor = look(old & cool)
    m, hot, rich = look(old & ~cool)
    middle = look((stars["age_ml"] > 5) & (stars["age_ml"] < 8) & ~cool)
    for name, found in {"cool": (n, cold, poor), "hot": (m, hot, rich), "5-8": middle}.items():
        print("{}: {} stars, {:.1f} km/s, {:.3f} dex".format(name, *found))
    assert n > 2 * m
    assert cold < 0.7 * hot
    assert poor < rich - 0.1
