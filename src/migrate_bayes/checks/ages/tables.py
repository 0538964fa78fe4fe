"""The tables of a validation, for the terminal and for the page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.checks.ages.calibration import Coverage
from migrate_bayes.checks.ages.families import AGE_BINS, sample_label
from migrate_bayes.checks.ages.headline import Headline
from migrate_bayes.checks.ages.run import AgeValidation
from migrate_bayes.checks.ages.sample import Sample
from migrate_bayes.checks.ages.statistics import Spread, spread
from migrate_bayes.checks.ages.sun import SOLAR_AGE

__all__ = [
    "aims_table",
    "by_age_table",
    "choice_table",
    "cluster_table",
    "coverage_rows",
    "explain_table",
    "m67_table",
    "pair_table",
    "sun_table",
    "systematic_table",
]

#: Title, header, rows.
Table = tuple[str, list[str], list[list[str]]]

# What the package aims at: lower and upper limit of each headline number.
_M67_AIM, _KEPLER_AIM, _SCATTER_AIM = (3.6, 4.6), 0.3, 0.17
_AIM68, _AIM95 = (0.66, 0.70), (0.94, 0.96)


def _number(x: float, digits: int = 2, *, sign: bool = False) -> str:
    if not np.isfinite(x):
        return "–"
    return f"{x:{'+' if sign else ''}.{digits}f}"


def _spread(s: Spread | None, digits: int = 2, *, sign: bool = True) -> str:
    if s is None or not s.count:
        return "–"
    error = f" ± {_number(s.median_error, digits)}" if s.count > 1 else ""
    return f"{_number(s.median, digits, sign=sign)}{error} ({s.count})"


def _met(ok: bool) -> str:
    return "yes" if ok else "NO"


def aims_table(found: AgeValidation) -> Table:
    """Return each headline number beside its aim."""
    h, every = found.choices[0], found.coverage[0]
    rows = [
        [
            "Sun (Gyr)",
            f"{h.sun.median:.2f} [{h.sun.low:.2f}, {h.sun.high:.2f}]",
            f"{SOLAR_AGE} within 1σ",
            _met(h.sun.holds),
        ]
    ]
    if h.m67:
        rows.append(
            [
                f"M67, {h.m67.count} turn-off stars and subgiants (Gyr)",
                f"{h.m67.median:.2f} ± {h.m67.median_error:.2f}, scatter {h.m67.scatter:.2f}",
                f"{_M67_AIM[0]}-{_M67_AIM[1]}",
                _met(_M67_AIM[0] <= h.m67.median <= _M67_AIM[1]),
            ]
        )
    if h.kepler and h.kepler_relative:
        rows += [
            [
                f"Kepler, {h.kepler.count} dwarfs: median offset (Gyr)",
                f"{h.kepler.median:+.2f} ± {h.kepler.median_error:.2f}",
                f"within ±{_KEPLER_AIM}",
                _met(abs(h.kepler.median) <= _KEPLER_AIM),
            ],
            [
                "Kepler: scatter of offset / seismic age",
                f"{h.kepler_relative.scatter:.1%}",
                f"at most {_SCATTER_AIM:.0%}",
                _met(h.kepler_relative.scatter <= _SCATTER_AIM),
            ],
        ]
    for level, value, error, aim in (
        ("68%", every.coverage68, every.error68, _AIM68),
        ("95%", every.coverage95, every.error95, _AIM95),
    ):
        rows.append(
            [
                f"Coverage of {level} intervals, {every.stars:,} stars",
                f"{value:.1%} ± {error:.1%}",
                f"{aim[0]:.0%}-{aim[1]:.0%}",
                _met(aim[0] <= value <= aim[1]),
            ]
        )
    return "Validation of ages", ["", "measured", "aim", "met"], rows


def sun_table(found: AgeValidation) -> Table:
    """Return the Sun's age by source, method and scale."""
    rows = [
        [
            source,
            kind,
            *(_number(x) for x in (s.most_likely, s.median, s.low, s.high)),
            _met(s.holds),
        ]
        for source, kind, s in found.sun
    ]
    header = ["source", "method, [Fe/H] scale", "most likely", "median", "16%", "84%", "holds 4.57"]
    return "The Sun (Gyr)", header, rows


