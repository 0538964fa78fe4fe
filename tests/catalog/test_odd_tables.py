"""Troubles that a table may have which no other test holds: read right, said or refused."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from astropy.table import Table

from migrate_bayes import read_catalog
from migrate_bayes.catalog import iter_catalog
from migrate_bayes.catalog.matching import match
from migrate_bayes.core.errors import CatalogError, CatalogWarning
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
    ],
)  # fmt: skip
def test_values_of_no_stars_in_our_unit_are_doubted(columns, words):
    if "phot_g_mean_mag" in columns:
        columns = {n: v for n, v in (STARS | columns).items() if n != "phot_g_mean_mag"}
    else:
        columns = STARS | columns
    assert words in said(columns)[1]


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
    with pytest.raises(CatalogError, match="different widths with leading zeros"):
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
