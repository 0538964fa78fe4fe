"""Foretell a run of very many stars on very many workers, from times of parts that were recorded.

    python docs/make_scale.py [--stars 2e8] [--workers 1 2 16 128 1000]

Recorded here, in CPU seconds of one thread: parts of a mock survey of two sizes, which tell what a
part costs beside its stars and how much parts scatter; the first pass over a catalogue; reading
rows. Assumed: the bandwidth of the shared store, and what a task costs the scheduler. The model is
`run/partitions.py` by events: after the first pass one process hands out parts, and the worker that
is free reads the rows of its part, makes it and writes it to the store. A shard makes the first
pass itself, and then its own parts.
"""

from __future__ import annotations

import argparse
import heapq
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from migrate_bayes.catalog import open_catalog, read_catalog, write_catalog
from migrate_bayes.mock import simulate_to_parquet
from migrate_bayes.run import Recipe
from migrate_bayes.run.partitions import PartMaker
from migrate_bayes.stars import PART_SIZE

#: Assumed: seconds of the scheduler a part, and bytes a second of the shared store.
TASK, STORE = 2e-3, 5e9
SIZES, PARTS, ROWS = (500, 2000), 6, 400_000


class Costs(NamedTuple):
    """Seconds a star, and what a part adds; bytes a star."""

    part: float
    star: float
    scatter: float
    first_pass: float
    read: float
    read_bytes: float
    written: float


def recorded(folder: Path) -> Costs:
    """Record parts and reading, in one thread."""
    recipe = Recipe(name="scale", data={"source": "mock"}, simulate={"stars": 12_000})
    path = folder / "few.parquet"
    simulate_to_parquet(path, recipe.simulate, seed=1)
    few = open_catalog(path, recipe.data)
    maker = PartMaker(recipe, folder, ages=True, orbits=True, attrs={})
    seconds: dict[int, list[float]] = {}
    bytes_of_a_star = 0.0
    for size in SIZES:
        for number, rows in few.parts(size, range(PARTS + 1), size):
            began = time.process_time()
            part = maker(number, [rows])
            if number:  # the first part loads isochrones and tables
                seconds.setdefault(size, []).append(time.process_time() - began)
                bytes_of_a_star = (folder / part.file).stat().st_size / part.stars
    small, large = (float(np.mean(seconds[size])) for size in SIZES)
    star = (large - small) / (SIZES[1] - SIZES[0])

    stars = read_catalog(path)
    many = stars.isel(star=np.arange(ROWS) % stars.sizes["star"])
    rng = np.random.default_rng(1)
    many["ra"].values[:], many["dec"].values[:] = (
        rng.uniform(0, 360, ROWS),
        rng.uniform(0, 60, ROWS),
    )
    many = many.assign_coords(source_id=("star", np.arange(ROWS))).drop_vars("star_key")
    wide = write_catalog(many, folder / "many.parquet")
    began = time.process_time()
    opened = open_catalog(wide, recipe.data)
    first = (time.process_time() - began) / ROWS
    began = time.process_time()
    for _ in opened.parts(PART_SIZE, range(-(-ROWS // PART_SIZE))):
        pass
    read = (time.process_time() - began) / ROWS
    scatter = float(np.std(seconds[SIZES[1]]) / large)
    fixed = max(small - SIZES[0] * star, 0.0)
    size = wide.stat().st_size / ROWS
    return Costs(fixed, star, scatter, first, read, size, bytes_of_a_star)


def foretold(costs: Costs, stars: float, workers: int, part: int = PART_SIZE) -> dict[str, float]:
    """Return when a run ends, and how long each that could limit it is at work."""
    n = int(np.ceil(stars / part))
    rng = np.random.default_rng(1)
    factor = np.exp(costs.scatter * rng.standard_normal(n))
    make = (costs.part + costs.star * part) * factor + part * costs.read
    stored = part * (costs.read_bytes + costs.written) / STORE
    first = stars * costs.first_pass
    free, scheduler = [first] * workers, first
    for seconds in make:
        scheduler = max(scheduler, free[0]) + TASK
        heapq.heapreplace(free, scheduler + seconds + stored)
    each = {
        "the first pass": first,
        "the scheduler": n * TASK,
        "the store": n * stored,
        "the workers": make.sum() / workers,
    }
    end = max(*free, first + each["the store"])
    shards = max(first + make[k::workers].sum() for k in range(workers))
    return {"end": end, "shards": shards, "core hours": make.sum() / 3600} | each


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stars", type=float, default=2e8)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 16, 128, 1000])
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        costs = recorded(Path(folder))
    print("\n".join(f"{name:>12} {value:.3g}" for name, value in costs._asdict().items()))
    alone = foretold(costs, asked.stars, 1)["end"]
    for part in (PART_SIZE, PART_SIZE // 8):
        for workers in asked.workers:
            found = foretold(costs, asked.stars, workers, part)
            end, shards, hours = (found.pop(name) for name in ("end", "shards", "core hours"))
            minutes = ", ".join(f"{name} {value / 60:.1f}" for name, value in found.items())
            print(
                f"parts of {part:,}, {workers:5d} workers: {end / 60:7.1f} min (as shards "
                f"{shards / 60:.1f}), {hours:.0f} core-hours, efficiency "
                f"{alone / end / workers:.0%}; limit: {max(found, key=lambda name: found[name])}; "
                f"minutes of {minutes}"
            )


if __name__ == "__main__":
    main()
