"""Everything a validation recipe asks for, in order, and its numbers.

`validate_ages` runs the parts; `AgeValidation` holds what they found, row by row, under the names
that the JSON has. A part whose third-party data are absent is left out, with the reason in
``absent``. `comparisons` turns the rows into tables, JSON and product.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.checks.ages.age_book import AgeBook, estimate
from migrate_bayes.checks.ages.aims import SOLAR_AGE
from migrate_bayes.checks.ages.calibration import (
    REGIONS,
    Coverage,
    calibrate,
    coverage_table,
    disc_composition,
    draw_prior_stars,
)
from migrate_bayes.checks.ages.clusters import ClusterMembers, find_members, load_clusters
from migrate_bayes.checks.ages.families import Setup, explain, pairs, setups
from migrate_bayes.checks.ages.recipe import ValidateAges, locate
from migrate_bayes.checks.ages.samples import (
    Sample,
    good_age,
    load_harps,
    load_kepler,
    load_lamost,
    load_m67,
    turnoff,
)
from migrate_bayes.checks.ages.statistics import Spread, spread
from migrate_bayes.core.errors import DataAbsentError
from migrate_bayes.core.flags import StarFlag
from migrate_bayes.isochrones import AgeOptions, age_quantiles, load_source

_COMPARED = ("m67", "kepler", "harps")  # real samples on which families are compared
_SUN_WAYS = tuple((m, s) for m in ("fine", "paper") for s in ("surface", "initial"))

Row = dict[str, Any]


@dataclass
class AgeValidation:
    """What was found.

    Attributes
    ----------
    recipe : ValidateAges
    book : AgeBook
        Samples, and their ages by choice.
    absent : dict
        Part to the reason why it was left out.
    sun, choices, families, m67, clusters, pairs : list of dict
        Rows: numbers, and `Spread` of ages or of differences in age (Gyr).
    searched : dict
        Catalogue to its number of stars, searched for members of clusters.
    explained : dict
        Set-up, then sample, to the `Spread` of Dartmouth − PARSEC, Gyr.
    calibration : xarray.Dataset
        From `calibrate`; `coverage` is its, `systematic` that of each other family's stars.
    seconds : dict
        Part to its time.
    """

    recipe: ValidateAges
    book: AgeBook
    absent: dict[str, str] = field(default_factory=dict)
    sun: list[Row] = field(default_factory=list)
    choices: list[Row] = field(default_factory=list)
    families: list[Row] = field(default_factory=list)
    m67: list[Row] = field(default_factory=list)
    clusters: list[Row] = field(default_factory=list)
    searched: dict[str, int] = field(default_factory=dict)
    pairs: list[Row] = field(default_factory=list)
    explained: dict[str, dict[str, Spread]] = field(default_factory=dict)
    calibration: xr.Dataset | None = None
    coverage: list[Coverage] = field(default_factory=list)
    systematic: dict[str, list[Coverage]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def options(self) -> AgeOptions:
        """The recipe's choices."""
        return self.book.options

    def ages(self, name: str) -> xr.Dataset:
        """Return a sample's ages by the recipe's choices."""
        return self.book.ages(self.options, name)

    @cached_property
    def masks(self) -> dict[str, NDArray[np.bool_]]:
        """The stars of each sample on which families are compared."""
        masks = {r.name: np.ones(self.book.catalogs[r.name].sizes["star"], bool) for r in REGIONS}
        for name in (n for n in _COMPARED if n in self.book.samples):
            masks[name] = np.isfinite(self.book.catalogs[name]["abs_g"].values)
        if "m67" in masks:
            masks["m67"] &= single_turnoff(self.book.samples["m67"], self.ages("m67"))
        return masks


