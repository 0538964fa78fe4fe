"""Ages of real stars: M67's turn-off and subgiants, Kepler dwarfs with asteroseismic ages."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from migrate_bayes.catalog import correct_extinction, read_catalog
from migrate_bayes.checks.ages import aims, spread
from migrate_bayes.checks.ages.statistics import line_through
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


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*rv_err")
def test_the_offset_of_open_clusters_is_set_by_the_young_ones(shared_data):
    """Figure 1 by the paper's choices: no age on a grid from 1 Gyr has its +0.66 Gyr here."""
    surveys = [
        correct_extinction(read_catalog(shared_data(f"open_clusters/lamost_{which}_members.csv"),
                                        columns="lamost-clusters"), source="a_v")
        for which in ("lrs", "mrs")
    ]  # fmt: skip
    native = f"dartmouth-native:{shared_data('dartmouth_gaia')}"
    # 0.25 Gyr apart to 5 Gyr and 0.5 Gyr from there, from 1 Gyr on: section 2.1.1.
    paper = {"source": native, "method": "paper", "feh_scale": "initial",
             "ages": (*np.arange(1, 5, 0.25), *np.arange(5, 14.6, 0.5))}  # fmt: skip
    medians = {}
    for way, options, least_snr, kind in (
        ("recipe", {}, 0.0, "age_median"), ("paper", paper, 50.0, "age_ml"),
    ):  # fmt: skip
        stars = []
        for survey in surveys:
            ages = estimate_ages(survey, observables=("teff", "logg", "feh", "abs_g"),
                                 show_progress=False, **options)  # fmt: skip
            # Medium resolution gives hot stars of h and χ Persei [Fe/H] about -2.3.
            good = (ages["age_error"] < 0.25) & np.isfinite(survey["age"]) & (survey["feh"] > -1)
            if "snr_g" in survey:
                good &= survey["snr_g"] > least_snr
            names = ("age", "feh", "ref_cluster")
            frame = pd.DataFrame({name: survey[name].values for name in names})
            frame["offset"] = ages[kind].values - frame.age
            stars.append(frame[good.values])
        clusters = pd.concat(stars).groupby("ref_cluster").filter(lambda c: len(c) > 1)
        clusters = clusters.groupby("ref_cluster").median()
        old = clusters[clusters.age > 1]
        slope, error = line_through(clusters.feh, clusters.offset)
        young = clusters[clusters.age < 1]
        young_slope, young_error = line_through(young.feh, young.offset)
        floor = np.maximum(1 - clusters.age, 0).median()
        print(
            f"{way}: {len(clusters)} clusters, median offset {clusters.offset.median():+.2f} Gyr "
            f"(least possible from 1 Gyr on {floor:+.2f}), trend {slope:+.1f} ± {error:.1f}; "
            f"{len(old)} older than 1 Gyr {', '.join(f'{o:+.2f}' for o in old.offset)}; trend of "
            f"the younger {young_slope:+.1f} ± {young_error:.1f}"
        )
        medians[way] = clusters.offset.median(), floor, old.offset.mean()
    for median, floor, of_old in medians.values():
        assert floor > 0.66
        assert median > floor
        assert of_old < median
