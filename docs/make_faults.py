"""Kill runs, lose workers, damage products; compare what is made with an undisturbed run's.

    python docs/make_faults.py [kills] [engines] [table] [--folder runs/faults]
        [--stars 5000 | --catalogue FILE] [--part 500] [--kills 10] [--whole SECONDS]

kills    A run through all stages, undisturbed, and again with SIGKILL at random moments: after CPU
         times that on average bring all kills into one run. A run that ends before is compared and
         begun anew. Printed: parts before and after each kill and the last line; what differs; the
         overhead in CPU seconds, and how much of it is the start of processes: that of one that
         finds everything made, times the kills. With `--whole` the undisturbed run is in
         FOLDER/whole already, and took so many CPU seconds.
engines  The same run by two dask workers, of which one is killed, then all, scheduler too; by
         a dask scheduler of its own that is killed and started again; and the stars by three
         shards that are gathered.
         With `--commands ages orbits` these two are meant by a run, of both kinds.
table    What 400 stars' run says of a full disk, a read-only one, flipped bits and so on, and
         whether the command that should mend it does. The disks are mounted, which takes root.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import psutil
import pyarrow.parquet as pq

#: What tells when and how fast a product was made.
OF_THE_DAY = {"created", "created_at", "mode_seconds", "wall_seconds", "sampling_time"}
SMALL_PARTS = "import sys, migrate_bayes.run.stages as s; s.PART_SIZE = int(sys.argv.pop(1))\n"
MAIN = SMALL_PARTS + "from migrate_bayes.cli import main; main()"
#: Status of a run that has ended: 3 if its fit is not believed.
ENDED = (0, 3)


def tree_of(pid: int) -> list[psutil.Process]:
    """Return a process and those that it started, if they are still there."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


class Runs:
    """Runs of one recipe with small parts, each with products in a folder of its own."""

    def __init__(self, catalogue: Path, part: int, folder: Path, more: str = "") -> None:
        self.catalogue, self.part, self.folder, self.more = catalogue, part, folder, more
        self.cpu = self.wall = 0.0
        folder.mkdir(parents=True, exist_ok=True)

    def recipe(self, scheduler: str = "threads", more: str = "") -> Path:
        """Write a recipe."""
        text = f'name = "faults"\ndata = {{ path = "{self.catalogue}" }}\n'
        text += f'run = {{ scheduler = "{scheduler}" }}\n{self.more}\n{more}\n'
        path = self.folder / f"{scheduler.partition(':')[0]}{len(more)}.toml"
        path.write_text(text)
        return path

    def run(
        self,
        where: str,
        *arguments: str,
        recipe: Path | None = None,
        meanwhile: Callable[[int], bool] = lambda pid: False,
    ) -> tuple[int, str]:
        """Run a command; return its status and what it printed.

        `meanwhile` is called 50 times a second with its process, until it says that it has done
        what it wanted to.
        """
        folder, log = self.folder / where, self.folder / f"{where.replace('/', '-')}.log"
        command = [sys.executable, "-c", MAIN, str(self.part), *arguments]
        command += [str(recipe or self.recipe()), "--products", str(folder)]
        if arguments[0] == "run":
            command += ["--reports", str(self.folder / f"{where}-reports")]
        began = time.monotonic()
        with log.open("w") as out:
            process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
            status, done = None, False
            while status is None:
                pid, code, used = os.wait4(process.pid, os.WNOHANG)
                if pid:
                    status = process.returncode = os.waitstatus_to_exitcode(code)
                    self.cpu += used.ru_utime + used.ru_stime
                elif not done:
                    done = meanwhile(process.pid)
                time.sleep(0.02)
        self.wall += time.monotonic() - began
        return status, log.read_text()

    def whole(self, where: str, *arguments: str, **settings: object) -> str:
        """Run a command that must end; return what it printed."""
        status, said = self.run(where, *arguments, **settings)  # type: ignore[arg-type]
        assert status in ENDED, said
        return said

    def parts(self, where: str) -> dict[str, int]:
        """Return the parts of stars that manifests name, with the times of their files."""
        found = {}
        for name in ("stars", "ages", "orbits"):
            for folder in (name, f"{name}.partial"):
                path = self.folder / where / "faults" / folder
                if (path / "manifest.json").exists():
                    for part in json.loads((path / "manifest.json").read_text())["parts"]:
                        found[f"{name}/{part['file']}"] = (path / part["file"]).stat().st_mtime_ns
        return found

    def differ(self, one: str, two: str) -> str:
        """Say which products of two runs differ."""
        folders = (self.folder / where / "faults" for where in (one, two))
        return ", ".join(differences(*folders)) or "none"


