"""Comparisons of recipes: the same stars under every choice, one file for each fitted variant.

The stages that variants share are run once: one catalogue, one set of random draws for all
potentials and frames, one set of ages for each isochrone family. A variant's file bears a
fingerprint of what it was made from: work that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import xarray as xr

from migrate_bayes.baseline import fit_baseline
from migrate_bayes.catalog.quality import cut_anew
from migrate_bayes.compare.compare_options import CompareOptions, DataChoice
from migrate_bayes.compare.fits import Fitter
from migrate_bayes.compare.product import build_comparison
from migrate_bayes.compare.variants import ComparedVariant, FittedVariant, list_variants
from migrate_bayes.core.errors import FitError, ProductError, RecipeError
from migrate_bayes.core.io import read_netcdf, write_netcdf
from migrate_bayes.core.options import is_none
from migrate_bayes.core.progress import say
from migrate_bayes.core.provenance import content_hash, file_sha256, provenance
from migrate_bayes.orbits.potential import Potential, list_potentials
from migrate_bayes.population.data import population_data
from migrate_bayes.population.model.specification import load_model_spec
from migrate_bayes.run.made_from import FORMATS
from migrate_bayes.run.recipe import Recipe
from migrate_bayes.run.stages import Run
from migrate_bayes.selection import select
from migrate_bayes.stars import open_run_stars, open_stars, replace_ages, replace_orbits


def compare_recipes(
    recipes: Sequence[Recipe],
    *,
    products: str | Path = "runs",
    source: Recipe | None = None,
    overwrite: bool = False,
    say: Callable[[str], None] = say,
) -> xr.DataTree:
    """Fit the variants of one or more recipes of the same stars, and compare them all.

    Parameters
    ----------
    recipes : sequence of Recipe
        Each with a section ``[compare]``. The first one's reference is the reference.
    products : path-like
        Folder of runs: each recipe's variants are kept there, and made once.
    source : Recipe, optional
        A run whose stars are used: its catalogue, seed and ages in place of the recipes' own, and
        its orbits if they are the ones asked for.
    overwrite : bool
        Replace variants that were made from something else.
    say : callable
        Takes lines for the user.

    Returns
    -------
    xarray.DataTree
        Its groups are listed in `migrate_bayes.compare.product`.

    Raises
    ------
    RecipeError
        If there is nothing to compare, a name is unknown or used twice, or the recipes are of
        different stars.
    ProductError
        If the source has no stars, or a variant was made from something else and may not be
        replaced.

    Examples
    --------
    >>> from migrate_bayes import Recipe, compare_recipes
    >>> compare_recipes([Recipe(name="one", data={"source": "mock"})])
    Traceback (most recent call last):
    migrate_bayes.core.errors.RecipeError: recipe 'one' has no section [compare]
    """
    if source is not None:
        recipes = [_on_stars_of(recipe, source) for recipe in recipes]
    folder, first = None if source is None else Path(products) / source.name, recipes[0]
    common = [_in_common(recipe, source) for recipe in recipes]
    for other, theirs in zip(recipes, common, strict=True):
        if theirs != common[0]:
            raise RecipeError(
                f"'{other.name}' and '{first.name}' cannot be compared: their stars, histories or "
                "method differ"
            )
    fitted: dict[tuple[str, ...], FittedVariant] = {}
    for recipe in recipes:
        run = ComparedRun(recipe, products=products, source=folder, overwrite=overwrite, say=say)
        for one in run.fit():
            if one.variant.label in {f.variant.label for f in fitted.values()}:
                label = f"{recipe.name}: {one.variant.label}"
                one = one._replace(variant=one.variant._replace(label=label))
            fitted.setdefault(tuple(map(str, one.factors.values())), one)
    attrs = provenance(seed=first.seed, recipe_hash=" ".join(r.hash for r in recipes))
    attrs["recipes"] = json.dumps([r.name for r in recipes])
    attrs["histories"] = json.dumps([h.model_dump() for h in common[0]["histories"]])
    # Of several recipes the first that states the weights of a choice decides.
    stated = [r.compare for r in recipes if r.compare and "marginal" in r.compare.model_fields_set]
    marginal = dict(CompareOptions().marginal) if not stated else {}
    for compare in reversed(stated):
        marginal.update(compare.marginal)
    return build_comparison(
        [*fitted.values()], truth=first.truth(), attrs=attrs, seed=first.seed, marginal=marginal
    )


def _in_common(recipe: Recipe, source: Recipe | None) -> dict[str, Any]:
    """Return what must be the same in recipes that are compared."""
    c, o, mock = recipe.compare, recipe.orbits, recipe.simulate
    if c is None:
        raise RecipeError(f"recipe '{recipe.name}' has no section [compare]")
    common = {name: getattr(recipe, name) for name in ("data", "seed", "isochrones")}
    common |= {"histories": c.histories, "method": c.method}
    if recipe.data.source == "mock" and source is None:
        stars = mock.model_copy(update={"potential": mock.moves_in(o)})
        common |= {"mock": stars, "frame": o.frame, "scaling": o.scaling}
    return common


def _on_stars_of(recipe: Recipe, source: Recipe) -> Recipe:
    """Take what makes the stars from the source, and leave what varies as it is."""
    stars = {name: getattr(source, name) for name in ("data", "simulate", "seed", "isochrones")}
    same = {n: getattr(source.orbits, n) for n in ("frame", "scaling", "draws", "zmax_draws")}
    return recipe.model_copy(update={**stars, "orbits": recipe.orbits.model_copy(update=same)})


class ComparedRun:
    """The stars and fitted variants of one recipe; `source` is the folder of another's stars."""

    def __init__(
        self,
        recipe: Recipe,
        *,
        products: str | Path = "runs",
        source: str | Path | None = None,
        overwrite: bool = False,
        say: Callable[[str], None] = say,
    ) -> None:
        self.recipe, self.overwrite, self.say = recipe, overwrite, say
        self.source = None if source is None else Path(source)
        catalog = None
        if self.source is not None:
            open_run_stars(self.source)  # or an error, before any work
            if recipe.data.source == "mock":
                catalog = self.source / "catalogue.parquet"
                if not catalog.exists():
                    raise ProductError(f"no catalogue at {catalog}: run its recipe first")
        # Overwriting is of fits: the recipe's own stars are not made again.
        self.run = Run(recipe, products=products, catalog=catalog, say=say)
        self.run.check()
        self.spec = load_model_spec(recipe.model.spec)

    @cached_property
    def stars(self) -> xr.Dataset:
        """StarPosteriors with every potential asked for."""
        if self.source is None:
            if not any((self.run.folder / name).exists() for name in ("stars", "orbits")):
                self.run.make_stars()
            return self.run.stars
        shared = open_run_stars(self.source)
        wanted = list_potentials(self.recipe.orbits)
        if _has(shared, wanted):
            return shared.sel(potential=list(wanted))
        return replace_orbits(shared, open_stars(self.run.orbits(overwrite=self.overwrite)))

    def of_family(self, family: str) -> xr.Dataset:
        """Return the stars with ages of an isochrone family, made if they do not exist."""
        if family == self.recipe.isochrones.source:
            return self.stars
        name = _ages_name(family)
        made = self.run.ages(family=family, name=name, overwrite=self.overwrite)
        return replace_ages(self.stars, open_stars(made))

    def of_data(self, choice: DataChoice | None, family: str) -> xr.Dataset:
        """Return the stars of a family under other entries of ``[data]``, made if need be.

        Cuts alone are flags of the stars that there are.
        """
        if choice is None:
            return self.of_family(family)
        if not choice.rereads(self.recipe.data):
            return cut_anew(self.of_family(family), choice.changes)
        run = self.run.on_data(choice.over(self.recipe.data))
        slug = _slug(choice.label)
        stars = open_stars(run.make_stars(name=f"stars-{slug}", overwrite=self.overwrite))
        if family == self.recipe.isochrones.source:
            return stars
        name = f"{_ages_name(family)}-{slug}"
        made = run.ages(family=family, name=name, overwrite=self.overwrite)
        return replace_ages(stars, open_stars(made))

    def _choice(self, label: str) -> DataChoice | None:
        assert self.recipe.compare is not None
        return next((c for c in self.recipe.compare.data if c.label == label), None)

    @cached_property
    def _ingredients(self) -> dict[str, str]:
        """Checksums of the stars' manifests."""
        folder, halves = self.run.folder, ("stars", "ages", "orbits")
        folders = [*(folder / name for name in halves)]
        folders += [*folder.path.glob("ages-*"), *folder.path.glob("stars-*")]
        if self.source is not None:
            folders += [self.source / name for name in halves]
        made = {}
        for file in [f / "manifest.json" for f in folders if (f / "manifest.json").exists()]:
            # What the parts hold, not when they were made.
            parts = json.loads(file.read_text(encoding="utf-8")).get("parts", file_sha256(file))
            # A recipe's own stars, and its source's, by the same name.
            made[f"{file.parts[-3]}/{file.parent.name}"] = content_hash({"parts": parts})
        return made

    def _fingerprint(self, variant: ComparedVariant) -> str:
        c, r = self.recipe.compare, self.recipe
        assert c is not None
        mine, choice = {"stars", "ages", "orbits"}, self._choice(variant.data)
        ages = _ages_name(variant.family)
        if choice is not None and choice.rereads(self.recipe.data):
            slug = _slug(choice.label)
            mine, ages = {f"stars-{slug}"}, f"{ages}-{slug}"
        stars = {
            name: digest
            for name, digest in self._ingredients.items()
            if name.rpartition("/")[-1] in {*mine, ages}
        }
        content: dict[str, Any] = {
            "stars": stars,
            "variant": variant.key[:-1],  # without ln S, which stands below by its content
            "data": None
            if choice is None
            else choice.model_dump(mode="json", include=set(choice.changes)),
            "spec": self.spec.model_dump(mode="json"),
            "baseline": None if r.baseline is None else r.baseline.model_dump(mode="json"),
            "format": FORMATS,
            "sampler": r.sampler.model_dump(mode="json") if c.method == "sample" else None,
            "method": c.method,
            "draws": c.draws,
            "histories": [h.model_dump() for h in c.histories],
            "seed": r.seed,
        }
        if (taken := self.run.completeness_digest(variant.completeness)) is not None:
            content["completeness"] = taken
        return content_hash(content)

    def fit(self) -> Iterator[FittedVariant]:
        """Fit every variant, or read the file of one that was fitted."""
        with self.run.folder.held():
            yield from self._fit()

    def _fit(self) -> Iterator[FittedVariant]:
        r = self.recipe
        names = [str(p) for p in self.stars["potential"].values]
        variants = variants_of(r, self.spec.form, names)
        assert r.compare is not None
        # All ages first: the fingerprints are of them.
        stars_of = {
            (v.data, v.family): self.of_data(self._choice(v.data), v.family) for v in variants
        }
        if self.source is not None:
            whole = {"stars", "ages", "orbits"}  # not the ages of other families
            theirs = {n: d for n, d in self._ingredients.items() if n.rpartition("/")[-1] in whole}
            self.run.take_stars(self.stars, content_hash(theirs))
        fitter = Fitter(self.spec, r.compare, r.sampler, seed=r.seed, expected=len(variants))
        for variant in variants:
            stars = stars_of[variant.data, variant.family]
            mark = self._fingerprint(variant)
            path = self.run.folder / "variants" / f"{_slug(variant.label)}.nc"
            tree = read_netcdf(path) if path.exists() else None
            if tree is None or tree.attrs.get("fingerprint") != mark:
                if tree is not None and not self.overwrite:
                    raise ProductError(
                        f"{path} was made from other stars or settings: use --overwrite to "
                        "replace it"
                    )
                tree = self._fit_one(fitter, stars, variant)
                tree.attrs.update(self.run.folder.provenance, fingerprint=mark, label=variant.label)
                write_netcdf(tree, path, overwrite=self.overwrite)
            yield FittedVariant(variant, variant.factors(stars), tree)

    def _fit_one(self, fitter: Fitter, stars: xr.Dataset, variant: ComparedVariant) -> xr.DataTree:
        b, orbits, radius = self.recipe.baseline, variant.orbits, variant.radius
        selections = {} if b is None else {"": b.selection, "_thick": b.thick_selection}
        with self.run.folder.stage("variant") as done:
            mask = select(stars, variant.selection, potential=orbits)
            completeness = self.run.completeness(variant.completeness)
            data = population_data(
                stars, potential=orbits, mask=mask, radius=radius, classes=fitter.classes,
                with_completeness=completeness is not None,
            )  # fmt: skip
            fitter.classes = data.classes
            tree = fitter.fit(data, variant.form, completeness)
            for disc, selection in selections.items():
                if selection is None or b is None:
                    continue
                if variant.selection != "all":
                    selection = f"({selection}) & ({variant.selection})"
                try:
                    odr = fit_baseline(
                        stars, b, potential=orbits, selection=selection, radius=radius
                    )
                    tree[f"baseline{disc}"] = xr.DataTree(odr)
                except FitError as error:
                    self.say(f"{variant.label}: no ODR of '{selection}': {error}")
            done(f"{variant.label}: {data.n_stars:,} stars")
        return tree


