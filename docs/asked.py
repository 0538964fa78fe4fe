"""What the scripts of this folder that look at a run have in common: which run is asked for."""

from __future__ import annotations

import argparse
from pathlib import Path

import xarray as xr

from migrate_bayes.run import Run
from migrate_bayes.run.recipe import load_recipe
from migrate_bayes.selection import select

__all__ = ["asked_run"]


def asked_run(description: str | None) -> tuple[Run, xr.Dataset, xr.DataArray]:
    """Read the command line: a recipe, and ``--products`` where its products are not in runs/.

    Returns
    -------
    run : Run
    stars : xarray.Dataset
        Its stars.
    mask : xarray.DataArray of bool
        Those of the model's selection.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--products", type=Path, default=Path("runs"))
    arguments = parser.parse_args()
    run = Run(load_recipe(arguments.recipe), products=arguments.products)
    model, stars = run.recipe.model, run.stars
    return run, stars, select(stars, model.selection, potential=model.potential)