def validate_ages(
    recipe: ValidateAges | None = None, *, say: Callable[[str], None] = lambda text: None
) -> AgeValidation:
    """Run a validation of the age stage.

    Parameters
    ----------
    recipe : ValidateAges, optional
        What to run; the defaults if not given.
    say : callable
        Told of each part as it begins.

    Returns
    -------
    AgeValidation

    Raises
    ------
    CatalogError, IsochroneError
        If data that are there cannot be used.
    """
    recipe = recipe or ValidateAges()
    options = AgeOptions.of(recipe.ages, {"source": locate(recipe.ages.source)})
    found = AgeValidation(recipe, AgeBook(options, {}, []))
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
    """Read the real stars, draw those of a likely disc, and locate the families."""
    recipe, options = found.recipe, found.options
    samples: dict[str, Sample] = {}
    for name, load, path in (
        ("m67", load_m67, recipe.data.m67),
        ("m67_ddpayne", partial(load_m67, ddpayne=True), recipe.data.m67),
        ("kepler", load_kepler, recipe.data.kepler),
        ("harps", load_harps, recipe.data.harps),
    ):
        with _or_absent(found, name):
            samples[name] = load(locate(path))
    sources: list[str] = []
    for text in recipe.families.sources:
        with _or_absent(found, text.partition(":")[0]):
            sources.append(locate(text))
    found.book = AgeBook(options, samples, sources)
    mock = draw_prior_stars(
        AgeOptions.of(options, {"source": "dartmouth"}),
        recipe.calibration.model_copy(update={"stars": recipe.families.stars}),
        seed=recipe.seed + 1, composition=disc_composition,
    )  # fmt: skip
    for k, region in enumerate(REGIONS):
        chosen = np.flatnonzero(mock["region"].values == k)
        found.book.catalogs[region.name] = mock.isel(star=chosen)


@contextmanager
def _or_absent(found: AgeValidation, part: str) -> Iterator[None]:
    """Leave a part out whose data are absent."""
    try:
        yield
    except DataAbsentError as error:
        found.absent[part] = str(error)


def _ages(found: AgeValidation) -> None:
    """Estimate all the ages that the comparisons will ask for."""
    book, known = found.book, list(found.book.samples)
    compared = [*(r.name for r in REGIONS), *(n for n in _COMPARED if n in known)]
    families = list(book.families().values())
    setups_ = _setups(found).values()
    tasks = [(o, "Sun") for _, _, o in _sun_ways(found)]
    tasks += [(o, n) for o in [*book.choices().values(), *families] for n in ("Sun", *known)]
    tasks += [(book.paper, name) for name in known]
    tasks += [(o, n) for o in families for n in compared]
    tasks += [(o, n) for s in setups_ for o in (s.parsec, s.dartmouth) for n in compared]
    book.fill(tasks)


def _sun_ways(found: AgeValidation) -> list[tuple[str, str, AgeOptions]]:
    return [
        (family, f"{method}, {scale}", AgeOptions.of(o, {"method": method, "feh_scale": scale}))
        for family, o in found.book.families().items()
        for method, scale in _SUN_WAYS
    ]


def _sun(found: AgeValidation) -> None:
    for family, kind, options in _sun_ways(found):
        row = sun_age(found.book.ages(options, "Sun"))
        found.sun.append({"source": family, "kind": kind, **row})


def sun_age(ages: xr.Dataset) -> Row:
    """Summarise the ages of a catalogue whose one star is the Sun: median and 68% interval, Gyr."""
    low, median, high = (float(x) for x in age_quantiles(ages, [0.16, 0.5, 0.84]).values[0])
    return {
        "sun_age": median,
        "sun_age_lo": low,
        "sun_age_hi": high,
        "sun_age_most_likely": float(ages["age_ml"].values[0]),
        "sun_within_1_sigma": low <= SOLAR_AGE <= high,
    }


def single_turnoff(sample: Sample, ages: xr.Dataset) -> NDArray[np.bool_]:
    """Select M67's stars of the headline: `turnoff`, and no sign of a companion."""
    return turnoff(sample.catalog, ages) & sample.usable


def headline(book: AgeBook, options: AgeOptions, label: str) -> Row:
    """Return the few numbers that a set of choices is judged by; a sample's are None without it.

    The Sun's age; the `Spread` of the ages of M67's single turn-off stars and subgiants, of age −
    asteroseismic age (and of the same over the asteroseismic age) and of age − StarHorse age, Gyr.
    """
    row: Row = {"label": label, **sun_age(book.ages(options, "Sun"))}
    names = ("m67_turnoff", "kepler_offset", "kepler_relative_offset", "harps_offset")
    row |= dict.fromkeys(names)
    if "m67" in book.samples:
        ages = book.ages(options, "m67")
        tip = single_turnoff(book.samples["m67"], ages)
        row["m67_turnoff"] = spread(ages["age_median"].values[tip])
    for name in ("kepler", "harps"):
        if name in book.samples:
            sample = book.samples[name]
            reference = sample.reference[sample.compared]
            ages = book.ages(options, name)
            difference = ages["age_median"].values[sample.compared] - reference
            row[f"{name}_offset"] = spread(difference)
            if name == "kepler":
                row["kepler_relative_offset"] = spread(difference / reference)
    return row