def variants_of(recipe: Recipe, form: str, potentials: Iterable[str] = ()) -> list[ComparedVariant]:
    """List the variants of a recipe; `form` is the model's, `potentials` are the stars' labels."""
    c, m = recipe.compare, recipe.model
    try:
        if c is None:
            raise RecipeError('no section [compare]: it says what varies, as potentials = "all"')
        source = recipe.completeness.source
        reference = ComparedVariant(
            "reference", m.potential, recipe.isochrones.source, m.selection, m.radius,
            c.form or form, completeness="none" if is_none(source) else source,
        )  # fmt: skip
        return list_variants(c, reference, potentials)
    except RecipeError as error:
        raise RecipeError(f"recipe '{recipe.name}': {error}") from None


def _slug(text: str) -> str:
    """Make a file name of a label; unlike labels that come out alike are told apart."""
    slug = re.sub(r"[^A-Za-z0-9.=_-]+", "-", text).strip("-.")
    return slug if slug == text else f"{slug[:60]}-{content_hash({'label': text})[:6]}"


def _ages_name(family: str) -> str:
    return f"ages-{_slug(family)}"


def _has(stars: xr.Dataset, potentials: Mapping[str, Potential]) -> bool:
    """Say whether stars have orbits in all of these potentials and their frames."""
    if not set(potentials) <= set(stars["potential"].values):
        return False
    found = (stars.sel(potential=label) for label in potentials)
    levels = [(float(s["r0"]), float(s["v0"]), str(s["scaling"].values)) for s in found]
    return levels == [(p.frame.r0, p.frame.v0, p.scaling) for p in potentials.values()]
