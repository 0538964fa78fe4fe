"""A validation as tables, as plain numbers (what ``--json`` prints) and as a product on disk.

A comparison is described once: `Columns` map each heading of its table to a template of
`str.format` over the names of a row, and these names are those of the JSON.
"""

from __future__ import annotations

import json
import math
import string
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from migrate_bayes.checks.ages import aims
from migrate_bayes.checks.ages.calibration import Coverage
from migrate_bayes.checks.ages.families import AGE_BINS, sample_label
from migrate_bayes.checks.ages.samples import Sample
from migrate_bayes.checks.ages.statistics import Spread, spread, spread_by_bin
from migrate_bayes.checks.ages.validation import AgeValidation, Row, pulls, single_turnoff
from migrate_bayes.core.io import write_netcdf
from migrate_bayes.core.provenance import provenance
from migrate_bayes.core.table import Table, plain

Columns = Mapping[str, str]

_SUN_INTERVAL = "{sun_age:.2f} [{sun_age_lo:.2f}, {sun_age_hi:.2f}]"
_SUN: Columns = {
    "source": "{source}",
    "method, [Fe/H] scale": "{kind}",
    "most likely": "{sun_age_most_likely:.2f}",
    "median": "{sun_age:.2f}",
    "16%": "{sun_age_lo:.2f}",
    "84%": "{sun_age_hi:.2f}",
    f"holds {aims.SOLAR_AGE}": "{sun_within_1_sigma}",
}
_CHOICES: Columns = {
    "": "{label}",
    "Sun": _SUN_INTERVAL,
    "M67 turn-off": "{m67_turnoff:.2f}",
    "Kepler offset": "{kepler_offset:+.2f}",
    "Kepler scatter": "{kepler_relative_offset.scatter:.1%}",
    "HARPS − StarHorse": "{harps_offset:+.2f}",
}
_M67: Columns = {
    "stars and choices": "{label}",
    "stars": "{ages.count}",
    "median": "{ages.median:.2f}",
    "scatter": "{ages.scatter:.2f}",
    "mean of most likely": "{mean_most_likely:.2f}",
}
_CLUSTERS: Columns = {
    "cluster": "{cluster}",
    "catalogue": "{catalogue}",
    "literature (Gyr)": "{literature_age:.2f} ± {literature_age_error:.2f}",
    "[Fe/H]": "{feh:+.2f}",
    "field stars": "{field_stars_expected:.1f}",
    "offset, all": "{offset:+.2f}",
    "error < 25%": "{offset_good_ages:+.2f}",
    "turn-off": "{offset_turnoff:+.2f}",
    "at young edge": "{at_young_edge}",
}
_COVERAGE: Columns = {
    "": "{label}",
    "stars": "{stars:,}",
    "68%": "{coverage68:.1%} ± {error68:.1%}",
    "95%": "{coverage95:.1%} ± {error95:.1%}",
    "0.61 interval": "{coverage61:.1%}",
    "median offset": "{offset:+.1%}",
    "scatter": "{scatter:.1%}",
}
_AGE_BINS = [f"{low:g}-{high:g}" for low, high in pairwise(AGE_BINS)]
_PAIRS: Columns = {
    "": "{family} − {base}: {label}",
    "median difference": "{difference:+.2f}",
    "scatter": "{difference.scatter:.2f}",
    "%": "{percent:+.1f}",
    **{name: f"{{{name}:+.2f}}" for name in _AGE_BINS},
}
_BY_AGE: Columns = {
    "mean of the two ages": "{label}",
    "median difference": "{difference:+.2f}",
    "scatter": "{difference.scatter:.2f}",
}


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


def word(template: str, row: Mapping[str, Any]) -> str:
    """Fill in a template from a row."""
    return _Words().vformat(template, (), row)


def table(title: str, columns: Columns, rows: Iterable[Mapping[str, Any]]) -> Table:
    """Return a table of rows."""
    cells = [[word(template, row) for template in columns.values()] for row in rows]
    return Table(title, list(columns), cells)


def tables(found: AgeValidation) -> dict[str, Table]:
    """Return every table of a validation, for terminal, page and docs; some may be empty.

    Returns
    -------
    dict of Table
        ``aims``, ``sun``, ``m67``, ``clusters``, ``kepler`` and ``harps`` (by age), ``choices``,
        ``families`` (on stars of known age), ``pairs`` (the same stars on every family),
        ``parsec`` (Dartmouth − PARSEC) and ``parsec medians``, ``coverage`` (all of it),
        ``calibration`` (by region) and ``systematic``.
    """
    regions = [_cover(c) for c in found.coverage if c.group in ("all", "region")]
    every = [_cover(c) for c in found.coverage]
    others = [
        _cover(c) | {"label": f"{family}: {c.label}"}
        for family, rows in found.systematic.items()
        for c in rows
        if c.group in ("all", "region")
    ]
    out = {
        "aims": _aims(found),
        "sun": table("The Sun (Gyr)", _SUN, found.sun),
        "m67": table("M67 (Gyr)", _M67, found.m67),
        "clusters": table("Open clusters: age − literature age (Gyr)", _CLUSTERS, found.clusters),
        "choices": table("By choice (Gyr)", _CHOICES, found.choices),
        "families": table("By family (Gyr)", _CHOICES, found.families),
        "pairs": table(
            "The same stars on every family (Gyr)", _PAIRS, map(_pair_cells, found.pairs)
        ),
        "parsec": _parsec(found, "{%s:+.2f}"),
        "parsec medians": _parsec(found, "{%s.median:+.2f}"),
        "coverage": table("Coverage", _COVERAGE, (r for r in every if r["stars"])),
        "calibration": table("Calibration", _COVERAGE, (r for r in regions if r["stars"])),
        "systematic": table(
            "Stars of another family", _COVERAGE, (r for r in others if r["stars"])
        ),
    }
    for name in ("kepler", "harps"):
        if sample := found.book.samples.get(name):
            out[name] = _by_age(sample, found.ages(name))
    return out


