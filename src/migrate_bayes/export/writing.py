"""Write the catalogue to Parquet or FITS, part by part: no more than a part is ever in memory.

FITS: a binary table with ``TUNIT``, ``TUCD`` and ``TCOMM`` for every column, rows streamed after
a header that knows their number. Parquet: row groups of a fixed size, ``unit``, ``ucd`` and
``description`` in each field's metadata. Both bear the provenance of the run.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.core.errors import ProductError, suggest
from migrate_bayes.core.flags import FLAG_MEANING, StarFlag
from migrate_bayes.core.io import atomic_output
from migrate_bayes.core.progress import progress
from migrate_bayes.export.columns import OutputColumn, catalogue_columns
from migrate_bayes.stars import iter_parts, open_run_stars, open_stars

__all__ = ["export_catalogue", "export_run"]

_FORMATS = {".parquet": "parquet", ".fits": "fits", ".fit": "fits"}
_ROW_GROUP = 65_536
_RECORD = ("created", "seed", "recipe_hash", "inputs", "versions", "solar_frame")
_TEXT_WIDTH = 32
_FITS_CODES = {"f4": "E", "f8": "D", "i2": "I", "i4": "J", "i8": "K", "b1": "L", "i1": "I"}


def export_run(run: str | Path, to: str | Path, *, overwrite: bool = False) -> tuple[Path, int]:
    """Write the catalogue of a run.

    Parameters
    ----------
    run : path-like
        The run's folder, as ``runs/demo``; or a StarPosteriors folder in it.
    to : path-like
        ``.parquet`` or ``.fits``.
    overwrite : bool
        Replace a file that stands there.

    Returns
    -------
    Path, int
        Where it was written, and how many rows.

    Raises
    ------
    ProductError
        Where the run has no stars, the ending is unknown, or the file exists.
    """
    folder = Path(run)
    if (folder / "manifest.json").exists():
        stars, folder = open_stars(folder), folder.parent
    else:
        stars = open_run_stars(folder)
    fit, membership = folder / "fit.nc", None
    if fit.exists():
        try:
            membership = xr.load_dataset(fit, group="membership", engine="h5netcdf")
        except (OSError, KeyError, ValueError):
            membership = None  # a fit without membership is no reason to keep the stars back
    return export_catalogue(stars, to, membership=membership, overwrite=overwrite)


def export_catalogue(
    stars: xr.Dataset,
    to: str | Path,
    *,
    membership: xr.Dataset | None = None,
    overwrite: bool = False,
) -> tuple[Path, int]:
    """Write StarPosteriors as a catalogue of one row per star.

    Parameters
    ----------
    stars : xarray.Dataset
        From `migrate_bayes.stars.open_stars`, or in memory.
    to : path-like
        ``.parquet`` or ``.fits``.
    membership : xarray.Dataset, optional
        A fit's group, on `source_id`. Repeat observations, which are not fitted, get none.
    overwrite : bool

    Returns
    -------
    Path, int
        Where it was written, and how many rows.

    Raises
    ------
    ProductError
        Where the ending is unknown, or the file exists and may not be replaced.
    """
    to = Path(to)
    kind = _FORMATS.get(to.suffix.lower())
    if kind is None:
        raise ProductError(f"{to}: unknown kind of catalogue; {suggest(to.suffix, _FORMATS)}")
    columns = catalogue_columns(stars, membership)
    record = {k: str(stars.attrs[k]) for k in _RECORD if k in stars.attrs}
    write = _write_parquet if kind == "parquet" else _write_fits
    n = stars.sizes["star"]
    with (
        atomic_output(to, overwrite=overwrite) as tmp,
        progress(n, "export") as advance,
    ):
        write(tmp, columns, _parts(stars, columns, membership, advance), n, record)
    return to, n


def _parts(
    stars: xr.Dataset,
    columns: Sequence[OutputColumn],
    membership: xr.Dataset | None,
    advance: Any,
) -> Iterator[dict[str, NDArray]]:
    """Go through the columns' values, a part of the stars at a time."""
    fitted = set() if membership is None else {str(n) for n in membership.data_vars}
    names = dict.fromkeys(c.variable for c in columns)
    own = [n for n in names if n != "source_id" and n not in fitted]
    if membership is not None:
        known = membership["source_id"].values
        order = np.argsort(known, kind="stable")
        known = known[order]
    # A coordinate is lazy as well; `iter_parts` goes through variables.
    wanted = stars[own].assign(_id=stars["source_id"].variable)
    for _, values in iter_parts(wanted, [*own, "_id"]):
        ids = values.pop("_id")
        part: dict[str, NDArray] = {"source_id": ids}
        if membership is not None and len(known):
            place = np.minimum(np.searchsorted(known, ids), len(known) - 1)
            hit = known[place] == ids
            if "flag" in values:
                hit &= (values["flag"] & int(StarFlag.DUPLICATE)) == 0
        for c in columns:
            if c.variable in fitted and membership is not None:
                column = np.full(len(ids), np.nan)
                if len(known):
                    column[hit] = membership[c.variable].values[order[place[hit]]]
            elif c.variable == "source_id":
                column = ids
            else:
                column = values[c.variable]
                column = column if c.potential is None else column[:, c.potential]
            part[c.name] = column
        yield part
        advance(len(ids))


