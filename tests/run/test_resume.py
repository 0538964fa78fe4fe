"""Runs that were stopped: what is there is kept, what is stale is refused, nothing is mixed."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from types import SimpleNamespace

import distributed
import numpy as np
import pytest

from migrate_bayes.catalog import read_catalog, write_catalog
from migrate_bayes.core import progress
from migrate_bayes.core.errors import CatalogError, PartsFailedError, ProductError, SchedulerError
from migrate_bayes.core.io import lock_folder, temporary_name
from migrate_bayes.core.parallel import default_workers
from migrate_bayes.run import Recipe, Run, partitions, stages
from migrate_bayes.run.partitions import PartMaker
from migrate_bayes.stars import StarWriter, write_stars

CONTENT = {
    "name": "few",
    "data": {"source": "mock"},
    "simulate": {"stars": 60},
    "chunk_size": 7,
    "orbits": {"potentials": ["MWPotential2014"], "draws": 5, "zmax_potentials": []},
    "isochrones": {"ages": [1.0, 1.5, 2.0, 4.0, 8.0, 12.0, 14.5]},
}


@pytest.fixture(autouse=True)
def twenty_a_part(monkeypatch):
    monkeypatch.setattr(stages, "PART_SIZE", 20)


def make(folder, overwrite=False, retry_failed=False, shard=None, **changes):
    lines = []
    told = Recipe.model_validate({**CONTENT, **changes})
    settings = {"overwrite": overwrite, "retry_failed": retry_failed, "say": lines.append}
    settings["shard"] = shard
    run = Run(told, products=folder, **settings)
    return run, lines


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    before, stages.PART_SIZE = stages.PART_SIZE, 20
    run, _ = make(folder)
    run.make_stars()
    stages.PART_SIZE = before
    return run


@pytest.fixture
def here(finished, tmp_path):
    """A run with the catalogue of the finished one, and no stars."""
    run, lines = make(tmp_path)
    run.folder.path.mkdir()
    run.folder.catalog.write_bytes(finished.folder.catalog.read_bytes())
    return run, lines


def parts_of(run, name="stars"):
    return {p.name: p.read_bytes() for p in sorted((run.folder / name).glob("*.nc"))}


AGES, ORBITS = PartMaker.ages_of, PartMaker.orbits_of


def stop_after(monkeypatch, n, error=KeyboardInterrupt):
    """Let runs fail while they make the n-th chunk."""
    made = []

    def ages(maker, chunk):
        if len(made) == n:
            raise error
        made.append(chunk)
        return AGES(maker, chunk)

    monkeypatch.setattr(PartMaker, "ages_of", ages)
    return made


@pytest.mark.parametrize("n", [0, 4, 8])
def test_a_stopped_run_goes_on_to_the_same_bytes(finished, here, n, monkeypatch):
    run, _ = here
    stop_after(monkeypatch, n)
    with pytest.raises(KeyboardInterrupt):
        run.make_stars()
    assert not (run.folder / "stars").exists()
    with pytest.raises(ProductError, match="is not finished"):
        _ = Run(run.recipe, products=run.folder.path.parent).stars
    again, lines = make(run.folder.path.parent)
    made = stop_after(monkeypatch, -1)
    again.make_stars()
    assert parts_of(again) == parts_of(finished)
    assert not (run.folder / "stars.partial").exists()
    # Chunks of seven stars: no more than the part in hand is made again.
    done = n * 7 // 20 * 20
    n_stars = finished.stars.sizes["star"]
    assert sum(chunk.sizes["star"] for chunk in made) == n_stars - done
    assert sum("goes on" in line for line in lines) == (done > 0)


def test_what_is_there_is_kept_and_nothing_is_read_again(finished):
    again, lines = make(finished.folder.path.parent, overwrite=True)
    before = (finished.folder / "stars/manifest.json").stat().st_mtime_ns
    again.make_stars()
    assert lines == [f"stars      kept: {finished.folder / 'stars'}"]
    assert (finished.folder / "stars/manifest.json").stat().st_mtime_ns == before


STALE = [
    ({"isochrones": {"ages": [1.0, 2.0, 4.0, 8.0]}}, "`isochrones.ages` was"),
    ({"isochrones": CONTENT["isochrones"] | {"source": "basti"}}, "`isochrones.source` was"),
    ({"orbits": CONTENT["orbits"] | {"draws": 6}}, "`orbits.draws` was 5, is 6"),
    ({"data": {"source": "mock", "min_snr": 40}}, "`data.min_snr` was 50.0, is 40.0"),
    ({"seed": 1}, "`seed` was 20210301, is 1"),
    ({"simulate": {"stars": 60, "gradient_young": -0.05}}, "`simulate.gradient_young` was"),
]


@pytest.mark.parametrize(("changes", "said"), STALE)
def test_stars_of_another_recipe_are_refused_by_name(finished, changes, said):
    run, _ = make(finished.folder.path.parent, **changes)
    with pytest.raises(ProductError, match=re.escape(said)):
        run.make_stars()
    if "simulate" not in changes:  # that is a matter of the catalogue
        with pytest.raises(ProductError, match=f"{re.escape(said)}.*`migrate-bayes run"):
            _ = run.stars
    assert parts_of(run) == parts_of(finished)


@pytest.mark.parametrize("changes", [
    {"model": {"selection": "thin"}}, {"sampler": {"draws": 7}}, {"baseline": None},
    {"chunk_size": 11}, {"description": "words"}, {"selections": {"x": "feh > 0"}},
])  # fmt: skip
def test_what_changes_no_star_costs_none(finished, changes):
    run, lines = make(finished.folder.path.parent, **changes)
    run.make_stars()
    assert len(lines) == 1
    assert " kept: " in lines[0]


def test_an_unfinished_product_of_another_recipe_is_refused(finished, here, monkeypatch):
    run, _ = here
    stop_after(monkeypatch, 4)
    with pytest.raises(KeyboardInterrupt):
        run.make_stars()
    folder, changes = run.folder.path.parent, {"isochrones": {"ages": [1.0, 2.0, 4.0, 8.0]}}
    stop_after(monkeypatch, -1)
    with pytest.raises(ProductError, match=r"stars\.partial is stale: `isochrones\.ages` was"):
        make(folder, **changes)[0].make_stars()
    other, _ = make(folder, overwrite=True, **changes)
    other.make_stars()
    assert other.stars.sizes["age"] == 4
    assert other.stars.sizes["star"] == finished.stars.sizes["star"]


def test_another_catalogue_is_another_product(here, tmp_path):
    path = tmp_path / "stars.parquet"
    catalog = read_catalog(here[0].folder.catalog)
    write_catalog(catalog, path)
    told = {"data": {"path": str(path)}, "until": "ages"}
    run, _ = make(tmp_path, **told)
    run.make_stars()
    write_catalog(catalog.isel(star=slice(None, None, -1)), path, overwrite=True)
    shuffled, _ = make(tmp_path, **told)
    with pytest.raises(ProductError, match="`catalogue` was"):
        shuffled.make_stars()
    with pytest.raises(ProductError, match="`catalogue` was"):
        _ = shuffled.stars
    path.unlink()  # then nothing says that the stars are of another one
    assert make(tmp_path, **told)[0].stars.sizes["star"] == catalog.sizes["star"]


def test_a_catalogue_that_changes_under_way_is_refused(here, tmp_path, monkeypatch):
    path = tmp_path / "stars.parquet"
    catalog = read_catalog(here[0].folder.catalog)
    write_catalog(catalog, path)
    run, _ = make(tmp_path, data={"path": str(path)}, until="ages")
    assert run.catalog.n_stars == catalog.sizes["star"]

    def ages(maker, chunk):
        write_catalog(catalog.isel(star=slice(None, None, -1)), path, overwrite=True)
        return AGES(maker, chunk)

    monkeypatch.setattr(PartMaker, "ages_of", ages)
    with pytest.raises(CatalogError, match="has changed since it was opened"):
        run.make_stars()


def test_damaged_parts_are_named_and_made_again(finished, here, monkeypatch):
    run, _ = here
    run.make_stars()
    flipped, cut = (run.folder / f"stars/part-0000{k}.nc" for k in (0, 2))
    content = bytearray(flipped.read_bytes())
    content[len(content) // 2] ^= 4
    flipped.write_bytes(content)
    cut.write_bytes(cut.read_bytes()[:-10])
    with pytest.raises(ProductError, match=r"part-00000\.nc is missing or differs"):
        _ = make(run.folder.path.parent)[0].stars
    again, lines = make(run.folder.path.parent)
    made = stop_after(monkeypatch, -1)
    again.make_stars()
    assert [line for line in lines if "made again" in line] == [
        f"{path} is missing or damaged: it is made again" for path in (flipped, cut)
    ]
    assert sum(chunk.sizes["star"] for chunk in made) == 40
    assert parts_of(again) == parts_of(finished)


def test_an_edited_manifest_is_refused_until_overwritten(finished, here):
    run, _ = here
    run.make_stars()
    path = run.folder / "stars/manifest.json"
    manifest = json.loads(path.read_text())
    manifest["parts"].reverse()
    path.write_text(json.dumps(manifest))
    with pytest.raises(ProductError, match="was altered"):
        make(run.folder.path.parent)[0].make_stars()
    again, _ = make(run.folder.path.parent, overwrite=True)
    again.make_stars()
    assert parts_of(again) == parts_of(finished)


def test_a_part_that_fails_is_set_aside_and_tried_again_on_request(finished, here, monkeypatch):
    run, lines = here
    folder = run.folder.path.parent
    wrong = finished.stars["source_id"].values[25]

    def ages(maker, chunk):
        if wrong in chunk["source_id"].values:
            raise ZeroDivisionError("of this star")
        return AGES(maker, chunk)

    monkeypatch.setattr(PartMaker, "ages_of", ages)
    with pytest.raises(PartsFailedError, match=r"1 of 4 parts .* part 1 with ZeroDivisionError: o"):
        run.make_stars()
    assert "stars      part 1 failed: ZeroDivisionError: of this star" in lines
    (failed,) = json.loads((run.folder / "stars.partial/manifest.json").read_text())["failed"]
    assert 'raise ZeroDivisionError("of this star")' in failed["traceback"]
    assert json.loads((run.folder / "progress.json").read_text())["state"] == "stopped"
    with pytest.raises(ProductError, match="is not finished"):
        _ = run.stars
    monkeypatch.setattr(PartMaker, "ages_of", AGES)
    with pytest.raises(PartsFailedError, match="--retry-failed"):
        make(folder)[0].make_stars()
    again, _ = make(folder, retry_failed=True)
    again.make_stars()
    assert parts_of(again) == parts_of(finished)


def test_little_memory_is_met_by_fewer_stars_at_a_time(finished, here, monkeypatch, caplog):
    run, _ = here
    sizes = []

    def orbits(maker, chunk):
        sizes.append(chunk.sizes["star"])
        if sizes[-1] > 4:
            raise MemoryError
        return ORBITS(maker, chunk)

    monkeypatch.setattr(PartMaker, "orbits_of", orbits)
    monkeypatch.setattr(partitions, "FEWEST", 1)
    run.make_stars()
    assert max(sizes) == 7
    assert "out of memory with 6 stars at a time" in caplog.text
    assert parts_of(run) == parts_of(finished)
    monkeypatch.setattr(partitions, "FEWEST", 4)
    with pytest.raises(MemoryError):
        make(run.folder.path.parent, overwrite=True, seed=1)[0].make_stars()


def test_shards_are_gathered(finished, here, monkeypatch):
    folder = here[0].folder.path.parent
    make(folder, shard=(0, 3))[0].make_stars()
    stop_after(monkeypatch, 1)
    with pytest.raises(KeyboardInterrupt):  # in its only part
        make(folder, shard=(2, 3))[0].make_stars()
    stop_after(monkeypatch, -1)
    with pytest.raises(ProductError, match="is stale"):
        make(folder, seed=1)[0].make_stars()
    one, _ = make(folder, shard=(1, 3))
    one.make_stars()
    path = one.folder.path
    shards = [f"stars.shard-{k}-of-3" for k in range(3)]
    assert sorted(p.name for p in path.glob("stars*")) == shards
    (path / "stars.shard-1-of-3/part-00001.nc").write_bytes(b"cut")
    made = stop_after(monkeypatch, -1)
    whole, _ = make(folder)
    whole.make_stars()
    assert parts_of(whole) == parts_of(finished)
    # The part that was cut, and the one that was not made.
    assert sum(chunk.sizes["star"] for chunk in made) == 40
    assert [p.name for p in path.glob("stars*")] == ["stars"]


def test_a_kill_while_shards_are_gathered_loses_nothing(finished, here, monkeypatch):
    folder = here[0].folder.path.parent
    for k in range(2):
        make(folder, shard=(k, 2))[0].make_stars()
    with monkeypatch.context() as killed:
        killed.setattr("migrate_bayes.stars.parts.shutil.rmtree", lambda path: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            make(folder)[0].make_stars()
    made = stop_after(monkeypatch, -1)
    whole, _ = make(folder)
    whole.make_stars()
    assert not made
    assert parts_of(whole) == parts_of(finished)


def test_shards_share_a_folder_and_no_other_run_does(here):
    path = here[0].folder.path
    with lock_folder(path, "0-of-2"), lock_folder(path, "1-of-2"):
        for shard in ("", "1-of-2"):
            with pytest.raises(ProductError, match="in use by process"), lock_folder(path, shard):
                pass
    with (
        lock_folder(path),
        pytest.raises(ProductError, match="in use"),
        lock_folder(path, "0-of-2"),
    ):
        pass
    here[0].folder.catalog.unlink()
    with pytest.raises(ProductError, match="use `migrate-bayes simulate` first"):
        make(path.parent, shard=(0, 2))[0].ages()


@pytest.mark.slow
def test_workers_make_the_same_bytes_though_one_is_killed(finished, here, monkeypatch):
    run, _ = make(here[0].folder.path.parent, run={"scheduler": "local:2"})
    add, clients = StarWriter.add, []

    def kill_one(out, number, part):
        if not clients:
            clients.append(run.folder.client("local:2"))
            os.kill(next(iter(clients[0].run(os.getpid).values())), signal.SIGKILL)
        add(out, number, part)

    monkeypatch.setattr(StarWriter, "add", kill_one)
    run.make_stars()
    assert parts_of(run) == parts_of(finished)
    assert clients[0].status == "closed"
    assert json.loads((run.folder / "progress.json").read_text())["done"] == run.catalog.n_stars


@pytest.fixture
def cluster_here(monkeypatch):
    """A dask cluster in this process, where a test can put its faults."""

    @contextmanager
    def opened(_):
        own = {"processes": False, "n_workers": 1, "threads_per_worker": 2}
        with (
            distributed.LocalCluster(**own, dashboard_address="127.0.0.1:0") as cluster,
            distributed.Client(cluster, set_as_default=False) as client,
        ):
            yield client

    monkeypatch.setattr(stages, "open_scheduler", opened)
    monkeypatch.setattr(progress, "_silent", False)  # a worker sets it
    return {"run": {"scheduler": "tcp://here"}}


def test_faults_of_workers(finished, here, monkeypatch, cluster_here):
    folder, wrong = here[0].folder.path.parent, finished.stars["source_id"].values[25]
    run, lines = make(folder, **cluster_here)

    def ages(maker, chunk):
        assert default_workers() == 2
        if wrong in chunk["source_id"].values:
            raise ZeroDivisionError("of this star")
        if chunk.sizes["star"] > 5:
            last = SimpleNamespace(address="tcp://there")
            raise distributed.scheduler.KilledWorker("part", last, 3)
        return AGES(maker, chunk)

    monkeypatch.setattr(PartMaker, "ages_of", ages)
    monkeypatch.setattr(stages, "FEWEST", 1)
    with pytest.raises(PartsFailedError, match=r"1 of 4 parts .* part 1 with ZeroDivisionError: o"):
        run.make_stars()
    assert any("again, 1 stars at a time" in line for line in lines)
    (failed,) = json.loads((run.folder / "stars.partial/manifest.json").read_text())["failed"]
    assert 'raise ZeroDivisionError("of this star")' in failed["traceback"]
    monkeypatch.setattr(PartMaker, "ages_of", AGES)

    def cancelled(call):
        return distributed.CancelledError("scheduler-connection-lost")

    def refused(client):
        raise distributed.comm.CommClosedError("Connection refused")

    again, _ = make(folder, retry_failed=True, **cluster_here)
    for of, name, fault in (
        (distributed.Future, "exception", cancelled), (distributed.Client, "nthreads", refused),
    ):  # fmt: skip
        with monkeypatch.context() as lost:
            lost.setattr(of, name, fault)
            with pytest.raises(SchedulerError, match="same command goes on"):
                again.make_stars()
    again.make_stars()
    assert parts_of(again) == parts_of(finished)


def test_faults_of_the_machine_end_the_run_and_are_no_part_s(here, monkeypatch):
    run, _ = here

    def full(maker, chunk):
        raise RuntimeError("NetCDF: HDF error") from OSError(errno.ENOSPC, "No space left")

    monkeypatch.setattr(PartMaker, "ages_of", full)
    with pytest.raises(RuntimeError):
        run.make_stars()
    assert json.loads((run.folder / "stars.partial/manifest.json").read_text())["failed"] == []


def test_progress_is_a_file(here):
    run, _ = here
    run.ages()
    found = json.loads((run.folder / "progress.json").read_text())
    n = run.catalog.n_stars
    assert (found["state"], found["stage"], found["unit"]) == ("finished", "ages", "stars")
    assert (found["done"], found["total"], found["seconds_left"]) == (n, n, 0.0)
    assert found["rate"] > 0
    assert found["process"] == os.getpid()


def test_halves_are_joined_by_star(finished, here):
    """Regression: orbits of the same stars in another order were joined row by row."""
    run, _ = here
    whole = finished.stars.load()
    order = np.random.default_rng(1).permutation(60)
    # Repeat observations stay where they are: see tests/stars.
    order = np.concatenate([order, np.arange(60, whole.sizes["star"])])
    write_stars(whole.drop_dims("potential"), run.folder / "ages")
    write_stars(whole.drop_dims("age").isel(star=order), run.folder / "orbits")
    assert set(run.stars.variables) == set(whole.variables)
    for name in whole.variables:
        np.testing.assert_array_equal(run.stars[name].values, whole[name].values, name)


def test_stars_of_no_recipe_may_be_fitted_and_are_not_taken_for_a_recipe_s(finished, here):
    run, _ = here
    write_stars(finished.stars.load(), run.folder / "stars")
    assert run.stars.sizes["star"] == finished.stars.sizes["star"]
    with pytest.raises(ProductError, match="does not say what it was made from"):
        run.make_stars()


def test_two_runs_at_once(here):
    run, _ = here
    with lock_folder(run.folder.path), pytest.raises(ProductError) as error:
        run.make_stars()
    assert f"{run.folder.path} is in use by process {os.getpid()} on " in str(error.value)
    run.make_stars()


def test_leftovers_of_dead_processes_are_removed_and_what_they_replaced_put_back(here):
    run, _ = here
    folder = run.folder.path
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"],
                          capture_output=True, text=True, check=True).stdout.strip()  # fmt: skip

    def left(name, kind="tmp", pid=dead):
        path = temporary_name(folder / name, kind)
        return path.with_name(path.name.replace(str(os.getpid()), pid))

    left("fit.nc").touch()
    left("membership", "old").mkdir()
    left("baseline.nc", "old").touch()
    (folder / "baseline.nc").touch()
    alive = left("stars.parquet", pid=str(os.getppid()))
    alive.touch()
    with lock_folder(folder):
        pass
    there = sorted(p.name for p in folder.iterdir())
    assert there == sorted([".lock", alive.name, "baseline.nc", "catalogue.parquet", "membership"])


RECIPE = """
name = "few"
chunk_size = 7
data = { source = "mock" }
simulate = { stars = 60 }
orbits = { potentials = ["MWPotential2014"], draws = 5, zmax_potentials = [] }
isochrones = { ages = [1.0, 1.5, 2.0, 4.0, 8.0, 12.0, 14.5] }
"""
COMMAND = (
    "import migrate_bayes.run.stages as s, sys, time; s.PART_SIZE = 20\n"
    "whole = s.PartMaker.ages_of\n"
    "def slow(maker, chunk):\n"
    "    print('chunk', file=sys.stderr, flush=True)\n"
    "    time.sleep(0.05)\n"
    "    return whole(maker, chunk)\n"
    "s.PartMaker.ages_of = slow\n"
    "from migrate_bayes.cli import main\n"
    "main()"
)


def start(folder, *arguments):
    recipe = folder / "few.toml"
    recipe.write_text(RECIPE)
    command = [sys.executable, "-c", COMMAND, *arguments, str(recipe), "--products", str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(path, process, seconds=60):
    end = time.monotonic() + seconds
    while not path.exists() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.005)
    assert path.exists(), process.communicate()


@pytest.mark.parametrize(
    ("sent", "code"),
    [(signal.SIGTERM, 143), pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow)],
)
def test_a_signal_leaves_what_is_finished_and_says_how_to_go_on(here, sent, code):
    run, _ = here
    process = start(run.folder.path.parent, "ages")
    wait_for(run.folder / "ages.partial/part-00000.nc", process)
    process.send_signal(sent)
    _, said = process.communicate(timeout=20)
    assert process.returncode == code, said
    assert said.splitlines()[-1] == (
        f"migrate-bayes: stopped by {sent.name}; what is finished is kept, and the same command "
        "goes on from there"
    )
    assert "Traceback" not in said
    assert not list(run.folder.path.glob("**/.*.tmp-*"))
    assert (run.folder / "ages.partial/part-00000.nc").exists()


@pytest.mark.slow
def test_killed_at_random_moments_and_gone_on_with(finished, here):
    """Work lost is the part in hand at most; no leftovers, the same bytes."""
    run, _ = here
    folder, rng, kills = run.folder.path.parent, np.random.default_rng(5), 0
    reference, _ = make(finished.folder.path.parent)
    reference.ages()
    while not (run.folder / "ages").exists():
        process = start(folder, "ages")
        partial = run.folder / "ages.partial"
        before = len(list(partial.glob("part-*.nc")))
        for _ in range(rng.integers(8)):
            process.stderr.readline()
        time.sleep(rng.uniform(0, 0.3))
        process.kill()
        process.communicate()
        kills += 1
        there = len(list(partial.glob("part-*.nc"))) if partial.exists() else 4
        assert there >= before
        assert kills < 40
    assert kills > 2
    done = start(folder, "ages")
    assert "kept: " in done.communicate()[0]
    assert parts_of(run, "ages") == parts_of(reference, "ages")
    assert not list(run.folder.path.glob("**/.*.tmp-*"))
