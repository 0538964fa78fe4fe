"""Make the README's figure from the products of `make demo`: python docs/make_figures.py."""

from __future__ import annotations

from pathlib import Path

import xarray as xr

from migrate_bayes import plots
from migrate_bayes.run.recipe import load_recipe

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Draw gradient(age) of the demo."""
    run = ROOT / "runs" / "demo"
    ax = plots.gradient(
        xr.load_datatree(run / "fit.nc", engine="h5netcdf"),
        xr.load_dataset(run / "baseline.nc", engine="h5netcdf"),
        truth=load_recipe(run.with_suffix(".toml")).truth(),
    )
    target = ROOT / "docs" / "images" / "demo-gradient.png"
    ax.figure.savefig(target, dpi=120)
    print(target.relative_to(ROOT))


if __name__ == "__main__":
    main()
