"""Everything a validation recipe asks for, in order, and its numbers.

`validate_ages` runs the parts; `AgeValidation` holds what they found, and gives it as plain numbers
(`summary`, what ``--json`` prints) or as an `xarray.DataTree`. A part whose third-party data are
absent is left out, with the reason in ``absent``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.checks.ages.calibration import (
    REGIONS,
    Coverage,
    calibrate,
    coverage_table,
    draw_prior_stars,
)
from migrate_bayes.checks.ages.clusters import Sky, find_members, load_clusters, members_of
from migrate_bayes.checks.ages.families import (
    FamilyPair,
    disc_composition,
    explain,
    pairs,
    setups,
)
from migrate_bayes.checks.ages.harps import load_harps
from migrate_bayes.checks.ages.headline import (
    AgeBook,
    Headline,
    SunAge,
    by_family,
    choices,
    headline,
    m67_mask,
    sun_age,
)
from migrate_bayes.checks.ages.kepler import load_kepler
from migrate_bayes.checks.ages.lamost import load_lamost
from migrate_bayes.checks.ages.m67 import load_m67, load_m67_ddpayne, turnoff
from migrate_bayes.checks.ages.options import AgeOptions, short_name
from migrate_bayes.checks.ages.plan import SUN_WAYS, fill, paper_options, plan
from migrate_bayes.checks.ages.recipe import ValidateAges, locate
from migrate_bayes.checks.ages.sample import Sample
from migrate_bayes.checks.ages.statistics import Spread, spread
from migrate_bayes.core.errors import DataAbsentError
from migrate_bayes.isochrones import load_source

__all__ = ["AgeValidation", "ClusterRow", "M67Row", "native_source", "validate_ages"]

_COMPARED = ("m67", "kepler", "harps")  # real samples on which families are compared


@dataclass(frozen=True)
class ClusterRow:
    """A cluster's members against its literature age: age − literature, Gyr."""

    cluster: str
    catalogue: str
    feh: float
    age: float
    age_error: float
    field: float
    everyone: Spread
    good: Spread
    turnoff: Spread
    young_edge: int


@dataclass(frozen=True)
class M67Row:
    """Ages of some of M67's stars made in one way, Gyr."""

    label: str
    median: Spread
    mean_most_likely: float


