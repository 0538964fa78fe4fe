"""Fetching by TAP, from a service in this process that fails as services do; matching."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import migrate_bayes as mb
from migrate_bayes.catalog import fetching
from migrate_bayes.catalog.matching import match_identifiers, moved
from migrate_bayes.cli.app import app
from migrate_bayes.core.errors import CatalogError, CatalogWarning, DataAbsentError, ProductError

ROWS = 800


class Killed(BaseException):
    """The process ends here."""


class Service(ThreadingHTTPServer):
    """A TAP service over sqlite. ``behave(n, query)`` names what goes wrong with the nth query of
    rows: "error", "hang", "abort", "overflow", "short", "twice", "broken", "drop", "502"."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.db = sqlite3.connect(":memory:", check_same_thread=False)
        self.lock = threading.Lock()
        rng = np.random.default_rng(7)
        # Three in four keys lie in a hundredth of the range; some rows have none.
        keys = np.unique(rng.integers(10**15, 2 * 10**15, 2 * ROWS))[: ROWS - 20]
        keys = np.where(np.arange(ROWS - 20) % 4, 10**15 + 10**9 * np.arange(ROWS - 20), keys)
        self.db.execute("CREATE TABLE stars (source_id INTEGER, ra REAL, g REAL, name TEXT)")
        rows = [
            (int(k), float(r), None if i % 7 == 0 else float(r / 20), f"α {i}" if i % 5 else None)
            for i, (k, r) in enumerate(zip(keys, rng.uniform(0, 360, len(keys)), strict=True))
        ]
        rows += [(None, float(i), 1.0, "lost") for i in range(20)]
        rng.shuffle(rows)
        self.db.executemany("INSERT INTO stars VALUES (?, ?, ?, ?)", rows)
        self.jobs, self.asked = {}, 0
        self.behave = lambda n, query: ""
        self.limit = 10**9

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_address[1]}/tap"


TYPES = {"source_id": "long", "ra": "double", "g": "float", "name": "unicodeChar"}


def votable(names, rows, status):
    fields = "".join(
        f'<FIELD name="{n}" datatype="{TYPES.get(n, "long")}"'
        + (' arraysize="*"' if n == "name" else "")
        + (' unit="deg" ucd="pos.eq.ra"' if n == "ra" else "")
        + ('><VALUES null="-1"/></FIELD>' if n == "source_id" else "/>")
        for n in names
    )
    body = "".join(
        "<TR>" + "".join(f"<TD>{'' if v is None else v}</TD>" for v in row) + "</TR>"
        for row in rows
    )
    tail = '<INFO name="QUERY_STATUS" value="OVERFLOW"/>' if status == "OVERFLOW" else ""
    return (
        '<?xml version="1.0" encoding="utf-8"?><VOTABLE version="1.4" '
        'xmlns="http://www.ivoa.net/xml/VOTable/v1.3"><RESOURCE type="results">'
        f'<INFO name="QUERY_STATUS" value="OK"/><TABLE>{fields}<DATA><TABLEDATA>{body}'
        f"</TABLEDATA></DATA></TABLE>{tail}</RESOURCE></VOTABLE>"
    ).encode()


