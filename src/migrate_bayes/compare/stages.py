"""From recipes to fitted variants: stars once, then a file per variant, each made if not there.

The stages that variants share are run once: one catalogue, one set of random draws for all
potentials and frames, one set of ages for each isochrone family. With `source` they are another
run's, so that many comparisons read the stars of one survey. A variant's file bears a fingerprint
of what it was made from: work that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import xarray as xr

from migrate_bayes.baseline import fit_baseline
from migrate_bayes.compare.fits import Fitter
from migrate_bayes.compare.variants import ComparedVariant, list_variants
from migrate_bayes.core.errors import FitError, ProductError
from migrate_bayes.core.io import write_netcdf
from migrate_bayes.core.provenance import content_hash, file_sha256
from migrate_bayes.orbits import get_frame
from migrate_bayes.orbits.sweep import make_variants
from migrate_bayes.population.data import population_data
from migrate_bayes.population.model.specification import load_model_spec
from migrate_bayes.run import Run
from migrate_bayes.run.recipe import Recipe
from migrate_bayes.selection import select
from migrate_bayes.stars import open_run_stars, open_stars, replace_ages, replace_orbits, same_stars

__all__ = ["FittedVariant", "VariantStages"]


class FittedVariant:
    """A variant, its factors, its fit and its baselines."""

    def __init__(
        self, variant: ComparedVariant, factors: dict[str, str | float], tree: xr.DataTree
    ) -> None:
        self.variant, self.factors, self.tree = variant, factors, tree


class VariantStages:
    """The stages of one recipe's comparison.

    Parameters
    ----------
    recipe : Recipe
        With a section ``[compare]``.
    products : path-like
        Folder of runs.
    source : path-like, optional
        Folder of a run whose catalogue and ages, and orbits where they are the ones asked for, are
        used. Without it the recipe's own, made where they are not there.
    overwrite : bool
        Make variants anew that were made from something else.
    say : callable
    """

    def __init__(
        self,
        recipe: Recipe,
        *,
        products: str | Path = "runs",
        source: str | Path | None = None,
        overwrite: bool = False,
        say: Callable[[str], None] = print,
    ) -> None:
        self.recipe, self.overwrite, self.say = recipe, overwrite, say
        self.source = Path(source) if source is not None else None
        # Overwriting is of fits: stars that are there are never made again.
        self.run = Run(recipe, products=products, say=say)
        if self.source is not None:
            open_run_stars(self.source)  # or an error, before any work
            shared = self.source / "catalogue.parquet"
            if recipe.data.source == "mock":
                if not shared.exists():
                    raise ProductError(f"no catalogue at {shared}: run its recipe first")
                self.run.shared_catalog = shared
        self.spec = load_model_spec(recipe.model.spec)

    @property
    def folder(self) -> Path:
        """Where the products of the comparison stand."""
        return self.run.folder

    @cached_property
    def stars(self) -> xr.Dataset:
        """StarPosteriors with every potential asked for."""
        o = self.recipe.orbits
        if self.source is None:
            if not any((self.folder / name).exists() for name in ("stars", "orbits")):
                self.run.make_stars()
            return open_run_stars(self.folder)
        shared = open_run_stars(self.source)
        sweep = None if o.sweep is None else o.sweep.model_dump(exclude_none=True)
        wanted = make_variants(o.potentials, get_frame(o.frame), o.scaling, sweep)
        if all(_has(shared, v.label, v.frame.r0, v.frame.v0, v.scaling) for v in wanted):
            return shared.sel(potential=[v.label for v in wanted])
        orbits = self._made(
            "orbits",
            self.run.orbits,
            lambda found: (
                same_stars(shared, found)
                and all(_has(found, v.label, v.frame.r0, v.frame.v0, v.scaling) for v in wanted)
            ),
        )
        return replace_orbits(shared, orbits)

    def _made(
        self, name: str, make: Callable[[], Any], suits: Callable[[xr.Dataset], bool]
    ) -> xr.Dataset:
        """Open a product of this recipe, made first where it is not there or does not suit."""
        path = self.folder / name
        if path.exists():
            found = open_stars(path)
            if suits(found):
                return found
            if not self.overwrite:
                raise ProductError(
                    f"{path} is of other stars or settings: use --overwrite to replace it"
                )
            self.run.overwrite = True
        try:
            make()
        finally:
            self.run.overwrite = False
        return open_stars(path)

    def _of_family(self, family: str) -> xr.Dataset:
        """The stars, with ages of a family."""
        if family == self.recipe.isochrones.source:
            return self.stars
        name = f"ages-{_slug(family)}"
        ages = self._made(
            name,
            lambda: self.run.ages_of_family(family, name),
            lambda found: same_stars(self.stars, found),
        )
        return replace_ages(self.stars, ages)

    @cached_property
    def _ingredients(self) -> dict[str, str]:
        """Checksums of the stars' manifests."""
        halves = ("stars", "ages", "orbits")
        folders = [*(self.folder / name for name in halves), *self.folder.glob("ages-*")]
        if self.source is not None:
            folders += [self.source / name for name in halves]
        files = [f / "manifest.json" for f in folders if (f / "manifest.json").exists()]
        # A recipe's own stars, and its source's, by the same name.
        return {f"{f.parts[-3]}/{f.parent.name}": _parts_hash(f) for f in files}

    def _fingerprint(self, variant: ComparedVariant) -> str:
        c, r = self.recipe.compare, self.recipe
        assert c is not None
        family = f"ages-{_slug(variant.family)}"
        content: dict[str, Any] = {
            "stars": {
                name: digest
                for name, digest in self._ingredients.items()
                if "/ages-" not in name or name.endswith(f"/{family}")
            },
            "variant": variant.key,
            "spec": self.spec.model_dump(mode="json"),
            "baseline": None if r.baseline is None else r.baseline.model_dump(mode="json"),
            "sampler": r.sampler.model_dump(mode="json") if c.method == "sample" else None,
            "method": c.method,
            "draws": c.draws,
            "histories": [h.model_dump() for h in c.histories],
            "seed": r.seed,
        }
        return content_hash(content)

    def fit(self) -> list[FittedVariant]:
        """Fit every variant, or read it where it is there.

        Raises
        ------
        ProductError
            Where a variant's file was made from something else, and may not be replaced.
        """
        r = self.recipe
        assert r.compare is not None
        names = [str(p) for p in self.stars["potential"].values]
        variants = list_variants(r, self.spec.form, names)
        # All ages first: the fingerprints are of them.
        families = {v.family: self._of_family(v.family) for v in variants}
        fitter = Fitter(self.spec, r.compare, r.sampler, seed=r.seed, expected=len(variants))
        fitted = []
        for variant in variants:
            stars = families[variant.family]
            path = self.folder / "variants" / f"{_slug(variant.label)}.nc"
            print_ = self._fingerprint(variant)
            tree = self._stored(path, print_)
            if tree is None:
                tree = self._fit_one(fitter, stars, variant)
                tree.attrs.update(self.run._provenance, fingerprint=print_, label=variant.label)
                write_netcdf(tree, path, overwrite=self.overwrite)
            fitted.append(FittedVariant(variant, variant.factors(stars), tree))
        return fitted

    def _stored(self, path: Path, fingerprint: str) -> xr.DataTree | None:
        if not path.exists():
            return None
        try:
            tree = xr.load_datatree(path, engine="h5netcdf")
        except (OSError, ValueError) as error:
            raise ProductError(f"{path} is damaged: {error}") from None
        if tree.attrs.get("fingerprint") == fingerprint:
            return tree
        if not self.overwrite:
            raise ProductError(
                f"{path} was made from other stars or settings: use --overwrite to replace it"
            )
        return None

    def _fit_one(self, fitter: Fitter, stars: xr.Dataset, variant: ComparedVariant) -> xr.DataTree:
        with self.run._stage("variant") as done:
            mask = select(stars, variant.selection, potential=variant.orbits)
            data = population_data(
                stars, potential=variant.orbits, mask=mask, radius=variant.radius
            )
            tree = fitter.fit(data, variant.form)
            for name, baseline in self._baselines(stars, variant).items():
                tree[name] = xr.DataTree(baseline)
            done["text"] = f"{variant.label}: {data.n_stars:,} stars"
        return tree

    def _baselines(self, stars: xr.Dataset, variant: ComparedVariant) -> dict[str, xr.Dataset]:
        b = self.recipe.baseline
        if b is None:
            return {}
        made = {}
        for name, selection in (("baseline", b.selection), ("baseline_thick", b.thick_selection)):
            if selection is None:
                continue
            if variant.selection != "all":
                selection = f"({selection}) & ({variant.selection})"
            try:
                made[name] = fit_baseline(
                    stars, potential=variant.orbits, selection=selection, radius=variant.radius,
                    bin_width=b.bin_width, age_range=b.age_range, min_stars=b.min_stars,
                )  # fmt: skip
            except FitError as error:
                self.say(f"{variant.label}: no ODR of '{selection}': {error}")
        return made


def _slug(text: str) -> str:
    """Make a file's name of a label; unlike labels that come out alike are told apart."""
    slug = re.sub(r"[^A-Za-z0-9.=_-]+", "-", text).strip("-.")
    return slug if slug == text else f"{slug[:60]}-{content_hash({'label': text})[:6]}"


def _parts_hash(manifest: Path) -> str:
    """Hash what the parts hold, not when they were made."""
    import json

    content = json.loads(manifest.read_text())
    return content_hash({"parts": content.get("parts", file_sha256(manifest))})


def _has(stars: xr.Dataset, label: str, r0: float, v0: float, scaling: str) -> bool:
    if label not in stars["potential"].values:
        return False
    here = stars.sel(potential=label)
    return (
        float(here["r0"]) == r0
        and float(here["v0"]) == v0
        and str(here["scaling"].values) == scaling
    )
