"""A run: the stages of a recipe in order, each reading and writing products in ``runs/<name>/``.

`Run` has one method per stage, and `Run.all` calls them in turn. Stars pass through ages and orbits
in chunks; a stage prints one line when it ends: what it did, how long it took, how much memory the
process had needed by then.
"""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import xarray as xr

from migrate_bayes.config import Recipe, resolve_data_path
from migrate_bayes.errors import FitError, ProductError
from migrate_bayes.provenance import atomic_output, file_sha256, provenance
from migrate_bayes.stars import StarWriter, assemble_stars, open_stars

__all__ = ["Run"]


class Run:
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

    def __init__(
        self,
        recipe: Recipe,
        *,
        recipe_text: str = "",
        products: str | Path = "runs",
        reports: str | Path = "reports",
        overwrite: bool = False,
        say: Callable[[str], None] = print,
    ) -> None:
        self.recipe = recipe
        self.recipe_text = recipe_text
        self.folder = Path(products) / recipe.name
        self.report_folder = Path(reports) / recipe.name
        self.overwrite = overwrite
        self.say = say
        self.timings: list[tuple[str, float, float]] = []
        self.tables: list[tuple[str, list[str], list[list[str]]]] = []
        self.notes: list[str] = []

    @contextmanager
    def _stage(self, name: str) -> Iterator[dict[str, str]]:
        done: dict[str, str] = {}
        began = time.perf_counter()
        yield done
        seconds = time.perf_counter() - began
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
        self.timings.append((name, seconds, peak))
        text = done.get("text", "")
        self.say(f"{name:<10} {text:<58} {seconds:7.1f} s  {peak:5.2f} GB")

    def _refuse_existing(self, *paths: Path) -> None:
        """Fail before the work, not after it."""
        for path in paths:
            if path.exists() and not self.overwrite:
                raise ProductError(f"{path} exists already: use --overwrite to replace it")

    # --- the stars ---------------------------------------------------------------------------

    @property
    def catalog_path(self) -> Path:
        """The input catalogue; a mock's is made by `simulate`."""
        if self.recipe.data.source == "mock":
            return self.folder / "catalogue.parquet"
        return resolve_data_path(self.recipe.data.path)

    @cached_property
    def _provenance(self) -> dict[str, str]:
        path = self.catalog_path
        inputs = {path.name: file_sha256(path)} if path.is_file() else {}
        return provenance(seed=self.recipe.seed, recipe_hash=self.recipe.hash, inputs=inputs)

    def simulate(self) -> Path:
        """Make the mock survey's catalogue, its truth beside it."""
        from migrate_bayes.catalog import write_catalog
        from migrate_bayes.mock import simulate

        self._refuse_existing(self.catalog_path)
        with self._stage("simulate") as done:
            r = self.recipe
            mock = simulate(r.simulate, seed=r.seed, isochrones=r.isochrones, orbits=r.orbits)
            write_catalog(mock, self.catalog_path, overwrite=self.overwrite)
            done["text"] = f"{mock.sizes['star']:,} stars → {self.catalog_path}"
        return self.catalog_path

    @cached_property
    def catalog(self) -> xr.Dataset:
        """The catalogue, with duplicates and cuts flagged and extinction corrected."""
        from migrate_bayes.catalog import (
            correct_extinction,
            mark_duplicates,
            quality_cuts,
            read_catalog,
        )

        data = self.recipe.data
        if data.source == "mock" and not self.catalog_path.exists():
            self.simulate()
        with self._stage("catalogue") as done:
            catalog = read_catalog(self.catalog_path, columns=data.columns)
            if data.duplicate_radius is not None:
                catalog = mark_duplicates(catalog, radius_arcsec=data.duplicate_radius)
            catalog = quality_cuts(catalog, min_snr=data.min_snr)
            if self._needs_photometry:
                catalog = correct_extinction(catalog, source=data.extinction)
            done["text"] = f"{catalog.sizes['star']:,} stars from {self.catalog_path.name}"
        return catalog

    @property
    def _needs_photometry(self) -> bool:
        i = self.recipe.isochrones
        return i.source != "external" and not {"abs_g", "bp_rp"}.isdisjoint(i.observables)

    def _chunks(self) -> Iterator[xr.Dataset]:
        size = self.recipe.chunk_size
        for start in range(0, self.catalog.sizes["star"], size):
            yield self.catalog.isel(star=slice(start, start + size))

    def _ages_of(self, chunk: xr.Dataset) -> xr.Dataset:
        from migrate_bayes.catalog import flag_age_error
        from migrate_bayes.isochrones import estimate_ages, external_ages

        i = self.recipe.isochrones
        if i.source == "external":
            ages = external_ages(chunk)
        else:
            ages = estimate_ages(
                chunk,
                source=i.source,
                method=i.method,
                observables=i.observables,
                photometric_floor=i.photometric_floor,
                age_prior=i.age_prior,
            )
        limit = self.recipe.data.max_age_error
        return ages if limit is None else flag_age_error(ages, max_age_error=limit)

    def _orbits_of(self, chunk: xr.Dataset) -> xr.Dataset:
        from migrate_bayes.orbits import compute_orbits

        o = self.recipe.orbits
        return compute_orbits(
            chunk,
            frame=o.frame,
            potentials=o.potentials,
            scaling=o.scaling,
            draws=o.draws,
            zmax_draws=o.zmax_draws,
            sweep=None if o.sweep is None else o.sweep.model_dump(exclude_none=True),
            zmax=True if o.zmax_potentials is None else list(o.zmax_potentials),
            seed=self.recipe.seed,
        )

    def _write(self, name: str, **stages: Callable[[xr.Dataset], xr.Dataset]) -> Path:
        """Stream the catalogue through one or both stages into a StarPosteriors folder."""
        path = self.folder / name
        self._refuse_existing(path)
        catalog = self.catalog  # read (and reported) before the stage's own clock starts
        with self._stage(name) as done, StarWriter(path, overwrite=self.overwrite) as out:
            for chunk in self._chunks():
                made = {key: stage(chunk) for key, stage in stages.items()}
                out.append(assemble_stars(chunk, **made, attrs=self._provenance))
            done["text"] = f"{' and '.join(stages)} of {catalog.sizes['star']:,} stars → {path}"
        return path

    def ages(self) -> Path:
        """Age posteriors alone."""
        return self._write("ages", ages=self._ages_of)

    def orbits(self) -> Path:
        """Phase space and orbits alone."""
        return self._write("orbits", orbits=self._orbits_of)

    def make_stars(self) -> Path:
        """Ages and orbits, together in one product."""
        return self._write("stars", ages=self._ages_of, orbits=self._orbits_of)

    @cached_property
    def stars(self) -> xr.Dataset:
        """StarPosteriors of this run, from disk."""
        path = self.folder / "stars"
        if path.exists():
            return open_stars(path).load()
        halves = [self.folder / "ages", self.folder / "orbits"]
        if not all(half.exists() for half in halves):
            raise ProductError(
                f"no stars at {path}: run `migrate-bayes run`, or `ages` and `orbits`, first"
            )
        first, second = (open_stars(half).load() for half in halves)
        own = [name for name in second.data_vars if name not in first or name == "flag"]
        return assemble_stars(first, orbits=second[own], attrs=first.attrs)

    # --- the fits ----------------------------------------------------------------------------

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
            with atomic_output(path, overwrite=self.overwrite) as out:
                fit.to_netcdf(out, engine="h5netcdf")
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

    @property
    def _baseline_paths(self) -> tuple[Path, Path]:
        return self.folder / "baseline.nc", self.folder / "baseline-thick.nc"

    def fit(self) -> xr.DataTree:
        """The hierarchical model."""
        from migrate_bayes.population import (
            build_model,
            load_model_spec,
            membership,
            population_data,
            sample,
        )

        m, s = self.recipe.model, self.recipe.sampler
        path = self.folder / "fit.nc"
        self._refuse_existing(path)
        spec = load_model_spec(m.spec)
        stars = self.stars
        with self._stage("fit") as done:
            mask = self._mask(m.selection)
            data = population_data(stars, potential=m.potential, mask=mask, radius=m.radius)
            model = build_model(data, spec)
            tree = sample(
                model,
                draws=s.draws,
                tune=s.tune,
                chains=s.chains,
                seed=self.recipe.seed,
                target_accept=s.target_accept,
                attrs={
                    "potential": m.potential,
                    "selection": m.selection,
                    "radius": m.radius,
                    "model": spec.model_dump_json(),
                    "left_out": json.dumps(data.left_out),
                },
            )
            tree.attrs.update(self._provenance)
            posterior = tree["posterior"].to_dataset()
            tree["membership"] = membership(model, data, posterior, seed=self.recipe.seed)
            with atomic_output(path, overwrite=self.overwrite) as out:
                tree.to_netcdf(out, engine="h5netcdf")
            nodes = data.packed.mean_nodes
            done["text"] = f"{data.n_stars:,} stars × {nodes:.1f} age nodes → {path}"
        return tree

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
    ) -> Path:
        """The HTML page."""
        from migrate_bayes.report import write_report

        self._refuse_existing(self.report_folder)
        if baselines is None:
            thin, thick = (
                self._read(path.name, xr.load_dataset) if path.exists() else None
                for path in self._baseline_paths
            )
        else:
            thin, thick = baselines
        if fit is None:
            fit = self._read("fit.nc", xr.load_datatree)
        from migrate_bayes.reference import reference_panels

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
                notes=self.notes,
                tables=self.tables,
                reference=reference_panels(stars, self.recipe),
                reference_start=start.label if start else "",
                overwrite=self.overwrite,
            )
            done["text"] = f"{page.stat().st_size / 1024**2:.1f} MB"
        return page

    # --- everything --------------------------------------------------------------------------

    def all(self) -> Path:
        """Run every stage and return the path of the report."""
        from migrate_bayes.flags import FLAG_MEANING, count_flags
        from migrate_bayes.report import print_headline
        from migrate_bayes.tables import print_table

        targets = [self.folder / "stars", self.folder / "fit.nc", *self._baseline_paths]
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
        if self.recipe.reference is not None:
            from migrate_bayes.reference import reference_tables

            new, notes = reference_tables(self.stars, self.recipe)
            self.notes += notes
            for note in notes:
                self.say(note)
            for title, header, body in new:
                print_table(title, header, body, say=self.say)
            self.tables += new
        baselines = self.baseline()
        tree = self.fit()
        title, header, body = gradient_table(tree["posterior"].to_dataset())
        print_table(title, header, body, say=self.say)
        page = self.report(baselines, tree)
        print_headline(tree, baselines[0], self.recipe.truth(), thick_baseline=baselines[1])
        self.say(f"Sampler: {sampler_line(tree)}")
        return page


def sampler_line(tree: xr.DataTree) -> str:
    """Word the sampler's checks: the worst of each, its limit, and whether it passes."""
    from migrate_bayes.report.diagnostics import check_fit

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
