"""Tables as astronomers have them: read to the right value, flagged, said or refused by name."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import warnings
from functools import partial

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xarray as xr
from astropy import units as u
from astropy.io import fits
from astropy.io.votable import parse
from astropy.io.votable.tree import Info
from astropy.table import Column, MaskedColumn, QTable, Table
from astropy.utils.masked import Masked

import migrate_bayes as mb
from migrate_bayes.catalog import iter_catalog, open_catalog, read_catalog, write_catalog
from migrate_bayes.catalog.columns import conversion
from migrate_bayes.core.errors import CatalogError, CatalogWarning
from migrate_bayes.core.flags import StarFlag

N = 5
IDS = 4_611_686_018_427_387_905 + np.arange(N)
ENDINGS = ["fits", "ecsv", "csv", "tsv", "vot", "parquet"]


def frame(**changes):
    values = {
        "source_id": IDS,
        "ra": np.linspace(10.0, 20.0, N),
        "dec": np.linspace(-10.0, 10.0, N),
        "teff": np.linspace(5000.0, 6000.0, N),
        "teff_error": np.full(N, 40.0),
    }
    return pd.DataFrame({**values, **changes})


def write(table, path):
    """Write an astropy table in the format that the path's ending says."""
    kinds = {"vot": "votable", "csv": "ascii.csv", "tsv": "ascii.tab", "ecsv": "ascii.ecsv"}
    table.write(path, format=kinds.get(path.suffix[1:]))
    return path


def table(**changes):
    return Table.from_pandas(frame(**changes))


# Missing values ------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int16, np.int64])
def test_masked_values_of_any_kind_are_missing(tmp_path, ending, dtype):
    made = table()
    made["teff"] = MaskedColumn(made["teff"].astype(dtype), mask=np.arange(N) == 2)
    got = read_catalog(write(made, tmp_path / f"stars.{ending}"))
    assert np.isnan(got["teff"].values).tolist() == (np.arange(N) == 2).tolist()
    np.testing.assert_array_equal(got["source_id"], IDS)


@pytest.mark.parametrize("ending", ["csv", "fits", "parquet", "vot", "memory"])
@pytest.mark.parametrize("name", ["[Fe/H]", "__Fe_H_", "feh"])
def test_a_limit_is_no_measurement(tmp_path, ending, name):
    made = table(**{name: np.linspace(-3.0, 0.1, N)})
    mark = f"l{name}" if name.startswith("__") else f"l_{name}"
    made[mark] = ["<", "", ">=", "", ":"]
    made["l_teff"] = np.arange(N)  # a number: no limit
    with warnings.catch_warnings(action="ignore"):  # of brackets in a name
        source = made if ending == "memory" else write(made, tmp_path / f"stars.{ending}")
    got = read_catalog(source, columns={"source_id": "source_id", "teff": "teff", "feh": name})
    assert np.isnan(got["feh"].values).tolist() == [True, False, True, False, False]
    assert np.isfinite(got["teff"]).all()


def test_votable_is_not_written_by_rows_of_text(tmp_path):
    path = write_catalog(read_catalog(table()), tmp_path / "stars.vot")
    assert b"<TABLEDATA>" not in path.read_bytes()
    np.testing.assert_array_equal(read_catalog(path)["source_id"], IDS)


@pytest.mark.parametrize("ending", ["ecsv", "fits", "parquet"])
def test_companion_masks_and_masked_quantities(tmp_path, ending):
    made = QTable(table())
    made["distance"] = Masked(np.linspace(100, 500, N) * u.pc, mask=np.arange(N) == 1)
    made["pmra"] = MaskedColumn(np.full(N, 5.0), mask=np.arange(N) == 3)
    for name in ("pmra",):
        made[name].info.serialize_method.update(dict.fromkeys(("ecsv", "fits"), "data_mask"))
    path = tmp_path / f"stars.{ending}"
    made.write(path)
    for source in (path, made):
        got = read_catalog(source)
        np.testing.assert_allclose(got["distance"], [0.1, np.nan, 0.3, 0.4, 0.5])
        np.testing.assert_allclose(got["pmra"], [5, 5, 5, np.nan, 5])
    parts = xr.concat(iter_catalog(path, chunk_size=2), "star", combine_attrs="override")
    xr.testing.assert_equal(parts, read_catalog(path))


@pytest.mark.parametrize("word", [
    "--", "~", "---", "...", "-", "none", "Null", r"\N", "masked", "", " ", "N/A", "NaN", "<NA>",
    "#N/A", "null", "*****", "INDEF",
])  # fmt: skip
@pytest.mark.parametrize("ending", ["csv", "tsv", "dat", "fits", "vot", "parquet"])
def test_words_for_nothing(tmp_path, word, ending):
    texts = frame()["teff"].astype(str).to_numpy(dtype=object)
    texts[1] = word
    path = tmp_path / f"stars.{ending}"
    if ending in ("csv", "tsv", "dat"):
        if ending == "dat" and not word.strip():
            pytest.skip("a blank is no field of columns kept apart by blanks")
        separator = {"csv": ",", "tsv": "\t", "dat": " "}[ending]
        frame(teff=texts).to_csv(path, index=False, sep=separator)
    elif ending == "parquet":
        frame(teff=texts).to_parquet(path)
    else:
        made = table()
        made["teff"] = texts.astype(str)
        write(made, path)
    teff = read_catalog(path)["teff"].values
    np.testing.assert_allclose(teff, [5000, np.nan, 5500, 5750, 6000])


def test_words_for_nothing_can_be_declared_and_others_are_refused(tmp_path):
    path = tmp_path / "stars.csv"
    frame(teff=["5000", "hot", "5500", "5750", "6000"]).to_csv(path, index=False)
    with pytest.raises(CatalogError, match=r"'teff' holds text: 'hot' in row 2.*missing = \[\"hot"):
        read_catalog(path)
    columns = {"source_id": "source_id", "teff": {"column": "teff", "missing": ["hot", -9]}}
    teff = read_catalog(path, columns=columns)["teff"].values
    np.testing.assert_allclose(teff, [5000, np.nan, 5500, 5750, 6000])


