"""Troubles that a table may have which no other test holds: read right, said or refused."""

from __future__ import annotations

import io
import os
import warnings

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xarray as xr
from astropy import units as u
from astropy.io import fits
from astropy.table import Table
from astropy.time import Time

from migrate_bayes import (
    compute_orbits,
    correct_extinction,
    correct_parallax,
    fit_baseline,
    flag_age_error,
    read_catalog,
)
from migrate_bayes.catalog import CatalogOptions, doubts, iter_catalog
from migrate_bayes.catalog.matching import match
from migrate_bayes.catalog.reader import as_catalog
from migrate_bayes.core.errors import CatalogError, CatalogWarning, MigrateBayesError
from migrate_bayes.core.flags import StarFlag
from migrate_bayes.isochrones import estimate_ages

N = 100
RNG = np.random.default_rng(5)
STARS = {
    "source_id": np.arange(N), "ra": RNG.uniform(0, 360, N), "dec": RNG.uniform(-80, 80, N),
    "pmra": RNG.normal(0, 10, N), "pmdec": RNG.normal(0, 10, N),
    "parallax": RNG.uniform(1, 5, N), "parallax_error": np.full(N, 0.02),
    "radial_velocity": RNG.normal(0, 40, N), "radial_velocity_error": np.full(N, 0.5),
    "teff": RNG.uniform(5000, 6500, N), "teff_error": np.full(N, 60.0),
    "logg": RNG.uniform(3.5, 4.6, N), "feh": RNG.normal(-0.2, 0.2, N),
    "phot_g_mean_mag": RNG.uniform(10, 14, N), "ebv": RNG.uniform(0.1, 0.3, N),
}  # fmt: skip


def said(table, **options):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        stars = read_catalog(table, **options)
    assert all(w.category is CatalogWarning for w in caught)
    return stars, "\n".join(str(w.message) for w in caught)


def marked(name, value):
    values = STARS[name].copy()
    values[::10] = value
    return {name: values}


def test_a_sound_table_says_nothing():
    assert said(STARS)[1] == ""


@pytest.mark.parametrize(
    ("name", "value"),
    [("phot_g_mean_mag", 0), ("ra", 0), ("pmra", 0), ("parallax", 0), ("radial_velocity", 0),
     ("logg", 0), ("radial_velocity_error", 0), ("ebv", -1), ("teff", 32767)],
)  # fmt: skip
def test_a_number_that_marks_a_missing_value_is_named(name, value):
    found = said(STARS | marked(name, value))[1]
    assert f"column '{name}' ('{name}') is exactly {value} in 10 rows" in found
    own = {n: n for n in STARS} | {name: {"column": name, "missing": [value]}}
    stars, _ = said(STARS | marked(name, value), columns=own)
    assert np.isnan(stars[name].values[::10]).all()


@pytest.mark.parametrize("step", [1.0, 0.5])
def test_rounded_numbers_may_be_0(step):
    assert said(STARS | {"radial_velocity": step * (np.arange(N) % 20 - 10)})[1] == ""


def test_the_ends_of_integers_are_missing():
    ends = np.resize([32767, -32768, 65535, 2147483647, 9.0], N)
    stars, found = said(STARS | {"snr": ends, "radial_velocity": ends})
    assert found == ""
    np.testing.assert_array_equal(np.isfinite(stars["snr"]), ends == 9.0)
    np.testing.assert_array_equal(np.isfinite(stars["radial_velocity"]), ends == 9.0)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"ra": STARS["ra"] / 15}, "hours"),
        ({"ra": np.radians(STARS["ra"]), "dec": np.radians(STARS["dec"])}, "radians"),
        ({"radial_velocity": np.linspace(-1500, 1500, N)}, "m/s"),
        ({"radial_velocity": STARS["radial_velocity"] / 299792.458}, "redshifts"),
        ({"teff_error": np.full(N, 0.01)}, "relative"),
        ({"teff_error": np.full(N, 3600.0)}, "a variance"),
        ({"parallax": STARS["parallax"] / 50, "parallax_error": np.full(N, 4e-4),
          "phot_g_mean_mag": np.full(N, np.nan)}, "'parallax_error'): the median is 0.0004 mas"),
        ({"feh": RNG.uniform(0.008, 0.03, N)}, "Z, a mass fraction"),
        ({"age": np.full(N, 5.0), "age_error": np.full(N, 20.0)}, "per cent"),
        ({"logg": STARS["logg"] * u.cm / u.s**2}, "none is above 4.6"),
        ({"logg": STARS["logg"] * u.m / u.s**2}, "none is above 4.6"),
        ({"age": np.linspace(9, 10, N) * u.yr}, "the median is 9.5e-09 Gyr"),
        ({"phot_g_mean_mag": STARS["phot_g_mean_mag"] / 1e3}, "'phot_g_mean_mag'): the median"),
        ({"alpha_fe": np.full(N, 1.1)}, "that of no sample"),
    ],
)  # fmt: skip
def test_values_of_no_stars_in_our_unit_are_doubted(columns, words):
    if np.isnan(columns.get("phot_g_mean_mag", 0.0)).all():
        columns = {n: v for n, v in (STARS | columns).items() if n != "phot_g_mean_mag"}
    else:
        columns = STARS | columns
    assert words in said(columns)[1]


