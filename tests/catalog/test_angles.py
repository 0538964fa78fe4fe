"""Positions in hours, degrees, minutes and seconds: read right, or refused by name."""

from __future__ import annotations

import re

import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy import units as u
from astropy.coordinates import Angle, SkyCoord
from astropy.table import QTable, Table

from migrate_bayes.catalog import match, read_catalog
from migrate_bayes.catalog.maps import draft_map
from migrate_bayes.core.errors import CatalogError, CatalogWarning

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


COORDINATES = {
    "ra": ("ra", "deg"), "dec": ("dec", "deg"), "distance": ("distance", "kpc"),
    "pmra": ("pm_ra_cosdec", "mas/yr"), "pmdec": ("pm_dec", "mas/yr"),
    "radial_velocity": ("radial_velocity", "km/s"),
}  # fmt: skip


def with_coordinates(kept="icrs"):
    """Return coordinates, and a table with a column of them in a frame or a representation."""
    rng = np.random.default_rng(4)
    pmra, pmdec = rng.normal(0, 9, (2, 6)) * u.mas / u.yr
    where = SkyCoord(
        rng.uniform(1, 359, 6) * u.deg, rng.uniform(-70, 70, 6) * u.deg, pm_ra_cosdec=pmra,
        pm_dec=pmdec, distance=rng.uniform(100, 900, 6) * u.pc,
        radial_velocity=rng.normal(0, 3e4, 6) * u.m / u.s,
    )  # fmt: skip
    stored = where.copy()
    if kept == "cartesian":
        stored.representation_type = kept
    elif kept in ("galactic", "fk4", "fk5"):
        stored = getattr(where, kept)
    return where, QTable({"source_id": range(6), "at": stored, "teff": np.full(6, 5800.0) * u.K})


@pytest.mark.parametrize("kept", ["icrs", "galactic", "fk5", "cartesian", ".ecsv", ".fits"])
def test_a_column_of_sky_coordinates(tmp_path, kept):
    where, table = with_coordinates(kept)
    if kept.startswith("."):
        path = tmp_path / f"in{kept}"
        table.write(path)
        table = path
        match(path, path, tmp_path / "out.parquet", epochs=(2000.0, 2016.0))
        moved = pq.read_table(tmp_path / "out.parquet").to_pandas()
        size = np.hypot(where.pm_ra_cosdec, where.pm_dec).to_value("arcsec/yr")
        np.testing.assert_allclose(moved["match_separation"], 16 * size, rtol=1e-6)
    stars = read_catalog(table)
    for name, (part, unit) in COORDINATES.items():
        expected = getattr(where, part).to_value(unit)
        np.testing.assert_allclose(stars[name], expected, rtol=1e-9, atol=1e-9, err_msg=name)
    own = {"source_id": "source_id", "ra": 10.0, "dec": "at.dec", "pmra": "PMRA"}
    with pytest.raises(CatalogError, match="no column 'zz'"):
        read_catalog(table, columns=own | {"pmdec": "zz"})
    assert read_catalog(table, columns=own)["ra"][0] == 10.0


def test_coordinates_of_other_frames_are_refused_by_name(tmp_path):
    old, galactic = (with_coordinates(frame)[1] for frame in ("fk4", "galactic"))
    old.write(tmp_path / "fk4.ecsv")
    old.write(tmp_path / "fk4.fits")
    for table in (old, tmp_path / "fk4.ecsv", tmp_path / "fk4.fits"):
        with pytest.raises(CatalogError, match=r"'at.ra' .* in the frame fk4 \(give at.icrs, of"):
            read_catalog(table)
    galactic.write(tmp_path / "l.ecsv")
    how = "'at.l' and 'at.b' are Galactic: make ra and dec of them, as astropy's SkyCoord"
    with pytest.warns(CatalogWarning, match=re.escape(how)):
        assert "ra" not in read_catalog(tmp_path / "l.ecsv")
    with pytest.raises(CatalogError, match=re.escape(how)):
        read_catalog(tmp_path / "l.ecsv", columns={"source_id": "source_id", "ra": "ra"})
    _, two = with_coordinates()
    two["also"] = two["at"]
    with pytest.raises(CatalogError, match=r"'at.ra' and 'also.ra' are both coordinates, and"):
        read_catalog(two)
