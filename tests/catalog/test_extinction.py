"""The Gaia law, its inversion, and the errors of absolute magnitudes."""

from __future__ import annotations

import importlib.util
import sys
import warnings
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from scipy.interpolate import RegularGridInterpolator
from scipy.optimize import brentq

from migrate_bayes.catalog import correct_extinction
from migrate_bayes.catalog.extinction import BANDS, _opened, deredden, extinction_ratio
from migrate_bayes.core.errors import CatalogError
from migrate_bayes.core.flags import StarFlag

NAN = np.array([np.nan])


def strip(catalog):
    """Leave what a file would hold."""
    return catalog.drop_vars(["abs_g", "abs_g_error", "bp_rp", "bp_rp_error"])


def invert(observed, a0, table):
    def excess(c):
        k = [float(extinction_ratio(b, a0, bp_rp=c, main_sequence=table)) for b in ("BP", "RP")]
        return c + a0 * (k[0] - k[1]) - observed

    return brentq(excess, -0.06, 2.5, xtol=1e-14)


@pytest.mark.parametrize("main_sequence", [False, True])
def test_deredden_inverts_reddening(main_sequence):
    colour = np.linspace(0.0, 2.3, 40)
    absolute = np.full(40, 9.0 if main_sequence else 1.0)
    for a0 in (0.01, 0.05, 0.7, 3.0, 8.0, 15.0):
        a = np.full(40, a0)
        k = {b: extinction_ratio(b, a, bp_rp=colour, main_sequence=main_sequence) for b in BANDS}
        observed = colour + a0 * (k["BP"] - k["RP"])
        a_g, e = deredden(
            a,
            bp_rp_observed=observed,
            teff=np.full(40, np.nan),
            abs_g_reddened=absolute + k["G"] * a0,
        )
        np.testing.assert_allclose(observed - e, colour, atol=1e-9)
        np.testing.assert_allclose(a_g, k["G"] * a0, rtol=1e-9)


def test_deredden_against_a_root_finder():
    got = 1.4 - deredden(np.array([1.3]), bp_rp_observed=np.array([1.4]), teff=NAN,
                         abs_g_reddened=NAN)[1]  # fmt: skip
    np.testing.assert_allclose(got, invert(1.4, 1.3, False), atol=1e-10)


def test_workers_do_not_matter():
    rng = np.random.default_rng(6)
    n = 150_000
    given = {
        "bp_rp_observed": rng.uniform(0.3, 3, n),
        "teff": rng.uniform(4000, 7000, n),
        "abs_g_reddened": rng.uniform(0, 9, n),
    }
    a0 = rng.uniform(0, 3, n)
    one, two = (deredden(a0, **given, workers=w) for w in (1, 2))
    np.testing.assert_array_equal(one, two)
    part = deredden(a0[777:], **{k: v[777:] for k, v in given.items()}, workers=1)
    np.testing.assert_array_equal(one[0][777:], part[0])


def test_the_two_forms_of_the_law_agree_for_the_sun():
    # Solar BP-RP is 0.82 (Casagrande & VandenBerg 2018): colour and T_eff say the same star.
    for band in BANDS:
        for table in (False, True):
            by_colour = extinction_ratio(band, 0.5, bp_rp=0.82, main_sequence=table)
            by_teff = extinction_ratio(band, 0.5, teff=5772.0, main_sequence=table)
            np.testing.assert_allclose(by_colour, by_teff, rtol=0.01)