def cpu_of(pid: int) -> float:
    """Return the CPU seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def attributes(item: h5py.HLObject) -> dict[str, str]:
    """Return the attributes of a group or variable, but for those of the day."""
    return {k: str(v) for k, v in item.attrs.items() if k not in OF_THE_DAY}


def content(path: Path) -> dict[str, object]:
    """Return what a NetCDF file holds, but for what tells the day."""
    found: dict[str, object] = {}

    def visit(name: str, item: h5py.HLObject) -> None:
        found[name] = attributes(item)
        if isinstance(item, h5py.Dataset) and name.rsplit("/")[-1] not in OF_THE_DAY:
            found[f"{name} values"] = np.asarray(item[()]).tobytes()

    with h5py.File(path) as file:
        found["/"] = attributes(file)
        file.visititems(visit)
    return found


def differences(one: Path, two: Path) -> list[str]:
    """Name the products that differ; NetCDF files by what differs in them."""
    differ = []
    names = {str(p.relative_to(r)) for r in (one, two) for p in r.rglob("*") if p.is_file()}
    for name in sorted(n for n in names if "progress" not in n and ".lock" not in n):
        a, b = one / name, two / name
        if not (a.exists() and b.exists()):
            differ.append(f"{name}: in one alone")
        elif name.endswith("manifest.json") or a.read_bytes() == b.read_bytes():
            continue
        elif name.endswith(".nc") and "part-" not in name:
            x, y = content(a), content(b)
            differ += [f"{name}: {k}" for k in sorted(x.keys() | y.keys()) if x.get(k) != y.get(k)]
        else:
            differ.append(f"{name}: bytes")
    return differ


def kills(runs: Runs, wanted: int, seed: int, commands: list[str], whole: float | None) -> None:
    """Kill commands at random moments; `whole` is the CPU time of the undisturbed, if they ran."""
    for again in (False, True) if whole is None else (True,):
        runs.cpu = runs.wall = 0.0
        for command in commands:
            runs.whole("whole", command)
        said = "again, all of it kept" if again else "undisturbed"
        print(f"{said}: {runs.cpu:.0f} s of CPU, {runs.wall:.0f} s", flush=True)
        whole = whole or runs.cpu
    assert whole is not None
    start, runs.cpu, runs.wall = runs.cpu, 0.0, 0.0
    rng, kept = np.random.default_rng(seed), dict[str, int]()
    done, ended, begun = 0, 0, False
    while done < wanted or begun:
        delay = rng.uniform(0, 2 * (whole / wanted + start))

        def kill(pid: int, delay: float = delay) -> bool:
            if over := cpu_of(pid) > delay:
                os.kill(pid, signal.SIGKILL)
            return over

        for command in commands:
            meanwhile = kill if done < wanted else nothing
            status, said = runs.run("killed", command, meanwhile=meanwhile)
            assert status in (*ENDED, -signal.SIGKILL), said
            if status not in ENDED:
                break
        now = runs.parts("killed")
        again = [name for name, made in kept.items() if now.get(name) != made]
        assert not again, f"made again: {again}"
        begun = status not in ENDED
        if not begun:
            ended, kept = ended + 1, {}
            print("ended; products that differ:", runs.differ("whole", "killed"), flush=True)
            shutil.rmtree(runs.folder / "killed")
            continue
        lines = [line for line in said.splitlines() if line.strip()]
        parts = f"{len(kept):3d} → {len(now):3d} parts"
        print(f"  {delay:6.1f} s  {parts}  after: {lines[-1][:60] if lines else ''}", flush=True)
        done, kept = done + 1, now
    spent, starts = runs.cpu / (ended * whole) - 1, done * start / (ended * whole)
    print(
        f"{done} kills in {ended} runs: {runs.cpu:.0f} s of CPU, {spent:+.1%}, of which the starts "
        f"of processes are {starts:+.1%}; {runs.wall:.0f} s",
        flush=True,
    )


def nothing(pid: int) -> bool:
    """Do nothing to a run."""
    return True


@contextlib.contextmanager
def cluster(port: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Start a dask scheduler and two workers; the scheduler is the first."""
    dask = [sys.executable, "-m", "dask"]
    here = ["--host", "127.0.0.1", "--no-dashboard"]
    address = f"tcp://127.0.0.1:{port}"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    commands = [["scheduler", *here, "--port", str(port)]]
    commands += [["worker", address, *here, "--nthreads", "1", "--no-nanny"]] * 2
    started = [subprocess.Popen([*dask, *command], **quiet) for command in commands]  # type: ignore[call-overload]
    try:
        yield started
    finally:
        for process in started:
            process.kill()
            process.wait()


