"""Tables of shares: what they give is what counting by hand gives, and defects are refused."""

import re

import numpy as np
import pytest
import xarray as xr
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import Table
from astropy_healpix import HEALPix

from migrate_bayes.catalog.passbands import OTHER_BANDS, in_band
from migrate_bayes.core.errors import CatalogError
from migrate_bayes.inject.completeness_options import ShareOptions
from migrate_bayes.inject.share_files import read_share
from migrate_bayes.inject.shares import Shares, value_of


@pytest.fixture(scope="module")
def stars():
    """Stars all over the sky, behind some dust."""
    rng, n = np.random.default_rng(1), 4000
    colour, a_v = rng.uniform(0.5, 1.6, n), rng.exponential(0.5, n)
    star = {
        "ra": rng.uniform(0.0, 360.0, n), "dec": np.degrees(np.arcsin(rng.uniform(-1, 1, n))),
        "g": rng.uniform(8.0, 18.0, n), "bp_rp": colour,
    }  # fmt: skip
    star["rp"] = star["g"] - 0.59 * colour - 0.2 * a_v
    star["bp"] = star["rp"] + colour + 0.42 * a_v
    return star


@pytest.fixture
def written(tmp_path):
    """A function that writes a table, and reads it as shares."""

    def of(columns, /, *, name="share.ecsv", meta=None, **entries):
        path = tmp_path / name
        Table(columns, meta=meta).write(path, overwrite=True)
        return read_share(ShareOptions(path=str(path), **entries))

    return of


def test_magnitudes_and_colours(stars):
    colour = stars["bp"] - stars["rp"]
    np.testing.assert_array_equal(value_of("G", stars), stars["g"])
    np.testing.assert_array_equal(value_of("BP-RP", stars), colour)
    h, k = (in_band(band, stars["g"], colour) for band in ("H", "Ks"))
    np.testing.assert_array_equal(value_of("H-Ks", stars), h - k)
    # Without dust: the same star in front of it.
    bare = stars | {"rp": stars["g"] - 0.59 * stars["bp_rp"]}
    bare["bp"] = bare["rp"] + stars["bp_rp"]
    for name in ("J-Ks", "G-RP", "BP-H", "g-i"):
        np.testing.assert_allclose(value_of(f"({name})0", stars), value_of(name, bare), atol=1e-9)


def test_bands_of_the_sun():
    """The Sun of Willmer (2018, ApJS 236, 47), M_G = 4.67, within the scatter of the relations."""
    sun = {"g": 5.11, "r": 4.65, "i": 4.53, "J": 3.67, "H": 3.32, "Ks": 3.27}
    for band in OTHER_BANDS:
        assert in_band(band, 4.67, 0.82) == pytest.approx(sun[band], abs=0.15)


def test_points_are_joined_by_lines_and_held_beyond(stars, written):
    table = written({"G": [10.0, 14.0, 16.0], "share": [1.0, 0.5, 0.0]})
    expected = np.interp(stars["g"], [10.0, 14.0, 16.0], [1.0, 0.5, 0.0])
    np.testing.assert_allclose(table.of(stars), expected, atol=1e-15)
    assert table.outside(stars) == {"G": np.mean((stars["g"] < 10.0) | (stars["g"] > 16.0))}


def test_a_share_of_two_axes_is_the_product_of_two_tables(stars, written):
    g, c = np.array([8.0, 12.0, 19.0]), np.array([0.0, 0.7, 1.0, 3.0])
    of_g, of_c = np.array([1.0, 0.7, 0.2]), np.array([0.3, 1.0, 0.8, 0.1])
    both = np.meshgrid(np.arange(3), np.arange(4), indexing="ij")
    i, j = (index.ravel()[::-1] for index in both)  # rows in any order
    one = written({"G": g[i], "BP-RP": c[j], "share": of_g[i] * of_c[j]})
    first = written({"G": g, "share": of_g}, name="a.ecsv")
    second = written({"colour": c, "share": of_c}, name="b.csv", columns={"BP-RP": "colour"})
    product = Shares((first, second)).of(stars)
    np.testing.assert_allclose(Shares((one,)).of(stars), product, rtol=1e-12)
    assert product.std() > 0.1