def _aims(found: AgeValidation) -> Table:
    """Return each headline number beside its aim."""
    first, every = found.choices[0], found.coverage[0]
    rows = [
        (
            "Sun (Gyr)", word(_SUN_INTERVAL, first), f"{aims.SOLAR_AGE} within 1σ",
            first["sun_within_1_sigma"],
        )
    ]  # fmt: skip
    if m67 := first["m67_turnoff"]:
        rows.append((
            f"M67, {m67.count} turn-off stars and subgiants (Gyr)",
            f"{m67.median:.2f} ± {m67.median_error:.2f}, scatter {m67.scatter:.2f}",
            aims.M67_AGE.text(".1f"), aims.M67_AGE.met(m67.median),
        ))  # fmt: skip
    if kepler := first["kepler_offset"]:
        scatter = first["kepler_relative_offset"].scatter
        rows.append((
            f"Kepler, {kepler.count} dwarfs: median offset (Gyr)",
            f"{kepler.median:+.2f} ± {kepler.median_error:.2f}",
            aims.KEPLER_OFFSET.text(".1f"), aims.KEPLER_OFFSET.met(kepler.median),
        ))  # fmt: skip
        rows.append((
            "Kepler: scatter of offset / seismic age", f"{scatter:.1%}",
            aims.KEPLER_SCATTER.text(".0%"), aims.KEPLER_SCATTER.met(scatter),
        ))  # fmt: skip
    for level, aim in (("68", aims.COVERAGE68), ("95", aims.COVERAGE95)):
        value = getattr(every, f"coverage{level}")
        rows.append((
            f"Coverage of {level}% intervals, {every.stars:,} stars",
            word(_COVERAGE[f"{level}%"], vars(every)), aim.text(".0%"), aim.met(value),
        ))  # fmt: skip
    header = ["", "measured", "aim", "met"]
    return Table("Validation of ages", header, [[*r[:3], word("{m}", {"m": r[3]})] for r in rows])


def _cover(c: Coverage) -> Row:
    label = c.label if c.group in ("all", "region") else f"{c.group} {c.label}"
    return vars(c) | {"label": label}


def _pair_cells(pair: Row) -> Row:
    cells = {name: s.median if s.count >= 5 else None for name, s in pair["by_age"].items()}
    label = sample_label(pair["sample"])
    return {**pair, **cells, "label": label, "percent": 100 * pair["relative"].median}


def _parsec(found: AgeValidation, template: str) -> Table:
    samples = list(next(iter(found.explained.values()), {}))
    columns = {"": "{label}"} | {sample_label(s): template % s for s in samples}
    rows = ({"label": label, **by} for label, by in found.explained.items())
    return table("Dartmouth − PARSEC (Gyr)", columns, rows)


def _by_age(sample: Sample, ages: xr.Dataset) -> Table:
    """Return age − reference age in bins of the mean of the two."""
    age, reference = ages["age_median"].values, sample.reference
    off = np.where(sample.usable, age - reference, np.nan)
    by_bin = spread_by_bin(0.5 * (age + reference), off, (0.0, *AGE_BINS))
    rows = ({"label": name, "difference": s} for name, s in by_bin.items() if s.count)
    return table(f"Age − {sample.reference_name} age (Gyr)", _BY_AGE, rows)


def _numbers(row: Mapping[str, Any], names: Sequence[str]) -> Row:
    """Return some numbers of a row, a `Spread` as its own numbers."""
    return {n: row[n].as_dict() if isinstance(row[n], Spread) else row[n] for n in names}