def _write_parquet(
    path: Path,
    columns: Sequence[OutputColumn],
    parts: Iterator[dict[str, NDArray]],
    n: int,
    record: dict[str, str],
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    def kind(c: OutputColumn) -> Any:
        return pa.string() if c.dtype.kind in "OUS" else pa.from_numpy_dtype(c.dtype)

    fields = [
        pa.field(
            c.name, kind(c), metadata={"unit": c.unit, "ucd": c.ucd, "description": c.description}
        )
        for c in columns
    ]
    flags = {int(f): text for f, text in FLAG_MEANING.items()}
    metadata = {f"migrate_bayes.{k}": v for k, v in record.items()}
    schema = pa.schema(fields, {**metadata, "migrate_bayes.core.flags": json.dumps(flags)})
    with pq.ParquetWriter(path, schema) as out:
        for part in parts:
            arrays = [pa.array(part[c.name], type=kind(c)) for c in columns]
            out.write_table(pa.Table.from_arrays(arrays, schema=schema), row_group_size=_ROW_GROUP)


def _fits_format(c: OutputColumn, width: int) -> str:
    if c.dtype.kind in "OUS":
        return f"{max(width, 1)}A"
    return _FITS_CODES.get(c.dtype.str[1:], "D")


def _fits_unit(unit: str) -> str | None:
    """Spell a unit as FITS does; dex is none of its units, and stands in the description."""
    from astropy import units as u

    if not unit or unit == "dex":
        return None
    try:
        return u.Unit(unit).to_string("fits")
    except ValueError:
        return None


def _write_fits(
    path: Path,
    columns: Sequence[OutputColumn],
    parts: Iterator[dict[str, NDArray]],
    n: int,
    record: dict[str, str],
) -> None:
    from astropy.io import fits

    # Text is of fixed width in FITS. Identifiers fit Gaia's 19 digits, or a survey's names.
    codes = [_fits_format(c, _TEXT_WIDTH) for c in columns]
    empty = fits.BinTableHDU.from_columns(
        [
            fits.Column(name=c.name, format=code, unit=_fits_unit(c.unit))
            for c, code in zip(columns, codes, strict=True)
        ],
        nrows=0,
    )
    header = empty.header
    header["NAXIS2"] = n
    header["EXTNAME"] = "STARS"
    with warnings.catch_warnings():
        # Long texts go on in CONTINUE cards, which astropy remarks on.
        warnings.simplefilter("ignore", fits.verify.VerifyWarning)
        for i, c in enumerate(columns, start=1):
            if c.ucd:
                header[f"TUCD{i}"] = c.ucd
            dex = " [dex]" if c.unit == "dex" else ""
            header[f"TCOMM{i}"] = _ascii(c.description + dex)
        for key, text in record.items():
            header[f"HIERARCH MIGRATE_BAYES {key.upper()}"] = _ascii(text)
    for flag, text in FLAG_MEANING.items():
        header.add_comment(f"flag {int(flag)}: {_ascii(text)}")
    dtype = np.dtype([(c.name, _record_type(code)) for c, code in zip(columns, codes, strict=True)])
    stream = fits.StreamingHDU(path, header)
    try:
        for part in parts:
            rows = np.empty(len(part["source_id"]), dtype=dtype)
            for c in columns:
                values = part[c.name]
                if c.dtype.kind in "OUS":
                    values = np.array([str(v).encode() for v in values], dtype="S")
                    if values.dtype.itemsize > _TEXT_WIDTH:
                        raise ProductError(
                            f"`{c.name}` holds text of {values.dtype.itemsize} characters, more "
                            f"than {_TEXT_WIDTH}: export to Parquet"
                        )
                elif c.dtype.kind == "b":
                    values = np.where(values, ord("T"), ord("F"))
                rows[c.name] = values
            # `StreamingHDU` takes the bytes of a table as they are.
            stream.write(rows.view(np.uint8))
    finally:
        stream.close()


def _record_type(code: str) -> str:
    return f"S{_TEXT_WIDTH}" if code.endswith("A") else {
        "E": ">f4", "D": ">f8", "I": ">i2", "J": ">i4", "K": ">i8", "L": "u1"
    }[code]  # fmt: skip


_SPELLED = {"α": "alpha", "χ²": "chi2", "σ": "sigma", "°": "deg", "−": "-", "–": "-", "≥": ">="}


def _ascii(text: str) -> str:
    """FITS headers are ASCII."""
    for sign, spelled in _SPELLED.items():
        text = text.replace(sign, spelled)
    return text.encode("ascii", "replace").decode("ascii").replace("\n", " ")