@pytest.mark.parametrize(("name", "factor"), [("distance", 1e3), ("radial_velocity", 1e3)])
def test_a_dataset_of_ones_own_in_another_unit_is_refused(name, factor):
    stars = STARS | {"distance": 1 / STARS["parallax"]}
    stars = {n: ("star", v * factor if n == name else v) for n, v in stars.items()}
    with pytest.raises(CatalogError, match=f"'{name}'"):
        compute_orbits(xr.Dataset(stars))


def test_ages_of_no_star_are_refused():
    with pytest.raises(CatalogError, match="need teff or bp_rp, logg or abs_g"):
        estimate_ages(xr.Dataset({n: ("star", [0.1]) for n in ("feh", "feh_error")}))


def test_hours_in_a_name_are_doubted():
    columns = {n: v for n, v in STARS.items() if n != "ra"} | {"ra_hours": STARS["ra"] / 15}
    own = {n: n for n in STARS} | {"ra": "ra_hours"}
    assert "'hourangle'" in said(columns, columns=own)[1]
    own["ra"] = {"column": "ra_hours", "unit": "hourangle"}
    np.testing.assert_allclose(said(columns, columns=own)[0]["ra"], STARS["ra"])


def test_columns_that_differ_in_case_alone():
    two = {"source_id": [1], "Teff": [5000.0], "TEFF": [6000.0]}
    with pytest.raises(CatalogError, match="'Teff' and 'TEFF' differ in case alone"):
        read_catalog(two)
    stars = read_catalog(two, columns={"source_id": "source_id", "teff": "TEFF"})
    assert stars["teff"].values.tolist() == [6000.0]


def test_flags_that_are_missing_have_no_bits():
    own = {"source_id": "source_id", "teff": "teff", "survey_flag": {"bits": {"q": [0, 4]}}}
    table = {"source_id": [1, 2, 3, 4], "teff": [5000.0] * 4, "q": [-9999.0, np.nan, 16.0, 4.0]}
    assert said(table, columns=own)[0]["survey_flag"].values.tolist() == [0, 0, 1, 0]


