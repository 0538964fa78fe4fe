"""A streamed catalogue: bit for bit what reading it whole gives, and its faults said at once."""

from __future__ import annotations

import gzip

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from astropy.table import MaskedColumn, Table

from migrate_bayes.catalog import (
    correct_extinction,
    iter_catalog,
    mark_duplicates,
    open_catalog,
    quality_cuts,
    read_catalog,
    write_catalog,
)
from migrate_bayes.catalog.quality import find_repeats, friends_of_friends
from migrate_bayes.core.errors import CatalogError, ProductError, RecipeError
from migrate_bayes.core.flags import StarFlag

# The awkward catalogue has a negative distance, of which every reading warns.
pytestmark = pytest.mark.filterwarnings("ignore::migrate_bayes.core.errors.CatalogWarning")

ENDINGS = ["fits", "ecsv", "csv", "vot", "parquet"]
N = 41


@pytest.fixture(scope="module")
def awkward(make_catalog):
    """Repeats, missing values, and columns that are wholly missing for long stretches."""
    catalog = make_catalog(N, seed=11).drop_vars(
        ["abs_g", "abs_g_error", "bp_rp", "bp_rp_error", "flag", "star_key"]
    )
    catalog["ra"][30:34], catalog["dec"][30:34] = catalog["ra"][3], catalog["dec"][3]
    catalog["ra"][35] = np.nan
    catalog["snr_g"][30:36] = [60, 300, 20, 300, np.nan, 80]
    catalog["snr_r"][30:34] = catalog["snr_i"][30:34] = 70.0
    catalog["snr_r"][3] = catalog["snr_i"][3] = catalog["snr_g"][3] = 45.0
    catalog["teff"][4] = np.nan
    catalog["alpha_fe"][:25] = np.nan
    catalog["phot_bp_mean_mag"][10:] = np.nan
    catalog["distance"][7], catalog["a_v"][8] = -1.0, np.nan
    catalog["ref_age50"] = ("star", np.linspace(1, 9, N), {"units": "Gyr"})
    catalog["ref_age50"][:20] = np.nan
    return catalog


def whole(path, **options):
    catalog = quality_cuts(mark_duplicates(read_catalog(path, **options)), min_snr=50.0)
    return correct_extinction(catalog, source="a_v")


