"""A whole run: every stage in turn, and what is printed on the way."""

from __future__ import annotations

from pathlib import Path

import xarray as xr

from migrate_bayes.run.fit_stages import FitStages

__all__ = ["Run", "gradient_table", "sampler_line"]


class Run(FitStages):
    """The products of one recipe.

    Parameters
    ----------
    recipe : Recipe
    recipe_text : str
        The file's text, shown in the report.
    products, reports : path-like
        Folders under which ``<name>/`` is made.
    overwrite : bool
        Replace products that exist.
    say : callable
        Takes lines for the user.
    """

    def all(self) -> Path:
        """Run every stage and return the path of the report."""
        from migrate_bayes.core.flags import FLAG_MEANING, count_flags
        from migrate_bayes.core.table import print_table
        from migrate_bayes.report import print_headline

        targets = [self.folder / name for name in ("stars", "fit.nc", "membership")]
        targets += self._baseline_paths
        targets.append(self._variants_path)
        if self.recipe.data.source == "mock":
            targets.insert(0, self.catalog_path)
        self._refuse_existing(*targets, self.report_folder)
        if self.recipe.data.source == "mock":
            self.simulate()
        self.make_stars()
        counts = count_flags(self.stars["flag"])
        rows = [[f"{n:,}", FLAG_MEANING[reason]] for reason, n in counts.items()]
        usable = int(self._mask(self.recipe.model.selection).sum())
        print_table(
            f"Stars: {self.stars.sizes['star']:,} in the catalogue, {usable:,} in selection "
            f"'{self.recipe.model.selection}'; flagged:",
            ["stars", "reason"],
            rows,
            say=self.say,
        )
        tables, notes = self.reference
        for note in notes:
            self.say(note)
        for title, header, body in tables:
            print_table(title, header, body, say=self.say)
        baselines = self.baseline()
        variants = self.variants()
        tree = self.fit()
        title, header, body = gradient_table(tree["posterior"].to_dataset())
        print_table(title, header, body, say=self.say)
        page = self.report(baselines, tree, variants)
        print_headline(tree, baselines[0], self.recipe.truth(), thick_baseline=baselines[1])
        self.say(f"Sampler: {sampler_line(tree)}")
        return page


def sampler_line(tree: xr.DataTree) -> str:
    """Word the sampler's checks: the worst of each, its limit, and whether it passes."""
    from migrate_bayes.population.results.diagnostics import check_fit

    mark = {True: "pass", False: "FAIL", None: "not known"}
    return "; ".join(f"{c.name} {c.value} [{c.limit}] {mark[c.passed]}" for c in check_fit(tree))


def gradient_table(
    posterior: xr.Dataset, ages: tuple[float, ...] = (1.0, 2.0, 3.0, 4.5, 6.0, 8.0, 10.0, 12.0)
) -> tuple[str, list[str], list[list[str]]]:
    """Tabulate the fitted gradient of each disc at a few ages: mean and standard deviation."""
    curve = posterior["gradient"].stack(sample=("chain", "draw"))
    curve = curve.interp(age=[a for a in ages if curve.age[0] <= a <= curve.age[-1]])
    rows = []
    for age in curve["age"].values:
        cells = [f"{age:g}"]
        for component in ("thin", "thick"):
            draws = curve.sel(component=component, age=age).values
            cells.append(f"{draws.mean():+.4f} ± {draws.std():.4f}")
        rows.append(cells)
    header = ["age (Gyr)", "thin disc", "thick disc"]
    return "Hierarchical gradient(age), dex/kpc", header, rows