@pytest.mark.parametrize(("name", "sentinels"), {
    "pmra": (-9999.0, -999.0, 9999.0, 999.0),
    "pmdec": (-9999.0, -999.9),
    "parallax": (-9999.0, -999.0, -99.0, -9999.99),
    "radial_velocity": (-9999.0, -999.0, 999.0, 9999.0, -999.99),
    "phot_g_mean_mag": (99.99, 99.999, -99.0, -9999.0, -9.99),
    "teff": (-9999.0, -999.0, 99999.0, -9.0),
    "logg": (9.99, -9.99, -9999.0, 99.0),
    "feh": (9.99, -9.99, -9999.0, -99.0, -9.0),
    "alpha_fe": (9.99, -9.99, -9999.0),
    "radial_velocity_error": (9999.0, -9999.0, 999.0, -99.0, -9.0),
    "feh_error": (-9.99, 99.99, -9999.0, -99.0),
    "pmra_error": (-9999.0, 999.0),
    "distance": (-9999.0, 9999.0, -999.0),
    "a_v": (-9999.0, 99.99, -99.0),
    "snr_g": (-9999.0, -99.0, 9999.0),
}.items())  # fmt: skip
def test_undeclared_sentinels_in_any_column(tmp_path, name, sentinels):
    good = {"phot_g_mean_mag": 12.0, "teff": 5500.0, "logg": 4.4, "snr_g": 80.0}.get(name, 0.5)
    values = np.r_[good, sentinels]
    n = len(values)
    made = pd.DataFrame(
        {"source_id": np.arange(n), "ra": np.arange(n) * 1.0, "dec": 0.0, name: values}
    )
    for dtype in (np.float64, np.float32):
        made[name] = made[name].astype(dtype)
        made.to_parquet(tmp_path / "stars.parquet")
        got = read_catalog(tmp_path / "stars.parquet")[name].values
        assert got[0] == pytest.approx(good)
        assert np.isnan(got[1:]).all(), (dtype, values[1:][~np.isnan(got[1:])])


def test_numbers_of_nines_that_can_be_values_stay(tmp_path):
    made = frame(pmra=[-99.9, 99.99, 1.0, 2.0, 3.0], age=9.99, radial_velocity=-99.9)
    made.to_csv(tmp_path / "stars.csv", index=False)
    match = r"'(age|radial_velocity)'.*is exactly (9.99|-99.9) in 5 rows"
    with pytest.warns(CatalogWarning, match=match):
        got = read_catalog(tmp_path / "stars.csv")
    np.testing.assert_array_equal(got["pmra"], made["pmra"])
    np.testing.assert_array_equal(got["age"], 9.99)
    np.testing.assert_array_equal(got["radial_velocity"], -99.9)


# FITS ----------------------------------------------------------------------------------------


def saved(path, columns, **more):
    fits.BinTableHDU.from_columns(columns, **more).writeto(path)
    return path


def id_column():
    return fits.Column("source_id", "K", array=IDS)


@pytest.mark.parametrize("ascii_table", [False, True])
def test_fits_nulls_of_scaled_columns(tmp_path, ascii_table):
    """A null is a null of the stored integer, whatever the scale makes of it."""
    raw = np.array([100, 200, -32768, 400, 500], dtype=np.int16)
    path = saved(
        tmp_path / "stars.fits", [id_column(), fits.Column("teff", "I", null=-32768, array=raw)]
    )
    with fits.open(path, mode="update") as hdus:
        hdus[1].header["TSCAL2"], hdus[1].header["TZERO2"] = 2.0, 5000.0
    expected = [5200, 5400, np.nan, 5800, 6000]
    for source in (path, io.BytesIO(path.read_bytes())):
        np.testing.assert_array_equal(read_catalog(source)["teff"], expected)


@pytest.mark.parametrize(
    ("code", "dtype"),
    [("B", "i1"), ("I", "u2"), ("J", "u4"), ("K", "u8"), ("L", bool), ("E", "f4")],
)
def test_fits_types(tmp_path, code, dtype):
    values = np.array([1, 0, 1, 0, 1]).astype(dtype)
    zero = {"i1": -128, "u2": 2**15, "u4": 2**31, "u8": 2**63}.get(dtype)
    path = saved(
        tmp_path / "stars.fits",
        [id_column(), fits.Column("survey_flag", code, bzero=zero, array=values)],
    )
    np.testing.assert_array_equal(read_catalog(path)["survey_flag"], [1, 0, 1, 0, 1])


def test_fits_ascii_tables(tmp_path):
    texts = ["5000.0", "NaN", "5.5D+03", "", "6000"]
    columns = [
        fits.Column("source_id", "I20", array=IDS, ascii=True),
        fits.Column("teff", "A10", array=texts, ascii=True),
        fits.Column("ra", "F10.4", array=np.arange(N) * 1.0, ascii=True, null="***"),
    ]
    fits.TableHDU.from_columns(columns).writeto(tmp_path / "stars.fits")
    got = read_catalog(tmp_path / "stars.fits")
    np.testing.assert_array_equal(got["teff"], [5000, np.nan, 5500, np.nan, 6000])
    np.testing.assert_array_equal(got["source_id"], IDS)
    with fits.open(tmp_path / "stars.fits", mode="update") as hdus:
        hdus[1].header["TSCAL3"], hdus[1].header["TZERO3"] = 10.0, 1.0
    np.testing.assert_array_equal(read_catalog(tmp_path / "stars.fits")["ra"], [1, 11, 21, 31, 41])


def test_fits_numbers_as_text_columns_without_a_name_and_arrays(tmp_path):
    columns = [
        id_column(),
        fits.Column("teff", "8A", array=["5000", " 5250", "5.5e3", "", "6000"]),
        fits.Column("ra", "3D", array=np.arange(3 * N).reshape(N, 3) * 1.0),
        fits.Column("dec", "PD()", array=np.array([np.ones(2)] * N, dtype=object)),
        fits.Column("x", "D", array=np.ones(N)),
    ]
    path = saved(tmp_path / "stars.fits", columns)
    with fits.open(path, mode="update") as hdus:
        del hdus[1].header["TTYPE5"]
    columns = {"source_id": "source_id", "teff": "teff"}
    teff = read_catalog(path, columns=columns)["teff"]
    np.testing.assert_array_equal(teff, [5000, 5250, 5500, np.nan, 6000])
    with pytest.raises(CatalogError, match=r"column 'ra' holds arrays.*'ra\[0\]'"):
        read_catalog(path, columns={**columns, "ra": "ra"})
    with pytest.raises(CatalogError, match="column 'dec' holds arrays"):
        read_catalog(path, columns={**columns, "dec": "dec"})
    np.testing.assert_array_equal(
        read_catalog(path, columns={**columns, "ra": "ra[1]"})["ra"], np.arange(N) * 3.0 + 1
    )
    with pytest.raises(CatalogError, match="no element 3"):
        read_catalog(path, columns={**columns, "ra": "ra[3]"})
    np.testing.assert_array_equal(read_catalog(path, columns={**columns, "feh": "col5"})["feh"], 1)


