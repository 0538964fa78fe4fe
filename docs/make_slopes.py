"""d[Fe/H]/dR_g of a migration mock: its law, selected, the stars a run can use, the run's fit.

After ``migrate-bayes run runs/paper.toml``, ``python docs/make_slopes.py runs/paper.toml`` prints
the table of docs/mock.md. The stars' slopes are of true [Fe/H] on true R_g and age, by least
squares: what differs from the law there is the sample's selection and no error of measurement. If
the run has a completeness, "law × S" has in place of each star the mean [Fe/H] of law times S at
its age and radius: a prediction that has seen no star. The last column is the slope of R_g, as
measured, on the true one, weighted by the errors: 1 if distances do not stretch radii.
"""

from __future__ import annotations

import itertools

import numpy as np
import xarray as xr
from asked import asked_run
from numpy.typing import NDArray
from scipy.interpolate import RegularGridInterpolator, interp1d

from migrate_bayes.core.table import Table
from migrate_bayes.mock import MigrationOptions
from migrate_bayes.mock.discs import expected_gradient, expected_metallicity, expected_scatter

Floats = NDArray[np.float64]

EDGES = (1.0, 1.5, 2.25, 3.5, 5.5, 7.5, 9.0, 10.0, 11.0, 12.0)  # Gyr
HEAD = ["age, Gyr", "stars", "law", "law × S", "usable stars", "fit, at the middle", "R_g / true"]


def selected(law: MigrationOptions, table: xr.Dataset, age: Floats, rg: Floats) -> Floats:
    """Return the mean [Fe/H] of the law times S at ages (Gyr) and radii (kpc)."""
    of_thin = table["ln_s"].sel(component="thin").transpose("age", "rg", "feh")
    ages, radii, feh = (of_thin[name].values for name in of_thin.dims)
    finer = np.linspace(feh[0], feh[-1], 8 * (len(feh) - 1) + 1)
    log_s = interp1d(feh, of_thin.values, axis=-1)(finer)
    centre = expected_metallicity(law, radii, ages[:, None])[..., None]
    z = (finer - centre) / expected_scatter(law, ages)[:, None, None]
    weight = np.exp(-0.5 * z**2 + log_s)
    moved = (weight * (finer - centre)).sum(axis=-1) / weight.sum(axis=-1)
    at = RegularGridInterpolator((ages, radii), moved, bounds_error=False, fill_value=None)
    return expected_metallicity(law, rg, age) + at(np.stack([age, rg], axis=1))


def main() -> None:
    """Print the table."""
    run, stars, mask = asked_run(__doc__)
    thin = mask.values & (stars["ref_true_component"].values == 0)
    age, rg, feh = (stars[f"ref_true_{n}"].values[thin] for n in ("age", "rg", "feh"))
    orbits = stars[["rg_mean", "rg_sd"]].sel(potential=run.recipe.model.potential)
    measured, error = (orbits[name].values[thin] for name in orbits)
    law, path = run.recipe.simulate.migration, run.folder / "completeness.nc"
    foretold = np.full(len(age), np.nan)
    if path.exists():
        foretold = selected(law, xr.load_dataset(path, engine="h5netcdf"), age, rg)
    fit = xr.load_datatree(run.folder / "fit.nc", engine="h5netcdf")
    curve = fit["posterior"]["gradient"].sel(component="thin").mean(("chain", "draw"))
    rows, lines = [], []
    for low, high in itertools.pairwise(EDGES):
        here = (age >= low) & (age < high)
        columns = np.stack([rg[here], np.ones(here.sum()), age[here]], axis=1)
        slopes, left, _, _ = np.linalg.lstsq(columns, feh[here], rcond=None)
        sd = np.sqrt(left[0] / here.sum() * np.linalg.inv(columns.T @ columns)[0, 0])
        selected_slope = np.linalg.lstsq(columns, foretold[here], rcond=None)[0][0]
        of_law = expected_gradient(law, age[here]).mean()
        fitted = np.interp(0.5 * (low + high), curve["age"], curve)
        near = here & (np.abs(measured - rg) < 5.0 * error + 0.3)  # without mistaken identities
        stretch = np.polyfit(rg[near], measured[near], 1, w=1.0 / np.hypot(error[near], 0.02))[0]
        lines.append((0.5 * (low + high), of_law, selected_slope, slopes[0], fitted))
        rows.append([f"{low:g}–{high:g}", f"{here.sum():,}", f"{of_law:.4f}",
                     f"{selected_slope:.4f}", f"{slopes[0]:.4f} ± {sd:.4f}", f"{fitted:.4f}",
                     f"{stretch:.4f}"])  # fmt: skip
    middle, *curves = np.array(lines).T
    rates = [np.polyfit(middle, values, 1)[0] for values in curves]
    rows.append(["straight line", f"{thin.sum():,}", *(f"{rate:.4f}" for rate in rates), ""])
    Table("Thin-disc gradients, dex/kpc, and their rate, dex/kpc/Gyr", HEAD, rows).print()


if __name__ == "__main__":
    main()
