"""Positions in hours, degrees, minutes and seconds: read right, or refused by name."""

from __future__ import annotations

import re

import numpy as np
import pytest
from astropy.coordinates import Angle
from astropy.table import Table

from migrate_bayes.catalog import read_catalog
from migrate_bayes.catalog.maps import draft_map
from migrate_bayes.core.errors import CatalogError

ANGLES = [
    ("12:34:56.7", "-01:02:03"), ("12 34 56.70", "-01 02 03.0"), ("00 00 00", "-00 00 30.5"),
    ("23h59m59.99s", "+89d59m59.9s"), ("5:06:7.", "−0:00:01"), (" 01:02:03 ", "+ 04 05 06"),
    ("12:34.5", "-1.5"),
]  # fmt: skip


def in_degrees():
    """By astropy: hours and degrees."""
    clean = [(a, b.replace("−", "-").replace("+ ", "+")) for a, b in ANGLES]
    ra, dec = zip(*clean, strict=True)
    return Angle(list(ra), unit="hourangle").degree, Angle(list(dec), unit="deg").degree


@pytest.mark.parametrize("units", ["file", "map", "table"])
def test_hours_degrees_minutes_and_seconds(tmp_path, units):
    rows = [f"{i}\t{a}\t{b}\t5700" for i, (a, b) in enumerate([*ANGLES, ("", "--")])]
    names = {"ra": "RAJ2000", "dec": "DEJ2000"}
    columns = {"source_id": "ID", "teff": "Teff", **names}
    head = ["ID\tRAJ2000\tDEJ2000\tTeff"]
    if units == "file":
        head += ['\t"h:m:s"\t"d:m:s"\tK', "--\t----------\t----------\t----"]
    else:
        columns |= {n: {"column": c, "unit": f"{'hd'[n == 'dec']}:m:s"} for n, c in names.items()}
    path = tmp_path / "in.tsv"
    path.write_text("\n".join([*head, *rows, ""]), encoding="utf-8")
    table = path
    if units == "table":
        ra, dec = zip(*ANGLES, ("", "--"), strict=True)
        table = Table({"ID": np.arange(len(rows)), "RAJ2000": ra, "DEJ2000": dec})
        table["Teff"] = 5700.0
    stars = read_catalog(table, columns=columns)
    ra, dec = in_degrees()
    np.testing.assert_allclose(stars["ra"][:-1], ra % 360, rtol=0, atol=1e-12)
    np.testing.assert_allclose(stars["dec"][:-1], dec, rtol=0, atol=1e-12)
    assert np.isnan(stars["ra"][-1])
    assert np.isnan(stars["dec"][-1])


def test_vizier_angles_by_a_packaged_map(tmp_path):
    """The file says texts of hours where the map supposes degrees: there is no doubt."""
    path = tmp_path / "in.tsv"
    path.write_text(
        "Source\tRAJ2000\tDEJ2000\tteff\n\t\"h:m:s\"\t\"d:m:s\"\tK\n--\t--\t--\t--\n"
        "1\t12 34 56.7\t-01 02 03\t5700\n", encoding="utf-8",
    )  # fmt: skip
    stars = read_catalog(path, columns={"extends": "gaia-joined", "columns": {"teff": "teff"}})
    assert stars["ra"].item() == pytest.approx(188.73625)


@pytest.mark.parametrize(
    ("ra", "dec", "columns", "message"),
    [
        ("12:34:56", "1:2:3", {}, 'unit = "h:m:s" of hours, or "d:m:s" of degrees'),
        ("12:61:56", "1", {"ra": "h:m:s"}, "which '12:61:56' in row 1"),
        ("twelve", "1", {"ra": "h:m:s"}, "which 'twelve' in row 1"),
        ("1", "1:2:3", {"dec": "h:m:s"}, "needs the unit 'deg', but it is in 'h:m:s'"),
    ],
)
def test_angles_that_are_none(tmp_path, ra, dec, columns, message):
    path = tmp_path / "in.csv"
    path.write_text(f"source_id,ra,dec,teff\n1,{ra},{dec},5700\n", encoding="utf-8")
    given = {n: {"column": n, "unit": columns[n]} if n in columns else n for n in ("ra", "dec")}
    with pytest.raises(CatalogError, match=re.escape(message)):
        read_catalog(path, columns={"source_id": "source_id", "teff": "teff", **given})


MRT = """Title: A table
================================================================================
Byte-by-byte Description of file: table.txt
--------------------------------------------------------------------------------
   Bytes Format Units  Label  Explanations
--------------------------------------------------------------------------------
   1-  2 I2     ---    ID     Number
   4-  5 I2     h      RAh    Hour
   7-  8 I2     min    RAm    Minute
  10- 14 F5.2   s      RAs    Second
  16     A1     ---    DE-    Sign
  17- 18 I2     deg    DEd    Degree
  20- 21 I2     arcmin DEm    Arcminute
  23- 26 F4.1   arcsec DEs    Arcsecond
  28- 31 I4     K      Teff   Temperature
--------------------------------------------------------------------------------
 1 12 34 56.70 -00 02 03.5 5700
 2 00 00 00.01 +89 59 59.9 5800
 3 23 59 59.99  01 00 00.0 5900
 4             -           5900
"""


def test_positions_in_columns_of_their_own(tmp_path):
    path = tmp_path / "table.txt"
    path.write_text(MRT, encoding="utf-8")
    parts = {"ra": ["RAh", "RAm", "RAs"], "dec": ["DE-", "DEd", "DEm", "DEs"]}
    columns = {name: {"sexagesimal": of} for name, of in parts.items()}
    stars = read_catalog(path, columns={"source_id": "ID", "teff": "Teff", **columns})
    ra = 15 * np.array([12 + 34 / 60 + 56.7 / 3600, 0.01 / 3600, 24 - 0.01 / 3600])
    np.testing.assert_allclose(stars["ra"][:3], ra, rtol=1e-14)
    np.testing.assert_allclose(
        stars["dec"][:3], [-(2 / 60 + 3.5 / 3600), 90 - 0.1 / 3600, 1.0], rtol=1e-14
    )
    assert np.isnan(stars["dec"][3])
    names = ["ID", *parts["ra"], *parts["dec"], "Teff"]
    assert 'dec = { sexagesimal = ["DE-", "DEd", "DEm", "DEs"] }' in draft_map(names)
    with pytest.raises(CatalogError, match=re.escape('give ra = { sexagesimal = ["RAh"')):
        read_catalog(path, columns={"source_id": "ID", "teff": "Teff", "ra": "ra"})
    columns["dec"] = {"sexagesimal": ["DEd", "DEm", "DEs"]}
    with pytest.raises(CatalogError, match="the sign of a declination one of them"):
        read_catalog(path, columns={"source_id": "ID", "teff": "Teff", **columns})
