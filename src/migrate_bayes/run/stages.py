"""The stages of a run, from a catalogue to the report.

No more than a chunk of the catalogue and a part of the product is in memory, however many stars
there are, and no number depends on the size of the chunks.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import xarray as xr

from migrate_bayes.core.errors import CatalogError, FitError, ProductError
from migrate_bayes.core.flags import FLAG_MEANING, count_flags
from migrate_bayes.core.io import read_netcdf, refuse_existing, write_netcdf
from migrate_bayes.core.parallel import peak_memory_gb
from migrate_bayes.core.places import expand
from migrate_bayes.core.progress import progress, say
from migrate_bayes.core.provenance import file_sha256, provenance
from migrate_bayes.core.table import Estimate, Table
from migrate_bayes.run.recipe import Recipe, resolve_data_path
from migrate_bayes.stars import StarWriter, assemble_stars, open_run_stars, validate

if TYPE_CHECKING:
    import pandas as pd

    from migrate_bayes.catalog.reading import CatalogStream
    from migrate_bayes.population.data import PopulationData
    from migrate_bayes.population.results.diagnostics import Verdict
    from migrate_bayes.report.headline_table import Headline
    from migrate_bayes.report.published import Published
    from migrate_bayes.run.before import Stage


class RunFolder:
    """Where products (``folder / name``), page (`report`) and `catalog` of a recipe are."""

    def __init__(
        self,
        recipe: Recipe,
        products: str | Path = "runs",
        reports: str | Path = "reports",
        *,
        catalog: str | Path | None = None,
        say: Callable[[str], None] = say,
    ) -> None:
        self.recipe, self.say = recipe, say
        self.path = expand(products) / recipe.name
        self.report = expand(reports) / recipe.name
        if catalog is not None:
            self.catalog = expand(catalog)
        elif recipe.data.source == "mock":
            self.catalog = self / "catalogue.parquet"
        else:
            self.catalog = resolve_data_path(recipe.data.path)

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def __repr__(self) -> str:
        there = sorted(p.name for p in self.path.iterdir()) if self.path.is_dir() else []
        return f"RunFolder({self.path}: {', '.join(there) or 'empty'})"

    @property
    def baselines(self) -> tuple[Path, Path]:
        """Products of the baseline: of the thin-disc selection, and of the thick."""
        return self / "baseline.nc", self / "baseline-thick.nc"

    @cached_property
    def provenance(self) -> dict[str, str]:
        """Attributes that every product of the run carries."""
        path = self.catalog
        inputs = {path.name: file_sha256(path)} if path.is_file() else {}
        return provenance(seed=self.recipe.seed, recipe_hash=self.recipe.hash, inputs=inputs)

    @contextmanager
    def stage(self, name: str) -> Iterator[Callable[[str], None]]:
        """Time a stage; print what it says of itself, its seconds, and the peak memory by then."""
        texts: list[str] = []
        began = time.perf_counter()
        yield texts.append
        seconds = time.perf_counter() - began
        self.say(f"{name:<10} {'; '.join(texts):<58} {seconds:7.1f} s  {peak_memory_gb():5.2f} GB")


class Run:
    """The stages of one recipe, and their products.

    Parameters
    ----------
    recipe : Recipe
        What to do.
    recipe_text : str
        The file's text, shown in the report.
    products, reports : path-like
        Folders under which ``<name>/`` is made.
    catalog : path-like, optional
        Catalogue in place of the recipe's own: another run's mock.
    overwrite : bool
        Replace products that exist.
    say : callable
        Takes lines for the user.

    Attributes
    ----------
    folder : RunFolder
        Paths of the products, provenance and the stage clock.
    notes : list of str
        What the report says of this run.
    verdict : Verdict or None
        Of `migrate_bayes.population.judge` on the fit, once it is made or reported.

    Examples
    --------
    >>> from migrate_bayes import Recipe, Run
    >>> Run(Recipe(name="sketch", data={"source": "mock"}))
    Run('sketch', mock stars, products in runs/sketch)
    """

    def __init__(
        self,
        recipe: Recipe,
        *,
        recipe_text: str = "",
        products: str | Path = "runs",
        reports: str | Path = "reports",
        catalog: str | Path | None = None,
        overwrite: bool = False,
        say: Callable[[str], None] = say,
    ) -> None:
        self.recipe, self.recipe_text = recipe, recipe_text
        self.folder = RunFolder(recipe, products, reports, catalog=catalog, say=say)
        self.overwrite, self.say = overwrite, say
        self.notes: list[str] = []
        self.verdict: Verdict | None = None

    def __repr__(self) -> str:
        stars = "mock stars" if self.recipe.data.source == "mock" else str(self.folder.catalog)
        return f"Run('{self.recipe.name}', {stars}, products in {self.folder.path})"

    def _refuse_existing(self, *paths: Path) -> None:
        refuse_existing(*paths, overwrite=self.overwrite)

    def check(self, *stages: Stage, outputs: Iterable[Path] = ()) -> None:
        """Raise whatever is wrong with the recipe, its catalogue or its outputs; see `check_run`.

        It takes a second or two, and reads no star. `all` and each stage call it first.
        """
        from migrate_bayes.run.before import check_run

        for note in check_run(
            self.recipe, catalog=self.folder.catalog, outputs=outputs, stages=stages
        ):
            if note not in self.notes:
                self.say(note)
                self.notes.append(note)

    def _write(self, product: xr.Dataset | xr.DataTree, path: Path) -> None:
        product.attrs.update(self.folder.provenance)
        write_netcdf(product, path, overwrite=self.overwrite)

    # Stars

    def simulate(self) -> Path:
        """Make the mock survey's catalogue, its truth beside it."""
        from migrate_bayes.mock import simulate_to_parquet

        path, r = self.folder.catalog, self.recipe
        self._refuse_existing(path)
        self.check(outputs=[path])
        with self.folder.stage("simulate") as done:
            rows = simulate_to_parquet(
                path, r.simulate, seed=r.seed, isochrones=r.isochrones, orbits=r.orbits,
                chunk_size=r.chunk_size, overwrite=self.overwrite,
            )  # fmt: skip
            done(f"{rows:,} stars → {path}")
        return path

    @cached_property
    def catalog(self) -> CatalogStream:
        """The checked catalogue, read in chunks, with flags set and extinction corrected."""
        from migrate_bayes.catalog import open_catalog

        data, path, ages = self.recipe.data, self.folder.catalog, self.recipe.isochrones
        if data.source == "mock" and not path.exists():
            self.simulate()
        photometric = ages.source != "external" and {"abs_g", "bp_rp"} & set(ages.observables)
        with self.folder.stage("catalogue") as done:
            extinction = data.extinction if photometric else None
            catalog = open_catalog(path, data, extinction=extinction)
            whole = " (its format is read whole)" if catalog.whole else ""
            done(f"{catalog.n_stars:,} stars in {path.name}{whole}")
        return catalog

    def _ages_of(self, chunk: xr.Dataset, family: str | None = None) -> xr.Dataset:
        from migrate_bayes.catalog import flag_age_error
        from migrate_bayes.isochrones import estimate_ages, external_ages

        i, limit = self.recipe.isochrones, self.recipe.data.max_age_error
        if family is not None:
            i = i.model_copy(update={"source": family})
        ages = external_ages(chunk) if i.source == "external" else estimate_ages(chunk, i)
        return ages if limit is None else flag_age_error(ages, max_age_error=limit)

    def _orbits_of(self, chunk: xr.Dataset) -> xr.Dataset:
        from migrate_bayes.orbits import compute_orbits

        return compute_orbits(chunk, self.recipe.orbits, seed=self.recipe.seed)

    def _stream(
        self,
        name: str,
        stages: dict[Stage, Callable[[xr.Dataset], xr.Dataset]],
        overwrite: bool | None = None,
    ) -> Path:
        """Pass the catalogue through one or both stages into a StarPosteriors folder."""
        path = self.folder / name
        overwrite = self.overwrite if overwrite is None else overwrite
        refuse_existing(path, overwrite=overwrite)
        self.check(*stages, outputs=[path])
        catalog = self.catalog  # checked (and reported) before the stage's own clock starts
        with (
            self.folder.stage(name) as done,
            StarWriter(path, overwrite=overwrite) as out,
            progress(catalog.n_stars, name) as advance,
        ):
            for chunk in catalog.chunks(self.recipe.chunk_size):
                made = {key: stage(chunk) for key, stage in stages.items()}
                out.append(assemble_stars(chunk, **made, attrs=self.folder.provenance))
                advance(chunk.sizes["star"])
            done(f"{' and '.join(stages)} of {catalog.n_stars:,} stars → {path}")
        return path

    def ages(
        self, *, family: str | None = None, name: str = "ages", overwrite: bool | None = None
    ) -> Path:
        """Compute age posteriors alone, on the recipe's isochrones or those of a `family`."""
        return self._stream(name, {"ages": lambda chunk: self._ages_of(chunk, family)}, overwrite)

    def orbits(self, *, overwrite: bool | None = None) -> Path:
        """Compute phase space and orbits alone; `overwrite` in place of the run's."""
        return self._stream("orbits", {"orbits": self._orbits_of}, overwrite)

    def make_stars(self) -> Path:
        """Compute ages and orbits together, as one product; ages alone if the run ends there."""
        stages: dict[Stage, Callable[[xr.Dataset], xr.Dataset]] = {"ages": self._ages_of}
        if self.recipe.until == "fit":
            stages["orbits"] = self._orbits_of
        return self._stream("stars", stages)

    @cached_property
    def stars(self) -> xr.Dataset:
        """StarPosteriors of this run, on disk: a variable is read when it is used."""
        return validate(open_run_stars(self.folder.path), orbits=self.recipe.until == "fit")

    def mask(self, selection: str) -> xr.DataArray:
        """Select stars of this run, in the potential of its model."""
        from migrate_bayes.selection import select

        return select(self.stars, selection, potential=self.recipe.model.potential)

    # Fits

    def baseline(self) -> tuple[xr.Dataset | None, xr.Dataset | None]:
        """Fit ODR in age bins to the thin-disc selection and to the thick."""
        thin, thick = self.folder.baselines
        self._refuse_existing(thin, thick)
        b = self.recipe.baseline
        if b is None:
            return None, None
        return self._baseline(b.selection, thin), self._baseline(b.thick_selection, thick)

    def _baseline(self, selection: str | None, path: Path) -> xr.Dataset | None:
        from migrate_bayes.baseline import fit_baseline

        if selection is None:
            return None
        stars, b, m = self.stars, self.recipe.baseline, self.recipe.model
        where = {"potential": m.potential, "selection": selection, "radius": m.radius}
        try:
            with self.folder.stage("baseline") as done:
                fit = fit_baseline(stars, b, **where)
                self._write(fit, path)
                n = int(fit["n_stars"].sum())
                done(f"ODR in age bins, {n:,} stars of '{selection}' → {path}")
        except (FitError, CatalogError) as error:
            # A sample too small for age bins, or without the [α/Fe] that the selection asks for, is
            # worth a note, not the end of the run. An older fit must not get into the report.
            path.unlink(missing_ok=True)
            self.notes.append(f"No ODR baseline of '{selection}': {error}")
            self.say(self.notes[-1])
            return None
        return fit

    def samples(self) -> xr.DataTree | None:
        """Fit the baseline of slices, of a stricter sample, another radius, other potentials."""
        from migrate_bayes.baseline import fit_samples

        b, m, path = self.recipe.baseline, self.recipe.model, self.folder / "baseline-variants.nc"
        if b is None:
            return None
        self._refuse_existing(path)
        stars = self.stars
        with self.folder.stage("slices") as done:
            tree = fit_samples(stars, b, potential=m.potential, radius=m.radius)
            self._write(tree, path)
            there = sum("absent" not in node.attrs for node in tree.children.values())
            done(f"{there} of {len(tree.children)} slices and variants → {path}")
        return tree

    def _fitted_stars(self) -> tuple[PopulationData, xr.DataArray]:
        from migrate_bayes.population import population_data

        m = self.recipe.model
        mask = self.mask(m.selection)
        data = population_data(self.stars, potential=m.potential, mask=mask, radius=m.radius)
        return data, mask

    def fit(self) -> xr.DataTree:
        """Fit the hierarchical model."""
        from migrate_bayes.population import PopulationModel, judge, load_model_spec

        m, seed = self.recipe.model, self.recipe.seed
        path, of_stars = self.folder / "fit.nc", self.folder / "membership"
        self._refuse_existing(path, of_stars)
        self.check(outputs=[path, of_stars])
        spec = load_model_spec(m.spec)
        stars = self.stars
        with self.folder.stage("fit") as done:
            data, mask = self._fitted_stars()
            attrs = {
                "potential": m.potential, "selection": m.selection, "radius": m.radius,
                "model": spec.model_dump_json(), "left_out": json.dumps(data.left_out),
                "selected": int(mask.sum()), "catalogued": stars.sizes["star"],
            }  # fmt: skip
            model = PopulationModel(data, spec)
            tree = model.sample(self.recipe.sampler, seed=seed, attrs=attrs)
            tree["membership"] = model.write_membership(
                of_stars, tree, seed=seed, overwrite=self.overwrite, attrs=self.folder.provenance
            )
            tree["posterior_predictive"] = model.predictive(tree, seed=seed)
            if "prior" in tree.children:
                tree["prior_predictive"] = model.prior_predictive(tree, seed=seed)
            self.verdict = judge(tree)
            tree.attrs.update(self.verdict.attrs)
            self._write(tree, path)
            done(f"{data.n_stars:,} stars × {data.stars.mean_nodes:.1f} age nodes → {path}")
        return tree

    def compare_models(self, forms: tuple[str, ...] = ()) -> pd.DataFrame:
        """Fit forms of the gradient, by default the recipe's; rank them by leave-one-out.

        The table is from `migrate_bayes.compare_elpd`, with the main parameters of each form.
        """
        from migrate_bayes.population import load_model_spec
        from migrate_bayes.population.compare_forms import compare_forms

        r, path = self.recipe, self.folder / "models.nc"
        self._refuse_existing(path)
        with self.folder.stage("models") as done:
            data, _ = self._fitted_stars()
            spec, forms = load_model_spec(r.model.spec), forms or r.model.forms
            table, tree = compare_forms(data, spec, forms, seed=r.seed, sampler=r.sampler)
            self._write(tree, path)
            done(f"{len(table)} forms, {data.n_stars:,} stars → {path}")
        return table

    # What is shown

    @cached_property
    def published(self) -> Published:
        """The stars held against published values; empty without ``[reference]``."""
        from migrate_bayes.report.published import against_published

        r, o, label = self.recipe, self.recipe.orbits, self.recipe.model.potential
        return against_published(
            self.stars, r.reference, potential=label, scaling=o.scaling, frame=o.frame
        )

    def report(self) -> Path:
        """Write the HTML page of the products that exist; return its path."""
        return self._report()[0]

    def _report(self) -> tuple[Path, Headline]:
        """Write the page; return its path and the numbers at its top."""
        from migrate_bayes.report import RunProducts, write_report

        r, shown, folder = self.recipe, self.recipe.report, self.folder
        self._refuse_existing(folder.report)
        whole = r.until == "fit"
        if whole and not (folder / "fit.nc").exists():
            raise ProductError(f"no fit.nc in {folder.path}: run that stage first")
        fit = read_netcdf(folder / "fit.nc") if whole else None
        baselines: list[xr.Dataset | None] = [None, None]
        variants = None
        if whole and (b := r.baseline) is not None:
            for k, selection in enumerate((b.selection, b.thick_selection)):
                lacks = f"No ODR baseline of '{selection}'"
                if (path := folder.baselines[k]).exists():
                    baselines[k] = read_netcdf(path).to_dataset()
                elif selection and not any(lacks in n for n in self.notes):
                    self.notes.append(f"{lacks} was made.")
            if (path := folder / "baseline-variants.nc").exists():
                variants = read_netcdf(path)
        comparisons = []
        for path in map(Path, shown.comparisons):
            if path.exists():
                comparisons.append(read_netcdf(path))
            else:
                # A comparison may read this run's own stars, and so come after it.
                self.notes.append(
                    f"The comparison {path} is not there yet: make it, and this report again."
                )
        published = self.published
        with folder.stage("report") as done:
            products = RunProducts(
                r.name, self.stars, fit, baseline=baselines[0], thick_baseline=baselines[1],
                variants=variants, comparisons=comparisons,
                selection_mask=self.mask(r.model.selection), truth=r.truth(),
                published=published, recipe=r.model_dump(mode="json"),
                recipe_text=self.recipe_text, provenance=folder.provenance,
                notes=[r.description, *self.notes] if r.description else self.notes,
                validation=folder.report.parent / shown.validation if shown.validation else None,
            )  # fmt: skip
            self.verdict = products.verdict
            page = write_report(products, folder.report, overwrite=self.overwrite)
            done(f"{page.stat().st_size / 1024**2:.1f} MB")
        return page, products.headline

    def all(self) -> Path:
        """Run every stage, print what was found, and return the path of the report."""
        folder, selection = self.folder, self.recipe.model.selection
        products = ("stars", "fit.nc", "membership", "baseline-variants.nc")
        paths = [folder / name for name in products]
        self._refuse_existing(*paths, *folder.baselines, folder.report)
        self.check("ages", "orbits", "fit", outputs=[*paths, *folder.baselines, folder.report])
        if self.recipe.data.source == "mock":
            self.simulate()
        self.make_stars()
        flags = count_flags(self.stars["flag"])
        title = (
            f"Stars: {self.stars.sizes['star']:,} in the catalogue, "
            f"{int(self.mask(selection).sum()):,} in selection '{selection}'; flagged:"
        )
        rows = [[f"{n:,}", FLAG_MEANING[reason]] for reason, n in flags.items()]
        Table(title, ["stars", "reason"], rows).print(self.say)
        for note in self.published.notes:
            self.say(note)
        for table in self.published.tables:
            table.print(self.say)
        if self.recipe.until == "ages":
            return self.report()
        self.baseline()
        self.samples()
        fit = self.fit()
        if self.verdict is not None and self.verdict.believed:
            gradient_table(fit["posterior"].to_dataset()).print(self.say)
        page, numbers = self._report()
        numbers.print()
        mark = {True: "pass", False: "FAIL", None: "not known"}
        checks = [c for c in numbers.verdict.checks if c.limit != "–"]
        found = [f"{c.name} {c.value} [{c.limit}] {mark[c.passed]}" for c in checks]
        self.say(f"Checks: {'; '.join(found)}")
        return page


def gradient_table(
    posterior: xr.Dataset, ages: tuple[float, ...] = (1.0, 2.0, 3.0, 4.5, 6.0, 8.0, 10.0, 12.0)
) -> Table:
    """Tabulate mean and sd of `gradient` (chain, draw, component, age) at a few ages (Gyr)."""
    curve = posterior["gradient"].stack(sample=("chain", "draw")).sel(component=["thin", "thick"])
    rows = []
    for age in ages:
        if curve.age[0] <= age <= curve.age[-1]:
            draws = curve.interp(age=age).transpose("component", "sample").values
            estimates = [Estimate.symmetric(d.mean(), d.std()) for d in draws]
            rows.append([f"{age:g}", *(e.text(digits=4, sign=True) for e in estimates)])
    header = ["age (Gyr)", "thin disc", "thick disc"]
    return Table("Hierarchical gradient(age), dex/kpc", header, rows)
