"""Catalogues by TAP, in slices: a fetch that is stopped goes on, and its file says what it holds.

The table is cut into ranges of an integer column, the *key*. The rows of each slice are counted by
the service, fetched by an asynchronous job, compared with the count, sorted by all columns (the
key first) and kept as a file of their own. A slice that times out or is cut short by the service's
limit is halved. When all are there, they become one Parquet file, the same bytes of data however
they were cut and however often the fetch was stopped.
"""

from __future__ import annotations

import datetime
import hashlib
import io
import json
import shutil
import struct
import time
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

from migrate_bayes.catalog.source import arrow_array, quiet, resized
from migrate_bayes.core.errors import (
    CatalogError,
    DataAbsentError,
    ProductError,
    RecipeError,
    suggest,
)
from migrate_bayes.core.io import MADE_FROM, atomic_output, is_current, lock_folder
from migrate_bayes.core.options import Options
from migrate_bayes.core.places import expand
from migrate_bayes.core.progress import progress
from migrate_bayes.core.provenance import file_sha256

_ROW_GROUP = 1 << 17  # rows of the final file, whatever the slices
_HTTP_TIMEOUT = 60.0  # s, without a byte
_PAUSE = 2.0  # s, after a first failure; doubled after each further one
_POLL = (0.2, 10.0)  # s, between two looks at a job: at first, at most
_PLAN = "plan.json"


class FetchQuery(Options):
    """What `fetch` asks of a service: the content of a table of the packaged queries, or of a file.

    Parameters
    ----------
    service : str
        Address of the TAP service.
    table : str
        What stands after ADQL's FROM: a table, or a join.
    columns : str
        What stands after SELECT; it must hold the key.
    where : str
        A condition.
    key : str
        An integer column: the table is cut by ranges of it. Without one, all comes at once.
    description : str
        Of the catalogue, for people.
    absent : str
        Where the catalogue is if no service has it.
    """

    service: str = ""
    table: str = ""
    columns: str = "*"
    where: str = ""
    key: str = ""
    description: str = ""
    absent: str = ""

    def adql(self, columns: str, condition: str = "") -> str:
        """Word a query of some columns under a further condition."""
        where = " AND ".join(f"({c})" for c in (self.where, condition) if c)
        return f"SELECT {columns} FROM {self.table}" + (f" WHERE {where}" if where else "")


class _FailedError(Exception):
    """A job did not give its rows; the service or the net may do so another time."""

    def __init__(self, reason: str, *, too_much: bool = False, cut: bool = False) -> None:
        super().__init__(reason)
        self.too_much = too_much or cut  # a smaller slice may come through
        self.cut = cut  # and surely will: no failure to be borne


def fetch_queries() -> dict[str, FetchQuery]:
    """Return the packaged queries by name."""
    text = files("migrate_bayes.catalog").joinpath("fetch_queries.toml").read_text("utf-8")
    return {name: FetchQuery.of(settings=entry) for name, entry in tomllib.loads(text).items()}


