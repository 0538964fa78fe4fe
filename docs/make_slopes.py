"""d[Fe/H]/dR_g of a migration mock: its law, the stars a run can use, and the run's fit.

After ``migrate-bayes run runs/paper.toml``, ``python docs/make_slopes.py runs/paper.toml`` prints
the table of docs/mock.md. The stars' slopes are of true [Fe/H] on true R_g and age, by least
squares: what differs from the law there is the sample's selection and no error of measurement.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from asked import asked_run

from migrate_bayes.core.table import Table
from migrate_bayes.mock.discs import expected_gradient

BINS = ((1.0, 2.25), (2.25, 3.5), (3.5, 5.5), (5.5, 7.5), (7.5, 10.0), (10.0, 12.0))  # Gyr
HEAD = ["age, Gyr", "stars", "law", "usable stars", "fit, at the middle"]


def main() -> None:
    """Print the table."""
    run, stars, mask = asked_run(__doc__)
    thin = mask.values & (stars["ref_true_component"].values == 0)
    age, rg, feh = (stars[f"ref_true_{n}"].values[thin] for n in ("age", "rg", "feh"))
    fit = xr.load_datatree(run.folder / "fit.nc", engine="h5netcdf")
    curve = fit["posterior"]["gradient"].sel(component="thin").mean(("chain", "draw"))
    rows, lines = [], []
    for low, high in BINS:
        here = (age >= low) & (age < high)
        columns = np.stack([rg[here], np.ones(here.sum()), age[here]], axis=1)
        slopes, left, _, _ = np.linalg.lstsq(columns, feh[here], rcond=None)
        error = np.sqrt(left[0] / here.sum() * np.linalg.inv(columns.T @ columns)[0, 0])
        law = expected_gradient(run.recipe.simulate.migration, age[here]).mean()
        fitted = np.interp(0.5 * (low + high), curve["age"], curve)
        lines.append((0.5 * (low + high), law, slopes[0], fitted))
        rows.append([f"{low:g}–{high:g}", f"{here.sum():,}", f"{law:.4f}",
                     f"{slopes[0]:.4f} ± {error:.4f}", f"{fitted:.4f}"])  # fmt: skip
    middle, *curves = np.array(lines).T
    rates = [np.polyfit(middle, values, 1)[0] for values in curves]
    rows.append(["straight line", f"{thin.sum():,}", *(f"{rate:.4f}" for rate in rates)])
    Table("Thin-disc gradients, dex/kpc, and their rate, dex/kpc/Gyr", HEAD, rows).print()


if __name__ == "__main__":
    main()