def test_against_bolometric_corrections():
    """An independent synthesis: MIST bolometric corrections with and without A_V, R_V = 3.1."""
    spec = importlib.util.find_spec("lachesis")
    assert spec is not None
    assert spec.submodule_search_locations
    file = Path(spec.submodule_search_locations[0]) / "Datafiles" / "BC_tables" / "bc_tables.h5"
    import h5py

    with h5py.File(file) as h:
        group = h["UBVRIplus"]
        names = [b.decode() for b in group["band_names"][:]]
        solar = int(np.argmin(np.abs(group["feh_values"][:])))
        rows = group["data"][solar]
    teff, logg, a_v = (np.unique(rows[:, i]) for i in (0, 1, 3))
    shape = (teff.size, logg.size, a_v.size)
    order = np.lexsort((rows[:, 3], rows[:, 1], rows[:, 0]))
    for band in BANDS:
        column = rows[order, 5 + names.index(f"Gaia_{band}_EDR3")].reshape(shape)
        bc = RegularGridInterpolator((teff, logg, a_v), column)
        for t, g in ((4500.0, 2.5), (5750.0, 4.5), (6500.0, 4.0)):
            ratio = (bc([t, g, 0.0])[0] - bc([t, g, 1.0])[0]) / 1.0
            law = float(extinction_ratio(band, 1.0, teff=t))
            # Two curves (Fitzpatrick 2019; Cardelli et al. 1989) and A0 against A_V.
            assert abs(law / ratio - 1) < 0.05, (band, t, law, ratio)


def test_limits(make_catalog):
    catalog = strip(make_catalog(30))
    bare = correct_extinction(catalog, source="none")
    expected = catalog["phot_g_mean_mag"] - 5 * np.log10(catalog["distance"] * 100)
    np.testing.assert_allclose(bare["abs_g"], expected, atol=1e-12)
    np.testing.assert_array_equal(bare["a_g"], 0.0)
    np.testing.assert_allclose(
        bare["bp_rp"], catalog["phot_bp_mean_mag"] - catalog["phot_rp_mean_mag"]
    )
    assert "A_V = 0" in bare.attrs["extinction"]
    zero = catalog.assign(a_v=("star", np.zeros(30)))
    np.testing.assert_array_equal(correct_extinction(zero)["abs_g"], bare["abs_g"])
    dusty = correct_extinction(catalog)
    assert (dusty["abs_g"] < bare["abs_g"]).all()
    ratio = (dusty["a_g"] / catalog["a_v"]).values
    assert ((ratio > 0.7) & (ratio < 0.95)).all()


def test_recovers_the_truth_of_the_made_up_catalogue(make_catalog):
    truth = make_catalog(200)
    got = correct_extinction(strip(truth))
    # The fixture reddens with constant ratios, so only to a few hundredths of a magnitude per mag.
    assert float(np.abs(got["abs_g"] - truth["abs_g"]).max()) < 0.06
    assert float(np.abs(got["bp_rp"] - truth["bp_rp"]).max()) < 0.06


def test_error_budget(make_catalog):
    catalog = strip(make_catalog(10))
    out = correct_extinction(catalog)
    d = catalog["distance"].values
    half = 0.5 * (catalog["distance_hi"].values - catalog["distance_lo"].values)
    total = np.sqrt(
        catalog["phot_g_mean_mag_error"].values ** 2
        + (5 / np.log(10) * half / d) ** 2
        + (0.1 * out["a_g"].values) ** 2
    )
    np.testing.assert_allclose(out["abs_g_error"], total, rtol=1e-12)
    assert "10%" in out.attrs["extinction"]
    known = catalog.assign(a_v_error=("star", np.full(10, 0.2)))
    own = correct_extinction(known)
    ratio = (own["a_g"] / catalog["a_v"]).values
    total = np.sqrt(
        catalog["phot_g_mean_mag_error"].values ** 2
        + (5 / np.log(10) * half / d) ** 2
        + (ratio * 0.2) ** 2
    )
    np.testing.assert_allclose(own["abs_g_error"], total, rtol=1e-12)


def test_ebv_is_a_v_over_r_v(make_catalog):
    catalog = strip(make_catalog(10))
    by_a_v = correct_extinction(catalog, source="a_v")
    ebv = catalog.assign(ebv=("star", catalog["a_v"].values / 3.1)).drop_vars("a_v")
    np.testing.assert_allclose(correct_extinction(ebv)["abs_g"], by_a_v["abs_g"], rtol=1e-12)


def test_teff_where_there_is_no_colour(make_catalog):
    catalog = strip(make_catalog(30))
    full = correct_extinction(catalog)
    no_colour = catalog.drop_vars(["phot_bp_mean_mag", "phot_rp_mean_mag"])
    out = correct_extinction(no_colour)
    assert "bp_rp" not in out
    np.testing.assert_allclose(out["abs_g"], full["abs_g"], atol=0.03)
    observed = catalog["phot_bp_mean_mag"] - catalog["phot_rp_mean_mag"]
    other = correct_extinction(no_colour.assign(bp_rp_observed=observed))
    np.testing.assert_array_equal(other["abs_g"], full["abs_g"])