def test_figures_and_minus_signs_of_other_scripts_are_numbers(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("source_id,feh\n1,\u22120.5\n2,\uff10.\uff15\n3,\u2014\n", encoding="utf-8")
    np.testing.assert_array_equal(read_catalog(path)["feh"], [-0.5, 0.5, np.nan])
    path.write_text("source_id,feh\n1,\u043d\u0435\u0442\n2,0.1\n", encoding="utf-8")
    with pytest.raises(CatalogError, match="holds text"):
        read_catalog(path)


ALIKE = ["001", "01", "1"]


@pytest.mark.parametrize("ending", ["csv", "fits", "vot", "ecsv", "parquet", "tsv", "frame"])
def test_identifiers_with_leading_zeros_are_not_taken_for_each_other(tmp_path, ending):
    frame = pd.DataFrame({"source_id": ALIKE, "teff": [5000.0, 5100.0, 5200.0]})
    path = tmp_path / f"a.{ending}"
    match ending:
        case "csv":
            frame.to_csv(path, index=False)
        case "tsv":
            path.write_text("source_id\tteff\n\tK\n---\t---\n001\t5000\n01\t5100\n1\t5200\n")
        case "parquet":
            frame.to_parquet(path)
        case "frame":
            path = frame
        case "vot":
            Table.from_pandas(frame).write(path, format="votable")
        case _:
            Table.from_pandas(frame).write(path)
    with pytest.raises(CatalogError, match="'001' and '01' of column 'source_id'"):
        read_catalog(path)


@pytest.mark.parametrize("order", [["001", "1"], ["1", "001"], ["+1", "-01"], ["100", "0001"]])
@pytest.mark.parametrize("chunk", [1, 2])
def test_widths_are_compared_between_chunks(order, chunk):
    table = {"source_id": [*order, "7000"], "teff": [5000.0] * 3}
    with pytest.raises(CatalogError, match="different spelling"):
        list(iter_catalog(table, chunk_size=chunk))


def test_identifiers_of_one_width_are_integers():
    table = {"source_id": ["007", "123", "4567", "000"], "teff": [5000.0] * 4}
    assert read_catalog(table)["source_id"].values.tolist() == [7, 123, 4567, 0]
    table = {"source_id": ["A1", "001", "1"], "teff": [5000.0] * 3}
    assert read_catalog(table)["source_id"].values.tolist() == ["A1", "001", "1"]


def test_all_that_a_table_in_memory_lacks_is_said_at_once():
    frame = pd.DataFrame({"ID": [1], "RAdeg": [1.0], "DEdeg": [2.0], "Teff": [5e3], "logg": [4.0],
                          "FE_H": [0.0], "gaia_dr2_rv": [3.0]})  # fmt: skip
    with pytest.raises(CatalogError) as caught:
        read_catalog(frame)
    text = str(caught.value)
    assert '"ra": "RAdeg"' in text
    assert "teff_error (a number will do" in text
    assert "radial_velocity ('gaia_dr2_rv'?)" in text
    stars, found = said(frame.rename(columns={"ID": "source_id"}))
    assert "not read: ra ('RAdeg'), dec ('DEdeg'), feh ('FE_H')" in found.replace(
        "feh ('FE_H'), ra ('RAdeg'), dec ('DEdeg')", "ra ('RAdeg'), dec ('DEdeg'), feh ('FE_H')"
    )
    own = {"source_id": "ID", "teff": "Teff", "logg": "logg", "feh": "FE_H"}
    with pytest.raises(CatalogError, match="no error of teff, logg, feh"):
        estimate_ages(said(frame, columns=own)[0])
    assert "feh" not in stars


def test_a_join_keeps_digits_that_a_number_would_not(tmp_path):
    long = "12345678901234567890"
    a, b, to = (tmp_path / name for name in ("a.csv", "b.csv", "to.parquet"))
    a.write_text(f"ID,label\n001,{long}\n01,7\n1,8\n")
    b.write_text("ID,teff\n1,5000\n01,5100\n")
    assert match(a, b, to, on="ID")[1] == 2
    found = pd.read_parquet(to)
    assert found["ID"].tolist() == ALIKE
    assert found["label"].tolist() == [long, "7", "8"]
    np.testing.assert_array_equal(found["teff"], [np.nan, 5100.0, 5000.0])


# Repeated, missing and exchanged -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [("pmra", -1000), ("radial_velocity", 500), ("feh", 0), ("logg", -1), ("ra", -5),
     ("dec", 88.88), ("parallax", -100), ("teff", 1000), ("phot_g_mean_mag", 10), ("age", 0.5)],
)  # fmt: skip
def test_a_value_that_is_far_more_frequent_than_others_is_named(name, value):
    stars = STARS | {"age": RNG.uniform(1, 12, N)}
    stars[name] = np.where(np.arange(N) % 10 == 0, value, stars[name])
    assert f"('{name}') is exactly {value} in 10 rows" in said(stars)[1]


@pytest.mark.parametrize("value", [0.0, 1e-30, 50.0])
def test_errors_far_from_all_others_are_named(value):
    errors = RNG.uniform(0.03, 0.07, N)
    assert said(STARS | {"feh_error": np.maximum(errors, 0.05)})[1] == ""  # a floor
    errors[::10] = value
    assert (
        f"('feh_error') is exactly {value:g} in 10 rows" in said(STARS | {"feh_error": errors})[1]
    )