def test_any_table_of_a_file_with_several(tmp_path):
    path = tmp_path / "stars.fits"
    parts = [
        fits.table_to_hdu(table(teff=t)[:rows])
        for t, rows in ((5000.0, 2), (5500.0, 5), (6000.0, 5))
    ]
    for hdu, name in zip(parts, ("FEW", "STARS", "OTHER"), strict=True):
        hdu.name = name
    fits.HDUList([fits.PrimaryHDU(), *parts]).writeto(path)
    with pytest.warns(CatalogWarning, match=r"HDU 1 is read.*2 'STARS'.*hdu = chooses"):
        assert read_catalog(path).sizes["star"] == 2
    for hdu, teff in ((2, 5500), ("STARS", 5500), ("other", 6000), ("3", 6000)):
        assert read_catalog(path, hdu=hdu)["teff"].values.tolist() == [teff] * N
    with pytest.raises(CatalogError, match="did you mean 'STARS'"):
        read_catalog(path, hdu="STAR")
    with pytest.raises(CatalogError, match="HDU 0 is no table"):
        read_catalog(path, hdu=0)
    stream = open_catalog(path, hdu="STARS", extinction=None)
    assert stream.n_stars == N
    with fits.open(path) as hdus:
        assert read_catalog(hdus[2])["teff"].values.tolist() == [5500] * N
        assert read_catalog(hdus, hdu=3)["teff"].values.tolist() == [6000] * N


# VOTable -------------------------------------------------------------------------------------


def test_votable_of_any_resource_and_what_a_service_says(tmp_path):
    write(table(teff=5500.0), tmp_path / "a.vot")
    document = parse(tmp_path / "a.vot")
    write(table(teff=6000.0)[:2], tmp_path / "b.vot")
    second = parse(tmp_path / "b.vot")
    second.resources[0].tables[0].ID = "second"
    document.resources.insert(0, second.resources[0])
    document.to_xml(str(tmp_path / "both.vot"))
    with pytest.warns(CatalogWarning, match="table 0 is read, 2 rows, though another has more"):
        assert read_catalog(tmp_path / "both.vot").sizes["star"] == 2
    assert read_catalog(tmp_path / "both.vot", hdu=1)["teff"].values.tolist() == [5500] * N
    assert read_catalog(tmp_path / "both.vot", hdu="second").sizes["star"] == 2
    with pytest.raises(CatalogError, match="no table is named 'third'"):
        read_catalog(tmp_path / "both.vot", hdu="third")
    for status, match in (("OVERFLOW", "limit of rows"), ("ERROR", "reports an error: too much")):
        document = parse(tmp_path / "a.vot")
        document.resources[0].infos.append(info := Info(name="QUERY_STATUS", value=status))
        info.content = "too much"
        document.to_xml(str(tmp_path / "said.vot"))
        if status == "ERROR":
            with pytest.raises(CatalogError, match=match):
                read_catalog(tmp_path / "said.vot")
        else:
            with pytest.warns(CatalogWarning, match=match):
                assert read_catalog(tmp_path / "said.vot").sizes["star"] == N


@pytest.mark.parametrize("serialization", ["tabledata", "binary", "binary2"])
def test_votable_numbers_as_text_and_nulls(tmp_path, serialization):
    made = table()
    made["ra"] = ["1.5", "", "2.5", "3", "4"]
    # A null integer has no place in BINARY.
    kind = np.float64 if serialization == "binary" else np.int64
    made["snr_g"] = MaskedColumn(np.arange(N, dtype=kind), mask=np.arange(N) == 4)
    with warnings.catch_warnings(action="ignore"):
        made.write(tmp_path / "stars.xml", format="votable", tabledata_format=serialization)
    got = read_catalog(tmp_path / "stars.xml")
    np.testing.assert_array_equal(got["ra"], [1.5, np.nan, 2.5, 3, 4])
    np.testing.assert_array_equal(got["snr_g"], [0, 1, 2, 3, np.nan])
    np.testing.assert_array_equal(got["source_id"], IDS)


# Text ----------------------------------------------------------------------------------------


def lines_of(separator=",", **changes):
    return frame(**changes).to_csv(index=False, sep=separator)


@pytest.mark.parametrize("encode", [
    lambda t: b"\xef\xbb\xbf" + t.encode(), lambda t: t.encode("utf-16"), str.encode,
    lambda t: t.replace("\n", "\r\n").encode(), lambda t: t.replace("\n", "\r").encode(),
    lambda t: ("# été\n" + t).encode("latin-1"), lambda t: ("\n\n" + t + "\n\n").encode(),
    lambda t: ("#\n# note, with, commas\n\n" + t + "# end\n").encode(),
])  # fmt: skip
@pytest.mark.parametrize("separator", [",", "\t", ";", "|"])
def test_texts_of_any_encoding(tmp_path, encode, separator):
    (tmp_path / "stars.txt").write_bytes(encode(lines_of(separator)))
    got = read_catalog(tmp_path / "stars.txt")
    np.testing.assert_array_equal(got["teff"], frame()["teff"])
    np.testing.assert_array_equal(got["source_id"], IDS)


def test_columns_kept_apart_by_blanks(tmp_path):
    aligned = frame().to_string(index=False)
    commented = "# " + " ".join(frame()) + "\n" + "\n".join(aligned.split("\n")[1:]) + "\n"
    quoted = 'name source_id ra\n"HD  1" 1 2.0\n"HD  2"  2   3.0\n'
    for text in (aligned + "\n", commented):
        (tmp_path / "stars.dat").write_text(text)
        np.testing.assert_array_equal(read_catalog(tmp_path / "stars.dat")["teff"], frame()["teff"])
    (tmp_path / "stars.dat").write_text(quoted)
    columns = {"source_id": "name", "ra": "ra"}
    got = read_catalog(tmp_path / "stars.dat", columns=columns)
    assert got["source_id"].values.tolist() == ["HD  1", "HD  2"]


