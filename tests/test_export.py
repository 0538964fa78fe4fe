"""The catalogue in both formats: what is written reads back, with its metadata, in any chunks."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import xarray as xr
from astropy.io import fits
from astropy.io.votable.ucd import check_ucd, parse_ucd
from astropy.table import Table

from migrate_bayes.catalog import hats
from migrate_bayes.core.errors import ProductError
from migrate_bayes.core.flags import StarFlag
from migrate_bayes.export import (
    UCD_WORDS,
    catalogue_columns,
    export_catalogue,
    export_run,
    ucd_of,
)
from migrate_bayes.stars import open_stars, write_stars

N = 700


@pytest.fixture(scope="module")
def stars():
    rng = np.random.default_rng(5)
    flag = np.zeros(N, np.int32)
    flag[3] = int(StarFlag.DUPLICATE)
    ids = np.arange(N, dtype=np.int64) + 4_000_000_000_000_000_001
    ids[3] = ids[2]
    rg = rng.normal(8, 1, (N, 2))
    rg[7] = np.nan
    return xr.Dataset(
        {
            "ra": ("star", rng.uniform(0, 360, N), {"units": "deg", "long_name": "RA"}),
            "pmra": ("star", rng.normal(size=N), {"units": "mas/yr", "long_name": "proper motion"}),
            "v_phi": ("star", rng.normal(230, 20, N), {"units": "km/s", "long_name": "velocity"}),
            "feh": ("star", rng.normal(size=N), {"units": "dex", "long_name": "[Fe/H]"}),
            "alpha_fe": ("star", rng.normal(size=N), {"units": "dex", "long_name": "[α/Fe]"}),
            "age_ml": (
                "star", rng.uniform(1, 13, N).astype(np.float32),
                {"units": "Gyr", "long_name": "age of greatest likelihood"},
            ),
            "rg_mean": (
                ("star", "potential"), rg, {"units": "kpc", "long_name": "guiding radius"},
            ),
            "flag": ("star", flag, {"units": "", "long_name": "reasons"}),
            "star_key": ("star", rng.integers(0, 9, N).astype(np.uint64)),
            "log_age_likelihood": (("star", "age"), np.zeros((N, 3), np.float32)),
        },
        coords={
            "source_id": ("star", ids), "age": [1.0, 2.0, 3.0],
            "potential": ["McMillan17", "McMillan17 R0=8.0 V0=220.0"],
        },
        attrs={"seed": "7", "recipe_hash": "abc", "versions": json.dumps({"x": "1"})},
    )  # fmt: skip


@pytest.fixture(scope="module")
def membership(stars):
    # Fitted stars in an order of their own, the repeat observation not among them.
    rows = np.random.default_rng(1).permutation(np.setdiff1d(np.arange(0, N, 2), [3]))
    values = rows / N
    return xr.Dataset(
        {"p_thin": ("star", values), "age_population": ("star", 10 * values, {"units": "Gyr"})},
        coords={"source_id": ("star", stars["source_id"].values[rows])},
    )


def check(get, stars, membership):
    np.testing.assert_array_equal(get("source_id"), stars["source_id"].values)
    for name in ("ra", "feh", "age_ml", "flag"):
        np.testing.assert_array_equal(get(name), stars[name].values)
        assert get(name).dtype.kind == stars[name].dtype.kind
    second = get("rg_mean_McMillan17_R0_8_0_V0_220_0")
    np.testing.assert_array_equal(second, stars["rg_mean"].values[:, 1])
    p = np.asarray(get("p_thin"), float)
    assert np.isnan(p[1::2]).all()  # among them the repeat, whose identifier was fitted
    np.testing.assert_array_equal(p[::2], np.arange(0, N, 2) / N)


def test_parquet_reads_back(stars, membership, tmp_path):
    path, n = export_catalogue(stars, tmp_path / "s.parquet", membership=membership)
    assert n == N
    table = pq.read_table(path)
    check(lambda name: table[name].to_numpy(), stars, membership)
    field = table.schema.field("rg_mean_McMillan17")
    assert field.metadata[b"unit"] == b"kpc"
    assert field.metadata[b"ucd"].startswith(b"pos.distance;pos.galactocentric")
    assert field.metadata[b"description"] == b"guiding radius; in McMillan17"
    assert table.schema.metadata[b"migrate_bayes.seed"] == b"7"
    flags = json.loads(table.schema.metadata[b"migrate_bayes.flags"])
    assert flags["128"].startswith("repeat observation")
    assert not {"star_key", "log_age_likelihood"} & set(table.column_names)


def test_fits_reads_back(stars, membership, tmp_path):
    path, _ = export_catalogue(stars, tmp_path / "s.fits", membership=membership)
    with fits.open(path, checksum=False) as opened:
        opened.verify("exception")
        data, header = opened[1].data, opened[1].header
        check(lambda name: np.asarray(data[name]), stars, membership)
        place = opened[1].columns.names.index("pmra") + 1
        assert header[f"TUNIT{place}"] == "mas yr-1"
        assert header[f"TUCD{place}"] == "pos.pm;pos.eq.ra"
        assert header[f"TCOMM{place}"] == "proper motion"
        alpha = opened[1].columns.names.index("alpha_fe") + 1
        assert header[f"TCOMM{alpha}"] == "[alpha/Fe] [dex]"
        assert f"TUNIT{alpha}" not in header
        assert header["MIGRATE_BAYES RECIPE_HASH"] == "abc"
        assert path.stat().st_size % 2880 == 0
    table = Table.read(path)
    assert str(table["rg_mean_McMillan17"].unit) == "kpc"
    assert np.isnan(np.ma.getdata(table["rg_mean_McMillan17"])[7])


def test_text_identifiers(stars, tmp_path):
    names = np.array([f"2MASS J{i:08d}" for i in range(N)])
    text = stars.assign_coords(source_id=("star", names))
    path, _ = export_catalogue(text, tmp_path / "s.fits")
    assert list(Table.read(path)["source_id"][:2]) == ["2MASS J00000000", "2MASS J00000001"]
    path, _ = export_catalogue(text, tmp_path / "s.parquet")
    assert pq.read_table(path)["source_id"][5].as_py() == "2MASS J00000005"
    long = text.assign_coords(source_id=("star", np.full(N, "x" * 40)))
    with pytest.raises(ProductError, match="export to Parquet"):
        export_catalogue(long, tmp_path / "l.fits")
    assert not (tmp_path / "l.fits").exists()


@pytest.mark.parametrize("ending", ["fits", "parquet"])
def test_parts_of_a_run_make_the_same_table(stars, membership, tmp_path, ending):
    run = tmp_path / "run"
    write_stars(stars, run / "stars", part_size=97)
    tree = xr.DataTree.from_dict({"membership": membership})
    tree.to_netcdf(run / "fit.nc", engine="h5netcdf")
    path, _ = export_run(run, tmp_path / f"parts.{ending}")
    whole, _ = export_catalogue(
        open_stars(run / "stars").compute(), tmp_path / f"whole.{ending}", membership=membership
    )
    if ending == "fits":
        assert path.read_bytes() == whole.read_bytes()
    else:
        assert pq.read_table(path).to_pandas().equals(pq.read_table(whole).to_pandas())
    with pytest.raises(ProductError, match="exists already"):
        export_run(run, path)
    export_run(run, path, overwrite=True)


@pytest.fixture
def as_hats(stars, tmp_path, monkeypatch):
    monkeypatch.setattr(hats, "MOST", 40)
    placed = stars.assign(dec=("star", np.linspace(-90, 90, N), {"units": "deg"}))
    placed["log_age_likelihood"].values[:] = np.arange(3 * N).reshape(N, 3)
    write_stars(placed, tmp_path / "run" / "stars", part_size=97)
    return placed, export_run(tmp_path / "run", tmp_path / "s.hats")[0]


def test_hats_holds_each_star_once_in_the_file_of_its_pixel(as_hats):
    placed, path = as_hats
    pixels = np.loadtxt(path / "partition_info.csv", delimiter=",", skiprows=1, dtype=int)
    assert len(pixels) > 12
    found = []
    for order, pixel in pixels:
        folder = path / "dataset" / f"Norder={order}" / f"Dir={pixel // 10_000 * 10_000}"
        table = pq.read_table(folder / f"Npix={pixel}.parquet")
        place = table["_healpix_29"].to_numpy()
        assert (place >> 2 * (29 - order) == pixel).all()
        assert (np.diff(place) >= 0).all()
        assert len(table) <= 40
        found += table.to_pylist()
    stated = dict(
        line.split(" = ") for line in (path / "hats.properties").read_text().splitlines()[1:]
    )
    assert int(stated["hats_nrows"]) == len(found) == N
    found.sort(key=lambda row: row["dec"])
    assert [row["source_id"] for row in found] == placed["source_id"].values.tolist()
    assert found[5]["age_likelihood"] == {
        "age": [1.0, 2.0, 3.0], "log_age_likelihood": [15.0, 16.0, 17.0]
    }  # fmt: skip


def test_hats_is_opened_by_lsdb(as_hats):
    lsdb = pytest.importorskip("lsdb")
    placed, path = as_hats
    rows = lsdb.open_catalog(path).compute().sort_values("dec")
    np.testing.assert_array_equal(rows["source_id"], placed["source_id"])
    lists = rows["age_likelihood"].nest["log_age_likelihood"].to_numpy()
    np.testing.assert_array_equal(lists.reshape(N, 3), placed["log_age_likelihood"])


def test_hats_has_no_place_for_stars_without_one(stars, tmp_path):
    with pytest.raises(ProductError, match="HATS needs ra and dec"):
        export_catalogue(stars, tmp_path / "s.hats")
    lost = stars.assign(dec=("star", np.full(N, np.nan)))
    with pytest.raises(ProductError, match="700 stars have no position"):
        export_catalogue(lost, tmp_path / "s.hats")
    assert not (tmp_path / "s.hats").exists()


def test_memberships_of_a_fit_that_may_not_be_believed_are_said_to_be_none(
    stars, membership, tmp_path
):
    run = tmp_path / "run"
    write_stars(stars, run / "stars")
    tree = xr.DataTree.from_dict({"membership": membership})
    tree.attrs["pareto_k"] = 1.2
    tree.to_netcdf(run / "fit.nc", engine="h5netcdf")
    with pytest.warns(RuntimeWarning, match="no results: The fit may not be believed: Pareto"):
        path, _ = export_run(run, tmp_path / "s.parquet")
    assert b"limit < 0.7" in pq.read_schema(path).metadata[b"migrate_bayes.doubt"]


def test_what_cannot_be_exported(stars, tmp_path):
    with pytest.raises(ProductError, match="unknown kind of catalogue"):
        export_catalogue(stars, tmp_path / "s.csv")
    with pytest.raises(ProductError, match="no stars at"):
        export_run(tmp_path, tmp_path / "s.fits")
    alike = stars.assign_coords(potential=["a b", "a-b"])
    with pytest.raises(ProductError, match="too alike"):
        catalogue_columns(alike)


def test_ucds_are_of_the_controlled_vocabulary():
    names = [*UCD_WORDS, "feh_error", "ra_error", "rg_sd", "age_lo", "age_hi", "cov_rg_distance",
             "pmra_pmdec_corr", "snr_g", "distance_lo", "p_thin_sd"]  # fmt: skip
    for name in names:
        ucd = ucd_of(name)
        assert check_ucd(ucd, check_controlled_vocabulary=True), (name, ucd)
        parse_ucd(ucd, check_controlled_vocabulary=True)
    assert ucd_of("ra_error") == "stat.error;pos.eq.ra"
    assert ucd_of("ref_true_age") == ""
