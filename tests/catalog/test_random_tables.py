"""Random tables: every value is read right, flagged as missing, or the table refused by name.

Types, units, masks, sentinels, formats and compressions are drawn; the truth is known.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import MaskedColumn, QTable, Table
from astropy.utils.masked import Masked

from migrate_bayes.catalog import iter_catalog, read_catalog
from migrate_bayes.core.errors import CatalogError

# Canonical column: units that a table may state, as astropy's or as a spelling, with the factor.
_LINEAR = {
    "ra": [("deg", 1.0), ("rad", np.degrees(1.0)), ("DEG", 1.0), ("degrees", 1.0), ("h", 15.0)],
    "dec": [("deg", 1.0), ("arcmin", 1 / 60)],
    "parallax": [("mas", 1.0), ("arcsec", 1e3), ("uas", 1e-3)],
    "pmra": [
        ("mas/yr", 1.0),
        ("arcsec/yr", 1e3),
        ("mas yr^{-1}", 1.0),
        ("MAS/YR", 1.0),
        ("arcsec per century", 10.0),
    ],
    "pmdec": [("mas/yr", 1.0), ("mas.yr-1", 1.0)],
    "radial_velocity": [
        ("km/s", 1.0),
        ("m/s", 1e-3),
        ("KM/S", 1.0),
        ("cm/s", 1e-5),
        ("km/s (barycentric)", 1.0),
    ],
    "radial_velocity_error": [("km/s", 1.0), ("m/s", 1e-3)],
    "distance": [("kpc", 1.0), ("pc", 1e-3), ("KPC", 1.0), ("lyr", u.lyr.to("kpc"))],
    "phot_g_mean_mag": [("mag", 1.0), ("mmag", 1e-3)],
    "teff": [("K", 1.0), ("kK", 1e3), ("Kelvin", 1.0)],
    "teff_error": [("K", 1.0)],
    "logg": [("dex", 1.0), ("log(cm.s**-2)", 1.0), ("[cm/s2]", 1.0)],
    "feh": [("dex", 1.0), ("[-]", 1.0), ("Sun", 1.0), ("[Sun]", 1.0)],
    "feh_error": [("dex", 1.0)],
    "alpha_fe": [("dex", 1.0)],
    "age": [("Gyr", 1.0), ("Myr", 1e-3), ("yr", 1e-9), ("Gigayears", 1.0)],
    "snr_g": [("", 1.0)],
}
_LOGARITHMIC = {
    "distance": [("dex(pc)", 1e-3), ("dex(kpc)", 1.0), ("log pc", 1e-3)],
    "age": [("dex(yr)", 1e-9), ("log yr", 1e-9)],
    "teff": [("dex(K)", 1.0), ("log10 K", 1.0)],
}
_PACK = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}
_FORMATS = (
    "fits", "fits-ascii", "fits-scaled", "ecsv", "csv", "tsv", "dat", "tabledata", "binary2",
    "parquet", "folder", "frame", "table", "qtable", "mapping", "dataset", "record", "arrow",
    "attrs", "objects",
)  # fmt: skip
_WORDS = ("", "--", "NaN", "null", "---", "N/A")


def truth(rng, n):
    """Return the canonical values of plausible stars."""
    distance = rng.uniform(0.1, 3.0, n)
    values = {
        "ra": rng.uniform(1, 359, n), "dec": rng.uniform(-89, 89, n), "parallax": 1 / distance,
        "pmra": rng.normal(0, 12, n), "pmdec": rng.normal(0, 12, n),
        "radial_velocity": rng.normal(0, 40, n), "radial_velocity_error": rng.uniform(0.1, 8, n),
        "distance": distance, "phot_g_mean_mag": 4.5 + 5 * np.log10(distance) + 10,
        "teff": rng.uniform(4000, 6900, n), "teff_error": rng.uniform(20, 150, n),
        "logg": rng.uniform(0.5, 4.8, n), "feh": rng.normal(-0.2, 0.3, n),
        "feh_error": rng.uniform(0.02, 0.2, n), "alpha_fe": rng.normal(0.1, 0.1, n),
        "age": rng.uniform(0.5, 13, n), "snr_g": rng.uniform(5, 300, n),
    }  # fmt: skip
    names = rng.permutation(list(values))[: rng.integers(2, len(values) + 1)]
    return {str(name): values[str(name)] for name in names}


def as_stored(rng, name, values, unit_kinds, kinds):
    """Return values as a table has them, their unit, and the rounding that this costs."""
    unit, factor, log = "", 1.0, False
    if rng.random() < 0.6 and "units" in unit_kinds:
        choices = list(_LINEAR[name])
        if "logs" in unit_kinds:
            choices += [(*c, True) for c in _LOGARITHMIC.get(name, [])]
        choice = choices[rng.integers(len(choices))]
        unit, factor, log = choice[0], choice[1], len(choice) > 2
    stored = values / factor
    if log:
        stored = np.log10(stored)
    kind = kinds[rng.integers(len(kinds))]
    if kind == "f4":
        return stored.astype(np.float32), unit, 3e-7 * (30 if log else 1), 0.0
    if kind == "i4" and np.all(np.abs(stored) < 2e9) and not log:
        return np.rint(stored).astype(np.int32), unit, 0.0, 0.51 * factor
    return stored, unit, 1e-12, 0.0


def spoil(rng, stored, kinds):
    """Return which values are to be missing, and how that is said."""
    gone = rng.random(len(stored)) < rng.choice([0.0, 0.0, 0.2])
    gone[rng.integers(len(stored))] = False
    how = kinds[rng.integers(len(kinds))]
    if how == "nan" and stored.dtype.kind != "f":
        how = "sentinel"
    return gone, how


def identifiers(rng, n, kinds):
    kind = kinds[rng.integers(len(kinds))]
    if kind == "text":
        return np.array([f"HD {i}" for i in rng.permutation(n)])
    if kind == "padded":
        return np.array([f"{i:04d}" for i in rng.permutation(n)])
    if kind == "small":
        return rng.permutation(n).astype(np.int32)
    return rng.permutation(n).astype(np.int64) * 1_000_003 + 4_111_834_567_779_557_377


def made(rng, folder):
    """Make a table; return what `read_catalog` takes, its identifiers, and the truth by column."""
    n, form = int(rng.integers(3, 25)), _FORMATS[rng.integers(len(_FORMATS))]
    values = truth(rng, n)
    text_only = form in ("csv", "tsv", "dat")
    said = {
        "fits": ("units",), "fits-scaled": ("units",), "fits-ascii": ("units",), "frame": (),
        "mapping": (), "objects": (), "record": ("units",),
    }.get(form, () if text_only else ("units", "logs"))  # fmt: skip
    ways = ["sentinel", "nan", "word"] if text_only else ["sentinel", "nan", "mask"]
    if form in ("frame", "mapping", "dataset", "arrow", "attrs", "objects", "record"):
        ways = ["sentinel", "nan"]
    ids = identifiers(rng, n, ["large", "text", "small", "padded"])
    columns, expected, units, words = {}, {}, {}, {}
    for name, true in values.items():
        stored, unit, relative, absolute = as_stored(rng, name, true, said, ["f8", "f4", "i4"])
        gone, how = spoil(rng, stored, ways)
        column = stored.copy()
        if how == "sentinel":
            column[gone] = -9999
        elif how == "nan":
            column[gone] = np.nan
        elif how == "mask":
            column = MaskedColumn(column, mask=gone)
        else:
            words[name] = gone, _WORDS[rng.integers(len(_WORDS))] if form != "dat" else "--"
        columns[name], units[name] = column, unit
        expected[name] = np.where(gone, np.nan, true), relative, absolute
    packs = list(_PACK) if form in _FORMATS[:10] else [""]
    pack = packs[rng.integers(len(packs))]
    source = written(rng, form, folder, ids, columns, units, words)
    if pack:
        packed = Path(f"{source}{pack}")
        packed.write_bytes(_PACK[pack](source.read_bytes()))
        source = packed
    return source, ids, expected, form


def written(rng, form, folder, ids, columns, units, words):
    table = Table({"source_id": ids, **columns})
    for name, unit in units.items():
        if unit:
            table[name].unit = u.Unit(unit, parse_strict="silent")
    ending = {"fits-ascii": "fits", "fits-scaled": "fits", "tabledata": "vot", "binary2": "vot"}
    path = folder / f"stars.{ending.get(form, form)}"
    match form:
        case "csv" | "tsv" | "dat":
            frame = pd.DataFrame({"source_id": ids, **columns}).astype(object)
            for name, (gone, word) in words.items():
                frame.loc[gone, name] = word
            if form == "dat":
                frame["source_id"] = [str(i).replace(" ", "_") for i in ids]
                ids[:] = frame["source_id"] if ids.dtype.kind == "U" else ids
                frame = frame.replace({np.nan: "nan"})
            frame.to_csv(path, index=False, sep={"csv": ",", "tsv": "\t", "dat": " "}[form])
        case "fits" | "ecsv" | "parquet":
            table.write(path)
        case "fits-scaled":
            hdu = fits.table_to_hdu(table)
            hdu.writeto(path)
            with fits.open(path, mode="update") as hdus:
                header = hdus[1].header
                for i in range(1, header["TFIELDS"] + 1):
                    if header[f"TFORM{i}"] == "J" and header[f"TTYPE{i}"] != "source_id":
                        header[f"TSCAL{i}"] = 1.0
                        header[f"TZERO{i}"] = 0.0
        case "fits-ascii":
            made_of = []
            for name in table.colnames:
                texts = ["" if v is np.ma.masked else repr(v) if isinstance(v, float) else str(v)
                         for v in table[name].tolist()]  # fmt: skip
                mask = np.ma.getmaskarray(table[name])
                texts = ["" if m else t for t, m in zip(texts, mask, strict=True)]
                unit = units.get(name) or None
                made_of.append(fits.Column(name, "A28", array=texts, ascii=True, unit=unit))
            fits.TableHDU.from_columns(made_of).writeto(path)
        case "tabledata" | "binary2":
            table.write(path, format="votable", tabledata_format=form)
        case "folder":
            path = folder / "cat"
            path.mkdir()
            table.write(folder / "whole.parquet")
            whole = pq.read_table(folder / "whole.parquet")
            cut = len(ids) // 2
            pq.write_table(whole.slice(0, cut), path / "a.parquet")
            pq.write_table(whole.slice(cut), path / "b.parquet")
        case "frame":
            frame = pd.DataFrame({"source_id": ids, **columns})
            return frame.convert_dtypes() if rng.random() < 0.5 else frame
        case "objects":
            frame = pd.DataFrame({"source_id": ids, **columns}).astype(object)
            nothing = [None, pd.NA, np.nan, ""][rng.integers(4)]
            return frame.map(lambda v: nothing if isinstance(v, float) and v != v else v)
        case "attrs":
            frame = pd.DataFrame({"source_id": ids, **columns})
            frame.attrs["units"] = {name: unit for name, unit in units.items() if unit}
            if rng.random() < 0.5:
                return frame
            frame.to_parquet(folder / "attrs.parquet")
            return folder / "attrs.parquet"
        case "arrow":
            made_of = pa.table({"source_id": ids, **columns})
            fields = [f.with_metadata({"unit": units.get(f.name, "")}) for f in made_of.schema]
            return made_of.cast(pa.schema(fields))
        case "record":
            return fits.table_to_hdu(table).data
        case "table":
            return table
        case "qtable":
            made_of = QTable()
            made_of["source_id"] = ids
            for name, column in columns.items():
                unit = u.Unit(units[name], parse_strict="silent") if units[name] else None
                plain, mask = np.ma.getdata(column), np.ma.getmaskarray(column)
                if isinstance(unit, u.UnitBase) and not isinstance(unit, u.UnrecognizedUnit):
                    values = np.asarray(plain, dtype=float) * unit
                    made_of[name] = Masked(values, mask=mask) if mask.any() else values
                else:
                    made_of[name] = table[name]
            return made_of
        case "mapping":
            return {"source_id": ids, **columns}
        case "dataset":
            dataset = pd.DataFrame({"source_id": ids, **columns}).rename_axis("star").to_xarray()
            for name, unit in units.items():
                dataset[name].attrs["units"] = unit
            return dataset
    return path


def check(seed, folder):
    """Read one random table; return whether it was refused."""
    rng = np.random.default_rng(seed)
    with warnings.catch_warnings(action="ignore"):
        source, ids, expected, form = made(rng, folder)
        try:
            got = read_catalog(source)
        except CatalogError:
            return True
        again = list(iter_catalog(source, chunk_size=int(rng.integers(1, 9))))
    if ids.dtype.kind == "U" and ids[0].isdecimal():
        ids = ids.astype(np.int64)  # of one width, so that none is another's
    np.testing.assert_array_equal(got["source_id"], ids, err_msg=f"{seed} {form}")
    for name, (true, relative, absolute) in expected.items():
        if name not in got:
            assert np.isnan(true).all(), (seed, form, name)
            continue
        read = got[name].values
        if name == "distance":  # a zero is no distance
            true = np.where(read != read, np.where(np.abs(true) <= absolute, np.nan, true), true)
        if name == "ra":  # 24 hours are 0
            true = read + (true - read + 180) % 360 - 180
        np.testing.assert_allclose(
            read, true, rtol=max(relative, 1e-12), atol=absolute, err_msg=f"{seed} {form} {name}"
        )
        parts = np.concatenate([part[name].values for part in again])
        np.testing.assert_array_equal(parts, read, err_msg=f"{seed} {form} {name} in chunks")
    return False


def refused(seeds, tmp_path):
    count = 0
    for seed in seeds:
        folder = tmp_path / str(seed)
        folder.mkdir()
        count += check(seed, folder)
    return count


def test_random_tables(tmp_path):
    assert refused(range(40), tmp_path) <= 4


@pytest.mark.slow
def test_a_thousand_random_tables(tmp_path):
    assert refused(range(1000, 2000), tmp_path) <= 100