def test_vizier_text(tmp_path):
    """Units and dashes below the names, an end mark, and tables that follow."""
    names = list(frame())
    units = ["", "deg", "deg", "kK", "kK"]
    rows = [names, units, ["-" * len(n) for n in names]]
    rows += [
        [str(v) for v in row] for row in frame(teff=5.5, teff_error=0.04).itertuples(index=False)
    ]
    text = (
        "#\n#   VizieR\n#RESOURCE=yCat\n\n"
        + "\n".join("\t".join(row) for row in rows)
        + "\n#END#\n"
    )
    (tmp_path / "stars.tsv").write_text(text)
    got = read_catalog(tmp_path / "stars.tsv")
    np.testing.assert_allclose(got["teff"], 5500)
    np.testing.assert_allclose(got["teff_error"], 40)
    assert got.sizes["star"] == N
    (tmp_path / "stars.tsv").write_text(
        text.removesuffix("#END#\n") + "\n#RESOURCE=b\nx\ty\n1\t2\n"
    )
    with pytest.warns(CatalogWarning, match="further tables"):
        assert read_catalog(tmp_path / "stars.tsv").sizes["star"] == N


@pytest.mark.parametrize("format", ["mrt", "ipac"])
def test_machine_readable_text(tmp_path, format):
    made = table()
    made["source_id"] = np.arange(N) + 2_000_000_000
    made["teff"] = MaskedColumn(made["teff"], mask=np.arange(N) == 2, unit="K")
    made["pmra"] = Column(np.arange(N) * 1e-3, unit="arcsec/yr")
    path = tmp_path / f"stars.{'mrt' if format == 'mrt' else 'tbl'}"
    made.write(path, format=f"ascii.{format}")
    got = read_catalog(path)
    np.testing.assert_allclose(got["teff"], [5000, 5250, np.nan, 5750, 6000])
    np.testing.assert_allclose(got["pmra"], np.arange(N))


def test_columns_of_one_name_are_refused_in_memory_too():
    double = pa.table([pa.array([1]), pa.array([5e3]), pa.array([1.0])], names=["id", "t", "t"])
    with pytest.raises(CatalogError, match="columns of one name"):
        read_catalog(double, columns={"source_id": "id", "teff": "t"})


@pytest.mark.parametrize(("ending", "content", "match"), [
    ("csv", b"source_id,ra\n1,2.0,9,8\n2,4.0,9,8\n", r"row 1 .*has 4 fields.*header has 2"),
    ("csv", b"source_id,ra,dec\n1,1.0,2.0\n2,123.4\n", r"row 2 .*has 2 fields.*header has 3"),
    ("csv", b"1,1.0,2.0\n2,3.0,4.0\n", "no line of names"),
    ("csv", b"source_id,ra,ra,dec\n1,1.0,2.0,3.0\n", "two columns are named 'ra'"),
    ("csv", b"source_id,ra\n1,12 34 56.7\n", "'12 34 56.7' in row 1.*say in the column map"),
    ("csv", b'source_id,ra,dec\n1,"1,5",2.0\n', "holds text: '1,5'"),
    ("fits", b"PK\x03\x04....", "ZIP archive"),
    ("fits", b"\x89HDF\r\n", "HDF5"),
    ("fits", b"<!DOCTYPE html>", "web page"),
    ("fits", b"", "empty"),
    ("fits", b"\x28\xb5\x2f\xfd", "zstd"),
])  # fmt: skip
def test_what_is_no_table(tmp_path, ending, content, match):
    (tmp_path / f"stars.{ending}").write_bytes(content)
    with pytest.raises(CatalogError, match=match):
        read_catalog(tmp_path / f"stars.{ending}")


def test_a_text_cut_within_its_last_number_is_doubted(tmp_path):
    (tmp_path / "stars.csv").write_text("source_id,ra,dec\n1,1.0,2.0\n2,123.456,3")
    with pytest.warns(CatalogWarning, match=r"last line, '2,123.456,3', has no end of line"):
        assert read_catalog(tmp_path / "stars.csv").sizes["star"] == 2


# Compression, names that lie ---------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["fits", "csv", "vot", "parquet"])
@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("named", [True, False])
def test_packed_files_of_any_name(tmp_path, ending, pack, named):
    plain = write(table(), tmp_path / f"stars.{ending}")
    packed = tmp_path / (f"packed.{ending}" + (".gz" if named else ""))
    packed.write_bytes(pack(plain.read_bytes()))
    for source in (packed, io.BytesIO(packed.read_bytes())):
        got = read_catalog(source, format=None if ending != "csv" or source is packed else "csv")
        np.testing.assert_array_equal(got["teff"], frame()["teff"])
    parts = xr.concat(iter_catalog(packed, chunk_size=2), "star", combine_attrs="override")
    np.testing.assert_array_equal(parts["source_id"], IDS)
    packed.write_bytes(pack(plain.read_bytes())[:40])
    with pytest.raises(CatalogError):
        read_catalog(packed)


@pytest.mark.parametrize("ending", ["fits", "vot", "parquet"])
def test_contents_count_and_not_the_name(tmp_path, ending):
    path = write(table(), tmp_path / f"stars.{ending}").rename(tmp_path / "stars.csv")
    np.testing.assert_array_equal(read_catalog(path)["teff"], frame()["teff"])
    other = "fits" if ending != "fits" else "parquet"
    with pytest.raises(CatalogError, match=f"not of {other}"):
        read_catalog(path, format=other)


# Folders of Parquet ----------------------------------------------------------------------------