def find_query(name: str) -> FetchQuery:
    """Return a packaged query, or that of a TOML file with the entries of `FetchQuery`."""
    if name.endswith(".toml"):
        path = expand(name)
        try:
            content = tomllib.loads(path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise CatalogError(f"{path}: cannot be read: {error}") from None
        try:
            query = FetchQuery.of(settings=content)
        except RecipeError as error:
            raise CatalogError(f"{path}: {error}") from None
    else:
        known = fetch_queries()
        if name not in known:
            raise CatalogError(f"no query '{name}'; {suggest(name, known)}; or give a TOML file")
        query = known[name]
    if query.absent:
        raise DataAbsentError(f"'{name}' cannot be fetched: {query.absent}")
    if not query.service or not query.table:
        raise CatalogError(f"{name}: a query needs `service` and `table`")
    return query


def fetch(
    name: str,
    to: str | Path | None = None,
    *,
    slice_rows: int = 200_000,
    patience: float = 3600.0,
    tries: int = 6,
    overwrite: bool = False,
) -> Path:
    """Fetch a catalogue from a TAP service into one Parquet file.

    What was fetched before a stop, in the folder ``<to>.parts``, is kept: the same call goes on.
    This function, and the command of its name, are all in the package that uses the net.

    Parameters
    ----------
    name : str
        A packaged query (``migrate-bayes fetch`` lists them), or a TOML file with the entries
        ``service``, ``table``, ``columns``, ``where`` and ``key``.
    to : path, optional
        The file to write; by default the query's name with ``.parquet``, here.
    slice_rows : int, optional
        About how many rows to ask for at once.
    patience : float, optional
        Seconds that the service may take for a slice before it is halved.
    tries : int, optional
        How many failures in a row are borne.
    overwrite : bool, optional
        Replace a file that was fetched by another query.

    Returns
    -------
    pathlib.Path
        The file. Its metadata hold service, query, date, number of rows and, as ``sha256``, the
        checksum of all bytes before the footer (`data_sha256`).

    Raises
    ------
    CatalogError
        For an unknown name; if the service refuses the query, fails too often or changes its
        table meanwhile. What came before is kept.
    DataAbsentError
        If no service is known to have the catalogue, or pyvo is not installed.
    ProductError
        If the file exists already and was made from another query, or cannot be written.

    Examples
    --------
    >>> import migrate_bayes as mb
    >>> mb.fetch("gala-dr3")
    Traceback (most recent call last):
    ...
    migrate_bayes.core.errors.CatalogError: no query 'gala-dr3'; did you mean 'galah-dr3'? ...
    """
    if slice_rows < 1 or tries < 1 or patience <= 0:
        raise CatalogError("slice_rows and tries must be 1 or more, and patience above 0")
    query = find_query(name)
    target = expand(to if to is not None else f"{Path(name).stem}.parquet")
    made_from = {"service": query.service, "query": query.adql(query.columns), "key": query.key}
    if is_current(target, made_from, overwrite=overwrite):
        return target
    parts = target.with_name(target.name + ".parts")
    with lock_folder(parts):
        work = _Fetch(query, parts, made_from, slice_rows, patience, tries)
        with work.session:
            work.run(name)
        _merge(work, target, overwrite)
    shutil.rmtree(parts, ignore_errors=True)
    return target


Slice = tuple[int, int] | None  # first key and the one after the last; None: rows without a key


class _Fetch:
    """One fetch under way: its plan on disk, its slices, its failures in a row."""

    def __init__(
        self, query: FetchQuery, folder: Path, made_from: dict[str, str], rows: int,
        patience: float, tries: int,
    ) -> None:  # fmt: skip
        self.query, self.folder, self.made_from = query, folder, made_from
        self.rows, self.patience, self.tries = rows, patience, tries
        self.key = query.key.split(".")[-1].strip('"')
        self.failures = 0
        self.service, self.session = _service(query.service)
        self.total = 0
        self.slices: list[Slice] = []

    def run(self, label: str) -> None:
        """Fetch all slices that are not there."""
        path = self.folder / _PLAN
        plan = json.loads(path.read_text("utf-8")) if path.exists() else None
        if plan is not None and plan[MADE_FROM] == self.made_from:
            self.total = plan["rows"]
            self.slices = [None if s is None else (s[0], s[1]) for s in plan["slices"]]
        else:
            for old in self.folder.glob("*.parquet"):
                old.unlink()
            self._plan()
            self._save()
        done = sum(self._rows_of(s) or 0 for s in self.slices)
        with progress(self.total, label, unit="rows", done=done) as advance:
            at = 0
            while at < len(self.slices):
                if self._rows_of(self.slices[at]) is not None:
                    at += 1
                    continue
                try:
                    got = self._slice(self.slices[at])
                except _FailedError as error:
                    self._bear(error, at)
                    continue
                self.failures = 0
                advance(got)
                at += 1
        found = sum(self._rows_of(s) or 0 for s in self.slices)
        if found != self.total:
            raise CatalogError(
                f"{self.query.service} counted {self.total:,} rows and gave {found:,}: its table "
                f"changed meanwhile; remove {self.folder} and fetch again"
            )

    def _plan(self) -> None:
        """Count the rows, and cut the range of the key into equal slices."""
        key = self.query.key
        asked = "COUNT(*) AS n_rows"
        if key:
            asked += f", COUNT({key}) AS n_key, MIN({key}) AS k_lo, MAX({key}) AS k_hi"
        while True:
            try:
                row = self._ask(self.query.adql(asked), 2)[0]
                break
            except _FailedError as error:
                self._bear(error)
        self.failures = 0
        self.total = int(row["n_rows"])
        if not self.total:
            raise CatalogError(f"{self.query.service}: no row answers {self.made_from['query']}")
        if not key or not int(row["n_key"]):
            self.slices = [None]
            return
        first, last = int(row["k_lo"]), int(row["k_hi"]) + 1
        n = min(-(-int(row["n_key"]) // self.rows), last - first)
        edges = [first + (last - first) * i // n for i in range(n + 1)]
        self.slices = list(pairwise(edges))
        if int(row["n_key"]) < self.total:
            self.slices.append(None)

    def _save(self) -> None:
        content = {MADE_FROM: self.made_from, "rows": self.total, "slices": self.slices}
        with atomic_output(self.folder / _PLAN, overwrite=True) as out:
            out.write_text(json.dumps(content), encoding="utf-8")

    def _bear(self, error: _FailedError, at: int | None = None) -> None:
        """Halve the slice that was too much, or wait; give up after too many failures in a row."""
        if error.cut and at is not None and self._halve(at):
            return
        self.failures += 1
        if self.failures >= self.tries:
            raise CatalogError(
                f"{self.query.service} failed {self.failures} times in a row, at last with: "
                f"{error}; what came before is kept in {self.folder}, and the same command goes on"
            ) from None
        if error.too_much and at is not None and self._halve(at):
            return
        time.sleep(min(_PAUSE * 2 ** (self.failures - 1), 60.0))

    def _halve(self, at: int) -> bool:
        part = self.slices[at]
        if part is None or part[1] - part[0] < 2:
            return False
        middle = (part[0] + part[1]) // 2
        self.slices[at : at + 1] = [(part[0], middle), (middle, part[1])]
        self._save()
        return True

    def file_of(self, part: Slice) -> Path:
        """Name the file of a slice."""
        return self.folder / (f"{part[0]}_{part[1]}.parquet" if part else "rest.parquet")

    def _rows_of(self, part: Slice) -> int | None:
        """Return the rows of a slice on disk; None if it is not there, or damaged."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = self.file_of(part)
        if not path.exists():
            return None
        try:
            return pq.read_metadata(path).num_rows
        except (OSError, pa.ArrowInvalid):
            path.unlink()
            return None

    def _slice(self, part: Slice) -> int:
        """Count a slice at the service, fetch it, and keep it if it is what was counted."""
        import pyarrow.parquet as pq

        key = self.query.key
        if part is not None:
            condition = f"{key} >= {part[0]} AND {key} < {part[1]}"
        else:
            condition = f"{key} IS NULL" if key and len(self.slices) > 1 else ""
        rows = int(self._ask(self.query.adql("COUNT(*) AS n_rows", condition), 2)[0]["n_rows"])
        if rows > 2 * self.rows and part is not None and part[1] - part[0] > 1:
            raise _FailedError(f"{rows} rows in a slice", cut=True)  # the key is not uniform
        # One more than there should be: a service that gives more is caught.
        table = self._ask(self.query.adql(self.query.columns, condition), rows + 1)
        if len(table) != rows:
            raise _FailedError(
                f"{rows:,} rows were counted and {len(table):,} came", cut=len(table) < rows
            )
        content = _arrow(table)
        if part is not None:
            self._check_key(content, part)
        with atomic_output(self.file_of(part), overwrite=True) as out:
            pq.write_table(_sorted(content, self.key), out, write_page_checksum=True)
        return rows

    def _check_key(self, content: Any, part: tuple[int, int]) -> None:
        import pyarrow.compute as pc

        names = [n for n in content.column_names if n.lower() == self.key.lower()]
        if not names:
            raise CatalogError(f"`columns` must hold the key {self.query.key}")
        if not len(content):
            return
        ends = pc.min_max(content[names[0]]).as_py()
        if not part[0] <= ends["min"] <= ends["max"] < part[1]:
            raise _FailedError(f"keys came from outside of {part[0]}–{part[1]}")

    def _ask(self, adql: str, limit: int) -> Any:
        """Run one asynchronous job and return its table; `_FailedError` if it gives none."""
        from xml.parsers.expat import ExpatError

        import requests
        from pyvo.dal.exceptions import DALAccessError
        from urllib3.exceptions import HTTPError

        job = None
        try:
            with quiet():
                job = self.service.submit_job(adql, maxrec=limit)
                job.run()
                self._wait(job)
                result = job.fetch_result()
                if str(result.query_status).upper() == "OVERFLOW":
                    raise _FailedError("the service cut the result short", cut=True)
                table = result.to_table()
        # A result that breaks off is an error of the parser: ValueError, SyntaxError or expat's.
        except (
            DALAccessError, requests.RequestException, HTTPError, OSError, ValueError, SyntaxError,
            ExpatError,
        ) as error:  # fmt: skip
            late = isinstance(error, requests.Timeout) or "timeout" in str(error).lower()
            raise _FailedError(f"{type(error).__name__}: {error}", too_much=late) from error
        finally:
            if job is not None:
                with quiet(), suppress(Exception):  # the service forgets its jobs by itself
                    job.delete()
        return table

    def _wait(self, job: Any) -> None:
        """Wait for a job's end."""
        until, pause = time.monotonic() + self.patience, _POLL[0]
        while (phase := job.phase) not in ("COMPLETED", "ERROR", "ABORTED", "ARCHIVED"):
            if time.monotonic() > until:
                raise _FailedError(f"no result in {self.patience:g} s", too_much=True)
            time.sleep(pause)
            pause = min(pause * 1.5, _POLL[1])
        if phase != "COMPLETED":
            # An aborted job ran into the service's limit of time.
            late = phase == "ABORTED"
            try:
                job.raise_if_error()
            except Exception as error:
                late = late or "time" in str(error).lower()
                raise _FailedError(str(error), too_much=late) from error
            raise _FailedError(f"the job ended as {phase}", too_much=late)


class _Body(io.BytesIO):
    """What came, as urllib3's responses give it."""

    def read(self, size: int | None = -1, decode_content: bool | None = None) -> bytes:
        return super().read(size)


def _service(address: str) -> tuple[Any, Any]:
    """Return a service and its connections, which bear its silence for a limited time."""
    try:
        import pyvo
        import requests
    except ImportError:
        raise DataAbsentError(
            "fetch needs pyvo: pip install 'migrate-bayes[fetch]', or pip install pyvo"
        ) from None

    class Session(requests.Session):
        def request(self, *args: Any, **options: Any) -> Any:
            options.setdefault("timeout", _HTTP_TIMEOUT)
            response = super().request(*args, **options)
            # pyvo leaves connections open that it did not read to the end.
            response.raw = _Body(response.content)
            return response

    session = Session()
    return pyvo.dal.TAPService(address, session=session), session


def _arrow(table: Any) -> Any:
    """Make an Arrow table of astropy's, with units, UCDs and descriptions of its columns."""
    import pyarrow as pa

    arrays, fields = [], []
    for name in table.colnames:
        column = table[name]
        said = {
            "unit": str(column.unit) if column.unit is not None else "",
            "ucd": str(column.meta.get("ucd") or ""),
            "description": str(column.description or ""),
        }
        said = {k: v for k, v in said.items() if v}
        arrays.append(arrow_array(column))
        fields.append(pa.field(name, arrays[-1].type, metadata=said or None))
    return pa.table(arrays, schema=pa.schema(fields))


def _sorted(content: Any, key: str) -> Any:
    """Sort by the key and then by every column that has an order: no tie is left to the service."""
    import pyarrow.types as types

    plain = [
        f.name for f in content.schema if not (types.is_nested(f.type) or types.is_null(f.type))
    ]
    plain.sort(key=lambda name: name.lower() != key.lower())
    return content.sort_by([(name, "ascending") for name in plain]) if plain else content


def _slices(work: _Fetch, schema: Any) -> Iterator[Any]:
    """Iterate over the rows of all slices, in order."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    for part in work.slices:
        path = work.file_of(part)
        try:
            yield pq.read_table(path, page_checksum_verification=True).cast(schema)
        except (OSError, pa.ArrowInvalid) as error:
            path.unlink(missing_ok=True)
            raise ProductError(
                f"{path} was damaged ({error}): fetch again, it alone comes"
            ) from None


def _merge(work: _Fetch, target: Path, overwrite: bool) -> None:
    """Write the slices as one file, with what it was made from, when, and its checksum."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schemas = [pq.read_schema(work.file_of(part)) for part in work.slices]
    schema = pa.unify_schemas(schemas, promote_options="permissive")
    with (
        atomic_output(target, overwrite=overwrite) as out,
        out.open("wb") as file,
        pq.ParquetWriter(file, schema, compression="zstd", write_page_checksum=True) as new,
    ):
        for group in resized(_slices(work, schema), _ROW_GROUP):
            new.write_table(group, row_group_size=_ROW_GROUP)
        file.flush()  # all but the footer
        said = {
            MADE_FROM: json.dumps(work.made_from),
            "service": work.query.service,
            "query": work.made_from["query"],
            "fetched": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "rows": str(work.total),
            "sha256": file_sha256(out),
        }
        new.add_key_value_metadata({f"migrate_bayes.{k}": v for k, v in said.items()})


def described(path: Path) -> str:
    """Say in a line what a fetched file holds: rows, service, date, checksum."""
    from pyarrow.parquet import read_metadata

    said = read_metadata(path).metadata
    keys = ("rows", "service", "fetched", "sha256")
    rows, service, date, digest = (said[f"migrate_bayes.{k}".encode()].decode() for k in keys)
    return f"{int(rows):,} rows from {service}, {date}, sha256 {digest}"


def data_sha256(path: str | Path) -> str:
    """Return the SHA-256 of a Parquet file's bytes before its footer: of the rows alone."""
    content = Path(path)
    size = content.stat().st_size
    digest = hashlib.sha256()
    with content.open("rb") as file:
        file.seek(size - 8)
        left = size - 8 - struct.unpack("<I", file.read(4))[0]
        file.seek(0)
        while left and (piece := file.read(min(left, 1 << 20))):
            digest.update(piece)
            left -= len(piece)
    return digest.hexdigest()
