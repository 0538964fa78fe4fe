"""A validation as tables, as plain numbers (what ``--json`` prints) and as a product on disk."""

from __future__ import annotations

import json
import math
import string
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from migrate_bayes.checks.ages import aims
from migrate_bayes.checks.ages.choices import AGE_BINS, sample_label
from migrate_bayes.checks.ages.samples import Sample
from migrate_bayes.checks.ages.statistics import Spread, spread, spread_by_bin
from migrate_bayes.checks.ages.validation import (
    GRAVITY_BINS,
    OFFSETS,
    AgeValidation,
    Row,
    pulls,
    single_turnoff,
)
from migrate_bayes.core.provenance import provenance
from migrate_bayes.core.table import Table, plain


class _Words(string.Formatter):
    """`str.format` that writes a dash for what is unknown or absent."""

    def get_field(self, field_name: str, args: Any, kwargs: Any) -> Any:
        """Return None for an attribute of an absent sample."""
        try:
            return super().get_field(field_name, args, kwargs)
        except AttributeError:
            return None, field_name

    def format_field(self, value: Any, format_spec: str) -> str:
        """Word one value; whether an aim is met, too."""
        if isinstance(value, bool):
            return "yes" if value else "NO"
        if value is None or (isinstance(value, float) and not math.isfinite(value)):
            return "–"
        return super().format_field(value, format_spec)


class Comparison(NamedTuple):
    """How the rows of a comparison are shown, in a table and as JSON: described once."""

    title: str
    columns: Mapping[str, str]  # heading of a column to a template of `str.format` over a row
    numbers: tuple[str, ...] = ()  # a row's entries in the JSON; of a `*Spread` its own numbers
    label: str = "{label}"  # a row's name in the JSON

    def table(self, rows: Iterable[Row]) -> Table:
        """Return a table of rows."""
        words = _Words()
        cells = [[words.vformat(c, (), row) for c in self.columns.values()] for row in rows]
        return Table(self.title, list(self.columns), cells)

    def json(self, rows: Iterable[Row]) -> dict[str, Row]:
        """Return the numbers of rows by label."""
        return {self.label.format_map(row): _numbers(row, self.numbers) for row in rows}


def _numbers(row: Row, names: Iterable[str]) -> Row:
    out: Row = {}
    for name in names:
        value = row[name.lstrip("*")]
        value = value.as_dict() if isinstance(value, Spread) else value
        out |= value if name.startswith("*") else {name: value}
    return out