def summary(found: AgeValidation) -> dict[str, Any]:
    """Return the numbers by the names of the acceptance.

    Parameters
    ----------
    found : AgeValidation
        From `validate_ages`.

    Returns
    -------
    dict
        Ages and offsets in Gyr; ``kepler_robust_scatter`` and coverages are fractions. What could
        not be measured is None, and ``absent`` says why.
    """
    first, every = found.choices[0], found.coverage[0]
    m67, kepler = first["m67_turnoff"], first["kepler_offset"]
    relative, harps = first["kepler_relative_offset"], first["harps_offset"]
    sun = ("sun_age", "sun_age_lo", "sun_age_hi")
    headline = (
        *sun, "m67_turnoff", "kepler_offset", "kepler_relative_offset", "harps_offset",
    )  # fmt: skip
    cluster = (
        "literature_age", "feh", "field_stars_expected", "offset", "offset_good_ages",
        "offset_turnoff", "at_young_edge",
    )  # fmt: skip
    fractions = ("coverage68", "coverage95", "coverage61")
    numbers: dict[str, Any] = {
        "source": found.options.short_name,
        **_numbers(first, (*sun, "sun_age_most_likely", "sun_within_1_sigma")),
        "m67_turnoff_median": m67 and m67.median,
        "m67_turnoff_median_error": m67 and m67.median_error,
        "m67_turnoff_scatter": m67 and m67.scatter,
        "m67_turnoff_stars": m67.count if m67 else 0,
        "m67_paper_way": {
            r["label"]: r["ages"].as_dict() | {"mean_most_likely": r["mean_most_likely"]}
            for r in found.m67
        },
        "kepler_median_offset_gyr": kepler and kepler.median,
        "kepler_robust_scatter": relative and relative.scatter,
        "kepler_stars": kepler.count if kepler else 0,
        "kepler_pull": None,
        "harps_median_offset_gyr": harps and harps.median,
        "clusters": {
            f"{c['cluster']} ({c['catalogue']})": _numbers(c, cluster) for c in found.clusters
        },
        **_numbers(vars(every), fractions),
        "coverage68_error": every.error68,
        "coverage95_error": every.error95,
        "calibration_stars": every.stars,
        "coverage": {
            f"{c.group}: {c.label}": _numbers(vars(c), ("stars", *fractions))
            for c in found.coverage[1:]
            if c.stars
        },
        "systematic": {
            f"{family} stars: {c.label}": _numbers(vars(c), ("stars", *fractions[:2]))
            | {"median_relative_offset": c.offset, "relative_scatter": c.scatter}
            for family, rows in found.systematic.items()
            for c in rows
            if c.group in ("all", "region")
        },
        "families": {},
        "dartmouth_minus_parsec": {
            label: _numbers(by_sample, list(by_sample))
            for label, by_sample in found.explained.items()
        },
        "choices": {row["label"]: _numbers(row, headline) for row in found.choices},
        "by_family": {row["label"]: _numbers(row, headline) for row in found.families},
        "absent": found.absent,
        "seconds": {k: round(v, 2) for k, v in found.seconds.items()}
        | {"total": round(sum(found.seconds.values()), 2)},
    }
    for p in found.pairs:
        numbers["families"].setdefault(f"{p['family']} - {p['base']}", {})[p["sample"]] = {
            **p["difference"].as_dict(),
            "median_relative": p["relative"].median,
            "by_age": {label: s.as_dict() for label, s in p["by_age"].items() if s.count},
        }
    if sample := found.book.samples.get("kepler"):
        numbers["kepler_pull"] = spread(pulls(sample, found.ages("kepler"))).as_dict()
    return plain(numbers, 4)


def to_tree(found: AgeValidation) -> xr.DataTree:
    """Return everything per star that the page's figures are made of, and the numbers as JSON."""
    record = provenance(seed=found.recipe.seed, recipe_hash=found.recipe.hash)
    numbers = json.dumps(summary(found), ensure_ascii=False)
    nodes: dict[str, xr.Dataset] = {"/": xr.Dataset(attrs={**record, "summary": numbers})}
    observed = ("teff", "logg", "feh", "alpha_fe", "abs_g", "bp_rp")
    made = ["age_ml", "age_median", "age_lo", "age_hi", "age_error", "chi2_min", "flag"]
    for name, sample in found.book.samples.items():
        ages, catalog = found.ages(name), sample.catalog
        parts = [catalog[[c for c in observed if c in catalog]], ages[made]]
        node = xr.merge(
            [part.drop_vars("source_id", errors="ignore") for part in parts], combine_attrs="drop"
        ).assign_attrs(reference=sample.reference_name, note=sample.note)
        gyr = {"units": "Gyr", "long_name": f"{sample.reference_name} age"}
        node["reference_age"] = ("star", sample.reference, gyr)
        node["reference_age_error"] = ("star", sample.reference_error, {**gyr, "long_name": "1σ"})
        if name.startswith("m67"):
            node["in_headline"] = ("star", single_turnoff(sample, ages))
        if "source_id" in catalog.coords:
            node["source_id"] = ("star", catalog["source_id"].values.astype(str))
        nodes[f"/{name}"] = node
    if found.calibration is not None:
        region = found.calibration["region"].astype(np.int8)
        nodes["/calibration"] = found.calibration.assign(region=region)
    return xr.DataTree.from_dict(nodes)


def write_product(found: AgeValidation, path: str | Path, *, overwrite: bool = False) -> Path:
    """Write `to_tree` as one NetCDF file, or raise `ProductError` if it exists."""
    return write_netcdf(to_tree(found), path, overwrite=overwrite)