def test_folders_of_parquet(tmp_path):
    root = tmp_path / "cat"
    for k, name in enumerate(("Npix=3.parquet", "Npix=4.parquet", "Npix=5/part0.parquet")):
        path = root / "dataset" / "Norder=1" / "Dir=0" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        frame(source_id=IDS + 10 * k, ra=k * 10.0 + np.arange(N)).to_parquet(path)
    (root / "dataset" / "_metadata").write_bytes(b"")
    (root / "hats.properties").write_text("obs_collection=x\n")
    got = read_catalog(root)
    np.testing.assert_array_equal(got["source_id"], np.concatenate([IDS, IDS + 10, IDS + 20]))
    for size in (1, 4, 7, 100):
        parts = list(iter_catalog(root, chunk_size=size))
        assert {p.sizes["star"] for p in parts[:-1]} <= {size}
        xr.testing.assert_identical(xr.concat(parts, "star", combine_attrs="override"), got)
    # A collection: its margin holds the same stars again.
    margin = tmp_path / "cat_margin" / "dataset"
    margin.mkdir(parents=True)
    (margin.parent / "hats.properties").write_text("")
    frame().to_parquet(margin / "a.parquet")
    with pytest.raises(CatalogError, match="several catalogues"):
        read_catalog(tmp_path)
    (tmp_path / "collection.properties").write_text("hats_primary_table_url=cat\n")
    assert read_catalog(tmp_path).sizes["star"] == 3 * N
    frame().drop(columns="teff").to_parquet(root / "z.parquet")
    with pytest.raises(CatalogError, match=r"z\.parquet: its columns are not those of"):
        read_catalog(root)


def test_units_of_parquet_from_whatever_wrote_them(tmp_path):
    made = pa.Table.from_pandas(frame(distance=500.0))
    field = pa.field("distance", pa.float64(), metadata={"units": "pc"})
    schema = made.schema.set(made.schema.get_field_index("distance"), field)
    pq.write_table(made.cast(schema), tmp_path / "a.parquet")
    np.testing.assert_allclose(read_catalog(tmp_path / "a.parquet")["distance"], 0.5)
    described = (
        '<VOTABLE version="1.4"><RESOURCE><TABLE>'
        '<FIELD name="distance" datatype="double" unit="pc"/>'
        "</TABLE></RESOURCE></VOTABLE>"
    )
    said = {"IVOA.VOTable-Parquet.content": described}
    pq.write_table(made.replace_schema_metadata(said), tmp_path / "b.parquet")
    np.testing.assert_allclose(read_catalog(tmp_path / "b.parquet")["distance"], 0.5)


@pytest.mark.parametrize(
    "kind",
    ["decimal128(8, 2)", "dictionary", "large_string", "bool", "float16", "list", "timestamp"],
)
def test_types_of_parquet(tmp_path, kind):
    values = pa.array([1.0, 0.0, None, 1.0, 0.0])
    made = {
        "decimal128(8, 2)": lambda: values.cast(pa.decimal128(8, 2)),
        "dictionary": lambda: pa.array(["1", "0", None, "1.0", "0"]).dictionary_encode(),
        "large_string": lambda: pa.array(["1", "0", None, "1.0", "0"], pa.large_string()),
        "bool": lambda: pa.array([True, False, None, True, False]),
        "float16": lambda: pa.array(np.array([1, 0, np.nan, 1, 0], dtype=np.float16)),
        "list": lambda: pa.array([[1.0], [0.0], None, [1.0], [0.0]]),
        "timestamp": lambda: pa.array([1, 2, 3, 4, 5], pa.timestamp("s")),
    }[kind]()
    pq.write_table(
        pa.table({"source_id": IDS, "ra": np.arange(N), "dec": np.arange(N), "survey_flag": made}),
        tmp_path / "a.parquet",
    )
    if kind in ("list", "timestamp"):
        with pytest.raises(CatalogError, match=r"column 'survey_flag' holds (arrays|times)"):
            read_catalog(tmp_path / "a.parquet")
    else:
        np.testing.assert_array_equal(
            read_catalog(tmp_path / "a.parquet")["survey_flag"], [1, 0, np.nan, 1, 0]
        )


# In memory -----------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [
    lambda f: f, lambda f: f.set_index("source_id"), lambda f: f.convert_dtypes(),
    lambda f: f.convert_dtypes(dtype_backend="pyarrow"), Table.from_pandas,
    lambda f: QTable.from_pandas(f, units={"ra": "deg"}), lambda f: f.to_xarray(),
    lambda f: f.rename_axis("star").to_xarray(), pa.Table.from_pandas, lambda f: f.to_records(),
    lambda f: {name: f[name].to_numpy() for name in f}, lambda f: f.to_dict("list"),
    lambda f: io.StringIO(f.to_csv(index=False)), lambda f: fits.table_to_hdu(Table.from_pandas(f)),
])  # fmt: skip
def test_tables_in_memory(make):
    made = make(frame(teff=[5000.0, np.nan, 5500.0, 5750.0, 6000.0]))
    more = {"format": "csv"} if isinstance(made, io.StringIO) else {}
    got = read_catalog(made, **more)
    np.testing.assert_array_equal(got["teff"], [5000, np.nan, 5500, 5750, 6000])
    np.testing.assert_array_equal(got["source_id"], IDS)
    assert got["flag"].values[1] & StarFlag.MISSING_PARAMETERS


@pytest.mark.parametrize(
    "thing", [3, None, [1, 2], "nowhere.fits", object(), frame()["ra"], np.ones(3)]
)
def test_what_is_no_table_in_memory(thing):
    with pytest.raises(CatalogError):
        read_catalog(thing)


def test_units_of_tables_in_memory():
    made = QTable(table())
    made["distance"] = np.full(N, 500.0) * u.pc
    made["age"] = np.full(N, 9.7) * u.dex(u.yr)
    made["ra"] = np.radians(frame()["ra"].to_numpy()) * u.rad
    as_dataset = xr.Dataset(
        {n: ("star", np.asarray(made[n].value if hasattr(made[n], "unit") else made[n]),
             {"units": str(getattr(made[n], "unit", None) or "")}) for n in made.colnames}
    )  # fmt: skip
    for one in (made, dict(made.items()), as_dataset):
        got = read_catalog(one)
        np.testing.assert_allclose(got["distance"], 0.5)
        np.testing.assert_allclose(got["age"], 10**0.7)
        np.testing.assert_allclose(got["ra"], frame()["ra"])