@pytest.mark.parametrize(("ordering", "frame"), [("ring", "galactic"), ("nested", "icrs")])
def test_pixels_are_those_of_an_independent_count(stars, written, ordering, frame):
    nside = 4
    sky = HEALPix(nside, ordering, frame="galactic" if frame == "galactic" else "icrs")
    where = SkyCoord(stars["ra"] * u.deg, stars["dec"] * u.deg)
    pixel = sky.skycoord_to_healpix(where)
    share = np.random.default_rng(2).random(12 * nside**2)
    kept = np.random.default_rng(3).permutation(12 * nside**2)[:150]
    table = written(
        {"ipix": kept, "share": share[kept]}, columns={"healpix": "ipix"},
        meta={"NSIDE": nside, "ORDERING": ordering.upper(), "COORDSYS": frame.upper()},
    )  # fmt: skip
    expected = np.where(np.isin(pixel, kept), share[pixel], 0.0)
    np.testing.assert_array_equal(table.of(stars), expected)
    assert table.outside(stars)["place"] == pytest.approx(np.mean(~np.isin(pixel, kept)))


def test_an_array_on_pixels_and_magnitude(stars, tmp_path):
    """A NetCDF, as of gaiaunlimited: the bits of the same table in rows."""
    npix, g = 48, np.array([8.0, 13.0, 18.0])
    share = np.random.default_rng(4).random((3, npix))
    data = xr.Dataset({"p": (("g", "ipix"), share)}, {"g": g[::-1], "ipix": np.arange(npix)})
    data.to_netcdf(tmp_path / "share.nc")
    names = {"healpix": "ipix", "G": "g", "share": "p"}
    entries = {"columns": names, "ordering": "nested", "frame": "icrs"}
    table = read_share(ShareOptions(path=str(tmp_path / "share.nc"), **entries))
    pixel = HEALPix(2, "nested").lonlat_to_healpix(stars["ra"] * u.deg, stars["dec"] * u.deg)
    expected = [np.interp(x, g, share[::-1, k]) for x, k in zip(stars["g"], pixel, strict=True)]
    np.testing.assert_allclose(table.of(stars), expected, atol=1e-14)
    frame = data["p"].to_dataframe().reset_index()
    Table.from_pandas(frame).write(tmp_path / "share.fits")
    rows = read_share(ShareOptions(path=str(tmp_path / "share.fits"), **entries, nside=2))
    np.testing.assert_array_equal(rows.of(stars), table.of(stars))


def test_fields_and_cohorts_against_counting_by_hand(stars, written):
    """Circles that overlap, each with bins of H and of a colour without dust."""
    rng, n = np.random.default_rng(5), 12
    ra, dec, radius = rng.uniform(0, 360, n), rng.uniform(-60, 60, n), rng.uniform(10, 40, n)
    cohorts = [(7.0, 12.2, 0.5, 0.8), (7.0, 12.2, 0.8, 9.0), (12.2, 13.3, 0.5, 9.0)]
    rows = [(a, d, r, *box) for a, d, r in zip(ra, dec, radius, strict=True) for box in cohorts]
    names = ["ra", "dec", "radius", "H_min", "H_max", "(J-Ks)0_min", "(J-Ks)0_max"]
    share = rng.random(len(rows))
    columns = dict(zip(names, np.array(rows).T, strict=True))
    table = written(columns | {"share": share})
    where = SkyCoord(stars["ra"] * u.deg, stars["dec"] * u.deg)
    h, jk = value_of("H", stars), value_of("(J-Ks)0", stars)
    missed = np.ones(len(h))
    for (a, d, r, h0, h1, c0, c1), p in zip(rows, share, strict=True):
        near = where.separation(SkyCoord(a * u.deg, d * u.deg)).deg < r
        inside = near & (h >= h0) & (h < h1) & (jk >= c0) & (jk < c1)
        missed[inside] *= 1.0 - p
    np.testing.assert_allclose(table.of(stars), 1.0 - missed, atol=1e-14)
    assert 0.05 < np.mean(missed < 1.0) < 0.9
    none = {name: values[:0] for name, values in stars.items()}
    assert table.of(none).shape == (0,)


_GOOD = {"G": [10.0, 12.0], "share": [1.0, 0.5]}
_PIXELS = {"healpix": [0, 1], "share": [1.0, 0.5]}
_NESTED = {"NSIDE": 1, "ORDERING": "NESTED", "COORDSYS": "C"}
_FIELD = {"ra": [10.0], "dec": [5.0], "radius": [1.0], "share": [0.5]}
_BIN = {"H_min": [7.0, 12.2], "H_max": [12.2, 13.0], "share": [0.5, 0.4]}


