"""Compare the speed of the per-star stages with another checkout's, by turns on one processor.

    python docs/make_throughput.py OTHER/src CATALOGUE [--stars 16384] [--times 5]

Each checkout has a process of its own, which makes ages and orbits of the first stars of a
catalogue into a new folder, with all that belongs to it (reading, checks, checksums, writing),
when it is told to; the first time, which compiles, is not counted. Printed: CPU seconds, and the
ratio of their sums. Both checkouts must run in this environment.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pyarrow.parquet as pq

WORKER = """
import importlib, pathlib, shutil, sys, time
folder, path = map(pathlib.Path, sys.argv[1:])
try:
    from migrate_bayes.run import Recipe, Run
except ImportError:  # before the rooms had their names of today
    from migrate_bayes.config import Recipe
    from migrate_bayes.pipeline import Run
recipe = Recipe(
    name="speed", data={"path": str(path)}, orbits={"zmax_potentials": ["MWPotential2014"]}
)
for line in sys.stdin:
    shutil.rmtree(folder, ignore_errors=True)
    began = time.process_time()
    with open(folder.with_suffix(".log"), "a") as log:
        out, sys.stdout = sys.stdout, log
        Run(recipe, products=folder).make_stars()
        sys.stdout = out
    print(time.process_time() - began, flush=True)
"""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("other", type=Path)
    parser.add_argument("catalogue", type=Path)
    parser.add_argument("--stars", type=int, default=16_384)
    parser.add_argument("--times", type=int, default=5)
    asked = parser.parse_args()
    here = Path(__file__).parents[1] / "src"
    with tempfile.TemporaryDirectory() as folder:
        few = Path(folder) / "few.parquet"
        pq.write_table(pq.read_table(asked.catalogue).slice(0, asked.stars), few)
        sums, processes = [0.0, 0.0], []
        for k, source in enumerate((here, asked.other)):
            environment = os.environ | {
                "PYTHONPATH": str(source.absolute()), "MIGRATE_BAYES_WORKERS": "1",
                "NUMBA_CACHE_DIR": f"{tempfile.gettempdir()}/throughput-{k}",
            }  # fmt: skip
            command = [sys.executable, "-c", WORKER, f"{folder}/{k}", str(few)]
            processes.append(subprocess.Popen(
                command, env=environment, text=True, cwd=folder,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            ))  # fmt: skip
        for turn in range(asked.times + 1):
            seconds = []
            for process in processes:
                assert process.stdin is not None
                assert process.stdout is not None
                print("go", file=process.stdin, flush=True)
                seconds.append(float(process.stdout.readline()))
            if turn:
                sums = [a + b for a, b in zip(sums, seconds, strict=True)]
                print(f"{seconds[0]:8.2f} s here {seconds[1]:8.2f} s there", flush=True)
        for process in processes:
            process.communicate()
    print(f"{asked.stars:,} stars, ratio of {asked.times} times: {sums[0] / sums[1]:.3f}")


if __name__ == "__main__":
    main()
