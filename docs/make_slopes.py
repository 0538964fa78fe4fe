"""d[Fe/H]/dR_g of a migration mock: its law, selected, the stars a run can use, the run's fit.

After ``migrate-bayes run runs/paper.toml``, ``python docs/make_slopes.py runs/paper.toml`` prints
two tables. In the first the stars' slopes are of true [Fe/H] on true R_g and age, by least
squares: what differs from the law there is the sample's selection and no error of measurement. If
the run has a completeness, "law × S" has in place of each star the mean [Fe/H] of law times S at
its age and radius: a prediction that has seen no star. The last column is the slope of R_g, as
measured, on the true one, weighted by the errors: 1 if distances do not stretch radii.

A second table tells what in the estimates moves the fit: the maximum of the posterior less the law,
with the truth in place of all estimates, of some, and with none. Each is a fit: minutes for a
million stars. Beside them, if the run has a completeness, are regressions of true [Fe/H] less "law
× S", and both for [Fe/H] drawn anew from it, and from the normal law of the same mean and scatter.
"""

from __future__ import annotations

import itertools

import numpy as np
import xarray as xr
from asked import asked_run
from numpy.typing import NDArray
from scipy.interpolate import RegularGridInterpolator
from scipy.special import ndtri

from migrate_bayes import PopulationModel, load_model_spec, population_data
from migrate_bayes.core.table import Table
from migrate_bayes.mock import MigrationOptions
from migrate_bayes.mock.discs import (
    draw_metallicity,
    expected_gradient,
    expected_metallicity,
    expected_scatter,
)
from migrate_bayes.population.model.hierarchy import spline_basis
from migrate_bayes.population.sampling.density import find_mode
from migrate_bayes.run import Run

Floats = NDArray[np.float64]

EDGES = (1.0, 1.5, 2.25, 3.5, 5.5, 7.5, 9.0, 10.0, 11.0, 12.0)  # Gyr
HEAD = ["age, Gyr", "stars", "law", "law × S", "usable stars", "fit, at the middle", "R_g / true"]