def test_star_with_nothing_to_go_by_is_flagged(make_catalog):
    catalog = strip(make_catalog(4))
    catalog["phot_bp_mean_mag"][0] = np.nan
    catalog["teff"][0] = np.nan
    catalog["distance"][1] = np.nan
    catalog["a_v"][2] = np.nan
    out = correct_extinction(catalog)
    lost = (out["flag"].values & StarFlag.MISSING_PHOTOMETRY) != 0
    assert lost.tolist() == [True, True, True, False]
    np.testing.assert_array_equal(np.isnan(out["abs_g"].values), lost)
    np.testing.assert_array_equal(np.isnan(out["abs_g_error"].values), lost)


def test_negative_extinction_is_zero(make_catalog):
    catalog = strip(make_catalog(2)).assign(a_v=("star", [-0.02, 0.0]))
    np.testing.assert_array_equal(correct_extinction(catalog)["a_g"], 0.0)


def test_unknown_and_absent_sources(make_catalog):
    catalog = strip(make_catalog(2))
    with pytest.raises(CatalogError, match="no ebv"):
        correct_extinction(catalog, source="ebv")
    with pytest.raises(CatalogError, match='or "none" if'):
        correct_extinction(catalog.drop_vars("a_v"))
    with pytest.raises(CatalogError, match="did you mean 'none'"):
        correct_extinction(catalog, source="nonw")
    with pytest.raises(CatalogError, match="no phot_g_mean_mag"):
        correct_extinction(catalog.drop_vars("phot_g_mean_mag"))


def test_map_without_the_package(make_catalog, monkeypatch):
    monkeypatch.setitem(sys.modules, "mwdust", None)
    with pytest.raises(CatalogError, match=r"pip install 'migrate-bayes\[dust\]'"):
        correct_extinction(strip(make_catalog(2)), source="mwdust:Combined15")


def test_map_is_asked_for_a_v_at_the_three_distances(make_catalog, monkeypatch):
    asked = []

    class Combined15:
        def __init__(self, filter=None, sf10=True):
            assert filter == "CTIO V"
            assert sf10

        def __call__(self, longitude, latitude, distance):
            asked.append((longitude, latitude))
            return 0.3 * np.asarray(distance)

    fake = ModuleType("mwdust")
    fake.Combined15 = Combined15
    monkeypatch.setitem(sys.modules, "mwdust", fake)
    catalog = strip(make_catalog(5)).drop_vars("a_v")
    # The north Galactic pole and the Galactic centre.
    catalog["ra"][:2], catalog["dec"][:2] = [192.85948, 266.40499], [27.12825, -28.93617]
    catalog["distance"][4] = np.nan
    out = correct_extinction(catalog, source="mwdust:Combined15")
    assert len(asked) == 4
    np.testing.assert_allclose(asked[0][1], 90.0, atol=1e-4)
    np.testing.assert_allclose([asked[1][0] % 360, asked[1][1]], [0.0, 0.0], atol=1e-4)
    given = catalog.assign(a_v=("star", 0.3 * catalog["distance"].values))
    np.testing.assert_allclose(out["abs_g"], correct_extinction(given)["abs_g"], rtol=1e-12)
    alone = correct_extinction(catalog, source="mwdust:Combined15", distance_aware=False)
    assert (out["abs_g_error"][:4] > alone["abs_g_error"][:4]).all()
    assert out.attrs["extinction"].startswith("mwdust:Combined15")
    with pytest.raises(CatalogError, match="did you mean 'Combined15'"):
        correct_extinction(catalog, source="mwdust:Combined51")


DENSITY = 3e-4  # of the map's unit, per pc