def pulls(sample: Sample, ages: xr.Dataset) -> NDArray[np.float64]:
    """Return (age − reference) over both errors in quadrature, NaN for stars that lack one.

    Our error is half of the central 68% interval.
    """
    q = age_quantiles(ages, [0.16, 0.84]).values
    error = np.hypot(0.5 * (q[:, 1] - q[:, 0]), sample.reference_error)
    pull = (ages["age_median"].values - sample.reference) / error
    return np.asarray(np.where(sample.compared, pull, np.nan))


def _clusters(found: AgeValidation) -> None:
    """Search the catalogues for members of clusters, and compare their ages with the literature."""
    book, data = found.book, found.recipe.data
    if "m67" in book.samples:
        _m67(found)
    catalogs = {"harps": book.samples["harps"].catalog} if "harps" in book.samples else {}
    with _or_absent(found, "clusters"):
        table = load_clusters(locate(data.clusters), locate(data.more_clusters))
        with _or_absent(found, "lamost"):
            catalogs["lamost"] = load_lamost(locate(data.lamost))
        for name, catalog in catalogs.items():
            found.searched[name] = catalog.sizes["star"]
            for sample in find_members(catalog, table):
                ages = estimate(sample.catalog, found.options)
                found.clusters.append(_cluster_row(sample, ages, name))


def _cluster_row(sample: Sample, ages: xr.Dataset, catalogue: str) -> Row:
    age = float(sample.reference[0])
    off = ages["age_median"].values - age
    return {
        "cluster": sample.name,
        "catalogue": catalogue,
        "literature_age": age,
        "literature_age_error": float(sample.reference_error[0]),
        "feh": float(np.nanmedian(sample.catalog["feh"].values)),
        "field_stars_expected": sample.field if isinstance(sample, ClusterMembers) else 0.0,
        "offset": spread(off),
        "offset_good_ages": spread(off[good_age(ages)]),
        "offset_turnoff": spread(off[turnoff(sample.catalog, ages)]),
        "at_young_edge": int(np.sum(ages["flag"].values & np.int32(StarFlag.EDGE_YOUNG) != 0)),
    }


def _m67(found: AgeValidation) -> None:
    """Age M67 by our choices and by the paper's, on APOGEE's and on the paper's own stars."""
    book = found.book
    found.clusters.append(_cluster_row(book.samples["m67"], found.ages("m67"), "apogee"))
    for name, kind in (("m67", "APOGEE"), ("m67_ddpayne", "DD-Payne")):
        sample = book.samples[name]
        for way, options in (("recipe", found.options), ("paper's way", found.book.paper)):
            ages = book.ages(options, name)
            tip, good = turnoff(sample.catalog, ages), good_age(ages)
            for who, mask in (
                ("turn-off, single", tip & sample.usable),
                ("turn-off, all", tip),
                ("log g > 4.2", good & (sample.catalog["logg"].values >= 4.2)),
                ("all, error < 25%", good),
            ):
                most_likely = ages["age_ml"].values[mask]
                found.m67.append({
                    "label": f"{kind}, {way}: {who}",
                    "ages": spread(ages["age_median"].values[mask]),
                    "mean_most_likely": float(np.mean(most_likely)) if mask.any() else np.nan,
                })  # fmt: skip


def _choices(found: AgeValidation) -> None:
    found.choices = [headline(found.book, o, label) for label, o in found.book.choices().items()]


def _families(found: AgeValidation) -> None:
    families = found.book.families()
    found.families = [headline(found.book, o, label) for label, o in families.items()]
    found.pairs = pairs(found.book.ages, found.masks, families)


def _setups(found: AgeValidation) -> dict[str, Setup]:
    return setups(found.options) if {"dartmouth", "parsec"} <= set(found.book.sources) else {}


def _explain(found: AgeValidation) -> None:
    found.explained = explain(found.book.ages, found.masks, _setups(found))
    if not found.explained:
        found.absent["dartmouth against parsec"] = "not both among the recipe's sources"


def _calibration(found: AgeValidation) -> None:
    recipe = found.recipe
    stars = draw_prior_stars(found.options, recipe.calibration, seed=recipe.seed)
    found.calibration = calibrate(stars, found.options)
    found.coverage = coverage_table(found.calibration)


def _systematic(found: AgeValidation) -> None:
    """Age stars of each other family on the recipe's."""
    settings = found.recipe.calibration
    settings = settings.model_copy(update={"stars": max(settings.stars // 4, 100)})
    for family, options in found.book.families().items():
        if options.source == found.options.source or load_source(options.source).has_alpha:
            continue  # a family with its own [α/Fe] draws other compositions
        stars = draw_prior_stars(
            options, settings, seed=found.recipe.seed + 2, like=found.options.source
        )
        found.systematic[family] = coverage_table(calibrate(stars, found.options))