def redrawn(
    law: MigrationOptions, table: xr.Dataset, age: Floats, rg: Floats, today: Floats, *,
    normal: bool = False, draws: int = 64,
) -> tuple[Floats, Floats]:  # fmt: skip
    """Return the mean [Fe/H] of the law at ages (Gyr) and radii (kpc) times S, and a draw of it.

    S is that at today's radii. The law is the mock's, or the normal one of its mean and scatter.
    """
    of_thin = table["ln_s"].sel(component="thin").transpose("age", "r_present", "feh")
    axes = [of_thin[name].values for name in of_thin.dims]
    log_s = RegularGridInterpolator(axes, of_thin.values, bounds_error=False, fill_value=None)
    rng = np.random.default_rng(1)
    mean, drawn = np.empty((2, len(age)))
    for part in np.array_split(np.arange(len(age)), max(1, len(age) // 10_000)):
        a, r = age[part, None], rg[part, None]
        u = rng.random((2, len(part), draws))
        if normal:
            scatter = expected_scatter(law, age[part])[:, None]
            feh = expected_metallicity(law, r, a) + scatter * ndtri(u[0])
        else:
            feh = draw_metallicity(law, r, a, u)
        places = np.stack(np.broadcast_arrays(a, today[part, None], feh), axis=-1)
        weight = np.cumsum(np.exp(log_s(places)), axis=1)
        chosen = (weight < rng.random((len(part), 1)) * weight[:, -1:]).sum(axis=1)
        drawn[part] = feh[np.arange(len(part)), chosen]
        weight = np.diff(weight, prepend=0.0, axis=1)
        mean[part] = (weight * feh).sum(axis=1) / weight.sum(axis=1)
    return mean, drawn


TRUTH = {
    "true values": ("age", "rg", "feh"), "true ages": ("age",),
    "true R_g and [Fe/H]": ("rg", "feh"), "estimates": (),
}  # fmt: skip
_SHARP = {"age": 0.15, "rg": 0.02, "feh": 0.01}  # errors that true values are given


def known(stars: xr.Dataset, names: tuple[str, ...]) -> xr.Dataset:
    """Put true values in place of estimates."""
    if {"age", "rg"} & set(names):  # nothing is left to learn from both
        stars = stars.drop_vars(["abs_g_slope", "abs_g_curvature"], errors="ignore")
    if "feh" in names:
        stars = stars.drop_vars("alpha_rate", errors="ignore")
    for name in names:
        true, sd = stars[f"ref_true_{name}"].values, _SHARP[name]
        if name == "age":
            off = ((stars["age"].values.astype("f4") - true.astype("f4")[:, None]) / sd) ** 2
            stars = stars.assign(log_age_likelihood=(("star", "age"), -0.5 * off))
            stars["log_interim_prior"] = 0.0 * stars["log_interim_prior"]
            continue
        mean, error = f"{name}_mean", f"{name}_sd"
        like = stars[mean].dims
        shape = tuple(stars.sizes[dim] for dim in like)
        full = np.broadcast_to(true[:, None] if len(like) > 1 else true, shape)
        stars = stars.assign({mean: (like, full), error: (like, np.full(shape, sd))})
    return stars


def with_metallicity(stars: xr.Dataset, thin: NDArray[np.bool_], feh: Floats) -> xr.Dataset:
    """Put other true [Fe/H] into stars of the thin disc, whose [α/Fe] follows it by -0.12."""
    old = stars["ref_true_feh"].values
    new = old.copy()
    new[thin] = feh
    alpha = stars["alpha_fe"].values - 0.12 * (new - old)
    return stars.assign(ref_true_feh=("star", new), alpha_fe=("star", alpha))


def regression(
    law: MigrationOptions, knots: Floats, age: Floats, rg: Floats, left: Floats
) -> tuple[Floats, Floats]:
    """Return the gradient at the knots, and its sd, of [Fe/H] less what law × S foretells.

    By least squares with the functions of age of a fit: no error, no mixture, no P(age).
    """
    fine = np.concatenate([np.arange(1.0, 3.0, 0.5), np.arange(3.0, 12.1, 1.0)])
    scatter = expected_scatter(law, age)[:, None]
    columns = spline_basis(age, knots) * (rg - 8.0)[:, None], spline_basis(age, fine)
    design = np.concatenate(columns, axis=1) / scatter
    inverse = np.linalg.inv(design.T @ design)
    found = inverse @ (design.T @ (left / scatter[:, 0]))
    return found[: len(knots)], np.sqrt(np.diag(inverse))[: len(knots)]


def maxima(
    run: Run,
    stars: xr.Dataset,
    mask: NDArray[np.bool_],
    others: dict[str, xr.Dataset],
    regressions: dict[str, tuple[Floats, Floats]],
) -> None:
    """Print the gradient at the knots, at the posterior's maximum, less the law.

    `others` are the same stars with other true values.
    """
    chosen, path = run.recipe.model, run.folder / "completeness.nc"
    spec = load_model_spec(chosen.spec)
    table = xr.load_dataset(path, engine="h5netcdf") if path.exists() else None
    knots = np.array(spec.gradient_knots)
    law = expected_gradient(run.recipe.simulate.migration, knots)
    rows = []
    for label, (off_law, sds) in regressions.items():
        at = [f"{1e4 * m:+.0f} ± {1e4 * sd:.0f}" for m, sd in zip(off_law, sds, strict=True)]
        rows.append([label, *at, f"{np.polyfit(knots, law + off_law, 1)[0]:.5f}", ""])
        print(*rows[-1], flush=True)
    cases = {label: (stars, names) for label, names in TRUTH.items()}
    cases |= {label: (other, TRUTH["true values"]) for label, other in others.items()}
    for label, (of, names) in cases.items():
        stated = known(of, names)
        data = population_data(
            stated, potential=chosen.potential, mask=mask, with_completeness=table is not None
        )
        model = PopulationModel(data, spec, completeness=table)
        mode = find_mode(model.density)
        draws = np.random.default_rng(1).multivariate_normal(mode.vector, mode.covariance, 300)
        named = model.density.named(np.vstack([mode.vector, draws]))
        curves, thick = named["gradient"][:, 0], named["gradient_thick"]
        off = np.stack([np.interp(knots, data.ages, curve) for curve in curves]) - law
        at = [
            f"{1e4 * m:+.0f} ± {1e4 * s:.0f}" for m, s in zip(off[0], off[1:].std(0), strict=True)
        ]
        rate = np.polyfit(knots, off.T + law[:, None], 1)[0]
        of_thick = f"{thick[0]:.4f} ± {thick[1:].std():.4f}"
        rows.append([label, *at, f"{rate[0]:.5f} ± {rate[1:].std():.5f}", of_thick])
        print(*rows[-1], flush=True)
    of_law = f"{np.polyfit(knots, law, 1)[0]:.5f}"
    of_thick = f"{run.recipe.truth()['gradient_thick']:.4f}"
    rows.append(["law", *(f"{1e4 * value:.0f}" for value in law), of_law, of_thick])
    head = ["of", *(f"{knot:g} Gyr" for knot in knots), "rate", "thick disc"]
    Table("Maximum less law, 10⁻⁴ dex/kpc", head, rows).print()


def main() -> None:
    """Print the tables."""
    run, stars, mask = asked_run(__doc__)
    thin = mask.values & (stars["ref_true_component"].values == 0)
    age, rg, feh = (stars[f"ref_true_{n}"].values[thin] for n in ("age", "rg", "feh"))
    today = stars["r_present"].values[thin]
    orbits = stars[["rg_mean", "rg_sd"]].sel(potential=run.recipe.model.potential)
    measured, error = (orbits[name].values[thin] for name in orbits)
    law, path = run.recipe.simulate.migration, run.folder / "completeness.nc"
    foretold, others, regressions = np.full(len(age), np.nan), {}, {}
    knots = np.array(load_model_spec(run.recipe.model.spec).gradient_knots)
    if path.exists():
        table = xr.load_dataset(path, engine="h5netcdf")
        foretold, drawn = redrawn(law, table, age, rg, today)
        regressions["regression of true values"] = regression(law, knots, age, rg, feh - foretold)
        by_normal = redrawn(law, table, age, rg, today, normal=True)
        both = {"[Fe/H] drawn from law × S": (foretold, drawn), "from a normal law": by_normal}
        for label, (expected, redrawn_feh) in both.items():
            of_drawn = regression(law, knots, age, rg, redrawn_feh - expected)
            regressions[f"{label}, regression"] = of_drawn
            others[label] = with_metallicity(stars, thin, redrawn_feh)
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
    maxima(run, stars, mask.values, others, regressions)


if __name__ == "__main__":
    main()
