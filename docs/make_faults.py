"""Kill a run at random moments, go on by the same command, and compare what it made.

    python docs/make_faults.py [--stars 5000] [--part 500] [--kills 10] [--folder runs/faults]

A mock survey goes through all stages undisturbed, and again with SIGKILL after CPU times that are
drawn from the whole of the undisturbed run's; a run that ends before its kill is compared and begun
anew. Printed: the last line before each kill, the parts of the stars before and after it, products
that differ, and the overhead in CPU seconds, which in a small run is the start of a process after
each kill. Then the stars alone are made by two dask workers, and by three shards that are gathered.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np

#: What tells when and how fast a product was made.
OF_THE_DAY = {"created", "created_at", "mode_seconds", "wall_seconds", "sampling_time"}
RECIPE = """
name = "faults"
data = {{ source = "mock" }}
simulate = {{ stars = {stars} }}
orbits = {{ zmax_potentials = ["MWPotential2014"] }}
run = {{ scheduler = "{scheduler}" }}
# A short fit, whose verdict is of no interest.
sampler = {{ draws = 100, tune = 100, chains = 2, starts = 1, patience = 1 }}
"""
SMALL_PARTS = "import sys, migrate_bayes.run.stages as s; s.PART_SIZE = int(sys.argv.pop(1))\n"
MAIN = SMALL_PARTS + "from migrate_bayes.cli import main; main()"


class Faults:
    """A recipe of so many stars in so small parts, run in folders of its own."""

    def __init__(self, stars: int, part: int, folder: Path) -> None:
        self.part, self.folder, self.cpu = part, folder, 0.0
        folder.mkdir(parents=True)
        for name, scheduler in {"threads": "threads", "workers": "local:2"}.items():
            text = RECIPE.format(stars=stars, scheduler=scheduler)
            (folder / f"{name}.toml").write_text(text)

    def run(
        self, where: str, *arguments: str, kill_after: float | None = None, recipe: str = "threads"
    ) -> tuple[bool, str]:
        """Run a command with products in `where`; say whether it ended, and what it printed."""
        folder, log = self.folder / where, self.folder / f"{where}.log"
        command = [sys.executable, "-c", MAIN, str(self.part), *arguments]
        command += [str(self.folder / f"{recipe}.toml"), "--products", str(folder)]
        if arguments[0] == "run":
            command += ["--reports", str(folder / "reports")]
        with log.open("w") as out:
            process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
            status = None
            while status is None:
                pid, code, used = os.wait4(process.pid, os.WNOHANG)
                if pid:
                    status = process.returncode = os.waitstatus_to_exitcode(code)
                    self.cpu += used.ru_utime + used.ru_stime
                elif kill_after is not None and cpu_of(process.pid) > kill_after:
                    process.send_signal(signal.SIGKILL)
                time.sleep(0.02)
        said = log.read_text()
        assert status in (0, 3, -signal.SIGKILL), said
        return status != -signal.SIGKILL, said

    def parts(self, where: str) -> int:
        """Count the parts of the stars that a manifest names."""
        for name in ("stars", "stars.partial"):
            if (path := self.folder / where / "faults" / name / "manifest.json").exists():
                return len(json.loads(path.read_text())["parts"])
        return 0


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
            found[f"{name} values"] = repr(np.asarray(item[()]).tolist())

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
        elif a.read_bytes() == b.read_bytes() or name.endswith(("manifest.json", ".html")):
            continue
        elif name.endswith(".nc") and "part-" not in name:
            x, y = content(a), content(b)
            differ += [f"{name}: {k}" for k in sorted(x.keys() | y.keys()) if x.get(k) != y.get(k)]
        else:
            differ.append(f"{name}: bytes")
    return differ


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in {"stars": 5000, "part": 500, "kills": 10, "seed": 1}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--folder", type=Path, default=Path("runs/faults"))
    asked = parser.parse_args()
    shutil.rmtree(asked.folder, ignore_errors=True)
    faults, rng = Faults(asked.stars, asked.part, asked.folder), np.random.default_rng(asked.seed)

    folders = [asked.folder / name / "faults" for name in ("whole", "killed", "engine", "shards")]
    faults.run("whole", "run")
    whole, kills, runs, ended, faults.cpu = faults.cpu, 0, 0, False, 0.0
    print(f"undisturbed: {whole:.0f} s of CPU", flush=True)
    while kills < asked.kills or not ended:
        delay, before = rng.uniform(0, whole), faults.parts("killed")
        last = kills == asked.kills
        ended, said = faults.run("killed", "run", kill_after=None if last else delay)
        assert faults.parts("killed") >= before, (before, faults.parts("killed"))
        if ended:
            runs += 1
            print("ended; products that differ:", differences(*folders[:2]) or "none", flush=True)
            shutil.rmtree(asked.folder / "killed")
            continue
        kills += 1
        lines = [line for line in said.splitlines() if line.strip()]
        parts = f"{before:3d} → {faults.parts('killed'):3d} parts"
        print(f"  {delay:6.1f} s  {parts}  after: {lines[-1][:60] if lines else ''}", flush=True)
    spent = faults.cpu / (runs * whole) - 1
    print(f"{kills} kills in {runs} runs: {faults.cpu:.0f} s of CPU, {spent:+.0%}", flush=True)

    for name in ("engine", "shards"):
        (asked.folder / name / "faults").mkdir(parents=True)
        for file in folders[0].glob("catalogue*"):
            shutil.copy(file, asked.folder / name / "faults" / file.name)
    for name in ("ages", "orbits"):
        faults.run("whole", name)
        faults.run("engine", name, recipe="workers")
        for k in range(3):
            faults.run("shards", name, "--shard", f"{k}/3")
        faults.run("shards", name)
        for label, folder in zip(("two workers", "three shards"), folders[2:], strict=True):
            found = differences(folders[0] / name, folder / name)
            print(f"{name}, {label}: products that differ: {found or 'none'}", flush=True)


if __name__ == "__main__":
    main()