@pytest.mark.parametrize(
    ("columns", "entries", "words"),
    [
        (_GOOD | {"share": [1.0, 1.2]}, {}, "'share' is 1.2, not from 0 to 1 in row 2"),
        (_GOOD | {"share": [-0.1, np.nan]}, {}, "'share' is -0.1, .* in row 1, and 1 more"),
        (_GOOD | {"share": [1.0, np.nan]}, {}, "'share' is missing in row 2"),
        (_GOOD | {"share": [0.0, 0.0]}, {}, "'share' is 0 everywhere"),
        (_GOOD | {"G": [10.0, np.nan]}, {}, "'G' is missing in row 2"),
        (_GOOD | {"G": ["a", "b"]}, {}, "'G' holds no numbers"),
        ({"G": [10.0, 10.0], "share": [1.0, 0.5]}, {}, "rows 1 and 2 are of the same place and"),
        ({"G": [10.0]}, {}, "no column 'share'"),
        ({"K": [10.0], "share": [1.0]}, {}, "no column is an axis .* of K, share: .* Ks"),
        (_GOOD, {"columns": {"H": "Hmag"}}, "no column 'Hmag' for H"),
        (_GOOD, {"columns": {"Z": "G"}}, "'Z' is nothing that injected stars have"),
        (
            {"G": [10.0, 10.0, 12.0], "BP-RP": [0.5, 1.0, 0.5], "share": [1.0, 0.5, 0.2]}, {},
            "1 of 4 combinations lack, the first at G 12, BP-RP 1",
        ),
        (_BIN | {"H_max": [12.2, 12.0]}, {}, "H_min is 12.2 and H_max 12 in row 2"),
        ({"H_min": [7.0], "share": [0.5]}, {}, "H_max lacks"),
        (_BIN | {"G": [1.0, 2.0]}, {}, "H has bins and G points"),
        ({n: [v[0]] * 2 for n, v in _BIN.items()}, {}, "1 and 2 are of the same place and bin"),
        ({"ra": [1.0], "share": [0.5]}, {}, "a field has ra, dec and radius; there is ra alone"),
        (_FIELD | {"dec": [95.0]}, {}, "'dec' is 95 in row 1, not from -90 to 90 deg"),
        (_FIELD | {"healpix": [1]}, {"meta": _NESTED}, "pixels and fields both"),
        (_PIXELS, {}, "does not say .NSIDE.*set `nside`"),
        (_PIXELS, {"nside": 1, "frame": "icrs"}, "does not say .ORDERING.*set `ordering`"),
        (_PIXELS, {"nside": 1, "ordering": "ring"}, "does not say .COORDSYS.*set `frame`"),
        (_PIXELS | {"healpix": [0, 12]}, {"meta": _NESTED}, "pixel 12 in row 2, which nside = 1"),
        (_PIXELS | {"healpix": [3, 3]}, {"meta": _NESTED}, "rows 1 and 2 are of the same place"),
        (_PIXELS, {"meta": _NESTED | {"NSIDE": 3}}, "nside is 3, no power of 2"),
    ],
)  # fmt: skip
def test_defects_of_a_table_are_refused(written, columns, entries, words):
    with pytest.raises(CatalogError, match=r"share\.ecsv: .*" + words):
        written(columns, **entries)


@pytest.mark.parametrize(
    ("share", "words"),
    [
        ((("healpix", "snr"), [[1.0], [0.5]]), "dimension snr, which is no axis"),
        ((("healpix", "G"), [[1.0], [2.0]]), "'share' is 2, not from 0 to 1 in healpix 1, G 0"),
    ],
)
def test_defects_of_an_array_are_refused(tmp_path, share, words):
    path = tmp_path / "share.nc"
    coords = {"healpix": [0, 1], "G": [0.0]} if "G" in share[0] else {"healpix": [0, 1]}
    xr.Dataset({"share": share}, coords, attrs=_NESTED).to_netcdf(path)
    with pytest.raises(CatalogError, match=r"share\.nc: .*" + words):
        read_share(ShareOptions(path=str(path)))


def test_a_file_that_is_none_is_refused(tmp_path):
    with pytest.raises(CatalogError, match=r"there is no file nowhere\.ecsv"):
        read_share(ShareOptions(path="nowhere.ecsv"))
    for name in ("broken.fits", "broken.nc", "broken.csv"):
        (tmp_path / name).write_bytes(b"\x00\x01 no table\n\x02")
        with pytest.raises(CatalogError, match=re.escape(name)):
            read_share(ShareOptions(path=str(tmp_path / name)))