def concat(parts):
    return xr.concat(list(parts), dim="star", combine_attrs="identical")


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("text", [False, True])
def test_chunks_are_the_whole_bit_for_bit(tmp_path, awkward, ending, text):
    catalog = awkward
    if text:
        # Of growing length: their width must not depend on the chunk either.
        names = np.array(["HD " + "7" * (1 + i // 4) + str(i) for i in range(N)])
        catalog = catalog.assign_coords(source_id=("star", names))
    path = write_catalog(catalog, tmp_path / f"stars.{ending}")
    expected = whole(path)
    repeat = (expected["flag"].values & StarFlag.DUPLICATE) != 0
    assert np.flatnonzero(repeat).tolist() == [3, 30, 32, 33]
    assert expected["source_id"].dtype.kind == ("U" if text else "i")
    stream = open_catalog(path, extinction="a_v")
    assert stream.n_stars == N
    assert stream.whole == (ending == "vot")
    for chunk_size in (1, 7, 20, N, 1000):
        parts = list(stream.chunks(chunk_size))
        assert [p.sizes["star"] for p in parts[:-1]] == [chunk_size] * (len(parts) - 1)
        xr.testing.assert_identical(concat(parts), expected)
        assert all(p["flag"].dtype == np.int32 for p in parts)


def test_gzipped_fits_and_ascii_tables_are_read_whole_and_equal(tmp_path, awkward):
    path = write_catalog(awkward, tmp_path / "stars.fits")
    packed = tmp_path / "stars.fits.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    stream = open_catalog(packed, extinction="a_v")
    assert stream.whole
    expected = whole(path)
    expected.attrs["file"] = packed.name
    xr.testing.assert_identical(concat(stream.chunks(6)), expected)


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("integers, then decimals", ["5", "6", "7", "8", "5.5", "6.25", "1e3", "0.1"]),
        ("nothing, then numbers", ["", "", "", "", "", "", "1.5", "2"]),
        ("numbers, then nothing", ["1.5", "2", "3", "4", "", "", "nan", "NaN"]),
        ("truth values, then numbers", ["True", "False", "True", "True", "0", "1", "2", "3"]),
        ("large integers", ["9007199254740993", "1", "2", "3", "0.5", "", "4", "5"]),
    ],
)
def test_a_column_whose_type_differs_by_chunk(tmp_path, name, column):
    n = len(column)
    ids = [str(4_611_686_018_427_387_905 + i) for i in range(n)]
    frame = pd.DataFrame(
        {"source_id": ids, "ra": np.arange(n) * 1.0, "dec": np.zeros(n), "ref_x": column}
    )
    path = tmp_path / "stars.csv"
    frame.to_csv(path, index=False)
    expected = read_catalog(path)
    if name.startswith("truth"):
        np.testing.assert_array_equal(expected["ref_x"], [1, 0, 1, 1, 0, 1, 2, 3])
    for chunk_size in (1, 2, 3, 4, 5):
        parts = list(iter_catalog(path, chunk_size=chunk_size))
        assert {p["ref_x"].dtype for p in parts} == {np.dtype(np.float64)}
        xr.testing.assert_identical(concat(parts), expected)


def test_null_integers_and_truth_values_of_parquet(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table(
        {
            "source_id": pa.array(range(6), pa.int64()),
            "ra": pa.array([1, 2, 3, None, 5, 6], pa.int32()),
            "dec": pa.array([1.5, 2, 3, 4, None, 6], pa.float32()),
            "ref_ok": pa.array([True, False, True, None, True, False]),
        }
    )
    path = tmp_path / "stars.parquet"
    pq.write_table(table, path, row_group_size=4)
    expected = read_catalog(path)
    np.testing.assert_array_equal(expected["ref_ok"], [1, 0, 1, np.nan, 1, 0])
    np.testing.assert_array_equal(expected["ra"], [1, 2, 3, np.nan, 5, 6])
    for chunk_size in (1, 2, 3, 5):
        xr.testing.assert_identical(concat(iter_catalog(path, chunk_size=chunk_size)), expected)


def test_masked_integers_of_fits(tmp_path):
    table = Table({"source_id": np.arange(6), "ra": np.arange(6.0), "dec": np.zeros(6)})
    table["teff"] = MaskedColumn([1, 5800, 1, 2, 5900, 6000], mask=[1, 0, 1, 1, 0, 0])
    table.write(tmp_path / "stars.fits")
    expected = read_catalog(tmp_path / "stars.fits")
    np.testing.assert_array_equal(expected["teff"], [np.nan, 5800, np.nan, np.nan, 5900, 6000])
    parts = iter_catalog(tmp_path / "stars.fits", chunk_size=1)
    xr.testing.assert_identical(concat(parts), expected)


# Faults are said when the file is opened, before any work on its stars ------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"teff_error": -1.0}, r"1 negative values of teff_error.*in row 41"),
        ({"source_id": 0}, r"1 identifiers stand for stars.*: 10000000000\."),
    ],
)
def test_faults_of_the_last_row(tmp_path, awkward, change, message):
    catalog = awkward.copy(deep=True)
    for name, value in change.items():
        if name == "source_id":
            catalog["source_id"][-1] = catalog["source_id"][0]
        else:
            catalog[name][-1] = value
    path = write_catalog(catalog, tmp_path / "stars.parquet")
    with pytest.raises(CatalogError, match=message):
        open_catalog(path, extinction="a_v")


