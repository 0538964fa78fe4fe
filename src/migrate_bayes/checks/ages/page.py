"""The page of an age validation: the counterpart of figures 1-4 of Vickers, Shen & Li (2021)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from migrate_bayes.checks.ages import figures, tables
from migrate_bayes.checks.ages.headline import m67_mask
from migrate_bayes.checks.ages.plan import paper_options
from migrate_bayes.checks.ages.run import AgeValidation, native_source
from migrate_bayes.checks.ages.text import (
    PAPER_DARTMOUTH_MINUS_PARSEC,
    calibration_text,
    family_text,
    kepler_text,
    m67_text,
)
from migrate_bayes.core.provenance import provenance
from migrate_bayes.report.html import write_html
from migrate_bayes.report.image import Picture, encode
from migrate_bayes.report.section import Section
from migrate_bayes.report.validation import FILE, pictures_file

__all__ = ["write_page"]


#: Sections that hold the counterpart of one of the paper's figures.
_COUNTERPARTS = {"clusters": "1", "m67": "2", "harps": "3", "kepler": "4"}


def write_page(
    found: AgeValidation, directory: str | Path, *, recipe_text: str = "", overwrite: bool = False
) -> Path:
    """Write ``directory/index.html``, and the figures for other reports to embed.

    Parameters
    ----------
    found : AgeValidation
        From `validate_ages`.
    directory : path-like
        The page's folder.
    recipe_text : str
        Shown as it is.
    overwrite : bool
        Replace a page that exists.

    Raises
    ------
    ProductError
        Where a page stands there already.
    """
    record = provenance(seed=found.recipe.seed, recipe_hash=found.recipe.hash)
    sections = [_aims(found), _sun(found), _m67(found), _clusters(found), _kepler(found)]
    sections += [_harps(found), _families(found), _choices(found), _calibration(found)]
    sections.append(_systematic(found))
    kept = [s for s in sections if s is not None]
    choices = [
        ("source", found.options.source.partition(":")[0]),
        ("method", found.options.method),
        ("[Fe/H] scale", found.options.feh_scale),
    ]
    shown = [
        (_COUNTERPARTS[s.key], p)
        for s in kept
        if s.key in _COUNTERPARTS
        for p in s.pictures
        if isinstance(p, Picture)
    ]
    return write_html(
        directory,
        title="Validation of isochrone ages",
        facts=[
            *choices,
            ("took", f"{sum(found.seconds.values()):,.0f} s"),
            ("made", record["created"]),
        ],
        notes=[f"Left out: {part}. {reason}." for part, reason in found.absent.items()],
        sections=kept,
        record=[
            ("recipe hash", record["recipe_hash"]),
            ("seed", record["seed"]),
            *((f"{part} took", f"{seconds:.1f} s") for part, seconds in found.seconds.items()),
        ],
        recipe_text=recipe_text,
        beside={FILE: pictures_file(shown, {**dict(choices), "made": record["created"]})},
        overwrite=overwrite,
    )


def _aims(found: AgeValidation) -> Section:
    return Section("In short", "aims", tables=[tables.aims_table(found)], shown=1)


def _sun(found: AgeValidation) -> Section:
    holding = [kind for _, kind, s in found.sun if s.holds and kind == "fine, surface"]
    total = [kind for _, kind, _ in found.sun if kind == "fine, surface"]
    text = [
        "The Sun as LAMOST would see it (5772 K ± 22.6, log g 4.438 ± 0.05, [Fe/H] 0 ± 0.03, "
        f"[α/Fe] 0 ± 0.02, M_G 4.67 ± 0.1). By default the interval holds 4.57 Gyr in "
        f"{len(holding)} of {len(total)} families. Read on the initial scale the Sun is older by "
        "about "
        "what diffusion has taken from its surface: that is what the default corrects.",
    ]
    drawn = encode(
        figures.sun_figure(found.sun),
        "The Sun's age on every family",
        "Posterior median and central 68% interval of the Sun's age by family, method and scale of "
        "[Fe/H].",
        wide=False,
    )
    return Section("The Sun", "sun", text, [drawn], [tables.sun_table(found)])


def _m67(found: AgeValidation) -> Section | None:
    if "m67" not in found.book.samples:
        return None
    samples = found.book.samples
    ages = found.ages("m67")
    paper = paper_options(found.options, native_source(found))
    other = samples["m67_ddpayne"]
    made = figures.m67_figure(
        samples["m67"], ages, m67_mask(samples["m67"], ages), found.options, other,
        found.book.ages(paper, "m67_ddpayne"),
    )  # fmt: skip
    drawn = encode(
        made,
        "M67: Kiel and colour diagrams with isochrones, ages, abundances",
        f"M67 ({samples['m67'].note}). Top: stars by age (squares: binaries or disturbed "
        "astrometry) with isochrones; ages of turn-off stars and subgiants. Bottom: [Fe/H] and "
        "[α/Fe] with running medians, dashed the literature's [Fe/H]; ages against gravity, error "
        "bars the 0.61 intervals. Counterpart of the paper's figure 2.",
    )
    return Section("M67", "m67", m67_text(found), [drawn], [tables.m67_table(found)], shown=1)


def _clusters(found: AgeValidation) -> Section | None:
    if not found.clusters:
        return None
    searched = ", ".join(f"{n:,} of {name.upper()}" for name, n in found.searched.items())
    others = [c for c in found.clusters if c.cluster != "M67"]
    text = [
        f"Beside M67, {searched or 'no'} stars were searched for members of the clusters of "
        f"Dias et al. (2021) and Cantat-Gaudin et al. (2020): {len(others)} "
        f"{'cluster has' if len(others) == 1 else 'clusters have'} two or more. That is all there "
        "is, and no trend with [Fe/H] can be had from it. A cluster younger than the youngest "
        "isochrone must pile up at the young edge.",
    ]
    drawn = encode(
        figures.cluster_figure(
            [(c.cluster, c.feh, c.age, c.everyone, c.turnoff) for c in found.clusters]
        ),
        "Age offset of cluster members against [Fe/H]",
        "Median age minus literature age; bars are the robust scatter, numbers the stars. "
        "Counterpart of the paper's figure 1.",
        wide=False,
    )
    return Section(
        "Open clusters", "clusters", text, [drawn], [tables.cluster_table(found)], shown=1
    )


def _kepler(found: AgeValidation) -> Section | None:
    sample = found.book.samples.get("kepler")
    if sample is None:
        return None
    drawn = encode(
        figures.age_age_figure(sample, found.ages("kepler"), sample.extra["usable"]),
        "Isochrone against asteroseismic ages of Kepler dwarfs",
        "Kepler LEGACY and Kages stars; bars are the 68% intervals of both ages. In place of the "
        "paper's figure 4, which has giants.",
    )
    table = tables.by_age_table(
        sample, found.ages("kepler"), sample.extra["usable"], "Age − asteroseismic age (Gyr)"
    )
    text = kepler_text(found)
    return Section("Asteroseismic dwarfs", "kepler", text, [drawn], [table], shown=1)


def _harps(found: AgeValidation) -> Section | None:
    sample = found.book.samples.get("harps")
    if sample is None:
        return None
    mask = sample.extra["usable"] & np.isfinite(sample.reference)
    drawn = encode(
        figures.age_age_figure(sample, found.ages("harps"), mask),
        "Isochrone against StarHorse ages of HARPS dwarfs",
        f"{sample.note}. StarHorse ages are of PARSEC isochrones under a Galactic prior. In place "
        "of the paper's figure 3.",
    )
    table = tables.by_age_table(sample, found.ages("harps"), mask, "Age − StarHorse age (Gyr)")
    return Section("HARPS against StarHorse", "harps", [], [drawn], [table], shown=1)


def _families(found: AgeValidation) -> Section | None:
    if not found.pairs:
        return None
    pictures = [
        encode(
            figures.family_figure(found.pairs),
            "Difference of ages between families, against age",
            "Median difference to Dartmouth in bins of age, by region of the mock stars and by "
            "real sample; stars with age errors below 25% in both, bins of five or more.",
        )
    ]
    shown = [tables.pair_table(found)]
    if found.explained:
        pictures.append(
            encode(
                figures.explain_figure(found.explained, PAPER_DARTMOUTH_MINUS_PARSEC),
                "Dartmouth minus PARSEC by set of choices",
                "What could set Dartmouth and PARSEC apart.",
            )
        )
        shown.insert(0, tables.explain_table(found))
    shown.append(tables.choice_table("Families on stars of known age", found.families))
    text = family_text(found)
    return Section("Family against family", "families", text, pictures, shown, shown=1)


def _choices(found: AgeValidation) -> Section:
    text = [
        "What each choice changes on the stars of known age (Gyr; number of stars in brackets)."
    ]
    shown = [tables.choice_table("By choice", found.choices)]
    return Section("Choices", "choices", text, [], shown, shown=1)


def _calibration(found: AgeValidation) -> Section | None:
    if found.calibration is None:
        return None
    drawn = encode(
        figures.calibration_figure(found.calibration, found.coverage),
        "PIT histograms by region, coverage by age",
        "Top: posterior probability below the true age, by region; the band is two binomial σ. "
        "Bottom: coverage by true and by estimated age.",
    )
    table = tables.coverage_rows(found.coverage, "Coverage")
    return Section("Calibration", "calibration", calibration_text(found), [drawn], [table], shown=1)


def _systematic(found: AgeValidation) -> Section | None:
    if not found.systematic:
        return None
    source = found.options.source.partition(":")[0]
    text = [
        f"Stars made by another family and aged on {source}. The intervals know of the errors of "
        "the data only: where the data tell most, the families differ by more than that.",
    ]
    drawn = encode(
        figures.systematic_figure(found.systematic),
        "Coverage and bias for stars of another family",
        "Coverage of the central 68% interval, and relative error of the median age, by region.",
    )
    return Section(
        "The systematic", "systematic", text, [drawn], [tables.systematic_table(found)], shown=1
    )