_SUN_INTERVAL = "{sun_age:.2f} [{sun_age_lo:.2f}, {sun_age_hi:.2f}]"
_SUN = Comparison(
    "The Sun (Gyr)",
    {
        "source": "{source}",
        "method, [Fe/H] scale": "{kind}",
        "most likely": "{sun_age_most_likely:.2f}",
        "median": "{sun_age:.2f}",
        "16%": "{sun_age_lo:.2f}",
        "84%": "{sun_age_hi:.2f}",
        f"holds {aims.SOLAR_AGE}": "{sun_within_1_sigma}",
    },
    ("sun_age", "sun_age_lo", "sun_age_hi", "sun_age_most_likely", "sun_within_1_sigma"),
)
_CHOICES = Comparison(
    "By choice (Gyr)",
    {
        "": "{label}",
        "Sun": _SUN_INTERVAL,
        "M67 turn-off": "{m67_turnoff:.2f}",
        "Kepler offset": "{kepler_offset:+.2f}",
        "Kepler scatter": "{kepler_relative_offset.scatter:.1%}",
        "HARPS − StarHorse": "{harps_offset:+.2f}",
    },
    (*_SUN.numbers[:3], *OFFSETS),
)
_M67 = Comparison(
    "M67 (Gyr)",
    {
        "stars and choices": "{label}",
        "stars": "{ages.count}",
        "median": "{ages.median:.2f}",
        "scatter": "{ages.scatter:.2f}",
        "mean of most likely": "{mean_most_likely:.2f}",
    },
    ("*ages", "mean_most_likely"),
)
_TRENDS = Comparison(
    "Open clusters together: the paper finds +0.66 Gyr and no trend",
    {
        "stars": "{label}",
        "clusters": "{clusters}",
        "median offset (Gyr)": "{offset.median:+.2f}",
        "scatter": "{offset.scatter:.2f}",
        "trend with [Fe/H] (Gyr/dex)": "{slope:+.1f} ± {slope_error:.1f}",
    },
    ("clusters", "*offset", "slope", "slope_error"),
)
_CLUSTERS = Comparison(
    "Open clusters: age − literature age (Gyr)",
    {
        "cluster": "{cluster}",
        "catalogue": "{catalogue}",
        "literature (Gyr)": "{literature_age:.2f} ± {literature_age_error:.2f}",
        "[Fe/H]": "{feh:+.2f}",
        "field stars": "{field_stars_expected:.1f}",
        "offset, all": "{offset:+.2f}",
        "error < 25%": "{offset_good_ages:+.2f}",
        "turn-off": "{offset_turnoff:+.2f}",
        "at young edge": "{at_young_edge}",
    },
    (
        "literature_age", "feh", "field_stars_expected", "offset", "offset_good_ages",
        "offset_turnoff", "at_young_edge",
    ),
    "{cluster} ({catalogue})",
)  # fmt: skip
_GIANTS = Comparison(
    "Giants of APOKASC-2: age − asteroseismic age (Gyr), and how often the interval holds it",
    {
        "": "{state}: {label}",
        "stars": "{stars:,}",
        "offset": "{offset.median:+.2f}",
        "scatter": "{offset.scatter:.2f}",
        "pull": "{pull.median:+.2f} ± {pull.scatter:.2f}",
        "68%": "{coverage_all:.0%}",
        "usable": "{share_25:.1%}",
        "68%, usable": "{coverage_25:.0%}",
        "error < 50%": "{share_50:.1%}",
        "68%, those": "{coverage_50:.0%}",
    },
    (
        "stars", "offset", "pull", "coverage_all", "share_25", "coverage_25", "share_50",
        "coverage_50",
    ),
    "{state}: {label}",
)  # fmt: skip
_GRAVITIES = Comparison(
    "LAMOST's log g of members − that of MIST's main sequence at the literature's age (dex)",
    {
        "cluster": "{cluster}",
        "literature": "{literature_age:.2f}",
        **{f"{low}-{high} K": f"{{{low}-{high} K:+.2f}}" for low, high in pairwise(GRAVITY_BINS)},
    },
    tuple(f"{low}-{high} K" for low, high in pairwise(GRAVITY_BINS)),
    "{cluster}",
)
_COVERAGE = Comparison(
    "Coverage",
    {
        "": "{name}",
        "stars": "{stars:,}",
        "68%": "{coverage68:.1%} ± {error68:.1%}",
        "95%": "{coverage95:.1%} ± {error95:.1%}",
        "0.61 interval": "{coverage61:.1%}",
        "median offset": "{median_relative_offset:+.1%}",
        "scatter": "{relative_scatter:.1%}",
    },
    ("stars", "coverage68", "coverage95", "coverage61"),
    "{group}: {label}",
)
_SYSTEMATIC = _COVERAGE._replace(
    title="Stars of another family",
    columns={**_COVERAGE.columns, "": "{family}: {label}"},
    numbers=("stars", "coverage68", "coverage95", "median_relative_offset", "relative_scatter"),
    label="{family} stars: {label}",
)
_PAIRS = Comparison(
    "The same stars on every family (Gyr)",
    {
        "": "{family} − {base}: {label}",
        "median difference": "{difference:+.2f}",
        "scatter": "{difference.scatter:.2f}",
        "%": "{percent:+.1f}",
        **{f"{low:g}-{high:g}": f"{{{low:g}-{high:g}:+.2f}}" for low, high in pairwise(AGE_BINS)},
    },
    ("*difference", "median_relative", "by_age"),
    "{sample}",
)
#: What is measured, its wording and its number in the JSON's names; the aim and its wording.
_AIMS = (
    (
        "M67, {m67_turnoff.count} turn-off stars and subgiants (Gyr)",
        "{m67_turnoff.median:.2f} ± {m67_turnoff.median_error:.2f}, "
        "scatter {m67_turnoff.scatter:.2f}",
        "m67_turnoff.median", aims.M67_AGE, "{low:.1f}-{high:.1f}",
    ),
    (
        "Kepler, {kepler_offset.count} dwarfs: median offset (Gyr)",
        "{kepler_offset.median:+.2f} ± {kepler_offset.median_error:.2f}",
        "kepler_offset.median", aims.KEPLER_OFFSET, "within ±{high:.1f}",
    ),
    (
        "Kepler: scatter of offset / seismic age", "{kepler_relative_offset.scatter:.1%}",
        "kepler_relative_offset.scatter", aims.KEPLER_SCATTER, "at most {high:.0%}",
    ),
    *(
        (
            f"Coverage of {level}% intervals, {{stars:,}} stars", _COVERAGE.columns[f"{level}%"],
            f"coverage{level}", aim, "{low:.0%}-{high:.0%}",
        )
        for level, aim in ((68, aims.COVERAGE68), (95, aims.COVERAGE95))
    ),
)  # fmt: skip