def test_faults_of_settings(tmp_path, awkward):
    path = write_catalog(awkward, tmp_path / "stars.parquet")
    with pytest.raises(CatalogError, match="has no ebv"):
        open_catalog(path, extinction="ebv")
    with pytest.raises(RecipeError, match=r"'duplicate_radius': .* less than or equal to 60"):
        open_catalog(path, duplicate_radius=1e4)
    with pytest.raises(CatalogError, match="chunk_size must be at least 1"):
        next(open_catalog(path).chunks(0))
    bare = write_catalog(awkward.drop_vars("ra"), tmp_path / "bare.parquet")
    with pytest.raises(CatalogError, match="no ra and dec"):
        open_catalog(bare)
    assert open_catalog(bare, duplicate_radius=None).n_stars == N


@pytest.mark.parametrize("rows", [N - 5, N + 5])
def test_a_file_that_changes_meanwhile(tmp_path, awkward, make_catalog, rows):
    path = write_catalog(awkward, tmp_path / "stars.parquet")
    stream = open_catalog(path, extinction=None)
    other = awkward.isel(star=np.arange(rows) % N)
    write_catalog(other, path, overwrite=True)
    with pytest.raises(CatalogError, match="has changed since it was opened"):
        list(stream.chunks(20))


def test_settings_can_be_left_out(tmp_path, awkward):
    path = write_catalog(awkward, tmp_path / "stars.parquet")
    stream = open_catalog(path, duplicate_radius=None, min_snr=None, extinction=None)
    xr.testing.assert_identical(concat(stream.chunks(9)), read_catalog(path))


def test_repeats_are_those_of_a_sort_of_all_stars():
    rng = np.random.default_rng(2)
    n = 3000
    ra, dec = rng.uniform(0, 0.08, n), rng.uniform(-0.04, 0.04, n)
    snr = rng.integers(20, 60, n).astype(float)  # ties
    repeat = find_repeats(ra, dec, snr, radius_arcsec=5.0)
    group = friends_of_friends(ra, dec, radius_arcsec=5.0)
    best = {}
    for i in range(n):
        kept = best.setdefault(group[i], i)
        if snr[i] > snr[kept]:
            best[group[i]] = i
    np.testing.assert_array_equal(np.flatnonzero(~repeat), sorted(best.values()))
    assert 0.1 < repeat.mean() < 0.9


# Writing in chunks -----------------------------------------------------------------------------


def test_parquet_is_the_same_bytes_whatever_the_chunks(tmp_path, awkward, monkeypatch):
    monkeypatch.setattr("migrate_bayes.catalog.writing.ROW_GROUP", 16)
    files = []
    for size in (1, 5, 16, 17, 100):
        path = tmp_path / f"{size}.parquet"
        starts = range(0, N, size)
        write_catalog((awkward.isel(star=slice(i, i + size)) for i in starts), path)
        files.append(path.read_bytes())
    assert len(set(files)) == 1
    again = pd.read_parquet(path)
    assert list(again) == ["source_id", *awkward.data_vars]
    for name in again:
        np.testing.assert_array_equal(again[name], awkward[name], err_msg=name)


def test_interrupted_or_uneven_parquet_leaves_nothing(tmp_path, awkward):
    uneven = [awkward, awkward.drop_vars("teff")]
    with pytest.raises(ProductError, match="other columns than the first"):
        write_catalog(uneven, tmp_path / "a.parquet")
    with pytest.raises(CatalogError, match="chunks can be written to Parquet only"):
        write_catalog(uneven, tmp_path / "a.fits")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("row_group", [2000, 200_000])
def test_reading_parquet_holds_little_of_it(tmp_path, row_group):
    # Read ahead, as is pyarrow's default, the whole file came to be held: 20 MB and more here.
    import pyarrow as pa
    import pyarrow.parquet as pq

    n = 200_000
    rng = np.random.default_rng(0)
    columns = {"source_id": np.arange(n), "ra": np.zeros(n), "dec": np.zeros(n)}
    columns |= {f"ref_{i}": rng.normal(size=n) for i in range(9)}
    path = tmp_path / "stars.parquet"
    pq.write_table(pa.table(columns), path, row_group_size=row_group, use_dictionary=False)
    held = [pa.total_allocated_bytes() for _ in iter_catalog(path, chunk_size=3000)]
    assert len(held) == 67
    assert max(held) < 10e6