def choice_table(title: str, rows: Iterable[Headline]) -> Table:
    """Return the headline numbers by choice."""
    header = [
        "", "Sun", "M67 turn-off", "Kepler offset", "Kepler scatter", "HARPS − StarHorse",
    ]  # fmt: skip
    out = []
    for h in rows:
        out.append(
            [
                h.label,
                f"{h.sun.median:.2f} [{h.sun.low:.2f}, {h.sun.high:.2f}]",
                _spread(h.m67, sign=False),
                _spread(h.kepler),
                f"{h.kepler_relative.scatter:.1%}" if h.kepler_relative else "–",
                _spread(h.harps),
            ]
        )
    return title, header, out


def m67_table(found: AgeValidation) -> Table:
    """Return M67's ages by stars, parameters and choices."""
    rows = [
        [
            r.label,
            str(r.median.count),
            _number(r.median.median),
            _number(r.median.scatter),
            _number(r.mean_most_likely),
        ]
        for r in found.m67
    ]
    header = ["stars and choices", "stars", "median", "scatter", "mean of most likely"]
    return "M67 (Gyr)", header, rows


def cluster_table(found: AgeValidation) -> Table:
    """Return the clusters' offsets."""
    rows = [
        [
            c.cluster,
            c.catalogue,
            f"{c.age:.2f} ± {c.age_error:.2f}",
            _number(c.feh, sign=True),
            _number(c.field, 1),
            _spread(c.everyone),
            _spread(c.good),
            _spread(c.turnoff),
            str(c.young_edge),
        ]
        for c in found.clusters
    ]
    header = [
        "cluster", "catalogue", "literature (Gyr)", "[Fe/H]", "field stars", "offset, all",
        "error < 25%", "turn-off", "at young edge",
    ]  # fmt: skip
    return "Open clusters: age − literature age (Gyr)", header, rows


def by_age_table(sample: Sample, ages: xr.Dataset, mask: NDArray[np.bool_], title: str) -> Table:
    """Return age − reference age in bins of the mean of the two."""
    age, reference = ages["age_median"].values, sample.reference
    mean, gap = 0.5 * (age + reference), age - reference
    rows = []
    for low, high in pairwise((0.0, *AGE_BINS)):
        s = spread(gap[mask & (mean >= low) & (mean < high)])
        if s.count:
            rows.append([f"{low:g}-{high:g}", _spread(s), _number(s.scatter)])
    return title, ["mean of the two ages", "median difference", "scatter"], rows


def coverage_rows(rows: Sequence[Coverage], title: str) -> Table:
    """Return coverage by region and age."""
    header = ["", "stars", "68%", "95%", "0.61 interval", "median offset", "scatter"]
    out = []
    for r in rows:
        if not r.stars:
            continue
        label = r.label if r.group in ("all", "region") else f"{r.group} {r.label}"
        out.append(
            [
                label,
                f"{r.stars:,}",
                f"{r.coverage68:.1%} ± {r.error68:.1%}",
                f"{r.coverage95:.1%} ± {r.error95:.1%}",
                f"{r.coverage61:.1%}",
                f"{r.offset:+.1%}",
                f"{r.scatter:.1%}",
            ]
        )
    return title, header, out


def systematic_table(found: AgeValidation) -> Table:
    """Return coverage and bias for other families' stars, by region."""
    rows: list[list[str]] = []
    for family, table in found.systematic.items():
        part = [r for r in table if r.group in ("all", "region")]
        rows += [[f"{family}: {r[0]}", *r[1:]] for r in coverage_rows(part, "")[2]]
    header = coverage_rows([], "")[1]
    return "Stars of another family", header, rows


def pair_table(found: AgeValidation) -> Table:
    """Return family − base by sample and age."""
    edges = [f"{a:g}-{b:g}" for a, b in pairwise(AGE_BINS)]
    rows = [
        [
            f"{p.family} − {p.base}: {sample_label(p.sample)}",
            _spread(p.difference),
            _number(p.difference.scatter),
            _number(100 * p.relative.median, 1, sign=True),
            *(_number(s.median, sign=True) if s.count >= 5 else "–" for s in p.by_age),
        ]
        for p in found.pairs
    ]
    return (
        "The same stars on every family (Gyr)",
        ["", "median difference", "scatter", "%", *edges],
        rows,
    )


def explain_table(found: AgeValidation, *, short: bool = False) -> Table:
    """Return Dartmouth − PARSEC by set-up and sample; `short`: medians alone."""
    samples = list(next(iter(found.explained.values()), {}))
    rows = [
        [label, *(_number(by[s].median, sign=True) if short else _spread(by[s]) for s in samples)]
        for label, by in found.explained.items()
    ]
    return "Dartmouth − PARSEC (Gyr)", ["", *map(sample_label, samples)], rows