def tables(found: AgeValidation) -> dict[str, Table]:
    """Return every table of a validation by name; those without rows are false."""
    every = [c for c in found.coverage if c.stars]
    named = (vars(c) | {"name": c.label if c.by_region else f"{c.group} {c.label}"} for c in every)
    regions = _COVERAGE._replace(title="Calibration", columns={**_COVERAGE.columns, "": "{label}"})
    out = {
        "aims": _aims(found),
        "sun": _SUN.table(found.sun),
        "m67": _M67.table(found.m67),
        "clusters": _CLUSTERS.table(found.clusters),
        "trends": _TRENDS.table(found.trends),
        "members": _members(found, "all", ""),
        "members usable": _members(found, "usable", ", of usable stars with errors below 25%"),
        "gravities": _GRAVITIES.table(found.gravities),
        "giants": _GIANTS.table(found.giants),
        "choices": _CHOICES.table(found.choices),
        "families": _CHOICES._replace(title="By family (Gyr)").table(found.families),
        "pairs": _PAIRS.table(map(_pair_cells, found.pairs)),
        "parsec": _parsec(found, "{%s:+.2f}"),
        "parsec medians": _parsec(found, "{%s.median:+.2f}"),
        "coverage": _COVERAGE.table(named),
        "calibration": regions.table(vars(c) for c in every if c.by_region),
        "systematic": _SYSTEMATIC.table(row for row in _systematic(found) if row["stars"]),
    }
    for name in ("kepler", "harps", "cks"):
        if sample := found.book.samples.get(name) or found.by_family.get(name):
            out[name] = _by_age(sample, found.ages(name))
    return out


def _aims(found: AgeValidation) -> Table:
    """Return each headline number beside its aim; those of absent samples are left out."""
    row, words = {**vars(found.coverage[0]), **found.choices[0]}, _Words()
    within = f"{aims.SOLAR_AGE} within 1σ"
    rows = [["Sun (Gyr)", _SUN_INTERVAL, within, "{sun_within_1_sigma}"]]
    for what, measured, number, aim, text in _AIMS:
        value, _ = words.get_field(number, (), row)
        if value is not None:
            met = words.format("{}", aim.met(value))
            rows.append([what, measured, text.format_map(aim._asdict()), met])
    cells = [[words.vformat(cell, (), row) for cell in cells] for cells in rows]
    return Table("Validation of ages", ["", "measured", "aim", "met"], cells)


def _systematic(found: AgeValidation) -> list[Row]:
    every = ((family, c) for family, rows in found.systematic.items() for c in rows)
    return [{**vars(c), "family": family} for family, c in every if c.by_region]


def _pair_cells(pair: Row) -> Row:
    cells = {name: s.median if s.count >= 5 else None for name, s in pair["by_age"].items()}
    label, percent = sample_label(pair["sample"]), 100 * pair["median_relative"]
    return {**pair, **cells, "label": label, "percent": percent}


def _parsec(found: AgeValidation, template: str) -> Table:
    samples = list(next(iter(found.explained.values()), {}))
    columns = {"": "{label}"} | {sample_label(s): template % s for s in samples}
    rows = ({"label": label, **by} for label, by in found.explained.items())
    return Comparison("Dartmouth − PARSEC (Gyr)", columns).table(rows)


def _members(found: AgeValidation, which: str, title: str) -> Table:
    labels = list(found.members[0][which]) if found.members else []
    columns = {
        "cluster": "{cluster}", "literature": "{literature_age:.2f}", "state": "{state}",
        "stars": "{stars}", **{label: f"{{{label}:+.2f}}" for label in labels},
    }  # fmt: skip
    rows = ({**row, **row[which]} for row in found.members)
    whole = f"LAMOST's cluster members: age − literature age (Gyr){title}"
    return Comparison(whole, columns).table(rows)


def _by_age(sample: Sample, ages: xr.Dataset) -> Table:
    """Return age − reference age in bins of the mean of the two."""
    age, reference = ages["age_median"].values, sample.reference
    off = np.where(sample.usable, age - reference, np.nan)
    by_bin = spread_by_bin(0.5 * (age + reference), off, (0.0, *AGE_BINS))
    columns = {"mean of the two ages": "{label}"}
    columns |= {name: _PAIRS.columns[name] for name in ("median difference", "scatter")}
    rows = ({"label": name, "difference": s} for name, s in by_bin.items() if s.count)
    return Comparison(f"Age − {sample.reference_name} age (Gyr)", columns).table(rows)


