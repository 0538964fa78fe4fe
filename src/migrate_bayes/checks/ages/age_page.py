"""The page of an age validation: the counterpart of figures 1-4 of Vickers, Shen & Li (2021)."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np

from migrate_bayes.checks.ages import aims, figures
from migrate_bayes.checks.ages.choices import sample_label
from migrate_bayes.checks.ages.comparisons import tables
from migrate_bayes.checks.ages.statistics import spread
from migrate_bayes.checks.ages.validation import AgeValidation, pulls, single_turnoff
from migrate_bayes.core.provenance import provenance
from migrate_bayes.report.section import FILE, Image, Section, encode, images_file, write_html

#: Sections that hold the counterpart of one of the paper's figures.
_COUNTERPARTS = {"clusters": "1", "m67": "2", "harps": "3", "kepler": "4"}

MEMBERS = (
    "LAMOST's own T_eff, log g and [Fe/H] with its own errors, by state as observed. Above 6000 K "
    "its log g of unevolved stars is too low, by 0.15 dex at 6250 K and 0.36 at 8500 K: a star of "
    "0.2 Gyr is taken for one half through its life on the main sequence. NEAR_ZAMS flags such "
    "stars. The last column has 100 K and 0.2 dex as `systematics`, and leaves them out."
)
GIANTS = (
    "Branch and clump apart, by the evolutionary state that asteroseismology tells. Usable: error "
    "below 25%, and no flag against it (MISSING_PHASE where the family has no red clump); then "
    "those with errors below 50%. The last row of each state has what the recipe apokasc2 has."
)


def write_page(
    found: AgeValidation, directory: str | Path, *, recipe_text: str = "", overwrite: bool = False
) -> Path:
    """Write ``directory/index.html``, and the figures for other reports to embed."""
    record = provenance(seed=found.recipe.seed, recipe_hash=found.recipe.hash)
    sections = _sections(found)
    made = ("made", record["created"])
    o = found.book.options
    choices = [("source", o.short_name), ("method", o.method), ("[Fe/H] scale", o.feh_scale)]
    images = [(_COUNTERPARTS.get(s.key), p) for s in sections for p in s.images]
    shown = [(number, p) for number, p in images if number and isinstance(p, Image)]
    return write_html(
        directory,
        title="Validation of isochrone ages",
        facts=[*choices, ("took", f"{sum(found.seconds.values()):,.0f} s"), made],
        notes=[f"Left out: {part}. {reason}." for part, reason in found.absent.items()],
        sections=sections,
        record=[
            ("recipe hash", record["recipe_hash"]),
            ("seed", record["seed"]),
            *((f"{part} took", f"{seconds:.1f} s") for part, seconds in found.seconds.items()),
        ],
        recipe_text=recipe_text,
        beside={FILE: images_file(shown, dict([*choices, made]))},
        overwrite=overwrite,
    )


def _sections(found: AgeValidation) -> list[Section]:
    """Return the sections of what there is; the first table of each stands open."""
    out: list[Section] = []
    shown = tables(found)

    def add(title: str, key: str, text: list[str], *drawn: Any, names: tuple = ()) -> None:
        """Add a section; `drawn` are figure, title, caption, once or more."""
        wide = key not in ("sun", "clusters")
        images = [encode(*d, wide=wide) for d in itertools.batched(drawn, 3)]
        kept = [shown[name] for name in names or (key,)]
        out.append(Section(title, key, text, images, kept, shown=1))

    samples = found.book.samples
    add("In short", "aims", [])
    holds = [row["sun_within_1_sigma"] for row in found.sun if row["kind"] == "fine, surface"]
    sun = (
        "The Sun as LAMOST would see it (5772 K ± 22.6, log g 4.438 ± 0.05, [Fe/H] 0 ± 0.03, "
        f"[α/Fe] 0 ± 0.02, M_G 4.67 ± 0.1). By default the interval holds 4.57 Gyr in {sum(holds)} "
        f"of {len(holds)} families. Read on the initial scale the Sun is older by about what "
        "diffusion has taken from its surface: that is what the default corrects."
    )
    add(
        "The Sun", "sun", [sun],
        figures.sun_figure(found.sun), "The Sun's age on every family",
        "Posterior median and central 68% interval of the Sun's age by family, method and "
        "scale of [Fe/H].",
    )  # fmt: skip
    if m67 := samples.get("m67"):
        ages, other = found.ages("m67"), samples["m67_ddpayne"]
        tip, paper = single_turnoff(m67, ages), found.book.ages(found.book.paper, "m67_ddpayne")
        add(
            "M67", "m67", m67_text(found),
            figures.m67_figure((m67, ages), (other, paper), tip, found.book.options),
            "M67: Kiel and colour diagrams with isochrones, ages, abundances",
            f"M67 ({m67.note}). Top: stars by age (squares: binaries or disturbed astrometry) "
            "with isochrones; ages of turn-off stars and subgiants. Bottom: [Fe/H] and [α/Fe] "
            "with running medians, dashed the literature's [Fe/H]; ages against gravity, error "
            "bars the 0.61 intervals. Counterpart of the paper's figure 2.",
        )  # fmt: skip
    if found.clusters:
        add(
            "Open clusters", "clusters", _cluster_text(found),
            figures.cluster_figure(found.clusters),
            "Age offset of cluster members against [Fe/H]",
            "Median age minus literature age; bars are the robust scatter, numbers the stars. "
            "Counterpart of the paper's figure 1.", names=("clusters", "trends"),
        )  # fmt: skip
    if found.members:
        add(
            "Clusters by evolutionary state",
            "members",
            [MEMBERS],
            names=("members usable", "members"),
        )
    if giants := found.by_family.get("apokasc"):
        clump, label = giants.catalog["ref_clump"].values, list(found.book.giants())[-1]
        ages = found.book.ages(found.book.giants()[label], "apokasc")
        drawn: list = []
        for k, state in enumerate(("giant branch", "red clump")):
            title = f"Isochrone against asteroseismic ages: {state}"
            said = f"{giants.note}; {label}. Bars are the 68% intervals of both ages."
            drawn += [figures.age_age_figure(giants, ages, clump == k), title, said]
        add("Giants", "giants", [GIANTS], *drawn)
    if kepler := samples.get("kepler"):
        add(
            "Asteroseismic dwarfs", "kepler", _kepler_text(found),
            figures.age_age_figure(kepler, found.ages("kepler"), kepler.usable),
            "Isochrone against asteroseismic ages of Kepler dwarfs",
            "Kepler LEGACY and Kages stars; bars are the 68% intervals of both ages. In place "
            "of the paper's figure 4, which has giants.",
        )  # fmt: skip
    if harps := samples.get("harps"):
        add(
            "HARPS against StarHorse", "harps", [],
            figures.age_age_figure(harps, found.ages("harps"), harps.compared),
            "Isochrone against StarHorse ages of HARPS dwarfs",
            f"{harps.note}. StarHorse ages are of PARSEC isochrones under a Galactic prior. In "
            "place of the paper's figure 3.",
        )  # fmt: skip
    if cks := found.by_family.get("cks"):
        add(
            "The California-Kepler Survey against its own ages", "cks", [],
            figures.age_age_figure(cks, found.ages("cks"), cks.compared),
            "Isochrone ages of planet hosts against those of the survey",
            f"{cks.note}. The survey's ages are of the same spectra on the same isochrones, by "
            "another code.",
        )  # fmt: skip
    if found.pairs:
        names: tuple = ("pairs", "families")
        explained: tuple = ()
        if found.explained:
            names = ("parsec", *names)
            explained = (
                figures.explain_figure(found.explained),
                "Dartmouth minus PARSEC by set of choices",
                "What could set Dartmouth and PARSEC apart.",
            )
        add(
            "Family against family", "families", family_text(found),
            figures.family_figure(found.pairs), "Difference of ages between families, against age",
            "Median difference to Dartmouth in bins of age, by region of the mock stars and by "
            "real sample; stars with age errors below 25% in both, bins of five or more.",
            *explained, names=names,
        )  # fmt: skip
    add("Choices", "choices", [
        "What each choice changes on the stars of known age (Gyr; number of stars in brackets)."
    ])  # fmt: skip
    c = found.recipe.calibration
    calibrated = (
        f"{found.coverage[0].stars:,} stars drawn from the prior that the inference assumes (flat "
        "in age, [Fe/H] and [α/Fe] over the grid, Kroupa masses), observed with errors of "
        f"{c.teff_error:g} K, {c.logg_error:g}, {c.feh_error:g}, {c.alpha_error:g} dex and "
        f"{c.abs_g_error:g} mag, then selected by observed values, as many in each region. "
        "Regions, all of observed values, within 4300-7500 K and M_G < 6.5: main sequence log g ≥ "
        "4.25; subgiants 3.4 ≤ log g < 4.0 and T_eff < 5800 K; turn-off 3.4 ≤ log g < 4.25, the "
        "rest; giants log g < 3.4. By region and by estimated age a calibrated posterior covers "
        "68 and 95%; by true age it need not, since an interval that is right on average over the "
        "prior leans towards its middle at either end."
    )
    add(
        "Calibration", "calibration", [calibrated],
        figures.calibration_figure(found.calibration, found.coverage),
        "PIT histograms by region, coverage by age",
        "Top: posterior probability below the true age, by region; the band is two binomial σ. "
        "Bottom: coverage by true and by estimated age.",
        names=("coverage",),
    )  # fmt: skip
    if found.systematic:
        add(
            "The systematic", "systematic",
            [
                f"Stars made by another family and aged on {found.book.options.short_name}. The "
                "intervals know of the errors of the data only: where the data tell most, the "
                "families differ by more than that.",
            ],
            figures.systematic_figure(found.systematic),
            "Coverage and bias for stars of another family",
            "Coverage of the central 68% interval, and relative error of the median age, by "
            "region.",
        )  # fmt: skip
    return out


def _cluster_text(found: AgeValidation) -> list[str]:
    searched = ", ".join(f"{n:,} of {name.upper()}" for name, n in found.searched.items())
    others = sum(row["cluster"] != "M67" for row in found.clusters)
    return [
        f"Beside M67, {searched or 'no'} stars were searched for members of the clusters of "
        f"Dias et al. (2021) and Cantat-Gaudin et al. (2020): {others} "
        f"{'cluster has' if others == 1 else 'clusters have'} two or more. That is all there is, "
        "and it shows no trend with [Fe/H]. A cluster younger than the youngest isochrone must "
        "pile up at the young edge.",
    ]


def m67_text(found: AgeValidation) -> list[str]:
    """Say the age of M67, and how the paper came to 7 Gyr."""
    rows = {row["label"]: row for row in found.m67}
    if not rows:
        return []
    paper = rows["DD-Payne, paper's way: all, error < 25%"]
    tip = rows["DD-Payne, paper's way: turn-off, all"]["ages"]
    dwarfs = rows["DD-Payne, paper's way: log g > 4.2"]["ages"]
    ours = found.choices[0]["m67_turnoff"]
    steps = []
    for name, label in (("m67", "APOGEE"), ("m67_ddpayne", "DD-Payne")):
        c = found.book.samples[name].catalog
        logg, feh = c["logg"].values, c["feh"].values
        turnoff, giants = spread(feh[(logg >= 3.9) & (logg < 4.3)]), spread(feh[logg < 3.6])
        error = np.hypot(turnoff.median_error, giants.median_error)
        steps.append(f"{turnoff.median - giants.median:+.3f} ± {error:.3f} dex in {label}")
    return [
        f"The paper found {aims.PAPER_M67} Gyr for its 90 members. With its catalogue (DD-Payne), "
        f"its isochrones and its method, the {paper['ages'].count} of them with age errors below "
        f"25% come out here at {paper['mean_most_likely']:.1f} Gyr in the mean and "
        f"{paper['ages'].median:.1f} in the median. Of these, the {dwarfs.count} with log g "
        f"above 4.2 have a median of {dwarfs.median:.1f} Gyr, the {tip.count} "
        f"turn-off stars and subgiants {tip.median:.1f} ± {tip.median_error:.1f}. "
        "The paper's age of M67 is that of its main-sequence stars, where a few hundredths of a "
        "dex in [Fe/H] or some tens of kelvin are worth gigayears. By the recipe's choices, on "
        f"APOGEE parameters, the turn-off has {ours.median:.2f} ± {ours.median_error:.2f} Gyr "
        f"(literature {aims.M67_LITERATURE[0]}-{aims.M67_LITERATURE[1]}).",
        "Diffusion should leave the turn-off (log g 3.9-4.3) poorer in iron than the giants (log g "
        f"< 3.6) by 0.05-0.1 dex (Souto et al. 2019); the medians differ by {' and '.join(steps)}.",
    ]


def _kepler_text(found: AgeValidation) -> list[str]:
    sample, ages = found.book.samples["kepler"], found.ages("kepler")
    pull, used = spread(pulls(sample, ages)), sample.usable
    seismic = float(np.median((sample.reference_error / sample.reference)[used]))
    ours = float(np.nanmedian(ages["age_error"].values[used]))
    return [
        f"{sample.note[0].upper()}{sample.note[1:]}. The scatter is 1.4826 times the median "
        "absolute deviation of (age − seismic age) / seismic age, and no error is taken out of "
        f"it: the seismic ages' own error is {seismic:.1%} in the median, ours {ours:.1%}. Over "
        f"both errors in quadrature the differences have median {pull.median:+.2f} and scatter "
        f"{pull.scatter:.2f}, 1 being what the errors promise: log g is given an error of 0.05 dex "
        "and is far better. The seismic log g went into our ages too, so the two are not "
        "independent; the table of choices has them without log g.",
    ]


def family_text(found: AgeValidation) -> list[str]:
    """Answer whether Dartmouth is 1.8 Gyr older than PARSEC, and what would make it."""
    if not found.explained:
        return []
    reported, labels = aims.PAPER_DARTMOUTH_MINUS_PARSEC, list(found.explained)
    same = {k: s for k, s in found.explained[labels[0]].items() if s.count}
    low, high = min(same, key=lambda k: same[k].median), max(same, key=lambda k: same[k].median)
    every = [
        (label, k, s) for label, by in found.explained.items() for k, s in by.items() if s.count
    ]
    label, sample, best = max(every, key=lambda item: item[2].median)
    scale = found.explained["Dartmouth initial, PARSEC surface [Fe/H]"]
    values = sorted(s.median for s in scale.values() if s.count)
    alike = ("both", "age")  # labels of the set-ups that change Dartmouth and PARSEC alike
    moved = max(
        abs(s.median - same[k].median)
        for other, k, s in every
        if other != labels[0] and other.startswith(alike) and k in same
    )
    lines = [
        f"The paper finds Dartmouth {reported} Gyr older than PARSEC. With the "
        "same stars, observables, method and scale of [Fe/H], it is not so: the median of "
        f"Dartmouth − PARSEC lies between {same[low].median:+.2f} ({sample_label(low)}) and "
        f"{same[high].median:+.2f} Gyr ({sample_label(high)}).",
        "Reading the label of the Dartmouth grid as the observed [Fe/H], while the PARSEC ages "
        f"are on the surface's scale, gives differences of {values[0]:+.2f} to {values[-1]:+.2f} "
        "Gyr; changing method, prior, observables or the kind of estimate for both alike moves no "
        f"sample by more than {moved:.2f} Gyr. The largest median of all, {best.median:+.2f} Gyr, "
        f"is that of “{sample_label(sample)}” under “{label}”.",
    ]
    if best.median < reported - 0.1:
        lines[-1] += (
            f" None reaches {reported} Gyr: what is left lies in the inputs of "
            "the two catalogues (parameters, distances, extinction, Galactic prior), which cannot "
            "be told apart without the other one."
        )
    return lines