def engines(runs: Runs, commands: list[str]) -> None:
    """Make the same on other engines, which lose what they can lose."""
    if not (runs.folder / "whole").exists():
        for command in commands:
            runs.whole("whole", command)
    n = len(runs.parts("whole")) // len(commands)
    local = runs.recipe("local:2")
    for command in commands:
        before, killed = len(runs.parts("workers")), list[str]()

        def lose(pid: int, before: int = before, killed: list[str] = killed) -> bool:
            there = len(runs.parts("workers")) - before
            if there >= n // 4 and not killed:
                workers = sorted(tree_of(pid)[1:], key=lambda p: sum(p.cpu_times()[:2]))
                workers[-1].kill()
                killed.append(f"a worker after {there} of {n} parts")
            if there >= n // 2:
                for process in tree_of(pid):
                    process.kill()
                killed.append(f"all after {there}")
            return len(killed) == 2

        status, said = runs.run("workers", command, recipe=local, meanwhile=lose)
        assert status == -signal.SIGKILL, said
        runs.whole("workers", command, recipe=local)
        print(f"{command}, two workers, killed: {', '.join(killed)}", flush=True)
    print("two workers; products that differ:", runs.differ("whole", "workers"), flush=True)

    port = random.Random(os.getpid()).randrange(20_000, 60_000)
    own = runs.recipe(f"tcp://127.0.0.1:{port}")
    for command in commands:
        runs.whole("shards", command, "--shard", "0/3")
        with cluster(port) as processes:

            def stop(pid: int, processes: list[subprocess.Popen[bytes]] = processes) -> bool:
                shards = (runs.folder / "shards" / "faults").glob("*.shard-1-of-3")
                if over := any(len(list(s.glob("part-*.nc"))) >= n // 9 for s in shards):
                    processes[0].kill()
                return over

            status, said = runs.run("shards", command, "--shard", "1/3", recipe=own, meanwhile=stop)
        print(f"{command}, scheduler killed: status {status}, {said.splitlines()[-1]}", flush=True)
        with cluster(port):
            runs.whole("shards", command, "--shard", "1/3", recipe=own)
        runs.whole("shards", command, "--shard", "2/3")
        runs.whole("shards", command)
    print("three shards; products that differ:", runs.differ("whole", "shards"), flush=True)


class Faults:
    """The table: a fault, what was said of it, what the same command made when it was mended."""

    def __init__(self, runs: Runs) -> None:
        self.runs = runs
        runs.whole("plain", "ages")
        self.plain = runs.folder / "plain" / "faults" / "ages"
        print("| what | status | said | then |\n|---|---|---|---|", flush=True)

    def copy(self, where: str) -> Path:
        """Copy the undisturbed run; return its stars."""
        shutil.copytree(self.runs.folder / "plain", self.runs.folder / where)
        return self.runs.folder / where / "faults" / "ages"

    def row(
        self,
        what: str,
        where: str,
        *,
        broken: tuple[str, ...] = ("ages",),
        mended: tuple[str, ...] = ("ages",),
        between: Callable[[], object] = lambda: None,
        **settings: object,
    ) -> None:
        """Run a command that meets a fault, mend it, run another; print what came of it."""
        status, said = self.runs.run(where, *broken, **settings)  # type: ignore[arg-type]
        lines = [line for line in said.splitlines() if line.startswith("migrate-bayes: ")]
        lines += [line for line in said.splitlines() if " made again" in line]
        heard = (lines or said.splitlines() or [""])[-1].removeprefix("migrate-bayes: ")
        heard = heard.replace(f"{self.runs.folder}/", "").replace("|", "/")
        between()
        again, _ = self.runs.run(where, *mended)
        differ = self.runs.differ("plain", where)
        then = "the same bytes" if differ == "none" else f"differ: {differ}"
        command = " ".join(mended)
        print(f"| {what} | {status} | {heard} | `{command}`: {again}, {then} |", flush=True)


@contextlib.contextmanager
def disk(path: Path, size: str) -> Iterator[Callable[[str], None]]:
    """Mount a disk in memory; yield what changes its options."""
    path.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", path], check=True)
    try:
        yield (
            lambda options: (
                subprocess.run(["mount", "-o", f"remount,{options}", path], check=True) and None
            )
        )
    finally:
        subprocess.run(["umount", path], check=True)


def table(runs: Runs) -> None:
    """Print the table of faults."""
    faults, folder, catalogue = Faults(runs), runs.folder, runs.catalogue
    size = sum(file.stat().st_size for file in faults.plain.iterdir())
    with disk(folder / "full", str(size * 5 // 8)) as remount:
        faults.row("disk full", "full", between=lambda: remount("size=1g"))
    with disk(folder / "fixed", "1g") as remount:
        remount("ro")
        faults.row("disk read-only", "fixed", between=lambda: remount("rw"))

    def flip(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)

    damages: dict[str, Callable[[Path], object]] = {
        "a part with a flipped bit": flip,
        "a truncated part": lambda part: os.truncate(part, 5000),
        "a part absent": Path.unlink,
    }
    for what, damage in damages.items():
        damage(faults.copy(what) / "part-00001.nc")
        faults.row(what, what)

    def edit(what: str, change: Callable[[list[dict[str, object]]], object]) -> None:
        path = faults.copy(what) / "manifest.json"
        manifest = json.loads(path.read_text())
        change(manifest["parts"])
        path.write_text(json.dumps(manifest))
        faults.row(f"manifest: {what}", what, mended=("ages", "--overwrite"))

    edit("a part twice", lambda parts: parts.append(parts[0]))
    edit("a part left out", lambda parts: parts.pop(1))
    edit("parts reordered", lambda parts: parts.reverse())
    edit("a part in `../`", lambda parts: parts[1].update(file="../part-00001.nc"))
    edit("an absolute path", lambda parts: parts[1].update(file="/tmp/part-00001.nc"))

    flip(faults.copy("other") / "manifest.json")
    faults.row("manifest: a flipped bit", "other", mended=("ages", "--overwrite"))
    paper = runs.recipe(more='isochrones = { method = "paper" }')
    faults.copy("recipe")
    faults.row("another recipe", "recipe", recipe=paper)

    shuffled = folder / "shuffled.parquet"
    stars = pq.read_table(catalogue)
    pq.write_table(stars.take(np.random.default_rng(1).permutation(len(stars))), shuffled)
    kept = folder / "kept.parquet"
    shutil.copy2(catalogue, kept)

    def swap(file: Path) -> None:
        shutil.copy2(file, catalogue.with_suffix(".new"))
        catalogue.with_suffix(".new").replace(catalogue)

    faults.copy("rows")
    swap(shuffled)
    faults.row("the catalogue's rows shuffled", "rows", between=lambda: swap(kept))
    faults.copy("halves")
    runs.whole("halves", "orbits")
    swap(shuffled)

    def restored() -> None:
        swap(kept)
        shutil.rmtree(folder / "halves" / "faults" / "orbits")

    what = "the same between stages and the fit"
    faults.row(what, "halves", broken=("fit",), between=restored)

    def there(where: str) -> bool:
        return len(runs.parts(where)) > 0

    def under_way(pid: int) -> bool:
        if found := there("under way"):
            swap(shuffled)
        return found

    faults.row("the catalogue changes under way", "under way", meanwhile=under_way,
               between=lambda: swap(kept))  # fmt: skip
    for sent in (signal.SIGTERM, signal.SIGINT, signal.SIGKILL):

        def stop(pid: int, sent: signal.Signals = sent) -> bool:
            if found := there(sent.name):
                os.kill(pid, sent)
            return found

        faults.row(sent.name, sent.name, meanwhile=stop)

    first = subprocess.Popen(
        [sys.executable, "-c", MAIN, str(runs.part), "ages", str(runs.recipe()), "--products",
         str(folder / "two")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while not there("two"):
        time.sleep(0.01)
    first.send_signal(signal.SIGSTOP)  # or it would have ended before the second begins

    def end_of_first() -> None:
        first.send_signal(signal.SIGCONT)
        first.wait()

    faults.row("a second run in the folder", "two", between=end_of_first)


def main() -> None:
    """Print what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="*", default=["kills", "engines", "table"])
    for name, default in {"stars": 5000, "part": 500, "kills": 10, "seed": 1}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--folder", type=Path, default=Path("runs/faults"))
    parser.add_argument("--catalogue", type=Path)
    parser.add_argument("--recipe", default="", help="further lines of the recipe")
    parser.add_argument("--whole", type=float)
    parser.add_argument("--commands", nargs="+", default=["run"])
    asked = parser.parse_args()
    folder = asked.folder.absolute()
    if asked.whole is None:
        shutil.rmtree(folder, ignore_errors=True)
    catalogue = asked.catalogue or mock(folder / "catalogue.parquet", asked.stars)
    runs = Runs(catalogue.absolute(), asked.part, folder, asked.recipe)
    if "kills" in asked.what:
        kills(runs, asked.kills, asked.seed, asked.commands, asked.whole)
    if "engines" in asked.what:
        engines(runs, asked.commands)
    if "table" in asked.what:
        shutil.rmtree(folder / "table", ignore_errors=True)
        few = mock(folder / "table" / "catalogue.parquet", 400)
        table(Runs(few, 100, folder / "table"))


def mock(path: Path, stars: int) -> Path:
    """Simulate a catalogue."""
    from migrate_bayes.mock import simulate_to_parquet
    from migrate_bayes.run import Recipe

    recipe = Recipe(name="faults", data={"source": "mock"}, simulate={"stars": stars})
    path.parent.mkdir(parents=True, exist_ok=True)
    simulate_to_parquet(path, recipe.simulate, seed=1)
    return path


if __name__ == "__main__":
    main()
