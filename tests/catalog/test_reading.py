"""Reading: all formats give the same catalogue, whole or in chunks; errors name their cause."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from astropy.table import MaskedColumn, Table

from migrate_bayes.catalog import (
    column_map_names,
    iter_catalog,
    load_column_map,
    open_catalog,
    read_catalog,
    star_keys,
    write_catalog,
)
from migrate_bayes.catalog.maps import as_column_map
from migrate_bayes.core.errors import CatalogError, CatalogWarning, ProductError
from migrate_bayes.core.flags import StarFlag, count_flags

ENDINGS = ["fits", "ecsv", "csv", "vot", "parquet"]


def concat(parts):
    return xr.concat(list(parts), dim="star", combine_attrs="override")


def minimal(n=4, **changes):
    values = {
        "source_id": np.arange(n, dtype=np.int64) + 4_611_686_018_427_387_905,
        "ra": np.linspace(10.0, 20.0, n),
        "dec": np.linspace(-10.0, 10.0, n),
        "teff": np.full(n, 5800.0),
        "teff_error": np.full(n, 40.0),
    }
    return pd.DataFrame({**values, **changes})


def saved(tmp_path, frame, name="stars.csv"):
    path = tmp_path / name
    frame.to_csv(path, index=False)
    return path


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("text", [False, True])
def test_written_catalogue_reads_back_identical(tmp_path, make_catalog, ending, text):
    catalog = make_catalog(23, seed=3)
    if text:
        names = np.array([f"HD {i}" for i in range(23)])
        catalog = catalog.assign_coords(source_id=("star", names))
    catalog["teff"][4] = np.nan
    catalog["ref_age50"] = ("star", np.linspace(1, 9, 23), {"units": "Gyr"})
    path = write_catalog(catalog, tmp_path / f"stars.{ending}")
    again = read_catalog(path)
    for name in catalog.data_vars:
        if name in ("flag", "star_key"):
            continue
        np.testing.assert_array_equal(again[name].values, catalog[name].values, err_msg=str(name))
        if ending != "csv" or name != "ref_age50":
            assert again[name].attrs["units"] == catalog[name].attrs["units"], name
    np.testing.assert_array_equal(again["source_id"].values, catalog["source_id"].values)
    assert again["source_id"].dtype.kind == ("U" if text else "i")
    np.testing.assert_array_equal(again["star_key"], star_keys(catalog["source_id"].values))
    assert count_flags(again["flag"]) == {StarFlag.MISSING_PARAMETERS: 1}
    assert again["flag"].values[4] == StarFlag.MISSING_PARAMETERS
    assert again["flag"].dtype == np.int32


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("chunk_size", [1, 7, 23, 1000])
def test_chunks_concatenate_to_the_whole(tmp_path, make_catalog, ending, chunk_size):
    path = write_catalog(make_catalog(23, seed=3), tmp_path / f"stars.{ending}")
    parts = list(iter_catalog(path, chunk_size=chunk_size))
    assert [part.sizes["star"] for part in parts[:-1]] == [chunk_size] * (len(parts) - 1)
    xr.testing.assert_identical(concat(parts), read_catalog(path))


def test_parquet_row_groups_that_do_not_fit_the_chunks(tmp_path):
    path = tmp_path / "stars.parquet"
    minimal(25).to_parquet(path, row_group_size=4)
    xr.testing.assert_identical(concat(iter_catalog(path, chunk_size=7)), read_catalog(path))
    assert read_catalog(path).sizes["star"] == 25


def test_units_are_converted_and_stripped(tmp_path):
    table = Table.from_pandas(minimal())
    table["ra"] = np.radians(table["ra"])
    table["ra"].unit = "rad"
    table["pmra"] = np.array([1.0, -2.0, 3.0, 4.0])
    table["pmra"].unit = "arcsec/yr"
    table["radial_velocity"] = np.array([1.0, 2.0, 3.0, -4.0]) * 1e3
    table["radial_velocity"].unit = "m/s"
    table["r_med_geo"] = [500.0, 600.0, 700.0, 800.0]
    table["r_med_geo"].unit = "pc"
    table["r_lo_geo"] = np.array([490.0, 590.0, 690.0, 790.0]) * 1e-3
    table["r_lo_geo"].unit = "kpc"
    table["r_hi_geo"] = [510.0, 610.0, 710.0, 810.0]
    table.write(tmp_path / "stars.ecsv")
    mapping = {
        "source_id": "source_id",
        "ra": "ra",
        "dec": "dec",
        "pmra": "pmra",
        "radial_velocity": "radial_velocity",
        "distance": "r_med_geo",
        "distance_lo": "r_lo_geo",
        "distance_hi": {"column": "r_hi_geo", "unit": "pc"},
    }
    catalog = read_catalog(tmp_path / "stars.ecsv", columns=mapping)
    np.testing.assert_allclose(catalog["ra"], minimal()["ra"], rtol=1e-13)
    np.testing.assert_allclose(catalog["pmra"], [1e3, -2e3, 3e3, 4e3])
    np.testing.assert_allclose(catalog["radial_velocity"], [1, 2, 3, -4])
    np.testing.assert_allclose(catalog["distance"], [0.5, 0.6, 0.7, 0.8])
    np.testing.assert_allclose(catalog["distance_lo"], [0.49, 0.59, 0.69, 0.79])
    np.testing.assert_allclose(catalog["distance_hi"], [0.51, 0.61, 0.71, 0.81])
    assert not any(hasattr(v.data, "unit") for v in catalog.variables.values())


def test_guess_finds_bailer_jones_and_the_observed_colour(tmp_path):
    frame = minimal(bp_rp=0.9, r_med_geo=500.0, r_lo_geo=480.0, r_hi_geo=530.0)
    catalog = read_catalog(saved(tmp_path, frame))
    assert "bp_rp" not in catalog
    assert catalog["bp_rp_observed"].values[0] == 0.9
    assert catalog["distance"].values[0] == 0.5
    assert "Bailer-Jones" in catalog["distance"].attrs["source"]
    assert "parallax" not in catalog


def test_operations(tmp_path):
    frame = minimal(a=[1.0, 2.0, 9.99, 9.99], b=[3.0, 4.0, 5.0, 9.99], s=[3.0, 4.0, 0.0, 12.0])
    path = saved(tmp_path, frame)
    base = {"source_id": "source_id", "ra": "ra", "dec": "dec"}

    def read(**entry):
        return read_catalog(path, columns={**base, **entry})

    nan = np.nan
    mean = read(feh={"mean": ["a", "b"], "missing": [9.99, -9.9], "scale": 0.1})["feh"]
    np.testing.assert_allclose(mean, [0.2, 0.3, 0.5, nan])
    both = read(feh={"sum": ["a", "b"], "missing": [9.99], "scale": 0.1})["feh"]
    np.testing.assert_allclose(both, [0.4, 0.6, nan, nan])
    less = read(feh={"difference": ["a", "b"], "missing": [9.99]})["feh"]
    np.testing.assert_allclose(less, [-2, -2, nan, nan])
    root = read(feh_error={"quadrature": ["s", 4.0]})["feh_error"]
    np.testing.assert_allclose(root, [5, np.sqrt(32), 4, np.sqrt(160)])
    ratio = read(feh_error={"ratio": [6.0, "s"]})["feh_error"]
    np.testing.assert_allclose(ratio, [2, 1.5, nan, 0.5])
    floor = read(feh_error={"column": "s", "floor": 3.5, "missing": [12.0]})["feh_error"]
    np.testing.assert_allclose(floor, [3.5, 4, 3.5, nan])
    added = read(feh_error={"column": "s", "add_error": 4.0})["feh_error"]
    np.testing.assert_allclose(added, [5, np.sqrt(32), 4, np.sqrt(160)])
    assert (read(feh_error={"constant": 0.05})["feh_error"] == 0.05).all()
    first = read(feh={"column": ["nothing", "A"]})["feh"]
    np.testing.assert_allclose(first[:2], [1, 2])
    assert "feh" not in read(feh={"column": "nothing", "optional": True})
    rows = read(source_id={"row_number": True})
    np.testing.assert_array_equal(rows["source_id"], np.arange(4))
    nested = read_catalog(path, columns={"columns": base, "extra": {"b": {"column": "b"}}})
    np.testing.assert_allclose(nested["ref_b"], frame["b"])


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("chunk_size", [1, 100])
def test_words_become_numbers(tmp_path, ending, chunk_size):
    """Of any format, whatever a block holds: text and sentinels may come first."""
    disc = np.array(["-9999.0", "thick ", "thin", "", "bulge", " thick"])
    path = tmp_path / f"stars.{ending}"
    Table.from_pandas(minimal(len(disc)).assign(disc=disc)).write(
        path, **({"format": "votable"} if ending == "vot" else {})
    )
    words = {"column": "disc", "words": {"thin": 0, "thick": 1}}
    columns = {"columns": {"source_id": "source_id", "teff": "teff"}, "extra": {"disc": words}}
    got = concat(iter_catalog(path, columns=columns, chunk_size=chunk_size))["ref_disc"]
    np.testing.assert_array_equal(got, [np.nan, 1, 0, np.nan, np.nan, 1])


def test_single_precision_sentinel_is_missing(tmp_path):
    table = Table.from_pandas(minimal())
    table["mg"] = np.array([0.1, 9.99, 0.3, 0.2], dtype=np.float32)
    table.write(tmp_path / "stars.fits")
    columns = {"source_id": "source_id", "alpha_fe": {"mean": ["mg"], "missing": [9.99]}}
    catalog = read_catalog(tmp_path / "stars.fits", columns=columns)
    assert np.isnan(catalog["alpha_fe"].values).tolist() == [False, True, False, False]


def test_masked_integers_of_fits_are_missing(tmp_path):
    table = Table.from_pandas(minimal())
    table["teff"] = MaskedColumn([5800, 0, 5900, 6000], mask=[0, 1, 0, 0], dtype=np.int16)
    table.write(tmp_path / "stars.fits")
    catalog = read_catalog(tmp_path / "stars.fits")
    np.testing.assert_array_equal(catalog["teff"], [5800, np.nan, 5900, 6000])


def test_impossible_values_become_missing_and_flagged(tmp_path):
    frame = minimal(dec=[95.0, 1, 2, 3], teff=[5800.0, -9999, np.inf, 5900])
    with pytest.warns(CatalogWarning, match=r"'dec'.* 1 values outside -90 to 90 deg.*95.* row 1"):
        catalog = read_catalog(saved(tmp_path, frame))
    assert np.isnan(catalog["dec"].values).tolist() == [True, False, False, False]
    assert np.isnan(catalog["teff"].values).tolist() == [False, True, True, False]
    assert catalog["flag"].values[0] & StarFlag.MISSING_ASTROMETRY


def test_right_ascension_is_wrapped(tmp_path):
    catalog = read_catalog(saved(tmp_path, minimal(ra=[-10.0, 0.0, 359.0, 360.0])))
    np.testing.assert_allclose(catalog["ra"], [350, 0, 359, 0])


def test_gaps_do_not_cost_digits_of_identifiers(tmp_path):
    frame = minimal()
    expected = frame["source_id"].to_numpy()
    path = saved(tmp_path, frame)
    np.testing.assert_array_equal(read_catalog(path)["source_id"], expected)
    lines = path.read_text().splitlines()
    lines[3] = lines[3][lines[3].index(",") :]
    path.write_text("\n".join(lines))
    with pytest.raises(CatalogError, match=r"1 stars have no identifier.*row 3"):
        read_catalog(path)


# Errors --------------------------------------------------------------------------------------


def test_missing_file(tmp_path):
    with pytest.raises(CatalogError, match=r"no such file: .*absent\.fits"):
        read_catalog(tmp_path / "absent.fits")


def test_folder_and_unknown_ending(tmp_path):
    with pytest.raises(CatalogError, match="is a folder"):
        read_catalog(tmp_path)
    (tmp_path / "stars.xyz").write_text("a")
    with pytest.raises(CatalogError, match=r"cannot tell the format.*\.parquet"):
        read_catalog(tmp_path / "stars.xyz")
    with pytest.raises(CatalogError, match="did you mean 'parquet'"):
        read_catalog(tmp_path / "stars.xyz", format="parket")


def test_truncated_fits(tmp_path, make_catalog):
    path = write_catalog(make_catalog(2000), tmp_path / "stars.fits")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CatalogError, match=r"stars\.fits: the file is cut short.*2000 rows"):
        read_catalog(path)


@pytest.mark.parametrize("ending", ENDINGS)
def test_corrupt_file(tmp_path, ending):
    path = tmp_path / f"stars.{ending}"
    path.write_bytes(bytes(range(256)) * 40)
    with pytest.raises(CatalogError, match=rf"stars\.{ending}.*(damaged|empty)"):
        read_catalog(path)


def test_truncated_parquet(tmp_path, make_catalog):
    path = write_catalog(make_catalog(2000), tmp_path / "stars.parquet")
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(CatalogError, match=r"stars\.parquet.*damaged"):
        read_catalog(path)


def test_missing_column_names_the_nearest(tmp_path):
    path = saved(tmp_path, minimal())
    with pytest.raises(CatalogError, match=r"no column 'tefff'.*'teff'.*did you mean 'teff'"):
        read_catalog(path, columns={"source_id": "source_id", "teff": "tefff"})


def test_missing_identifier_column(tmp_path):
    path = saved(tmp_path, minimal().rename(columns={"source_id": "sourceid"}))
    with pytest.raises(CatalogError, match=r"'source_id'.*did you mean 'sourceid'"):
        read_catalog(path)


def test_unknown_canonical_name_and_key_and_map():
    with pytest.raises(CatalogError, match="did you mean 'teff'"):
        as_column_map({"teffs": "teff"})
    with pytest.raises(CatalogError, match="did you mean 'missing'"):
        as_column_map({"teff": {"column": "t", "mising": [1]}})
    with pytest.raises(CatalogError, match="exactly one of"):
        as_column_map({"teff": {"unit": "K"}})
    with pytest.raises(CatalogError, match="takes two columns"):
        as_column_map({"teff": {"difference": ["a"]}})
    with pytest.raises(CatalogError, match="'words' is a table of numbers"):
        as_column_map({"teff": {"column": "t", "words": {"hot": "6000"}}})
    with pytest.raises(CatalogError, match="no column map 'harps-gtp': did you mean 'harps-gto'"):
        load_column_map("harps-gtp")


def test_wrong_unit(tmp_path):
    table = Table.from_pandas(minimal())
    table["ra"].unit = "K"
    table.write(tmp_path / "stars.ecsv")
    with pytest.raises(CatalogError, match=r"stars\.ecsv: column 'ra'.*'deg'.*'K'"):
        read_catalog(tmp_path / "stars.ecsv")


def test_declared_unit_overrides_the_file_if_it_is_told_to(tmp_path):
    table = Table.from_pandas(minimal())
    table["teff"].unit = "deg"
    table.write(tmp_path / "stars.ecsv")
    entry = {"column": "teff", "unit": "K"}
    columns = {"source_id": "source_id", "teff": entry}
    with pytest.raises(
        CatalogError, match=r"'teff' states the unit 'deg'.*'K'.*ignore_unit = true"
    ):
        read_catalog(tmp_path / "stars.ecsv", columns=columns)
    columns["teff"] = entry | {"ignore_unit": True}
    assert read_catalog(tmp_path / "stars.ecsv", columns=columns)["teff"].values[0] == 5800


def test_column_without_a_value(tmp_path):
    """An error in a map that asks for it; as good as absent where it is optional."""
    path = saved(tmp_path, minimal(feh=np.nan))
    columns = {"source_id": "source_id", "teff": "teff", "feh": "feh"}
    for read in (read_catalog, lambda p, **o: list(iter_catalog(p, chunk_size=2, **o))):
        with pytest.raises(
            CatalogError, match=r"column 'feh'.*not a single usable value in 4 rows"
        ):
            read(path, columns=columns)
    with pytest.warns(CatalogWarning, match="no usable value in 4 rows of feh"):
        assert "feh" not in read_catalog(path)
    with pytest.warns(CatalogWarning, match="no usable value in 4 rows of feh"):
        stream = open_catalog(path, extinction=None)
    assert all("feh" not in chunk for chunk in stream.chunks(2))


def test_negative_error_names_column_count_and_row(tmp_path):
    path = saved(tmp_path, minimal(teff_error=[40.0, -1, 40, -2]))
    message = r"2 negative values of teff_error.*the first, -1, in row 2"
    with pytest.raises(CatalogError, match=message):
        read_catalog(path)
    path = saved(tmp_path, minimal(teff_error=[40.0, 40, 40, -2]))
    with pytest.raises(CatalogError, match="in row 4"):
        list(iter_catalog(path, chunk_size=3))


def test_declared_sentinel_is_no_negative_error(tmp_path):
    path = saved(tmp_path, minimal(teff_error=[40.0, -9999, 40, 40]))
    entry = {"column": "teff_error", "missing": [-9999]}
    columns = {"source_id": "source_id", "teff": "teff", "teff_error": entry}
    catalog = read_catalog(path, columns=columns)
    assert np.isnan(catalog["teff_error"].values[1])
    assert (catalog["flag"].values & StarFlag.BAD_ERROR).astype(bool).tolist() == [0, 1, 0, 0]


def test_floor_does_not_hide_a_negative_error(tmp_path):
    path = saved(tmp_path, minimal(teff_error=[40.0, -1, 40, 40]))
    columns = {"source_id": "source_id", "teff_error": {"column": "teff_error", "floor": 10}}
    with pytest.raises(CatalogError, match="negative"):
        read_catalog(path, columns=columns)


def test_one_identifier_two_places(tmp_path):
    frame = minimal(6, source_id=[1, 2, 3, 2, 5, 6])
    path = saved(tmp_path, frame)
    for read in (read_catalog, lambda p: list(iter_catalog(p, chunk_size=2))):
        with pytest.raises(CatalogError, match=r"1 identifiers.*more than 5 arcsec apart.*: 2\."):
            read(path)
    frame.loc[3, ["ra", "dec"]] = frame.loc[1, ["ra", "dec"]] + 1e-4
    assert read_catalog(saved(tmp_path, frame)).sizes["star"] == 6


def test_table_without_rows(tmp_path):
    for name in ("stars.csv", "stars.parquet", "stars.fits"):
        path = tmp_path / name
        if name.endswith("csv"):
            minimal(0).to_csv(path, index=False)
        elif name.endswith("parquet"):
            minimal(0).to_parquet(path)
        else:
            Table.from_pandas(minimal(0)).write(path)
        with pytest.raises(CatalogError, match=rf"{name}: the table has no rows"):
            read_catalog(path)


def test_text_in_a_column_of_numbers(tmp_path):
    path = saved(tmp_path, minimal(teff=["5800", "5900", "hot", ""]))
    with pytest.raises(CatalogError, match=r"column 'teff' holds text: 'hot' in row 3"):
        read_catalog(path)


def test_identifiers_in_floating_point(tmp_path):
    path = tmp_path / "stars.parquet"
    minimal(source_id=np.array([1, 2, 3, 2**60], dtype=float)).to_parquet(path)
    with pytest.raises(CatalogError, match="have lost digits"):
        read_catalog(path)


def test_identifiers_that_stop_being_integers(tmp_path):
    path = saved(tmp_path, minimal(source_id=["1", "2", "HD 3", "4"]))
    for read in (read_catalog, lambda p: list(iter_catalog(p, chunk_size=2))):
        with pytest.raises(CatalogError, match="begin as integers, but 'HD 3' is none"):
            read(path)


def test_no_canonical_column(tmp_path):
    path = saved(tmp_path, pd.DataFrame({"source_id": [1, 2], "x": [1.0, 2.0]}))
    with pytest.raises(CatalogError, match="no canonical column"):
        read_catalog(path)


def test_unwritable_output_and_existing_output(tmp_path, make_catalog):
    catalog = make_catalog(3)
    path = write_catalog(catalog, tmp_path / "a.fits")
    with pytest.raises(ProductError, match=r"a\.fits exists already.*overwrite"):
        write_catalog(catalog, path)
    write_catalog(make_catalog(5), path, overwrite=True)
    assert read_catalog(path).sizes["star"] == 5
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(ProductError, match="cannot write"):
        write_catalog(catalog, blocked / "b.fits")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.fits", "file"]


def test_every_packaged_map_is_valid():
    assert {"apokasc2", "apogee-dr17", "gaia", "lamost-gaia"} < set(column_map_names())
    for name in column_map_names():
        assert {"source_id", "ra", "dec"} <= set(load_column_map(name).entries)
        assert load_column_map(name).description
