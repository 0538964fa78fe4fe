"""What the numbers say, in sentences made of the numbers."""

from __future__ import annotations

import numpy as np

from migrate_bayes.checks.ages.families import sample_label
from migrate_bayes.checks.ages.headline import pulls
from migrate_bayes.checks.ages.m67 import LITERATURE
from migrate_bayes.checks.ages.run import AgeValidation, M67Row
from migrate_bayes.checks.ages.statistics import spread

__all__ = [
    "PAPER_DARTMOUTH_MINUS_PARSEC",
    "PAPER_M67",
    "calibration_text",
    "family_text",
    "kepler_text",
    "m67_text",
]

#: Gyr: what Vickers, Shen & Li (2021) report.
PAPER_DARTMOUTH_MINUS_PARSEC, PAPER_M67 = 1.8, 7.0


def m67_text(found: AgeValidation) -> list[str]:
    """Say where M67 stands, and how the paper came to 7 Gyr."""
    rows: dict[str, M67Row] = {r.label: r for r in found.m67}
    paper = rows.get("DD-Payne, paper's way: all, error < 25%")
    tip = rows.get("DD-Payne, paper's way: turn-off, all")
    dwarfs = rows.get("DD-Payne, paper's way: log g > 4.2")
    if paper is None or tip is None or dwarfs is None:
        return []
    ours = found.choices[0].m67 if found.choices else None
    lines = [
        f"The paper found {PAPER_M67} Gyr for its 90 members. With its catalogue (DD-Payne), its "
        f"isochrones and its method, the {paper.median.count} of them with age errors below 25% "
        f"come out here at {paper.mean_most_likely:.1f} Gyr in the mean and "
        f"{paper.median.median:.1f} in the median. Of these, the {dwarfs.median.count} with log g "
        f"above 4.2 have a median of {dwarfs.median.median:.1f} Gyr, the {tip.median.count} "
        f"turn-off stars and subgiants {tip.median.median:.1f} ± {tip.median.median_error:.1f}. "
        "The paper's age of M67 is that of its main-sequence stars, where a few hundredths of a "
        "dex in [Fe/H] or some tens of kelvin are worth gigayears."
    ]
    if ours is not None:
        lines[0] += (
            f" By the recipe's choices, on APOGEE parameters, the turn-off has {ours.median:.2f} ± "
            f"{ours.median_error:.2f} Gyr (literature {LITERATURE[0]}-{LITERATURE[1]})."
        )
    steps = []
    for name, label in (("m67", "APOGEE"), ("m67_ddpayne", "DD-Payne")):
        c = found.book.samples[name].catalog
        logg, feh = c["logg"].values, c["feh"].values
        tip_feh = spread(feh[(logg >= 3.9) & (logg < 4.3)])
        giant_feh = spread(feh[logg < 3.6])
        error = np.hypot(tip_feh.median_error, giant_feh.median_error)
        steps.append(f"{tip_feh.median - giant_feh.median:+.3f} ± {error:.3f} dex in {label}")
    lines.append(
        "Diffusion should leave the turn-off (log g 3.9-4.3) poorer in iron than the giants (log g "
        f"< 3.6) by 0.05-0.1 dex (Souto et al. 2019); the medians differ by {' and '.join(steps)}."
    )
    return lines


def kepler_text(found: AgeValidation) -> list[str]:
    """Say how the seismic errors enter."""
    if "kepler" not in found.book.samples:
        return []
    sample, ages = found.book.samples["kepler"], found.ages("kepler")
    pull = spread(pulls(sample, ages))
    used = sample.extra["usable"]
    seismic = float(np.median((sample.reference_error / sample.reference)[used]))
    ours = float(np.nanmedian(ages["age_error"].values[used]))
    return [
        f"{sample.note[0].upper()}{sample.note[1:]}. The scatter is 1.4826 times the median "
        "absolute deviation of (age − seismic age) / seismic age, and no error is taken out of "
        "it: the seismic ages' own "
        f"error is {seismic:.1%} in the median, ours {ours:.1%}. Over both errors in quadrature "
        f"the differences have median {pull.median:+.2f} and scatter {pull.scatter:.2f}, 1 being "
        "what the errors promise: log g is given an error of 0.05 dex and is far better. "
        "The seismic log g went into our ages too, so the two are not independent; the table of "
        "choices has them without log g.",
    ]


def family_text(found: AgeValidation) -> list[str]:
    """Answer whether Dartmouth is 1.8 Gyr older than PARSEC, and what would make it."""
    if not found.explained:
        return []
    labels = list(found.explained)
    same = {k: s for k, s in found.explained[labels[0]].items() if s.count}
    low, high = min(same, key=lambda k: same[k].median), max(same, key=lambda k: same[k].median)
    every = [(label, k, s) for label, by in found.explained.items() for k, s in by.items()]
    best = max((item for item in every if item[2].count), key=lambda item: item[2].median)
    scale = "Dartmouth initial, PARSEC surface [Fe/H]"
    lines = [
        f"The paper finds Dartmouth {PAPER_DARTMOUTH_MINUS_PARSEC} Gyr older than PARSEC. With the "
        "same stars, observables, method and scale of [Fe/H], it is not so: the median of "
        f"Dartmouth − PARSEC lies between {same[low].median:+.2f} ({sample_label(low)}) and "
        f"{same[high].median:+.2f} Gyr ({sample_label(high)})."
    ]
    if scale in found.explained:
        values = sorted(s.median for s in found.explained[scale].values() if s.count)
        others = [label for label in labels[1:] if label.startswith(("both", "age"))]
        moved = max(
            abs(s.median - same[name].median)
            for label in others
            for name, s in found.explained[label].items()
            if s.count and name in same
        )
        lines.append(
            "Reading the label of the Dartmouth grid as the observed [Fe/H], while the PARSEC ages "
            "are on the surface's scale, gives differences of "
            f"{values[0]:+.2f} to {values[-1]:+.2f} Gyr; changing method, prior, observables or "
            f"the kind of estimate for both alike moves no sample by more than {moved:.2f} Gyr. "
            f"The largest median of all, {best[2].median:+.2f} Gyr, is that of "
            f"“{sample_label(best[1])}” under “{best[0]}”."
        )
        if best[2].median < PAPER_DARTMOUTH_MINUS_PARSEC - 0.1:
            lines[-1] += (
                f" None reaches {PAPER_DARTMOUTH_MINUS_PARSEC} Gyr: what is left lies in the "
                "inputs of "
                "the two catalogues (parameters, distances, extinction, Galactic prior), which "
                "cannot "
                "be told apart without the other one."
            )
    return lines


def calibration_text(found: AgeValidation) -> list[str]:
    """Say what was drawn and what a reader may expect."""
    c = found.recipe.calibration
    return [
        f"{found.coverage[0].stars:,} stars drawn from the prior that the inference assumes (flat "
        "in age, [Fe/H] and [α/Fe] over the grid, Kroupa masses), observed with errors of "
        f"{c.teff_error:g} K, {c.logg_error:g}, {c.feh_error:g}, {c.alpha_error:g} dex and "
        f"{c.abs_g_error:g} mag, then selected by observed values, as many in each region. "
        "Regions, all of observed values, within 4300-7500 K and M_G < 6.5: main sequence log g ≥ "
        "4.25; subgiants 3.4 ≤ log g < 4.0 and T_eff < 5800 K; turn-off 3.4 ≤ log g < 4.25, the "
        "rest; giants log g < 3.4. By region and by estimated age a calibrated posterior covers "
        "68 and "
        "95%; by true age it need not, since an interval that is right on average over the prior "
        "leans towards its middle at either end.",
    ]