@dataclass
class AgeValidation:
    """What was found.

    Parameters
    ----------
    recipe : ValidateAges
    options : AgeOptions
        The recipe's choices.
    book : AgeBook
        Samples, and their ages by choice.
    absent : dict
        Part to the reason why it was left out.
    """

    recipe: ValidateAges
    options: AgeOptions
    book: AgeBook
    absent: dict[str, str] = field(default_factory=dict)
    sources: list[str] = field(default_factory=list)
    sun: list[tuple[str, str, SunAge]] = field(default_factory=list)
    choices: list[Headline] = field(default_factory=list)
    families: list[Headline] = field(default_factory=list)
    m67: list[M67Row] = field(default_factory=list)
    clusters: list[ClusterRow] = field(default_factory=list)
    searched: dict[str, int] = field(default_factory=dict)
    pairs: list[FamilyPair] = field(default_factory=list)
    explained: dict[str, dict[str, Spread]] = field(default_factory=dict)
    calibration: xr.Dataset | None = None
    coverage: list[Coverage] = field(default_factory=list)
    systematic: dict[str, list[Coverage]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def ages(self, name: str) -> xr.Dataset:
        """Return a sample's ages by the recipe's choices."""
        return self.book.ages(self.options, name)


def validate_ages(
    recipe: ValidateAges, *, say: Callable[[str], None] = lambda text: None
) -> AgeValidation:
    """Run a validation.

    Parameters
    ----------
    recipe : ValidateAges
        What to run.
    say : callable
        Told of each part as it begins.

    Raises
    ------
    CatalogError, IsochroneError
        Where data that are there cannot be used.
    """
    options = AgeOptions(
        source=locate(recipe.ages.source), **recipe.ages.model_dump(exclude={"source"})
    )
    found = AgeValidation(recipe, options, AgeBook({}))
    for label, part in (
        ("samples", _samples),
        ("ages", _ages),
        ("the Sun", _sun),
        ("clusters", _clusters),
        ("choices", _choices),
        ("families", _families),
        ("Dartmouth against PARSEC", _explain),
        ("calibration", _calibration),
        ("another family's stars", _systematic),
    ):
        say(label)
        start = time.perf_counter()
        part(found)
        found.seconds[label] = time.perf_counter() - start
    return found


def _samples(found: AgeValidation) -> None:
    paths = found.recipe.data
    samples: dict[str, Sample] = {}
    for name, load, path in (
        ("m67", load_m67, paths.m67),
        ("m67_ddpayne", load_m67_ddpayne, paths.m67),
        ("kepler", load_kepler, paths.kepler),
        ("harps", load_harps, paths.harps),
    ):
        try:
            samples[name] = load(locate(path))
        except DataAbsentError as error:
            found.absent[name] = str(error)
    found.book = AgeBook(samples)
    found.book.catalogs.update(_mock(found.recipe, found.options))
    for text in found.recipe.families.sources:
        try:
            found.sources.append(locate(text))
        except DataAbsentError as error:
            found.absent[short_name(text)] = str(error)


def native_source(found: AgeValidation) -> str | None:
    """Return the first source with an [α/Fe] axis of its own."""
    named = [s for s in found.sources if s.startswith("dartmouth-native:")]
    return named[0] if named else None


def _ages(found: AgeValidation) -> None:
    samples = found.book.samples
    compared = [*(r.name for r in REGIONS), *(n for n in _COMPARED if n in samples)]
    native = native_source(found)
    fill(found.book, plan(found.options, found.sources, native, known=samples, compared=compared))


def _sun(found: AgeValidation) -> None:
    for source in found.sources:
        for method, scale in SUN_WAYS:
            o = found.options.but(source=source, method=method, feh_scale=scale)
            found.sun.append(
                (short_name(source), f"{method}, {scale}", sun_age(found.book.ages(o, "Sun")))
            )


def _clusters(found: AgeValidation) -> None:
    book = found.book
    if "m67" in book.samples:
        _m67(found)
    try:
        table = load_clusters(
            locate(found.recipe.data.clusters), locate(found.recipe.data.more_clusters)
        )
    except DataAbsentError as error:
        found.absent["clusters"] = str(error)
        return
    catalogs = {"harps": book.samples["harps"].catalog} if "harps" in book.samples else {}
    try:
        catalogs["lamost"] = load_lamost(locate(found.recipe.data.lamost))
    except DataAbsentError as error:
        found.absent["lamost"] = str(error)
    for name, catalog in catalogs.items():
        found.searched[name] = catalog.sizes["star"]
        for members in find_members(Sky.of(catalog), table):
            sample = members_of(members, catalog)
            ages = found.options.estimate(sample.catalog)
            found.clusters.append(
                _cluster_row(sample, ages, name, members.age, members.age_error, members.field)
            )


def _cluster_row(
    sample: Sample, ages: xr.Dataset, catalogue: str, age: float, error: float, field_stars: float
) -> ClusterRow:
    from migrate_bayes.core.flags import StarFlag

    off = ages["age_median"].values - age
    good = ages["age_error"].values < 0.25
    tip = turnoff(sample.catalog, ages)
    return ClusterRow(
        cluster=sample.name,
        catalogue=catalogue,
        feh=float(np.nanmedian(sample.catalog["feh"].values)),
        age=age,
        age_error=error,
        field=field_stars,
        everyone=spread(off),
        good=spread(off[good]),
        turnoff=spread(off[tip]),
        young_edge=int(np.sum(ages["flag"].values & np.int32(StarFlag.EDGE_YOUNG) != 0)),
    )


def _m67(found: AgeValidation) -> None:
    """Ages of M67 by our choices and by the paper's, on APOGEE's and on the paper's own stars."""
    book, samples = found.book, found.book.samples
    ages = found.ages("m67")
    sample = samples["m67"]
    found.clusters.append(
        _cluster_row(sample, ages, "apogee", float(sample.reference[0]), 0.3, 0.0)
    )
    paper = paper_options(found.options, native_source(found))
    ways = [("recipe", found.options), ("paper's way", paper)]
    for name, kind in (("m67", "APOGEE"), ("m67_ddpayne", "DD-Payne")):
        sample = samples[name]
        for way, o in ways:
            made = book.ages(o, name)
            good = made["age_error"].values < 0.25
            tip = turnoff(sample.catalog, made)
            dwarfs = good & (sample.catalog["logg"].values >= 4.2)
            for who, mask in (
                ("turn-off, single", tip & sample.extra["single"]),
                ("turn-off, all", tip),
                ("log g > 4.2", dwarfs),
                ("all, error < 25%", good),
            ):
                found.m67.append(
                    M67Row(
                        f"{kind}, {way}: {who}",
                        spread(made["age_median"].values[mask]),
                        float(np.mean(made["age_ml"].values[mask])) if mask.any() else np.nan,
                    )
                )


def _choices(found: AgeValidation) -> None:
    for label, o in choices(found.options, native_source(found)):
        found.choices.append(headline(found.book, o, label))


def _mock(recipe: ValidateAges, options: AgeOptions) -> dict[str, xr.Dataset]:
    """Draw stars of a likely disc, by region."""
    settings = recipe.calibration.model_copy(update={"stars": recipe.families.stars})
    stars = draw_prior_stars(
        "dartmouth", settings, seed=recipe.seed + 1, composition=disc_composition,
        photometric_floor=options.photometric_floor, feh_scale=options.feh_scale,
    )  # fmt: skip
    region = stars["region"].values
    return {r.name: stars.isel(star=np.flatnonzero(region == k)) for k, r in enumerate(REGIONS)}


def _family_masks(found: AgeValidation) -> dict[str, NDArray[np.bool_]]:
    mock = {r.name: found.book.catalogs[r.name] for r in REGIONS}
    masks = {name: np.ones(c.sizes["star"], dtype=bool) for name, c in mock.items()}
    for name in _COMPARED:
        if name in found.book.samples:
            sample = found.book.samples[name]
            mask = np.isfinite(sample.catalog["abs_g"].values)
            if name == "m67":
                mask &= m67_mask(sample, found.ages(name))
            masks[name] = mask
    return masks


def _families(found: AgeValidation) -> None:
    masks = _family_masks(found)
    for label, o in by_family(found.options, found.sources):
        found.families.append(headline(found.book, o, label))
    ages = {
        s: {name: found.book.ages(found.options.but(source=s), name) for name in masks}
        for s in found.sources
    }
    found.pairs = pairs(ages, masks)


def _explain(found: AgeValidation) -> None:
    if not {"dartmouth", "parsec"} <= set(found.sources):
        found.absent["dartmouth against parsec"] = "not both among the recipe's sources"
        return
    masks = _family_masks(found)
    found.explained = explain(found.book.ages, masks, setups(found.options))


def _calibration(found: AgeValidation) -> None:
    stars = draw_prior_stars(
        found.options.source, found.recipe.calibration, seed=found.recipe.seed,
        photometric_floor=found.options.photometric_floor,
        feh_scale=found.options.feh_scale,
    )  # fmt: skip
    found.calibration = calibrate(stars, found.options)
    found.coverage = coverage_table(found.calibration)


def _systematic(found: AgeValidation) -> None:
    """Stars of each other family, aged on the recipe's."""
    settings = found.recipe.calibration
    settings = settings.model_copy(update={"stars": max(settings.stars // 4, 100)})
    for source in found.sources:
        if source == found.options.source or load_source(source).has_alpha:
            continue  # a family with its own [α/Fe] draws other compositions
        stars = draw_prior_stars(
            source, settings, seed=found.recipe.seed + 2, like=found.options.source,
            photometric_floor=found.options.photometric_floor,
        feh_scale=found.options.feh_scale,
        )  # fmt: skip
        found.systematic[short_name(source)] = coverage_table(calibrate(stars, found.options))


def plain(value: Any) -> Any:
    """Round floats for JSON; None for what is not finite."""
    if isinstance(value, float | np.floating):
        return round(float(value), 4) if np.isfinite(value) else None
    return value