# Units ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("unit", "name", "factor"), [
    ("KM/S", "radial_velocity", 1), ("km s^-1", "radial_velocity", 1),
    ("km.s-1", "radial_velocity", 1),
    ("km/sec", "radial_velocity", 1), ("m s-1", "radial_velocity", 1e-3), ("DEG", "ra", 1),
    ("degrees", "dec", 1), ("rad", "ra", 57.29577951308232), ("mas yr^{-1}", "pmra", 1),
    ("mas.yr-1", "pmra", 1), ("MAS/YR", "pmdec", 1), ("arcsec/yr", "pmra", 1e3),
    ("log(cm.s**-2)", "logg", 1), ("[cm/s2]", "logg", 1), ("dex(cm/s2)", "logg_error", 1),
    ("mag(AB)", "a_v", 1), ("mmag", "phot_g_mean_mag_error", 1e-3), ("MAG", "a_v", 1),
    ("[-]", "feh", 1),
    ("Sun", "feh", 1), ("[Sun]", "alpha_fe", 1), ("dex", "feh_error", 1), ("Kelvin", "teff", 1),
    ("KPC", "distance", 1), ("PC", "distance", 1e-3), ("Gigayears", "age", 1), ("MYR", "age", 1e-3),
    ("1e9 yr", "age", 1), ("---", "teff", 1), ("pix-1", "snr_g", 1),
])  # fmt: skip
def test_units_as_they_are_spelled(unit, name, factor):
    made = conversion(unit, name)
    assert made is not None
    assert (made.factor, made.offset, made.function) == (pytest.approx(factor, rel=1e-14), 0.0, 0)


@pytest.mark.parametrize(("unit", "name", "value", "expected"), [
    ("dex(yr)", "age", 9.7, 10**0.7), ("[yr]", "age", 9.7, 10**0.7), ("log(yr)", "age", 9.0, 1.0),
    ("dex(pc)", "distance", 2.7, 10**-0.3), ("dex(K)", "teff", 3.75, 10**3.75),
    ("dex(m/s2)", "logg", 2.4, 4.4), ("cm/s2", "logg", 10**4.4, 4.4),
])  # fmt: skip
@pytest.mark.parametrize("ending", ["ecsv", "vot", "parquet"])
def test_logarithmic_units(tmp_path, unit, name, value, expected, ending):
    made = table(**{name: value})
    made[name].unit = (
        u.Unit(unit) if unit.startswith(("dex", "cm")) else u.Unit(unit, parse_strict="silent")
    )
    with warnings.catch_warnings(action="ignore"):  # astropy remarks on units of VOTable
        path = write(made, tmp_path / f"stars.{ending}")
    np.testing.assert_allclose(read_catalog(path)[name], expected)


@pytest.mark.parametrize(("unit", "name"), [
    ("dex", "phot_g_mean_mag"), ("mag", "feh"), ("dex", "age"), ("dex(K)", "teff_error"),
    ("K", "ra"),
    ("mpc", "distance"), ("myr", "age"), ("h:m:s", "teff"), ("km", "radial_velocity"),
    ("what", "teff"),
    ("dex(kpc)", "age"), ("mag", "distance"), ("dex(yr)", "feh"),
])  # fmt: skip
def test_units_that_cannot_be(tmp_path, unit, name):
    assert conversion(unit, name) is None
    pq.write_table(
        pa.table(
            [IDS, np.ones(N)],
            schema=pa.schema([
                pa.field("source_id", pa.int64()),
                pa.field(name, pa.float64(), metadata={"unit": unit}),
            ]),
        ),
        tmp_path / "a.parquet",
    )  # fmt: skip
    with pytest.raises(CatalogError, match=rf"a\.parquet: column '{name}'.*but it is in"):
        read_catalog(tmp_path / "a.parquet")


def test_a_map_may_not_contradict_the_file(tmp_path):
    made = table(r_med_geo=0.5, r_lo_geo=0.4, r_hi_geo=0.6)
    for name in ("r_med_geo", "r_lo_geo", "r_hi_geo"):
        made[name].unit = "kpc"
    path = write(made, tmp_path / "stars.ecsv")
    np.testing.assert_array_equal(read_catalog(path)["distance"], 0.5)  # it is pc only if not said
    columns = {"source_id": "source_id", "distance": {"column": "r_med_geo", "unit": "pc"}}
    with pytest.raises(CatalogError, match=r"'r_med_geo' states the unit 'kpc', but .* 'pc'"):
        read_catalog(path, columns=columns)
    columns["distance"]["unit"] = "kiloparsec"
    np.testing.assert_array_equal(read_catalog(path, columns=columns)["distance"], 0.5)


# Identifiers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("ids", [
    IDS.astype(np.float64), IDS.astype(np.float32), [f"{float(i)!r}" for i in IDS],
    IDS.astype(np.float64).astype(np.int64) + 4096 * np.arange(N),
    (IDS.astype(np.float64) + 4096 * np.arange(N)).astype(str),
])  # fmt: skip
@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_identifiers_that_went_through_floating_point(tmp_path, ids, ending):
    n = len(ids)
    made = frame(source_id=ids)
    if ending == "csv" and not isinstance(ids, list):
        made["source_id"] = [str(v) for v in np.asarray(ids).tolist()]
    path = tmp_path / f"stars.{ending}"
    made.to_csv(path, index=False) if ending == "csv" else made.to_parquet(path)
    assert n == N
    with pytest.raises(CatalogError, match="lost digits"):
        read_catalog(path)


@pytest.mark.parametrize("ids", [
    np.array([1, 2, 3, 4, 2**63], dtype=np.uint64), ["1", "2", "3", "4", str(2**63)],
])  # fmt: skip
def test_identifiers_of_more_than_63_bits(tmp_path, ids):
    for path, write_ in ((tmp_path / "a.csv", "to_csv"), (tmp_path / "a.parquet", "to_parquet")):
        getattr(frame(source_id=ids), write_)(path, index=False)
        with pytest.raises(
            CatalogError, match=r"identifier 9223372036854775808 in row 5 .*63 bits"
        ):
            read_catalog(path)
        with pytest.raises(CatalogError, match=r"in row 5 .*63 bits"):
            list(iter_catalog(path, chunk_size=2))


def test_identifiers_that_are_whole_floats_or_names(tmp_path):
    for ids, expected in (
        ([1.0, 2.0, 3.0, 4.0, 2.0**52], [1, 2, 3, 4, 2**52]),
        (["1.0", "2.0", "3", "4.0", "5"], [1, 2, 3, 4, 5]),
        (["HD 1", "2", "3.0", "4", "x"], ["HD 1", "2", "3.0", "4", "x"]),
        (["12.5", "b", "c", "d", "e"], ["12.5", "b", "c", "d", "e"]),
    ):
        frame(source_id=ids).to_csv(tmp_path / "a.csv", index=False)
        assert read_catalog(tmp_path / "a.csv")["source_id"].values.tolist() == expected


