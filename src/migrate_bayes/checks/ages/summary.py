"""A validation as plain numbers (what ``--json`` prints) and as a product on disk."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from migrate_bayes.checks.ages.families import AGE_BINS
from migrate_bayes.checks.ages.headline import Headline, m67_mask, pulls
from migrate_bayes.checks.ages.run import AgeValidation, plain
from migrate_bayes.checks.ages.statistics import Spread, spread
from migrate_bayes.core.io import write_netcdf
from migrate_bayes.core.provenance import provenance

__all__ = ["summary", "to_tree", "write_product"]


def summary(found: AgeValidation) -> dict[str, Any]:
    """Return the numbers by the names of the acceptance.

    Ages and offsets in Gyr; ``kepler_robust_scatter`` and coverages are fractions. What could not
    be measured is None, and ``absent`` says why.
    """
    first = found.choices[0]
    m67, kepler, relative = first.m67, first.kepler, first.kepler_relative
    everyone = found.coverage[0]
    out: dict[str, Any] = {
        "source": found.options.source.partition(":")[0],
        "sun_age": plain(first.sun.median),
        "sun_age_lo": plain(first.sun.low),
        "sun_age_hi": plain(first.sun.high),
        "sun_age_most_likely": plain(first.sun.most_likely),
        "sun_within_1_sigma": first.sun.holds,
        "m67_turnoff_median": plain(m67.median) if m67 else None,
        "m67_turnoff_median_error": plain(m67.median_error) if m67 else None,
        "m67_turnoff_scatter": plain(m67.scatter) if m67 else None,
        "m67_turnoff_stars": m67.count if m67 else 0,
        "m67_paper_way": {
            r.label: {**r.median.as_dict(), "mean_most_likely": plain(r.mean_most_likely)}
            for r in found.m67
        },
        "kepler_median_offset_gyr": plain(kepler.median) if kepler else None,
        "kepler_robust_scatter": plain(relative.scatter) if relative else None,
        "kepler_stars": kepler.count if kepler else 0,
        "kepler_pull": _kepler_pull(found),
        "harps_median_offset_gyr": plain(first.harps.median) if first.harps else None,
        "clusters": {
            f"{c.cluster} ({c.catalogue})": {
                "literature_age": plain(c.age),
                "feh": plain(c.feh),
                "field_stars_expected": plain(c.field),
                "offset": c.everyone.as_dict(),
                "offset_good_ages": c.good.as_dict(),
                "offset_turnoff": c.turnoff.as_dict(),
                "at_young_edge": c.young_edge,
            }
            for c in found.clusters
        },
        "coverage68": plain(everyone.coverage68),
        "coverage68_error": plain(everyone.error68),
        "coverage95": plain(everyone.coverage95),
        "coverage95_error": plain(everyone.error95),
        "coverage61": plain(everyone.coverage61),
        "calibration_stars": everyone.stars,
        "coverage": {
            f"{c.group}: {c.label}": {
                "stars": c.stars,
                "coverage68": plain(c.coverage68),
                "coverage95": plain(c.coverage95),
                "coverage61": plain(c.coverage61),
            }
            for c in found.coverage[1:]
            if c.stars
        },
        "systematic": {
            f"{family} stars: {c.label}": {
                "stars": c.stars,
                "coverage68": plain(c.coverage68),
                "coverage95": plain(c.coverage95),
                "median_relative_offset": plain(c.offset),
                "relative_scatter": plain(c.scatter),
            }
            for family, rows in found.systematic.items()
            for c in rows
            if c.group in ("all", "region")
        },
        "families": _families(found),
        "dartmouth_minus_parsec": {
            label: {sample: s.as_dict() for sample, s in by_sample.items()}
            for label, by_sample in found.explained.items()
        },
        "choices": {h.label: _headline(h) for h in found.choices},
        "by_family": {h.label: _headline(h) for h in found.families},
        "absent": found.absent,
        "seconds": {k: round(v, 2) for k, v in found.seconds.items()}
        | {"total": round(sum(found.seconds.values()), 2)},
    }
    return out


def _kepler_pull(found: AgeValidation) -> dict[str, Any] | None:
    if "kepler" not in found.book.samples:
        return None
    return spread(pulls(found.book.samples["kepler"], found.ages("kepler"))).as_dict()


def _families(found: AgeValidation) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for p in found.pairs:
        out.setdefault(f"{p.family} - {p.base}", {})[p.sample] = {
            **p.difference.as_dict(),
            "median_relative": plain(p.relative.median),
            "by_age": {
                f"{low:g}-{high:g}": s.as_dict()
                for (low, high), s in zip(pairwise(AGE_BINS), p.by_age, strict=True)
                if s.count
            },
        }
    return out


def _headline(h: Headline) -> dict[str, Any]:
    def part(s: Spread | None) -> dict[str, Any] | None:
        return s.as_dict() if s else None

    return {
        "sun_age": plain(h.sun.median),
        "sun_age_lo": plain(h.sun.low),
        "sun_age_hi": plain(h.sun.high),
        "m67_turnoff": part(h.m67),
        "kepler_offset": part(h.kepler),
        "kepler_relative_offset": part(h.kepler_relative),
        "harps_offset": part(h.harps),
    }


def to_tree(found: AgeValidation) -> xr.DataTree:
    """Return everything per star that the page's figures are made of, and the numbers as JSON."""
    record = provenance(seed=found.recipe.seed, recipe_hash=found.recipe.hash)
    nodes: dict[str, xr.Dataset] = {
        "/": xr.Dataset(attrs={**record, "summary": json.dumps(summary(found), ensure_ascii=False)})
    }
    for name, sample in found.book.samples.items():
        ages = found.ages(name)
        columns = [
            c for c in ("teff", "logg", "feh", "alpha_fe", "abs_g", "bp_rp") if c in sample.catalog
        ]
        node = xr.merge(
            [
                sample.catalog[columns].drop_vars("source_id", errors="ignore"),
                ages[["age_ml", "age_median", "age_lo", "age_hi", "age_error", "chi2_min", "flag"]]
                .drop_vars("source_id", errors="ignore"),
            ],
            combine_attrs="drop",
        ).assign_attrs(reference=sample.reference_name, note=sample.note)  # fmt: skip
        gyr = {"units": "Gyr", "long_name": f"{sample.reference_name} age"}
        node["reference_age"] = ("star", sample.reference, gyr)
        node["reference_age_error"] = ("star", sample.reference_error, {**gyr, "long_name": "1σ"})
        if name.startswith("m67"):
            node["in_headline"] = ("star", m67_mask(sample, ages))
        if "source_id" in sample.catalog.coords:
            node["source_id"] = ("star", sample.catalog["source_id"].values.astype(str))
        nodes[f"/{name}"] = node
    if found.calibration is not None:
        nodes["/calibration"] = found.calibration.assign(
            region=found.calibration["region"].astype(np.int8)
        )
    return xr.DataTree.from_dict(nodes)


def write_product(found: AgeValidation, path: str | Path, *, overwrite: bool = False) -> Path:
    """Write `to_tree` as one NetCDF file.

    Raises
    ------
    ProductError
        Where the file exists and may not be replaced.
    """
    return write_netcdf(to_tree(found), path, overwrite=overwrite)