@pytest.fixture
def edenhofer(tmp_path, monkeypatch):
    """A file as dustmaps reads it: the same dust everywhere, between 50 and 650 pc."""
    pytest.importorskip("healpy")
    maps = pytest.importorskip("dustmaps.edenhofer2023")
    edges = np.arange(50.0, 651.0, 100.0)
    dust = fits.PrimaryHDU(np.full((6, 12), DENSITY))
    inner = fits.ImageHDU(np.full(12, 50 * DENSITY), name="integrated inner")
    for hdu in (dust, inner):
        hdu.header.update(NSIDE=1, ORDERING="NESTED")
    inner.header["CTYPE"] = "inner density integrated within 50.0pc"
    tables = [
        fits.BinTableHDU.from_columns([fits.Column(name=f"radial pixel {n}", format="D", array=a)])
        for n, a in (("centers", edges[:-1] + 50.0), ("boundaries", edges))
    ]
    (tmp_path / "edenhofer_2023").mkdir()
    path = tmp_path / "edenhofer_2023/mean_and_std_healpix.fits"
    fits.HDUList([dust, inner, *tables]).writeto(path)
    monkeypatch.setattr(maps, "data_dir", lambda: str(tmp_path))
    _opened.cache_clear()
    yield maps.Edenhofer2023Query(integrated=True)
    _opened.cache_clear()


def test_each_star_is_served_by_the_first_map_that_reaches_it(make_catalog, edenhofer):
    catalog = strip(make_catalog(6))
    distance = np.array([0.05, 0.3, 0.3, 0.9, 0.3, np.nan])
    catalog["distance"][:] = distance
    catalog["distance_lo"][:], catalog["distance_hi"][:] = 0.9 * distance, 1.1 * distance
    catalog["distance_hi"][2] = 0.8  # beyond the map, and the star within
    catalog["a_v"][3] = 0.7
    catalog["a_v"][4] = np.nan
    sources = ["dustmaps:edenhofer2023", "a_v"]
    out = correct_extinction(catalog, source=sources)
    served = out["extinction_map"]
    assert served.values.tolist() == [0, 0, 0, 1, 0, 1]
    assert dict(zip(served.flag_values, served.flag_meanings.split(), strict=True))[1] == "a_v"

    def at(parsecs):
        place = SkyCoord([0.0], [0.0], [parsecs], unit=("deg", "deg", "pc"), frame="galactic")
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
            return 2.8 * edenhofer(place).item()

    nearest, there = at(100.01), at(300.0)
    assert there == pytest.approx(2.8 * 300 * DENSITY, rel=0.2)  # of cells of 100 pc
    expected = catalog.assign(a_v=("star", [0.5 * nearest, there, there, 0.7, there, np.nan]))
    want = correct_extinction(expected, source="a_v")
    np.testing.assert_allclose(out["abs_g"][:5], want["abs_g"][:5], rtol=1e-4)
    assert np.isnan(out["abs_g"][5])
    assert (out["abs_g_error"][:3] > want["abs_g_error"][:3]).all()
    assert "edenhofer2023, beyond it column a_v" in out.attrs["extinction"]
    alone = correct_extinction(catalog, source="dustmaps:edenhofer2023")
    assert "extinction_map" not in alone
    assert (alone["flag"].values & StarFlag.MISSING_PHOTOMETRY != 0).tolist() == [
        False, False, False, True, False, True,
    ]  # fmt: skip
    nearby = correct_extinction(catalog, source=["dustmaps:edenhofer2023", "none"])
    assert nearby["a_g"].values[3] == 0.0


def test_a_map_without_its_file(make_catalog, tmp_path, monkeypatch):
    maps = pytest.importorskip("dustmaps.edenhofer2023")
    monkeypatch.setattr(maps, "data_dir", lambda: str(tmp_path))
    _opened.cache_clear()
    catalog = strip(make_catalog(2))
    with pytest.raises(CatalogError, match=r"no file of its map.*m\.fetch\(\)"):
        correct_extinction(catalog, source="dustmaps:edenhofer2023")
    with pytest.raises(CatalogError, match="did you mean 'dustmaps:edenhofer2023'"):
        correct_extinction(catalog, source="dustmaps:edenhofer2032")
    monkeypatch.setitem(sys.modules, "dustmaps", None)
    with pytest.raises(CatalogError, match=r"pip install 'migrate-bayes\[dust\]'"):
        correct_extinction(catalog, source=["a_v", "dustmaps:sfd"])
