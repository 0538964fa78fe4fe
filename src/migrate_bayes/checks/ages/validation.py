"""Everything a validation recipe asks for, in order; `comparisons` tabulates what it finds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import pairwise
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.checks.ages import calibration, choices, samples
from migrate_bayes.checks.ages.aims import SOLAR_AGE
from migrate_bayes.checks.ages.calibration import REGIONS, Coverage
from migrate_bayes.checks.ages.choices import AgeBook, Setup, estimate
from migrate_bayes.checks.ages.recipe import ValidateAges, locate
from migrate_bayes.checks.ages.samples import Sample, good_age, turnoff
from migrate_bayes.checks.ages.statistics import Spread, coverage, line_through, spread
from migrate_bayes.core.errors import DataAbsentError
from migrate_bayes.core.flags import StarFlag
from migrate_bayes.isochrones import (
    AgeOptions,
    Systematics,
    age_quantiles,
    isochrone,
    load_source,
)
from migrate_bayes.isochrones.states import GIANT_LOGG, GIANT_TEFF

# Real samples on which families are compared.
_COMPARED = ("m67", "kepler", "harps", "cks", "hypatia")

#: Parts in their order: the entries of `AgeValidation` that each of them computes.
_PARTS = {
    "the Sun": ("sun",),
    "clusters": ("m67", "clusters", "trends", "members", "gravities"),
    "giants": ("giants",),
    "choices": ("choices",),
    "families": ("families", "pairs"),
    "Dartmouth against PARSEC": ("explained",),
    "calibration": ("calibration",),
    "another family's stars": ("systematic",),
}
_LEAST, _MANY = 3, 20  # stars of one state in a cluster; hot ones of one whose log g is shown
_YOUNG = 0.5  # Gyr: clusters whose hot stars have hardly evolved
GRAVITY_BINS = (5000, 5500, 6000, 6500, 7000, 8000, 9000)  # K

#: Entries of a `headline` that a sample gives.
OFFSETS = ("m67_turnoff", "kepler_offset", "kepler_relative_offset", "harps_offset")

#: Entries of a cluster's row: age − literature age of these stars.
CLUSTER_STARS = {
    "offset": "all members", "offset_good_ages": "error < 25%", "offset_turnoff": "turn-off",
}  # fmt: skip

Row = dict[str, Any]


@dataclass
class AgeValidation:
    """What was found; each entry is computed when it is first asked for."""

    recipe: ValidateAges
    book: AgeBook  # samples, and their ages by choice
    absent: dict[str, str]  # part to the reason why it was left out
    seconds: dict[str, float]  # part to its time
    # Catalogue to its number of stars, searched for members of clusters.
    searched: dict[str, int] = field(default_factory=dict)
    # Samples with ages by family alone, not by every choice.
    by_family: dict[str, Sample] = field(default_factory=dict)

    def ages(self, name: str) -> xr.Dataset:
        """Return a sample's ages by the recipe's choices."""
        return self.book.ages(self.book.options, name)

    def tasks(self) -> list[tuple[AgeOptions, str]]:
        """Return the choices and samples whose ages the comparisons will ask for."""
        book, known = self.book, list(self.book.samples)
        families = list(book.families().values())
        both = [o for s in self._setups.values() for o in (s.parsec, s.dartmouth)]
        tasks = [(o, "Sun") for _, _, o in self._sun_ways]
        tasks += [(o, n) for o in [*book.choices().values(), *families] for n in ("Sun", *known)]
        tasks += [(book.paper, name) for name in known]
        tasks += [(o, "apokasc") for o in book.giants().values() if "apokasc" in self.by_family]
        tasks += [(o, "members") for o in book.members().values() if "members" in self.by_family]
        compared = [*(r.name for r in REGIONS), *(n for n in _COMPARED if n in book.catalogs)]
        return tasks + [(o, name) for o in [*families, *both] for name in compared]

    @property
    def _sun_ways(self) -> list[tuple[str, str, AgeOptions]]:
        return [
            (family, f"{method}, {scale}", AgeOptions.of(o, {"method": method, "feh_scale": scale}))
            for family, o in self.book.families().items()
            for method in ("fine", "paper")
            for scale in ("surface", "initial")
        ]

    @cached_property
    def sun(self) -> list[Row]:
        """The Sun's age by family, and by method and scale of [Fe/H]."""
        return [
            {"source": family, "kind": kind, **sun_age(self.book.ages(options, "Sun"))}
            for family, kind, options in self._sun_ways
        ]

    @cached_property
    def choices(self) -> list[Row]:
        """The `headline` of every set of choices, the recipe's own first."""
        return [headline(self.book, o, label) for label, o in self.book.choices().items()]

    @cached_property
    def families(self) -> list[Row]:
        """The `headline` of every family."""
        return [headline(self.book, o, label) for label, o in self.book.families().items()]

    @cached_property
    def m67(self) -> list[Row]:
        """M67's ages by our choices and by the paper's, on APOGEE's and the paper's own stars."""
        rows = []
        for name, kind in (("m67", "APOGEE"), ("m67_ddpayne", "DD-Payne")):
            if (sample := self.book.samples.get(name)) is None:
                continue
            for way, options in (("recipe", self.book.options), ("paper's way", self.book.paper)):
                ages = self.book.ages(options, name)
                tip, good = turnoff(sample.catalog, ages), good_age(ages)
                for who, mask in (
                    ("turn-off, single", tip & sample.usable),
                    ("turn-off, all", tip),
                    ("log g > 4.2", good & (sample.catalog["logg"].values >= 4.2)),
                    ("all, error < 25%", good),
                ):
                    most_likely = ages["age_ml"].values[mask]
                    rows.append({
                        "label": f"{kind}, {way}: {who}",
                        "ages": spread(ages["age_median"].values[mask]),
                        "mean_most_likely": float(np.mean(most_likely)) if mask.any() else np.nan,
                    })  # fmt: skip
        return rows

    @cached_property
    def clusters(self) -> list[Row]:
        """The members of each cluster: age − literature age."""
        data, rows = self.recipe.data, []
        if "m67" in self.book.samples:
            rows.append(_cluster_row(self.book.samples["m67"], self.ages("m67"), "apogee"))
        catalogs = {n: s.catalog for n, s in self.book.samples.items() if n == "harps"}
        with left_out(self.absent, "clusters"):
            table = samples.load_clusters(locate(data.clusters), locate(data.more_clusters))
            with left_out(self.absent, "lamost"):
                catalogs["lamost"] = samples.load_lamost(locate(data.lamost))
            for name, catalog in catalogs.items():
                self.searched[name] = catalog.sizes["star"]
                for sample in samples.find_members(catalog, table):
                    ages = estimate(sample.catalog, self.book.options)
                    rows.append(_cluster_row(sample, ages, name))
        return [*rows, *self._of_lamost()]

    def _of_lamost(self) -> Iterator[Row]:
        """Yield the row of each cluster that LAMOST observed."""
        if (sample := self.by_family.get("members")) is None:
            return
        names, ages = sample.catalog["cluster"].values, self.ages("members")
        for cluster in np.unique(names):
            stars = np.flatnonzero(names == cluster)
            if len(stars) >= _LEAST:
                arrays = ("reference", "reference_error", "usable")
                part = {name: getattr(sample, name)[stars] for name in arrays}
                catalog = sample.catalog.isel(star=stars)
                one = replace(sample, name=str(cluster), catalog=catalog, **part)
                yield _cluster_row(one, ages.isel(star=stars), "LAMOST")

    @cached_property
    def trends(self) -> list[Row]:
        """Figure 1 in numbers: the clusters' offsets, and their trend with [Fe/H]."""
        rows = []
        for name, label in CLUSTER_STARS.items():
            part = [row for row in self.clusters if row[name].count >= _LEAST]
            off, feh = (np.array(v) for v in ([r[name].median for r in part],
                                              [r["feh"] for r in part]))  # fmt: skip
            slope, error = line_through(feh, off)
            row: Row = {"label": label, "clusters": len(part), "offset": spread(off)}
            rows.append(row | {"slope": slope, "slope_error": error})
        return rows

    @cached_property
    def members(self) -> list[Row]:
        """LAMOST's members of clusters by evolutionary state: age − literature age by family."""
        if (sample := self.by_family.get("members")) is None:
            return []
        c, rows = sample.catalog, []
        aged = {label: self.book.ages(o, "members") for label, o in self.book.members().items()}
        names = c["cluster"].values
        clusters = dict(zip(names, sample.reference, strict=True))
        for cluster in sorted(clusters, key=lambda name: (clusters[name], name)):
            for state, there in states(c["teff"].values, c["logg"].values).items():
                mask = there & (names == cluster)
                if mask.sum() < _LEAST:
                    continue
                row: Row = {
                    "cluster": str(cluster), "literature_age": float(clusters[cluster]),
                    "state": state, "stars": int(mask.sum()),
                }  # fmt: skip
                for which in ("all", "usable"):
                    row[which] = {}
                    for label, ages in aged.items():
                        kept = mask & believed(ages) if which == "usable" else mask
                        off = ages["age_median"].values - sample.reference
                        row[which][label] = spread(off[kept])
                rows.append(row)
        return rows

    @cached_property
    def gravities(self) -> list[Row]:
        """LAMOST's log g of young members − that of the main sequence at the literature's age."""
        if (sample := self.by_family.get("members")) is None:
            return []
        c, rows = sample.catalog, []
        teff, logg, names = c["teff"].values, c["logg"].values, c["cluster"].values
        for cluster in np.unique(names[sample.reference < _YOUNG]):
            mask = (names == cluster) & (logg > GIANT_LOGG)
            age, feh = float(sample.reference[mask][0]), float(np.median(c["feh"].values[mask]))
            line = isochrone("mist", max(age, 0.1), feh)
            born = slice(0, int(np.argmax(line["teff"])) + 1)  # the main sequence to its hot end
            off = logg - np.interp(teff, *(line[name][born] for name in ("teff", "logg")))
            row: Row = {"cluster": str(cluster), "literature_age": age}
            for low, high in pairwise(GRAVITY_BINS):
                row[f"{low}-{high} K"] = spread(off[mask & (teff >= low) & (teff < high)])
            if sum(s.count for s in row.values() if isinstance(s, Spread)) >= _MANY:
                rows.append(row)
        return sorted(rows, key=lambda row: row["literature_age"])

    @cached_property
    def giants(self) -> list[Row]:
        """Giants with asteroseismic ages, branch and clump apart, by family."""
        if (sample := self.by_family.get("apokasc")) is None:
            return []
        clump, rows = sample.catalog["ref_clump"].values, []
        for k, state in enumerate(("giant branch", "red clump")):
            for label, options in self.book.giants().items():
                ages = self.book.ages(options, "apokasc")
                mask = (clump == k) & np.isfinite(ages["age_median"].values)
                row: Row = {"state": state, "label": label, "stars": int(mask.sum())}
                row["offset"] = spread((ages["age_median"].values - sample.reference)[mask])
                row["pull"] = spread(pulls(sample, ages)[mask])
                for name, kept in (
                    ("all", mask), ("25", mask & believed(ages)), ("50", mask & believed(ages, 0.5))
                ):  # fmt: skip
                    low, high = ages["age_lo"].values, ages["age_hi"].values
                    row[f"share_{name}"] = float(kept.sum() / max(mask.sum(), 1))
                    inside = coverage(sample.reference[kept], low[kept], high[kept])
                    row[f"coverage_{name}"] = inside[0]
                rows.append(row)
        return rows

    @cached_property
    def _masks(self) -> dict[str, NDArray[np.bool_]]:
        """The stars of each sample on which families are compared."""
        masks = {r.name: np.ones(self.book.catalogs[r.name].sizes["star"], bool) for r in REGIONS}
        for name in (n for n in _COMPARED if n in self.book.catalogs):
            masks[name] = np.isfinite(self.book.catalogs[name]["abs_g"].values)
        if "m67" in masks:
            masks["m67"] &= single_turnoff(self.book.samples["m67"], self.ages("m67"))
        return masks

    @cached_property
    def pairs(self) -> list[Row]:
        """Every family against the first, on every sample."""
        return choices.pairs(self.book.ages, self._masks, self.book.families())

    @property
    def _setups(self) -> dict[str, Setup]:
        both = {"dartmouth", "parsec"} <= set(self.book.sources)
        return choices.setups(self.book.options) if both else {}

    @cached_property
    def explained(self) -> dict[str, dict[str, Spread]]:
        """Dartmouth − PARSEC by set-up and sample, Gyr."""
        if not self._setups:
            self.absent["dartmouth against parsec"] = "not both among the recipe's sources"
        return choices.explain(self.book.ages, self._masks, self._setups)

    @cached_property
    def calibration(self) -> xr.Dataset:
        """Stars drawn from the prior, aged: the Dataset of `calibrate`."""
        recipe, nothing = self.recipe, Systematics()
        # These stars are of the isochrones themselves: there is no other scale to allow for.
        exact = {"systematics": nothing, "giant_systematics": nothing}
        own = AgeOptions.of(self.book.options, exact)
        stars = calibration.draw_prior_stars(own, recipe.calibration, seed=recipe.seed)
        return calibration.calibrate(stars, own)

    @cached_property
    def coverage(self) -> list[Coverage]:
        """The `coverage_table` of the calibration."""
        return calibration.coverage_table(self.calibration)

    @cached_property
    def systematic(self) -> dict[str, list[Coverage]]:
        """The `coverage_table` of stars of each other family, aged on the recipe's."""
        settings, own = self.recipe.calibration, self.book.options
        settings = settings.model_copy(update={"stars": max(settings.stars // 4, 100)})
        found = {}
        for family, options in self.book.families().items():
            if options.source == own.source or load_source(options.source).has_alpha:
                continue  # a family with its own [α/Fe] draws other compositions
            stars = calibration.draw_prior_stars(
                options, settings, seed=self.recipe.seed + 2, like=own.source
            )
            found[family] = calibration.coverage_table(calibration.calibrate(stars, own))
        return found


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
        What was found: ``sun``, ``choices``, ``families``, ``m67``, ``clusters``, ``members``,
        ``gravities``, ``giants``, ``pairs``, ``explained``, ``calibration``, ``coverage`` and
        ``systematic``.

    Raises
    ------
    CatalogError, IsochroneError
        If data that are there cannot be used.

    Examples
    --------
    A validation takes minutes. ``validate_ages(recipe)`` runs this recipe:

    >>> from migrate_bayes.checks.ages import ValidateAges
    >>> recipe = ValidateAges(families={"sources": ["dartmouth"]}, calibration={"stars": 400})
    >>> recipe.families.stars, recipe.name
    (4000, 'validate-ages')
    """
    recipe, absent, seconds = recipe or ValidateAges(), dict[str, str](), dict[str, float]()

    @contextmanager
    def timed(label: str) -> Iterator[None]:
        say(label)
        start = time.perf_counter()
        yield
        seconds[label] = time.perf_counter() - start

    with timed("samples"):
        found = AgeValidation(recipe, _read_samples(recipe, absent), absent, seconds)
        found.by_family = _read_families_samples(recipe, absent)
        found.book.catalogs |= {name: s.catalog for name, s in found.by_family.items()}
    with timed("ages"):
        found.book.fill(found.tasks())
    for label, names in _PARTS.items():
        with timed(label):
            for name in names:
                getattr(found, name)
    return found


@contextmanager
def left_out(absent: dict[str, str], part: str) -> Iterator[None]:
    """Leave a part out if its data are absent, and keep the reason."""
    try:
        yield
    except DataAbsentError as error:
        absent[part] = str(error)


def _read_samples(recipe: ValidateAges, absent: dict[str, str]) -> AgeBook:
    """Read the real stars, locate the families, and draw stars of a likely disc."""
    options = AgeOptions.of(recipe.ages, {"source": locate(recipe.ages.source)})
    known: dict[str, Sample] = {}
    for name, load, path in (
        ("m67", samples.load_m67, recipe.data.m67),
        ("m67_ddpayne", partial(samples.load_m67, ddpayne=True), recipe.data.m67),
        ("kepler", samples.load_kepler, recipe.data.kepler),
        ("harps", samples.load_harps, recipe.data.harps),
    ):
        with left_out(absent, name):
            known[name] = load(locate(path))
    sources: list[str] = []
    for text in recipe.families.sources:
        with left_out(absent, text.partition(":")[0]):
            sources.append(locate(text))
    book = AgeBook(options, known, sources)
    mock = calibration.draw_prior_stars(
        AgeOptions.of(options, {"source": "dartmouth"}),
        recipe.calibration.model_copy(update={"stars": recipe.families.stars}),
        seed=recipe.seed + 1, composition=calibration.disc_composition,
    )  # fmt: skip
    with left_out(absent, "hypatia"):
        book.catalogs["hypatia"] = samples.near_dwarfs(locate(recipe.data.hypatia), "hypatia")
    for k, region in enumerate(REGIONS):
        book.catalogs[region.name] = mock.isel(star=np.flatnonzero(mock["region"].values == k))
    return book


def believed(ages: xr.Dataset, limit: float = 0.25) -> NDArray[np.bool_]:
    """Return the stars whose ages a run would use: error below the limit, no flag against it."""
    against = StarFlag.MISSING_PHASE | StarFlag.POOR_FIT | StarFlag.EXCLUDED
    return (ages["age_error"].values < limit) & (ages["flag"].values & np.int32(against) == 0)


def states(teff: NDArray, logg: NDArray) -> dict[str, NDArray[np.bool_]]:
    """Divide stars by evolutionary state as observed; T_eff in K."""
    giant = (teff < GIANT_TEFF) & (logg < GIANT_LOGG)
    evolved = ~giant & (teff < 7000.0) & (logg < 4.2)
    dwarf = ~giant & ~evolved
    return {
        "giants": giant,
        "turn-off, subgiants": evolved,
        "dwarfs < 6000 K": dwarf & (teff < 6000.0),
        "dwarfs 6000-7000 K": dwarf & (teff >= 6000.0) & (teff < 7000.0),
        "hotter": dwarf & (teff >= 7000.0),
    }


def _read_families_samples(recipe: ValidateAges, absent: dict[str, str]) -> dict[str, Sample]:
    """Read the samples whose ages are estimated by family alone."""
    known, data = {}, recipe.data
    with left_out(absent, "apokasc"):
        known["apokasc"] = samples.load_apokasc(locate(data.apokasc))
    with left_out(absent, "cks"):
        known["cks"] = samples.load_cks(locate(data.cks))
    with left_out(absent, "members"):
        low, medium = locate(data.members_low), locate(data.members_medium)
        known["members"] = samples.load_members(low, medium)
    return known


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

    They are the Sun's age, and the `Spread` in Gyr of the ages of M67's single turn-off stars and
    subgiants, of age − asteroseismic age (also over the latter), and of age − StarHorse age.
    """
    row: Row = {"label": label, **sun_age(book.ages(options, "Sun"))}
    row |= dict.fromkeys(OFFSETS)
    for name, sample in book.samples.items():
        ages = book.ages(options, name)
        median, used = ages["age_median"].values, sample.compared
        off, reference = (median - sample.reference)[used], sample.reference[used]
        if name == "m67":
            row["m67_turnoff"] = spread(median[single_turnoff(sample, ages)])
        elif name == "kepler":
            row |= {"kepler_offset": spread(off), "kepler_relative_offset": spread(off / reference)}
        elif name == "harps":
            row["harps_offset"] = spread(off)
    return row


def pulls(sample: Sample, ages: xr.Dataset) -> NDArray[np.float64]:
    """Return (age − reference) over both errors, ours half the 68% interval, in quadrature."""
    low, high = age_quantiles(ages, [0.16, 0.84]).values.T
    error = np.hypot(0.5 * (high - low), sample.reference_error)
    pull = (ages["age_median"].values - sample.reference) / error
    return np.asarray(np.where(sample.compared, pull, np.nan))


def _cluster_row(sample: Sample, ages: xr.Dataset, catalogue: str) -> Row:
    age = float(sample.reference[0])
    off = ages["age_median"].values - age
    return {
        "cluster": sample.name,
        "catalogue": catalogue,
        "literature_age": age,
        "literature_age_error": float(sample.reference_error[0]),
        "feh": float(np.nanmedian(sample.catalog["feh"].values)),
        "field_stars_expected": sample.field,
        "offset": spread(off),
        "offset_good_ages": spread(off[good_age(ages)]),
        "offset_turnoff": spread(off[turnoff(sample.catalog, ages)]),
        "at_young_edge": int(np.sum(ages["flag"].values & np.int32(StarFlag.EDGE_YOUNG) != 0)),
    }
