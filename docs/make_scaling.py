"""Measure what a second worker brings: stars a second with one local dask worker and with two.

    python docs/make_scaling.py CATALOGUE [--part 4096] [--stages ages orbits]

Each stage is run by the command line with ``local:1`` and ``local:2``. Counted is the time from the
part after each worker's second to the last but one, when all are at work. A machine that others use
gives a process less than a processor. So the time that the workers waited for one while they could
have run (`/proc/PID/schedstat`) is printed too: ``at work`` is the share of the time in which a
worker ran or could have run, and ``speed-up, alone`` what two would bring with processors of their
own: the ratio of CPU seconds a star, times the sum of both shares over that of one.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pyarrow.parquet as pq

MAIN = (
    "import sys, migrate_bayes.run.stages as s; s.PART_SIZE = int(sys.argv.pop(1))\n"
    "from migrate_bayes.cli import main; main()"
)


def schedule(pid: int) -> dict[str, tuple[float, float]]:
    """Return the seconds that each thread of a process ran, and that it waited for a processor."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        run, wait, _ = (task / "schedstat").read_text().split()
        found[task.name] = int(run) / 1e9, int(wait) / 1e9
    return found


def measure(stage: str, workers: int, catalogue: Path, part: int, folder: Path) -> list[float]:
    """Run a stage; return stars a second, CPU seconds a star, and shares at work by worker."""
    where = folder / f"{stage}-{workers}"
    shutil.rmtree(where, ignore_errors=True)
    where.mkdir(parents=True)
    recipe = where / "scaling.toml"
    recipe.write_text(
        f'name = "scaling"\ndata = {{ path = "{catalogue}" }}\n'
        f'run = {{ scheduler = "local:{workers}" }}\n'
        'orbits = { potentials = ["MWPotential2014"] }\n'
    )
    n = -(-pq.read_metadata(catalogue).num_rows // part)
    command = [sys.executable, "-c", MAIN, str(part), stage, str(recipe), "--products", str(where)]
    process = subprocess.Popen(command, env=os.environ | {"MIGRATE_BAYES_WORKERS": "1"})
    ends: list[tuple[int, float, dict[int, dict[str, tuple[float, float]]]]] = []
    while process.poll() is None:
        done = len(list(where.glob(f"scaling/{stage}.partial/part-*.nc")))
        if (not ends and done > 2 * workers) or (len(ends) == 1 and done >= n - 1):
            started = psutil.Process(process.pid).children(recursive=True)
            busiest = sorted(started, key=lambda p: -sum(p.cpu_times()[:2]))[:workers]
            ends.append((done, time.monotonic(), {p.pid: schedule(p.pid) for p in busiest}))
        time.sleep(0.02)
    (first, began, before), (last, ended, after) = ends
    stars, seconds = (last - first) * part, ended - began
    cpu, shares = 0.0, []
    for pid, threads in before.items():
        spent = [
            np.subtract(after[pid][thread], threads[thread])
            for thread in threads.keys() & after[pid].keys()
        ]
        cpu += sum(ran for ran, _ in spent)
        shares.append(max(spent, key=lambda both: both[0]).sum() / seconds)  # the one that computes
    return [stars / seconds, cpu / stars, *shares]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("catalogue", type=Path)
    parser.add_argument("--part", type=int, default=4096)
    parser.add_argument("--stages", nargs="+", default=["ages", "orbits"])
    parser.add_argument("--folder", type=Path, default=Path("runs/scaling"))
    asked = parser.parse_args()
    for stage in asked.stages:
        found = {}
        for workers in (1, 2):
            found[workers] = measure(
                stage, workers, asked.catalogue.absolute(), asked.part, asked.folder.absolute()
            )
            rate, cpu, *shares = found[workers]
            at_work = ", ".join(f"{share:.1%}" for share in shares)
            print(f"{stage}, {workers}: {rate:.0f} stars/s, {cpu * 1e3:.3f} ms of CPU a star, "
                  f"at work {at_work}", flush=True)  # fmt: skip
        one, two = found[1], found[2]
        alone = one[1] / two[1] * sum(two[2:]) / one[2]
        print(f"{stage}: speed-up {two[0] / one[0]:.2f}; alone {alone:.2f}", flush=True)


if __name__ == "__main__":
    main()