@pytest.mark.parametrize("chunk", [7, 64, 1999, 5000])
def test_a_marker_is_found_wherever_it_stands(chunk, monkeypatch):
    monkeypatch.setattr(doubts, "_SAMPLE", 300)
    n = 2000
    late = np.where(np.arange(n) % 20 == 0, -777.0, RNG.normal(0, 40, n))
    late[: n // 2] = RNG.normal(0, 40, n // 2)
    with pytest.warns(CatalogWarning, match="exactly -777 in 25 rows of 250 looked at"):
        for _ in iter_catalog({"source_id": range(n), "radial_velocity": late}, chunk_size=chunk):
            pass


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"pmra": STARS["pmra"] / 1e3}, "of 'pmdec'"),
        ({"parallax": -STARS["parallax"]}, "the sign of 'parallax'"),
        ({"parallax": STARS["parallax"] / 1e3}, "0 of 100 parallaxes"),
        ({"phot_bp_mean_mag": STARS["phot_g_mean_mag"] - 1,
          "phot_rp_mean_mag": STARS["phot_g_mean_mag"] + 1}, "exchanged"),
        ({"radial_velocity": np.zeros(N)}, "exactly 0 in 100 rows"),
        ({"pmra": STARS["pmra"] / 20, "pmdec": STARS["pmdec"] / 20}, "along the line of sight"),
        ({"distance": 1 / STARS["parallax"], "distance_error": np.full(N, 20.0)}, "per cent"),
        ({"feh_error": np.full(N, 5.0)}, "a variance"),
        ({"pmra_error": np.full(N, 2e-5)}, "in another unit"),
        ({"feh": RNG.uniform(0.3, 1.6, N)}, "a ratio to the Sun's"),
        ({"snr": np.full(N, 0.01)}, "of no sample of stars"),
        ({"age": np.full(N, 20.0)}, "of no sample of stars"),
    ],
)  # fmt: skip
def test_columns_that_contradict_each_other_or_all_stars_are_doubted(columns, words):
    assert words in said(STARS | columns)[1]


def test_distances_of_no_sample_are_doubted_by_themselves():
    table = {"source_id": np.arange(N), "teff": STARS["teff"], "distance": RNG.uniform(40, 99, N)}
    assert "of no sample of stars" in said(table)[1]


@pytest.mark.parametrize(
    ("column", "canonical", "words"),
    [("log_d", "distance", "a logarithm"), ("logAge", "age", "a logarithm"),
     ("lgT", "teff", "a logarithm"), ("DistMod", "distance", "a distance modulus")],
)  # fmt: skip
def test_what_a_name_says_is_doubted(column, canonical, words):
    values = np.linspace(5000, 6000, N) if canonical == "teff" else np.linspace(1, 9, N)
    table = {"source_id": np.arange(N), column: values}
    own = {"source_id": "source_id", canonical: column}
    assert words in said(table, columns=own)[1]
    assert said({"source_id": [1], "logg": [4.0]})[1] == ""


def test_an_abundance_by_hydrogen_is_doubted():
    """[α/Fe] falls with [Fe/H], also with large errors of both; [α/H] rises, or its name says."""
    feh = STARS["feh"] + RNG.normal(0, 0.1, N)
    by_iron = 0.1 - 0.2 * STARS["feh"] + RNG.normal(0, 0.08, N)
    rises = "column 'alpha_fe' ('alpha_fe') has a slope of 0."
    assert said(STARS | {"feh": feh, "alpha_fe": by_iron})[1] == ""
    assert rises in said(STARS | {"feh": feh, "alpha_fe": by_iron + STARS["feh"]})[1]
    assert said(STARS | {"feh": 0.1 * feh, "alpha_fe": 0.1 * feh})[1] == ""  # of one cluster
    names = {"MG_H": "by hydrogen", "[Mg/H]": "by hydrogen", "__Mg_H_": "by hydrogen"}
    names |= {"mgh_payne": "by hydrogen", "alpha_h": "by hydrogen", "ALPHA_M": "", "Mg_Fe": ""}
    for name, words in names.items():
        own = {"source_id": "source_id", "feh": "feh", "alpha_fe": name}
        found = said(STARS | {name: by_iron}, columns=own)[1]
        assert words in found
        assert bool(words) == bool(found)
    assert (
        'alpha_fe = { difference = ["MG_H", "feh"] }'
        in said(STARS | {"MG_H": by_iron}, columns=own | {"alpha_fe": "MG_H"})[1]
    )
    own["alpha_fe"] = {"difference": ["MG_H", "feh"]}
    assert said(STARS | {"MG_H": by_iron + STARS["feh"]}, columns=own)[1] == ""


