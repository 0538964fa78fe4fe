"""From StarPosteriors to fits and their report."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import xarray as xr

from migrate_bayes.core.errors import FitError, ProductError
from migrate_bayes.core.io import write_netcdf
from migrate_bayes.run.star_stages import StarStages

__all__ = ["FitStages"]


class FitStages(StarStages):
    """The stages that fit and report; see `migrate_bayes.run.Run`."""

    def _mask(self, selection: str) -> xr.DataArray:
        from migrate_bayes.selection import select

        return select(self.stars, selection, potential=self.recipe.model.potential)

    def _one_baseline(self, selection: str, path: Path) -> xr.Dataset:
        from migrate_bayes.baseline import fit_baseline

        b = self.recipe.baseline
        assert b is not None
        stars = self.stars
        with self._stage("baseline") as done:
            fit = fit_baseline(
                stars,
                potential=self.recipe.model.potential,
                selection=selection,
                radius=self.recipe.model.radius,
                bin_width=b.bin_width,
                age_range=b.age_range,
                min_stars=b.min_stars,
            )
            fit.attrs.update(self._provenance)
            write_netcdf(fit, path, overwrite=self.overwrite)
            n = int(fit["n_stars"].sum())
            done["text"] = f"ODR in age bins, {n:,} stars of '{selection}' → {path}"
        return fit

    def baseline(self) -> tuple[xr.Dataset | None, xr.Dataset | None]:
        """ODR in age bins, of the thin-disc selection and of the thick."""
        b = self.recipe.baseline
        if b is None:
            return None, None
        selections = (b.selection, b.thick_selection)
        self._refuse_existing(*self._baseline_paths)
        fits: list[xr.Dataset | None] = []
        for path, selection in zip(self._baseline_paths, selections, strict=True):
            try:
                fits.append(None if selection is None else self._one_baseline(selection, path))
            except FitError as error:
                # A sample too small for age bins is worth a note, not the end of the run.
                self.notes.append(f"No ODR baseline of '{selection}': {error}")
                self.say(self.notes[-1])
                fits.append(None)
        return fits[0], fits[1]

    def variants(self) -> xr.DataTree | None:
        """The baseline of slices, of a stricter sample, another radius and the other potentials."""
        from migrate_bayes.baseline.samples import fit_variants

        b, m = self.recipe.baseline, self.recipe.model
        if b is None:
            return None
        path = self._variants_path
        self._refuse_existing(path)
        stars = self.stars
        with self._stage("slices") as done:
            tree = fit_variants(
                stars,
                selection=b.selection,
                potential=m.potential,
                radius=m.radius,
                bin_width=b.bin_width,
                age_range=b.age_range,
                min_stars=b.min_stars,
            )
            tree.attrs.update(self._provenance)
            write_netcdf(tree, path, overwrite=self.overwrite)
            there = sum("absent" not in node.attrs for node in tree.children.values())
            done["text"] = f"{there} of {len(tree.children)} slices and variants → {path}"
        return tree

    @property
    def _variants_path(self) -> Path:
        return self.folder / "baseline-variants.nc"

    @cached_property
    def reference(self) -> tuple[list[tuple[str, list[str], list[list[str]]]], list[str]]:
        """Tables against published values, and notes on them; empty without ``[reference]``."""
        from migrate_bayes.report.published import reference_tables

        return reference_tables(self.stars, self.recipe)

    @property
    def _baseline_paths(self) -> tuple[Path, Path]:
        return self.folder / "baseline.nc", self.folder / "baseline-thick.nc"

    def fit(self) -> xr.DataTree:
        """The hierarchical model."""
        from migrate_bayes.population import (
            build_model,
            likelihood_on,
            load_model_spec,
            population_data,
            posterior_predictive,
            prior_predictive,
            sample,
            write_membership,
        )

        m, s = self.recipe.model, self.recipe.sampler
        path, of_stars = self.folder / "fit.nc", self.folder / "membership"
        self._refuse_existing(path, of_stars)
        spec = load_model_spec(m.spec)
        stars = self.stars
        with self._stage("fit") as done:
            mask = self._mask(m.selection)
            data = population_data(stars, potential=m.potential, mask=mask, radius=m.radius)
            attrs = {
                "potential": m.potential,
                "selection": m.selection,
                "radius": m.radius,
                "model": spec.model_dump_json(),
                "left_out": json.dumps(data.left_out),
                "selected": int(mask.sum()),
                "catalogued": stars.sizes["star"],
            }
            with likelihood_on(data.packed, s.scheduler) as likelihood:
                model = build_model(data, spec, likelihood=likelihood)
                tree = sample(
                    model,
                    method=s.method,
                    draws=s.draws,
                    tune=s.tune,
                    chains=s.chains,
                    seed=self.recipe.seed,
                    target_accept=s.target_accept,
                    attrs=attrs,
                )
            tree.attrs.update(self._provenance)
            posterior, seed = tree["posterior"].to_dataset(), self.recipe.seed
            tree["membership"] = write_membership(
                of_stars, model, data, posterior, seed=seed, overwrite=self.overwrite,
                attrs=self._provenance,
            )  # fmt: skip
            tree["posterior_predictive"] = posterior_predictive(model, data, posterior, seed=seed)
            if "prior" in tree.children:
                prior = tree["prior"].to_dataset()
                tree["prior_predictive"] = prior_predictive(model, data, prior, seed=seed)
            write_netcdf(tree, path, overwrite=self.overwrite)
            nodes = data.packed.mean_nodes
            done["text"] = f"{data.n_stars:,} stars × {nodes:.1f} age nodes → {path}"
        return tree

    def compare_models(self, forms: tuple[str, ...] = ()) -> Any:
        """Fit forms of the gradient to the same stars and rank them by leave-one-out."""
        from migrate_bayes.population import load_model_spec, population_data
        from migrate_bayes.population.results.compare_forms import compare_forms

        m, s = self.recipe.model, self.recipe.sampler
        path = self.folder / "models.nc"
        self._refuse_existing(path)
        with self._stage("models") as done:
            mask = self._mask(m.selection)
            data = population_data(self.stars, potential=m.potential, mask=mask, radius=m.radius)
            table, tree = compare_forms(
                data,
                load_model_spec(m.spec),
                forms or m.forms,
                seed=self.recipe.seed,
                scheduler=s.scheduler,
                method=s.method,
                draws=s.draws,
                tune=s.tune,
                chains=s.chains,
                target_accept=s.target_accept,
            )
            tree.attrs.update(self._provenance)
            write_netcdf(tree, path, overwrite=self.overwrite)
            done["text"] = f"{len(table)} forms, {data.n_stars:,} stars → {path}"
        return table

    def _read(self, name: str, opener: Callable[..., Any]) -> Any:
        path = self.folder / name
        if not path.exists():
            raise ProductError(f"no {name} in {self.folder}: run that stage first")
        try:
            return opener(path, engine="h5netcdf")
        except (OSError, ValueError) as error:
            raise ProductError(f"{path} is damaged: {error}") from None

    def report(
        self,
        baselines: tuple[xr.Dataset | None, xr.Dataset | None] | None = None,
        fit: xr.DataTree | None = None,
        variants: xr.DataTree | None = None,
    ) -> Path:
        """The HTML page."""
        from migrate_bayes.report import write_report
        from migrate_bayes.report.published import reference_panels

        self._refuse_existing(self.report_folder)
        if baselines is None:
            thin, thick = (
                self._read(path.name, xr.load_dataset) if path.exists() else None
                for path in self._baseline_paths
            )
        else:
            thin, thick = baselines
            b = self.recipe.baseline
            wanted = (None, None) if b is None else (b.selection, b.thick_selection)
            for path, selection in zip(self._baseline_paths, wanted, strict=True):
                if selection is not None and not path.exists():
                    self.notes.append(f"No ODR baseline of '{selection}' was made.")
        if fit is None:
            fit = self._read("fit.nc", xr.load_datatree)
        if variants is None and self._variants_path.exists():
            variants = self._read(self._variants_path.name, xr.load_datatree)
        shown = self.recipe.report
        there = [Path(path) for path in shown.comparisons if Path(path).exists()]
        # A recipe may name comparisons that read this run's own stars, and so come after it.
        self.notes += [
            f"The comparison {path} is not there yet: make it, and this report again."
            for path in shown.comparisons
            if Path(path) not in there
        ]
        comparisons = [_load_comparison(path) for path in there]
        tables, notes = self.reference
        stars, start = self.stars, self.recipe.reference and self.recipe.reference.start
        with self._stage("report") as done:
            page = write_report(
                self.report_folder,
                name=self.recipe.name,
                stars=stars,
                fit=fit,
                baseline=thin,
                thick_baseline=thick,
                selection_mask=self._mask(self.recipe.model.selection),
                truth=self.recipe.truth(),
                recipe_text=self.recipe_text,
                provenance=self._provenance,
                notes=[*self.notes, *notes],
                tables=tables,
                recipe=self.recipe.model_dump(mode="json"),
                variants=variants,
                comparisons=comparisons,
                validation=self.report_folder.parent / shown.validation
                if shown.validation
                else None,
                reference=reference_panels(stars, self.recipe),
                reference_start=start.label if start else "",
                overwrite=self.overwrite,
            )
            done["text"] = f"{page.stat().st_size / 1024**2:.1f} MB"
        return page


def _load_comparison(path: Path) -> xr.DataTree:
    try:
        return xr.load_datatree(path, engine="h5netcdf")
    except (OSError, ValueError) as error:
        raise ProductError(f"cannot read the comparison {path}: {error}") from None