class Handler(BaseHTTPRequestHandler):
    wbufsize = -1  # an answer in one piece: the other end does not wait to acknowledge the first
    disable_nagle_algorithm = True

    def log_message(self, *args):
        pass

    def answer(self, body=b"", code=200, **headers):
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_DELETE(self):
        self.server.jobs.pop(self.path.split("/")[3], None)
        self.answer(code=200)

    def do_POST(self):
        text = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        said = {k.upper(): v[0] for k, v in parse_qs(text).items()}
        server = self.server
        if self.path.endswith("/async"):
            counts = "n_rows" in said["QUERY"]
            fault = "" if counts else server.behave(server.asked, said["QUERY"])
            server.asked += not counts
            if fault == "502":
                self.answer(b"bad gateway", 502)
                return
            number = str(len(server.jobs) + 1) + f"-{server.asked}"
            server.jobs[number] = {"query": said["QUERY"], "max": said.get("MAXREC"),
                                   "fault": fault, "phase": "PENDING"}  # fmt: skip
            self.answer(code=303, Location=f"{server.address}/async/{number}")
            return
        job = server.jobs.get(self.path.split("/")[3])
        if said.get("ACTION") == "DELETE":
            server.jobs.pop(self.path.split("/")[3], None)
        elif said.get("PHASE") == "RUN":
            phases = {"error": "ERROR", "abort": "ABORTED", "hang": "EXECUTING"}
            job["phase"] = phases.get(job["fault"], "COMPLETED")
        self.answer(code=303, Location=f"{server.address}/async/{self.path.split('/')[3]}")

    def do_GET(self):
        server, parts = self.server, self.path.split("?")[0].split("/")
        job = server.jobs.get(parts[3]) if len(parts) > 3 else None
        if job is None:
            self.answer(b"none", 404)
        elif len(parts) > 4 and parts[4] == "results":
            self.result(job)
        else:
            self.answer(
                (
                    '<uws:job xmlns:uws="http://www.ivoa.net/xml/UWS/v1.0" version="1.1" '
                    'xmlns:xlink="http://www.w3.org/1999/xlink">'
                    f"<uws:jobId>{parts[3]}</uws:jobId><uws:phase>{job['phase']}</uws:phase>"
                    + ('<uws:errorSummary type="transient"><uws:message>disk of the archive is '
                       "full</uws:message></uws:errorSummary>" if job["phase"] == "ERROR" else "")
                    + f'<uws:results><uws:result id="result" xlink:href="{server.address}/async/'
                    f'{parts[3]}/results/result"/></uws:results></uws:job>'
                ).encode(),
                **{"Content-Type": "text/xml"},
            )  # fmt: skip

    def result(self, job):
        server = self.server
        with server.lock:
            found = server.db.execute(job["query"])
            names, rows = [d[0] for d in found.description], found.fetchall()
        limit = min(int(job["max"]), server.limit) if "n_rows" not in job["query"] else 10
        status = "OVERFLOW" if len(rows) > limit else "OK"
        rows = rows[:limit]
        if job["fault"] == "overflow":
            rows, status = rows[: len(rows) // 2], "OVERFLOW"
        elif job["fault"] == "short":
            rows = rows[:-1]
        elif job["fault"] == "twice":
            rows = [*rows, rows[0]]
        body = votable(names, rows, status)
        if job["fault"] == "broken":
            self.answer(body[: len(body) // 2])
        elif job["fault"] == "drop":
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2])
            self.close_connection = True
        else:
            self.answer(body, **{"Content-Type": "application/x-votable+xml"})


@pytest.fixture
def service(monkeypatch):
    monkeypatch.setattr(fetching, "_PAUSE", 0.0)
    monkeypatch.setattr(fetching, "_POLL", (0.001, 0.01))
    server = Service()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()
    server.db.close()


@pytest.fixture
def query(service, tmp_path):
    path = tmp_path / "stars.toml"
    path.write_text(
        f'service = "{service.address}"\ntable = "stars"\nkey = "source_id"\n', encoding="utf-8"
    )
    return str(path)


def truth(service):
    return sorted(service.db.execute("SELECT * FROM stars").fetchall(), key=str)


def content(path):
    table = pq.read_table(path).to_pydict()
    return sorted(zip(*table.values(), strict=True), key=str)


def same(path, service):
    found, true = content(path), truth(service)
    assert len(found) == len(true) == ROWS
    for a, b in zip(found, true, strict=True):
        assert a[0] == b[0]
        assert a[3] == b[3] or (a[3] is None and b[3] is None)
        assert a[1] == b[1]
        assert a[2] == (None if b[2] is None else np.float32(b[2]))


def test_a_fetched_file_is_complete_and_says_what_it_is(service, query, tmp_path):
    path = mb.fetch(query, tmp_path / "a.parquet", slice_rows=300)
    same(path, service)
    said = pq.read_metadata(path).metadata
    assert said[b"migrate_bayes.service"].decode() == service.address
    assert said[b"migrate_bayes.query"] == b"SELECT * FROM stars"
    assert said[b"migrate_bayes.rows"] == b"800"
    assert b"migrate_bayes.fetched" in said
    assert said[b"migrate_bayes.sha256"].decode() == fetching.data_sha256(path)
    schema = pq.read_schema(path)
    assert schema.field("source_id").type == pa.int64()
    assert schema.field("ra").metadata[b"unit"] == b"deg"
    assert not (tmp_path / "a.parquet.parts").exists()
    # Asked again, it is there; by another query, it is refused.
    asked = service.asked
    assert mb.fetch(query, path) == path
    assert service.asked == asked
    other = tmp_path / "other.toml"
    other.write_text((tmp_path / "stars.toml").read_text() + 'where = "ra < 10"\n')
    with pytest.raises(ProductError, match="stale"):
        mb.fetch(str(other), path)


FAULTS = ["error", "overflow", "broken", "hang"]
RARER = [
    pytest.param(f, marks=pytest.mark.slow) for f in ("abort", "drop", "short", "twice", "502")
]


@pytest.mark.parametrize("fault", [*FAULTS, *RARER])
def test_a_service_that_fails_does_not_change_the_file(service, query, tmp_path, fault):
    plain = mb.fetch(query, tmp_path / "plain.parquet", slice_rows=700)
    first = service.asked
    service.behave = lambda n, q: fault if (n - first) % 3 == 0 else ""
    patience = 0.03 if fault == "hang" else 60.0
    path = mb.fetch(query, tmp_path / "b.parquet", slice_rows=150, patience=patience)
    assert service.asked > first
    same(path, service)
    assert fetching.data_sha256(path) == fetching.data_sha256(plain)


def test_a_limit_of_rows_is_found(service, query, tmp_path):
    service.limit = 90
    same(mb.fetch(query, tmp_path / "c.parquet", slice_rows=2000), service)


def test_a_fetch_that_was_killed_goes_on(service, query, tmp_path, monkeypatch):
    plain = mb.fetch(query, tmp_path / "plain.parquet", slice_rows=100)
    first, target = service.asked, tmp_path / "d.parquet"
    fetched = []
    slice_of = fetching._Fetch._slice

    def killed(self, part):
        if len(fetched) in (4, 9) and (len(fetched), "killed") not in fetched:
            fetched.insert(0, (len(fetched), "killed"))
            raise Killed
        rows = slice_of(self, part)
        fetched.append(part)
        return rows

    monkeypatch.setattr(fetching._Fetch, "_slice", killed)
    for _ in range(2):
        with pytest.raises(Killed):
            mb.fetch(query, target, slice_rows=100)
        assert not target.exists()
    mb.fetch(query, target, slice_rows=100)
    same(target, service)
    assert fetching.data_sha256(target) == fetching.data_sha256(plain)
    parts = [p for p in fetched if p is None or (isinstance(p[0], int) and p[1] != "killed")]
    assert len(parts) == len(set(parts))  # no slice was fetched twice
    assert service.asked > first


def test_a_service_that_stays_away_is_named_with_its_words(service, query, tmp_path):
    service.behave = lambda n, q: "error" if n >= 3 else ""
    target = tmp_path / "e.parquet"
    with pytest.raises(CatalogError, match=r"3 times in a row.*disk of the archive is full.*kept"):
        mb.fetch(query, target, slice_rows=200, tries=3)
    service.behave = lambda n, q: ""
    same(mb.fetch(query, target, slice_rows=200), service)


def test_a_table_that_changes_meanwhile_is_refused(service, query, tmp_path):
    def grow(n, q):
        if n == 2:
            service.db.execute("INSERT INTO stars SELECT MAX(source_id), 1, 1, '' FROM stars")
        return ""

    service.behave = grow
    with pytest.raises(CatalogError, match="changed meanwhile"):
        mb.fetch(query, tmp_path / "f.parquet", slice_rows=200)


def test_a_table_without_a_key_comes_at_once(service, query, tmp_path):
    path = tmp_path / "whole.toml"
    path.write_text(
        f'service = "{service.address}"\ntable = "stars"\nwhere = "ra < 90 OR g > 17"\n'
    )
    fetched = mb.fetch(str(path), tmp_path / "g.parquet")
    expected = service.db.execute("SELECT COUNT(*) FROM stars WHERE ra < 90 OR g > 17").fetchone()
    assert pq.read_metadata(fetched).num_rows == expected[0]


def test_names_and_files_that_are_wrong(tmp_path):
    with pytest.raises(CatalogError, match="did you mean 'galah-dr3'"):
        mb.fetch("galah-dr33")
    with pytest.raises(DataAbsentError, match="value-added catalogues"):
        mb.fetch("astronn-dr17")
    (tmp_path / "x.toml").write_text('servise = "http://127.0.0.1/tap"')
    with pytest.raises(CatalogError, match="did you mean 'service'"):
        mb.fetch(str(tmp_path / "x.toml"))
    for query in fetching.fetch_queries().values():
        assert query.absent or (query.service.startswith("https://") and query.key)


def test_identifiers_are_matched_whatever_they_are():
    assert match_identifiers([1, None, 3, 2**60 + 1], [3, 2**60 + 1, 2**60]).tolist() == [
        -1,
        -1,
        0,
        1,
    ]
    assert match_identifiers(["a ", 5], ["5", "a"]).tolist() == [1, 0]
    with pytest.warns(CatalogWarning, match="1 rows have an identifier that came before"):
        assert match_identifiers([1], [1, 1]).tolist() == [0]


def test_motion_is_along_a_great_circle():
    from astropy import units as u
    from astropy.coordinates import SkyCoord

    rng = np.random.default_rng(3)
    ra, dec = rng.uniform(0, 360, 200), np.degrees(np.arcsin(rng.uniform(-1, 1, 200)))
    dec[:2] = 89.9999, -89.9999
    pm = rng.normal(0, 3000, (2, 200))
    new = SkyCoord(*moved(ra, dec, *pm, 16.0), unit="deg")
    old = SkyCoord(ra, dec, unit="deg")
    size = np.hypot(*pm) * 16.0 / 1000
    np.testing.assert_allclose(old.separation(new).arcsec, size, rtol=1e-6)
    angle = old.position_angle(new)
    turned = np.arctan2(pm[0], pm[1]) * u.rad
    assert np.abs((angle - turned).wrap_at("180deg").deg).max() < 1e-3


@pytest.mark.parametrize("keep", ["first", "both", "matched"])
def test_match_keeps_what_did_not_match(tmp_path, keep):
    rng = np.random.default_rng(5)
    n = 400
    ra, dec = rng.uniform(0, 360, n), rng.uniform(-80, 80, n)
    pmra, pmdec = rng.normal(0, 400, (2, n))
    later = moved(ra, dec, pmra, pmdec, 16.0)
    order = rng.permutation(n)[:300]
    one = pa.table({"source_id": np.arange(n), "ra": ra, "dec": dec, "pmra": pmra, "pmdec": pmdec})
    pq.write_table(one, tmp_path / "a.parquet")
    lines = ["name,ra,dec,teff", *(f"{i},{later[0][i]},{later[1][i]},{5000 + i}" for i in order)]
    lines += [f"{n + i},{i},85.0,4000" for i in range(10)]
    (tmp_path / "b.csv").write_text("\n".join(lines) + "\n")
    rows = {"first": n, "both": n + 10, "matched": 300}[keep]
    for by in ({"epochs": (2000.0, 2016.0), "radius": 0.5}, {"on": "source_id=name"}):
        path, matched = mb.match(
            tmp_path / "a.parquet", tmp_path / "b.csv", tmp_path / "c.parquet", keep=keep,
            overwrite=True, **by,
        )  # fmt: skip
        table = pq.read_table(path)
        assert matched == 300
        assert len(table) == rows
        found = table.to_pandas().dropna(subset=["teff", "source_id"])
        assert len(found) == 300
        np.testing.assert_array_equal(found["teff"], 5000 + found["source_id"])
    with pytest.raises(CatalogError, match="has no column 'names'; did you mean 'name'"):
        mb.match(
            tmp_path / "a.parquet", tmp_path / "b.csv", tmp_path / "x.parquet", on="source_id=names"
        )


def test_rounded_identifiers_are_refused_and_whole_ones_matched(tmp_path):
    pq.write_table(pa.table({"id": [2.0**60, 1.0]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"id": [2.0, None, 7.0]}), tmp_path / "b.parquet")
    pq.write_table(pa.table({"name": ["x", "7"], "id": [2, 7]}), tmp_path / "c.parquet")
    with pytest.raises(CatalogError, match=r"a\.parquet: column 'id' is of floating-point"):
        mb.match(tmp_path / "a.parquet", tmp_path / "b.parquet", tmp_path / "d.parquet", on="id")
    arguments = ["match", "b.parquet", "c.parquet", "--to", "d.parquet", "--on", "id=name"]
    arguments = [str(tmp_path / a) if "parquet" in a else a for a in arguments]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert result.output.startswith("1 rows of")
    assert pq.read_table(tmp_path / "d.parquet")["id_2"].to_pylist() == [None, None, 7]


DACHS = "http://127.0.0.1:8080/tap"
DACHS_ROWS = int(os.environ.get("MIGRATE_BAYES_FETCH_ROWS", "20000"))


@pytest.fixture
def dachs():
    """GAVO DaCHS as Debian's `gavodachs2-server` installs it, with the table of its test."""
    inputs = Path("/var/gavo/inputs")
    if not shutil.which("dachs") or os.geteuid() != 0 or not inputs.is_dir():
        pytest.skip("no GAVO DaCHS that this user may serve")
    subprocess.run(["pg_ctlcluster", "15", "main", "start"], check=False, capture_output=True)
    folder = inputs / "mbfetch"
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(11)
    keys = np.unique(rng.integers(0, 2**50, DACHS_ROWS)) * 2**10 + 1
    rng.shuffle(keys)
    (folder / "data.csv").write_text(
        "source_id,ra,parallax,name\n"
        + "".join(f"{k},{r:.9f},{'' if k % 5 == 0 else f'{r / 90:.5f}'},Mock {k}\n"
                  for k, r in zip(keys, rng.uniform(0, 360, len(keys)), strict=True))
    )  # fmt: skip
    (folder / "q.rd").write_text(
        '<resource schema="mbfetch"><meta name="title">Mock</meta><meta name="description">Mock'
        '</meta><meta name="creationDate">2026-01-01T00:00:00Z</meta><meta name="subject">stars'
        '</meta><table id="stars" onDisk="True" adql="True">'
        '<column name="source_id" type="bigint" ucd="meta.id;meta.main" required="True"/>'
        '<column name="ra" type="double precision" unit="deg" ucd="pos.eq.ra;meta.main"/>'
        '<column name="parallax" type="real" unit="mas" ucd="pos.parallax"/>'
        '<column name="name" type="text" ucd="meta.id"/></table><data id="import"><sources>data.csv'
        '</sources><csvGrammar/><make table="stars"/></data></resource>'
    )
    for path in (folder, *folder.iterdir()):
        shutil.chown(path, "dachsroot", "gavo")
    subprocess.run(
        ["su", "-s", "/bin/bash", "dachsroot", "-c", f"cd {folder} && dachs imp q.rd"],
        check=True, capture_output=True, timeout=3600,
    )  # fmt: skip
    server = None
    try:
        if not serves():
            server = subprocess.Popen(
                ["su", "-s", "/bin/bash", "gavo", "-c", "exec dachs serve debug"],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
            until = time.monotonic() + 60
            while not serves() and time.monotonic() < until:
                time.sleep(0.5)
        yield keys
    finally:
        if server is not None:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(30)


def serves():
    try:
        with urllib.request.urlopen(f"{DACHS}/availability", timeout=20) as answer:
            return answer.status == 200
    except OSError:
        return False


@pytest.mark.slow
def test_a_real_service_and_a_process_killed_twice(dachs, tmp_path):
    query = tmp_path / "q.toml"
    query.write_text(f'service = "{DACHS}"\ntable = "mbfetch.stars"\nkey = "source_id"\n')
    plain = mb.fetch(str(query), tmp_path / "plain.parquet", slice_rows=DACHS_ROWS // 2)
    target = tmp_path / "killed.parquet"
    command = [sys.executable, "-m", "migrate_bayes", "fetch", str(query), "--to", str(target)]
    parts = tmp_path / "killed.parquet.parts"
    rows = str(DACHS_ROWS // 5)
    for finished in (1, 3):
        with subprocess.Popen([*command, "--slice-rows", rows]) as process:
            until = time.monotonic() + 3600
            while len(list(parts.glob("[0-9]*.parquet"))) < finished and time.monotonic() < until:
                time.sleep(0.05)
            process.kill()
        assert not target.exists()
    subprocess.run([*command, "--slice-rows", rows], check=True)
    found = pq.read_table(target)
    assert found["source_id"].to_pylist() == sorted(dachs.tolist())
    assert found["parallax"].null_count == int((dachs % 5 == 0).sum())
    assert found.schema.field("parallax").metadata[b"unit"] == b"mas"
    assert fetching.data_sha256(target) == fetching.data_sha256(plain)