@pytest.mark.parametrize(
    ("column", "canonical", "words"),
    [("RAB1950", "ra", "the equinox B1950"), ("de1950", "dec", "the equinox B1950"),
     ("VLSR", "radial_velocity", "not relative to the Sun"),
     ("v_gsr", "radial_velocity", "not relative to the Sun"),
     ("RAJ2000", "ra", ""), ("RVhel", "radial_velocity", "")],
)  # fmt: skip
def test_a_name_that_says_another_quantity_is_doubted(column, canonical, words):
    own = {n: n for n in STARS} | {canonical: column}
    found = said(STARS | {column: STARS[canonical]}, columns=own)[1]
    assert words in found
    assert bool(words) == bool(found)


def test_g_of_another_survey_is_not_gaias():
    table = STARS | {"gmag": STARS["phot_g_mean_mag"]}
    del table["phot_g_mean_mag"]
    own = {"extends": "gaia-joined", "columns": {"distance": "none", "distance_lo": "none"}}
    assert "phot_g_mean_mag" not in said(table, columns=own)[0]
    table["Gmag"] = table["gmag"] + 1
    assert said(table, columns=own)[0]["phot_g_mean_mag"][0] == table["Gmag"][0]


# Identifiers, units and maps ---------------------------------------------------------------------


@pytest.mark.parametrize("first", ["100000", "16", "+7"])
@pytest.mark.parametrize("other", ["1e5", "1_000", "+1", "\u0663", "\uff11", "1.5"])
def test_numbers_spelled_as_no_identifier_is_are_refused_among_integers(first, other):
    table = {"source_id": [first.lstrip("+"), other], "teff": [5000.0] * 2}
    with pytest.raises(CatalogError, match=r"spelling|begin as integers"):
        list(iter_catalog(table, chunk_size=1))


def test_numbers_in_an_object_column_are_themselves():
    ids = np.array([1, 2.0, np.int64(3), "4"], dtype=object)
    assert read_catalog({"source_id": ids, "teff": [5e3] * 4})["source_id"].values.tolist() == [
        1, 2, 3, 4,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "unit", "factor"),
    [("pmra", "mas/century", 100.0), ("pmra", "arcsec per century", 0.1),
     ("pmra", "mas/Julian year", 1),
     ("distance", "light-years", 3261.563777), ("radial_velocity", "km/s (barycentric)", 1),
     ("radial_velocity", "kilometers per second", 1), ("parallax", "milli-arcsec", 1),
     ("ra", "h", 1 / 15), ("ra", "radians", np.pi / 180), ("ra", "deg (J2000)", 1)],
)  # fmt: skip
def test_units_in_words_and_with_remarks(name, unit, factor):
    values = (STARS | {"distance": 1 / STARS["parallax"]})[name]
    table = Table({"source_id": np.arange(N), name: values * factor})
    table[name].unit = unit
    np.testing.assert_allclose(said(table)[0][name], values, rtol=1e-8)


@pytest.mark.parametrize(
    ("name", "unit", "offset"),
    [("age", "log yr", 9), ("distance", "log pc", 3), ("teff", "log K", 0)],
)
def test_logarithms_without_brackets(name, unit, offset):
    values = np.linspace(2, 9, N) if name != "teff" else STARS["teff"]
    table = Table({"source_id": np.arange(N), name: np.log10(values) + offset})
    table[name].unit = unit
    np.testing.assert_allclose(said(table)[0][name], values)
    table[name].unit = f"{unit} (log)"
    with pytest.raises(CatalogError, match="needs the unit"):
        read_catalog(table)