# What contradicts itself -------------------------------------------------------------------------


def sample(n=60, **changes):
    rng = np.random.default_rng(2)
    distance = rng.uniform(0.2, 1.0, n)
    values = {
        "source_id": np.arange(n), "ra": rng.uniform(0, 360, n), "dec": rng.uniform(-60, 80, n),
        "parallax": 1 / distance, "parallax_error": 0.02, "pmra": rng.normal(0, 8, n), "pmdec": 3.0,
        "radial_velocity": rng.normal(0, 25, n), "distance": distance,
        "phot_g_mean_mag": 4.5 + 5 * np.log10(distance) + 10,
    }  # fmt: skip
    return pd.DataFrame({**values, **changes})


@pytest.mark.parametrize(("change", "error", "match"), [
    ({"distance": 1e3}, True, r"(distance times parallax is 1000|'distance'.*outside 0 to 300)"),
    ({"parallax": 1e-3, "parallax_error": 1e-3}, True, "distance times parallax is 0.001"),
    ({"radial_velocity": 1e3}, True, "'radial_velocity'.*outside -2000 to 2000"),
    ({"pmra": 1e-3, "pmdec": 1e-3}, False, "median speed across the sky"),
    ({"parallax": 3.0}, False, "distance times parallax is 3"),
])  # fmt: skip
def test_units_that_are_not_stated_and_not_right(change, error, match):
    made = sample()
    for name, factor in change.items():
        made[name] *= factor
    if error:
        with pytest.raises(CatalogError, match=match):
            read_catalog(made)
    else:
        with pytest.warns(CatalogWarning, match=match):
            read_catalog(made)


def test_distances_in_parsecs_without_a_parallax_are_doubted():
    made = sample().drop(columns=["parallax", "parallax_error"])
    made["distance"] *= 100.0
    with pytest.warns(CatalogWarning, match="(median speed|median absolute magnitude)"):
        read_catalog(made)


_MAPPED = {"source_id": "id"}
_ROWS = "".join(f"{i},{{}}\n" for i in range(20))


@pytest.mark.parametrize(("head", "value", "columns", "expected", "match"), [
    # Units in a row of their own or in the name of a column.
    ("id,dist\n,pc", "50", {"distance": "dist"}, 0.05, ""),
    ("id,dist\n,(pc)", "50", {"distance": "dist"}, 0.05, ""),
    ("id,dist (pc)", "50", {"distance": "dist (pc)"}, 0.05, ""),
    ("id,log age [yr]", "9.0", {"age": "log age [yr]"}, 1.0, ""),
    ("id,mag (G)", "12", {"phot_g_mean_mag": "mag (G)"}, 12.0, ""),
    ("id,[M/H]", "0.1", {"feh": "[M/H]"}, 0.1, ""),
    ("id,spt\nA,M", "5000", {"teff": "spt"}, None, "holds text: 'M' in row 1"),
    ("id,RA (h)", "10", {"ra": "RA (h)"}, 150.0, ""),
    # What is not stated, or stands beside.
    ("id,dist_pc", "50", {"distance": "dist_pc"}, 50.0, "ends in 'pc'"),
    ("id,age_myr", "20", {"age": "age_myr"}, 20.0, "ends in 'Myr'"),
    ("id,teff,teff_mask", "5000,1", {"teff": "teff"}, 5000.0, "rename it to 'teff.mask'"),
    ("id,age", "9.1", {"age": "age"}, 9.1, r"dex\(yr\)"),
    ("id,plx,e", "0.002,1e-5", {"parallax": "plx", "parallax_error": "e"}, 0.002, "500 kpc"),
    # Numbers as other languages write them.
    ("id,teff", '"5,000"', {"teff": "teff"}, None, "nothing between thousands"),
    ("id,teff", "5 000", {"teff": "teff"}, None, "nothing between thousands"),
    ("id,teff", '"5000,5"', {"teff": "teff"}, None, "a decimal point"),
    ("id,teff", "2%", {"teff": "teff"}, None, "holds text: '2%'"),
])  # fmt: skip
def test_what_a_text_says_of_its_numbers(tmp_path, head, value, columns, expected, match):
    (tmp_path / "stars.csv").write_text(f"{head}\n{_ROWS.format(*[value] * 20)}")
    read = partial(read_catalog, tmp_path / "stars.csv", columns=_MAPPED | columns)
    if expected is None:
        with pytest.raises(CatalogError, match=match):
            read()
        return
    if match:
        with pytest.warns(CatalogWarning, match=match):
            got = read()
    else:
        got = read()
    np.testing.assert_allclose(got[next(iter(columns))], expected)


def test_ages_that_look_like_logarithms_are_doubted():
    made = sample(age=np.linspace(8.0, 10.1, 60))
    with pytest.warns(CatalogWarning, match=r"'age'.*dex\(yr\)"):
        read_catalog(made)


@pytest.mark.parametrize(("low", "high", "match"), [
    (lambda d: 0.05 * d, lambda d: 0.05 * d, "seem to be errors"),
    (lambda d: 1.05 * d, lambda d: 0.95 * d, "swapped"),
    (lambda d: 3.0 * d, lambda d: 4.0 * d, "another unit"),
])  # fmt: skip
@pytest.mark.parametrize("name", ["distance", "age"])
def test_percentiles_that_are_none(low, high, match, name):
    made = sample(age=4.0)
    made[f"{name}_lo"], made[f"{name}_hi"] = low(made[name]), high(made[name])
    with pytest.raises(
        CatalogError, match=rf"{name}_lo and {name}_hi.*two sides of {name}.*{match}"
    ):
        read_catalog(made)


def test_symmetric_errors_are_used():
    made = sample(distance_error=0.05, age=4.0, age_error=1.0)
    got = read_catalog(made)
    np.testing.assert_allclose(got["distance_hi"] - got["distance"], 0.05)
    np.testing.assert_allclose(got["distance"] - got["distance_lo"], 0.05)
    np.testing.assert_allclose(got["age_lo"], 3.0)
    np.testing.assert_allclose(got["age_hi"], 5.0)
    assert not {"distance_error", "age_error"} & set(got)