def summary(found: AgeValidation) -> dict[str, Any]:
    """Return the numbers of a validation as JSON can hold them.

    Ages and offsets are in Gyr; ``kepler_robust_scatter`` and coverages are fractions. What could
    not be measured is None, and ``absent`` says why.
    """
    first, every, nothing = found.choices[0], found.coverage[0], spread([])
    m67, kepler = first["m67_turnoff"] or nothing, first["kepler_offset"] or nothing
    relative, harps = first["kepler_relative_offset"] or nothing, first["harps_offset"] or nothing
    sample = found.book.samples.get("kepler")
    families: dict[str, dict[str, Row]] = {}
    for p in found.pairs:
        by_age = {label: s.as_dict() for label, s in p["by_age"].items() if s.count}
        numbers = _PAIRS.json([{**p, "by_age": by_age}])
        families.setdefault(f"{p['family']} - {p['base']}", {}).update(numbers)
    out = {
        "source": found.book.options.short_name,
        **_numbers(first, _SUN.numbers),
        **{f"m67_turnoff_{name}": value for name, value in m67.as_dict().items()},
        "m67_paper_way": _M67.json(found.m67),
        "kepler_median_offset_gyr": kepler.median,
        "kepler_robust_scatter": relative.scatter,
        "kepler_stars": kepler.count,
        "kepler_pull": sample and spread(pulls(sample, found.ages("kepler"))).as_dict(),
        "harps_median_offset_gyr": harps.median,
        "clusters": _CLUSTERS.json(found.clusters),
        "cluster_trends": _TRENDS.json(found.trends),
        "members": [
            row | {w: {k: s.as_dict() for k, s in row[w].items()} for w in ("all", "usable")}
            for row in found.members
        ],
        "gravities": _GRAVITIES.json(
            row | {k: s.as_dict() for k, s in row.items() if isinstance(s, Spread)}
            for row in found.gravities
        ),
        "giants": _GIANTS.json(found.giants),
        **_numbers(vars(every), _COVERAGE.numbers[1:]),
        "coverage68_error": every.error68,
        "coverage95_error": every.error95,
        "calibration_stars": every.stars,
        "coverage": _COVERAGE.json(vars(c) for c in found.coverage[1:] if c.stars),
        "systematic": _SYSTEMATIC.json(_systematic(found)),
        "families": families,
        "dartmouth_minus_parsec": {
            label: _numbers(by_sample, by_sample) for label, by_sample in found.explained.items()
        },
        "choices": _CHOICES.json(found.choices),
        "by_family": _CHOICES.json(found.families),
        "absent": found.absent,
        "seconds": plain(found.seconds | {"total": sum(found.seconds.values())}, 2),
    }
    return plain(out, 4)


def to_tree(found: AgeValidation) -> xr.DataTree:
    """Return everything per star that the page's figures are made of, and the numbers as JSON."""
    record = provenance(seed=found.recipe.seed, recipe_hash=found.recipe.hash)
    numbers = json.dumps(summary(found), ensure_ascii=False)
    nodes: dict[str, xr.Dataset] = {"/": xr.Dataset(attrs={**record, "summary": numbers})}
    observed = ("teff", "logg", "feh", "alpha_fe", "abs_g", "bp_rp")
    made = ("age_ml", "age_median", "age_lo", "age_hi", "age_error", "chi2_min", "flag")
    for name, sample in found.book.samples.items():
        ages, catalog = found.ages(name), sample.catalog
        columns = {c: catalog[c].variable for c in observed if c in catalog}
        columns |= {c: ages[c].variable for c in made}
        node = xr.Dataset(columns, attrs={"reference": sample.reference_name, "note": sample.note})
        gyr = {"units": "Gyr", "long_name": f"{sample.reference_name} age"}
        node["reference_age"] = ("star", sample.reference, gyr)
        node["reference_age_error"] = ("star", sample.reference_error, {**gyr, "long_name": "1σ"})
        if name.startswith("m67"):
            node["in_headline"] = ("star", single_turnoff(sample, ages))
        if "source_id" in catalog.coords:
            node["source_id"] = ("star", catalog["source_id"].values.astype(str))
        nodes[f"/{name}"] = node
    region = found.calibration["region"].astype(np.int8)
    nodes["/calibration"] = found.calibration.assign(region=region)
    return xr.DataTree.from_dict(nodes)