def test_a_remark_never_hides_a_logarithm():
    table = Table({"source_id": [1], "logg": [4.4]})
    table["logg"].unit = "cm/s2 (log)"
    with pytest.raises(CatalogError, match="needs the unit"):
        read_catalog(table)


def in_parsecs(kind, tmp_path):
    """Return a table whose only word about parsecs stands where `kind` of table has it."""
    frame = pd.DataFrame({"source_id": [1, 2], "distance": [50.0, 80.0]})
    path = tmp_path / "a.parquet"
    match kind:
        case "frame":
            frame.attrs["units"] = {"distance": "pc"}
            return frame
        case "parquet":
            frame.attrs["unit"] = {"distance": "pc"}
            frame.to_parquet(path)
            return path
        case "arrow":
            table = pa.Table.from_pandas(frame)
            field = table.schema.field("distance").with_metadata({"Units": "pc"})
            return table.cast(table.schema.set(1, field))
        case "dataset" | "Dataset":
            made = frame.rename_axis("star").to_xarray()
            made["distance"].attrs["unit" if kind == "dataset" else "Units"] = "pc"
            return made
        case "objects":
            return frame.assign(distance=pd.Series([d * u.pc for d in (50, 80)], dtype=object))
        case _:
            made = Table.from_pandas(frame)
            made["distance"].unit = "pc"
            return fits.table_to_hdu(made).data


@pytest.mark.parametrize(
    "kind", ["frame", "parquet", "arrow", "dataset", "Dataset", "objects", "record"]
)
def test_units_are_found_wherever_a_table_keeps_them(kind, tmp_path):
    np.testing.assert_allclose(read_catalog(in_parsecs(kind, tmp_path))["distance"], [0.05, 0.08])


def test_missing_values_of_records_and_datasets():
    raw = np.array([5100, 5000, 5200], dtype=np.int16)
    columns = [
        fits.Column("source_id", "K", array=[1, 2, 3]),
        fits.Column("teff", "I", null=5000, array=raw),
    ]
    record = fits.BinTableHDU.from_columns(columns).data
    np.testing.assert_array_equal(read_catalog(record)["teff"], [5100, np.nan, 5200])
    made = pd.DataFrame({"source_id": [1, 2], "feh": [0.1, 2.5]}).rename_axis("star").to_xarray()
    made["feh"].attrs["valid_range"] = [-2.0, 1.0]
    np.testing.assert_array_equal(read_catalog(made)["feh"], [0.1, np.nan])
    lists = pa.table({"source_id": [1, 2, 3], "p": pa.array([[5e3, 4.0], None, [None, 4.1]])})
    own = {"source_id": "source_id", "teff": "p[0]", "logg": "p[1]"}
    np.testing.assert_array_equal(read_catalog(lists, columns=own)["teff"], [5e3, np.nan, np.nan])
    objects = pd.Series([5e3, np.ma.masked, pd.NA], dtype=object)
    found = read_catalog(pd.DataFrame({"source_id": [1, 2, 3], "teff": objects}))
    np.testing.assert_array_equal(found["teff"], [5e3, np.nan, np.nan])


def test_names_with_blanks_and_twice():
    frame = pd.DataFrame([[1, 5e3, 0, 0]], columns=["source_id", " teff ", "x", "x"])
    assert read_catalog(frame)["teff"].values.tolist() == [5000.0]
    with pytest.raises(CatalogError, match="two columns are named 'x'"):
        read_catalog(frame, columns={"source_id": "source_id", "teff": "x"})