@pytest.mark.parametrize("codes", [10033, [0, 1, 2, 3, 0], "A", np.nan])
def test_a_catalogues_own_flag_is_not_ours(tmp_path, codes):
    for ending in ("csv", "parquet"):
        path = tmp_path / f"a.{ending}"
        made = frame(flag=codes, logg=4.4, feh=0.0)
        made.to_csv(path, index=False) if ending == "csv" else made.to_parquet(path)
        flag = read_catalog(path)["flag"].values
        np.testing.assert_array_equal(flag, read_catalog(frame(logg=4.4, feh=0.0))["flag"].values)


def test_absurd_errors_cost_the_star_its_orbit_or_age():
    made = sample(radial_velocity_error=1.0, distance_lo=0.1, distance_hi=1.2, teff=5800.0,
                  logg=4.4, feh=0.0, feh_error=0.05, alpha_fe=0.0, alpha_fe_error=0.03)  # fmt: skip
    made.loc[0, "radial_velocity_error"] = 9999.0
    made.loc[1, "distance_hi"] = 9e4
    made.loc[2, "alpha_fe_error"] = 1e6
    with pytest.warns(CatalogWarning, match="'(distance_hi|alpha_fe_error)'.*taken as missing"):
        flag = read_catalog(made)["flag"].values
    assert flag[0] & StarFlag.MISSING_RADIAL_VELOCITY
    assert flag[1] & StarFlag.BAD_DISTANCE
    assert flag[2] & StarFlag.BAD_ERROR
    fine = StarFlag.MISSING_RADIAL_VELOCITY | StarFlag.BAD_DISTANCE | StarFlag.BAD_ERROR
    assert not (flag[3:] & int(fine)).any()


@pytest.mark.parametrize(("column", "match"), [
    (["12:30:00.0"] * N, "say in the column map what it is"), (["1,5"] * N, "decimal point"),
    (["[1, 2]"] * N, "holds arrays"), ([1j] * N, "complex numbers"),
    (np.arange(N).astype("M8[s]"), "holds times"), ([[1, 2]] * N, "holds arrays"),
    ([{"a": 1}] * N, "holds arrays"),
])  # fmt: skip
def test_columns_that_are_no_numbers_say_what_they_are(column, match):
    made = frame().drop(columns="ra")
    made["ra"] = column
    with pytest.raises(CatalogError, match=rf"the DataFrame: column 'ra'.*{match}"):
        read_catalog(made)


@pytest.mark.filterwarnings("ignore:the catalogue has G and distances")
def test_every_stage_takes_a_users_table(tmp_path):
    made = sample(12, teff=5800.0, teff_error=60.0, logg=4.3, logg_error=0.08, feh=0.0,
                  feh_error=0.05, a_v=0.1, snr_g=90.0, age=4.0, age_error=1.0)  # fmt: skip
    made["distance_error"] = 0.03
    one_potential = {"potentials": ("MWPotential2014",), "draws": 5, "show_progress": False}
    stages = [
        mb.quality_cuts, mb.mark_duplicates, mb.correct_extinction, mb.external_ages,
        partial(mb.estimate_ages, show_progress=False), partial(mb.compute_orbits, **one_potential),
        mb.assemble_stars,
        lambda t: read_catalog(mb.write_catalog(t, tmp_path / "a.parquet", overwrite=True)),
    ]  # fmt: skip
    for stage in stages:
        results = [
            stage(t) for t in (made, Table.from_pandas(made), made.to_xarray(), read_catalog(made))
        ]
        for result in results[:-1]:
            for name in set(result.data_vars) & set(results[-1].data_vars):
                np.testing.assert_allclose(result[name], results[-1][name], rtol=1e-6)
    assert isinstance(mb.select(made, "feh > -1"), xr.DataArray)


def test_a_users_dataset_is_freed_of_sentinels():
    made = sample(6).assign(radial_velocity_error=1.0, source_id=np.arange(6) * 7)
    made.loc[0, "pmra"], made.loc[1, "radial_velocity"] = -9999.0, -999.0
    made.loc[2, "radial_velocity_error"], made.loc[3, "distance"] = 9999.0, -999.0
    stars = xr.Dataset({name: ("star", made[name].to_numpy()) for name in made})
    orbits = mb.compute_orbits(
        stars, potentials=("MWPotential2014",), zmax_potentials=(), draws=5, show_progress=False
    )
    flag = orbits["flag"].values
    assert flag[0] & StarFlag.MISSING_ASTROMETRY
    assert flag[1] & StarFlag.MISSING_RADIAL_VELOCITY
    assert flag[2] & StarFlag.UNKNOWN_KINEMATIC_ERROR
    assert flag[3] & StarFlag.BAD_DISTANCE
    assert not flag[4:].any()
    with pytest.raises(CatalogError, match="lost digits"):
        mb.quality_cuts(
            xr.Dataset({"source_id": ("star", [4.6e18, 1.0]), "ra": ("star", [1.0, 2])})
        )


def test_a_dataset_that_is_still_packed_is_unpacked():
    packed = {"scale_factor": 0.5, "_FillValue": -1, "units": "K"}
    teff = ("star", np.array([10_000, -1, 12_000], dtype=np.int16), packed)
    raw = xr.Dataset({"teff": teff, "id": ("star", [1, 2, 3])})
    got = read_catalog(raw, columns={"source_id": "id", "teff": "teff"})
    np.testing.assert_array_equal(got["teff"], [5000.0, np.nan, 6000.0])
    whole = mb.quality_cuts(raw.rename(id="source_id"), min_snr=None)
    np.testing.assert_array_equal(whole["teff"], [5000.0, np.nan, 6000.0])


def test_two_fields_of_one_name_in_a_votable_are_refused(tmp_path):
    write(Table({"source_id": IDS, "ra": [1.0] * N, "other": [2.0] * N}), tmp_path / "s.vot")
    text = (tmp_path / "s.vot").read_text().replace('"other"', '"ra"')
    (tmp_path / "s.vot").write_text(text)
    with pytest.raises(CatalogError, match="two columns are named 'ra'"):
        read_catalog(tmp_path / "s.vot")


def test_a_table_in_memory_is_not_a_file_to_draft_a_map_of():
    with pytest.raises(CatalogError, match="the DataFrame: ") as caught:
        read_catalog(pd.DataFrame({"nothing": [1.0]}), columns={"teff": "temperature"})
    assert "migrate-bayes columns" not in str(caught.value)
    assert 'as columns = {"source_id": {"row_number": true}}' in str(caught.value)