@pytest.mark.parametrize(
    ("table", "options", "words"),
    [
        (STARS, {"columns": ["teff"]}, "a column map is a name, or a table"),
        (STARS, {"columns": {"source_id": {"column": "source_id", "missing": [0]}, "teff": "teff"}},
         "source_id takes no unit"),
        (STARS, {"columns": {"teff": {"column": "x", "optional": "false"}}}, "is true or false"),
        (STARS, {"hdu": 1.0}, "hdu is the number or the name"),
        ({"source_id": 1, "teff": 5e3}, {}, "'source_id' is no column but a int"),
        (STARS | {"feh": np.arange(N) % 2 == 0}, {}, "holds truth values"),
        (STARS | {"feh": ["0.1", "T"] * (N // 2)}, {}, "holds text: 'T' in row 2"),
        (STARS | {"teff_error": np.full(N, -60.0)}, {}, "scale = -1"),
        (STARS | {"age": np.full(N, 5.0), "age_lo": np.full(N, -1.0)}, {}, r'sum = \["age"'),
    ],
)  # fmt: skip
def test_mistakes_are_named(table, options, words):
    with pytest.raises(CatalogError, match=words):
        read_catalog(table, **options)


def test_a_folder_of_texts_and_numbers_is_refused_by_the_column(tmp_path):
    for name, teff in (("a", [5000.0]), ("b", ["5000.0"])):
        pq.write_table(pa.table({"source_id": [1], "teff": teff}), tmp_path / f"{name}.parquet")
    with pytest.raises(CatalogError, match="column 'teff' is string, but double"):
        read_catalog(tmp_path)


def test_a_file_object_that_was_just_written_is_read_from_its_beginning():
    file = io.BytesIO()
    Table({"source_id": [1], "teff": [5e3]}).write(file, format="fits")
    assert read_catalog(file)["teff"].values.tolist() == [5e3]


# Stage functions ---------------------------------------------------------------------------------


def test_a_dataset_of_ones_own_gets_distances_and_numbers():
    frame = pd.DataFrame(STARS | {"logg_error": 0.05, "feh_error": 0.04, "a_v": 0.1})[:8]
    own = frame.rename_axis("star").to_xarray()
    catalog = said(frame)[0]
    quick = {"potentials": ["MWPotential2014"], "draws": 4, "show_progress": False}
    expected = compute_orbits(catalog, **quick)["rg_nominal"]
    np.testing.assert_array_equal(compute_orbits(own, **quick)["rg_nominal"], expected)
    objects = own.assign({name: own[name].astype(object) for name in STARS})
    np.testing.assert_array_equal(as_catalog(objects)["flag"], as_catalog(own)["flag"])
    tiny = as_catalog(own.assign(logg_error=own["logg_error"] * 0 + 1e-300))
    assert np.all(tiny["flag"] & StarFlag.BAD_ERROR)
    with pytest.warns(CatalogWarning, match="makes abs_g"):  # and of nothing else
        assert np.isnan(estimate_ages(tiny, show_progress=False)["age_ml"]).all()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda s: flag_age_error(s, max_age_error=25), "a fraction of the age"),
        (lambda s: correct_parallax(s, zero_point=-17.0), "in μas"),
        (lambda s: correct_extinction(s, source=None), "no source of the extinction"),
        (lambda s: CatalogOptions(max_age_error=25), "less than or equal to 10"),
        (lambda s: fit_baseline(s, selection=np.ones(3, dtype=bool)), "a truth value for each"),
        (lambda s: fit_baseline(s, selection=np.arange(N)), "a truth value for each"),
    ],
)
def test_numbers_of_another_unit_or_length_are_refused(call, words):
    with pytest.raises((MigrateBayesError, ValueError), match=words):
        call(read_catalog(STARS))


def positions(tmp_path, name, unit, factor, **more):
    table = Table({"ID": np.arange(N), "dec": STARS["dec"], "ra": STARS["ra"] * factor, **more})
    table["ra"].unit = unit
    table.write(tmp_path / name)
    return tmp_path / name


def test_positions_that_are_joined_have_units_and_masks(tmp_path):
    a, to = positions(tmp_path, "a.fits", "deg", 1.0), tmp_path / "c.parquet"
    b = positions(tmp_path, "b.ecsv", "hourangle", 1 / 15)
    assert match(a, b, to)[1] == N
    assert match(a, b, to, radius=1000 * u.mas, overwrite=True)[1] == N
    assert match(b, a, to, epochs=None, overwrite=True)[1] == N
    fast = {"pmra": np.full(N, -9999.0), "pmdec": np.full(N, np.nan)}
    c = positions(tmp_path, "c.fits", "deg", 1.0, **fast)
    years = Time([2000, 2016], format="jyear")
    assert match(c, a, to, epochs=tuple(years), overwrite=True)[1] == N
    for wrong in ({"radius": 1 * u.kpc}, {"epochs": (51544.0, 57388.0)}):
        with pytest.raises(MigrateBayesError, match=r"arcsec|Julian years"):
            match(a, b, to, overwrite=True, **wrong)
    with pytest.raises(CatalogError, match="one of the two catalogues"):
        match(a, b, b, overwrite=True)
    with pytest.raises(CatalogError, match="needs the unit 'deg'"):
        match(positions(tmp_path, "d.fits", "kpc", 1.0), a, to, overwrite=True)


# Tables of text ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["% made by hand\nsource_id,teff\n7,5000\n8,5100\n",
     "! a\n! b\nsource_id teff\n7 5000\n8 5100\n", "// x\nsource_id;teff\n7;5000\n8;5100\n",
     "%source_id teff\n7 5000\n8 5100\n",
     "source_id\tteff\nN\tN\n7\t5000\n8\t5100\n", "source_id\tteff\n8N\t6N\n7\t5000\n8\t5100\n",
     "source_id teff\n7.000000000000000000e+00 5.0e+03\n8.000000000000000000e+00 5.1e+03\n"],
)  # fmt: skip
def test_comments_types_and_numbers_as_programs_write_them(text, tmp_path):
    path = tmp_path / "a.dat"
    path.write_text(text)
    got = read_catalog(path)
    assert got["source_id"].values.tolist() == [7, 8]
    assert got["teff"].values.tolist() == [5000.0, 5100.0]


def test_a_title_is_named_and_long_lines_are_read(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("My catalogue\nsource_id,teff\n7,5000\n")
    with pytest.raises(CatalogError, match="from its first line, are 'My', 'catalogue'"):
        read_catalog(path)
    path.write_text(f"source_id,teff,spectrum\n7,5000,{'x' * 200_000}\n8,5100,\n")
    assert read_catalog(path)["teff"].values.tolist() == [5000.0, 5100.0]


def test_a_votable_may_begin_with_blanks(tmp_path):
    path = tmp_path / "a.vot"
    Table({"source_id": [1], "teff": [5e3]}).write(path, format="votable")
    path.write_text("\n \n" + path.read_text())
    assert read_catalog(path)["teff"].values.tolist() == [5000.0]


def test_a_pipe_is_no_catalogue(tmp_path):
    os.mkfifo(tmp_path / "a.csv")
    with pytest.raises(CatalogError, match="a pipe or a device"):
        read_catalog(tmp_path / "a.csv")


def test_flags_and_identifiers_of_64_bits_are_not_rounded():
    flags = np.array([2**60 + 1, 2**60, -(2**63), -9999], dtype=np.int64)
    table = {"source_id": np.arange(4), "teff": [5e3] * 4, "q": flags}
    for bit, expected in ((0, [1, 0, 0, 0]), (60, [1, 1, 0, 0]), (63, [0, 0, 1, 0])):
        own = {"source_id": "source_id", "teff": "teff", "survey_flag": {"bits": {"q": [bit]}}}
        assert said(table, columns=own)[0]["survey_flag"].values.tolist() == expected
        unsigned = table | {"q": flags.astype(np.uint64)}
        assert said(unsigned, columns=own)[0]["survey_flag"].values.tolist() == expected
        masked = np.ma.MaskedArray(flags, [True, False, False, False])
        assert said(table | {"q": masked}, columns=own)[0]["survey_flag"].values[0] == 0
    own = {"columns": {"source_id": "source_id", "teff": "teff"}, "extra": {"q": "q"}}
    with pytest.raises(CatalogError, match="longer than the 53 bits"):
        read_catalog(table, columns=own)
    stars = said(table | {"q": np.arange(4) + 20_000_000_000}, columns=own)[0]
    assert stars["ref_q"].values.tolist() == [20e9, 20e9 + 1, 20e9 + 2, 20e9 + 3]


def test_a_companion_mask_is_found_in_any_case():
    frame = pd.DataFrame({"source_id": [1, 2], "TEFF": [5e3, 6e3], "TEFF.MASK": [True, False]})
    np.testing.assert_array_equal(read_catalog(frame)["teff"], [np.nan, 6e3])
