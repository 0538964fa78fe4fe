"""Coverage of ages by error model, into docs/ages.md: ``python docs/make_error_models.py``.

Stars are drawn from the prior (`checks.ages.calibration`), observed with the errors of a case, and
aged with the options of that case. Prints the table, and with all of 20,000 stars writes it. The
last rows are aged as if their pairs were single stars, or their errors independent.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from migrate_bayes.checks.ages.calibration import calibrate, coverage_table, draw_prior_stars
from migrate_bayes.checks.ages.recipe import CalibrationOptions
from migrate_bayes.core.table import Table
from migrate_bayes.isochrones import AgeOptions, Systematics

PAGE, SEED, FULL = Path("docs/ages.md"), 20210301, 20_000
PLAIN = AgeOptions(giant_systematics=Systematics())  # stars of the isochrones themselves
PAIRS = AgeOptions.of(PLAIN, {"binaries": {"share": 0.4}})
CORRELATED = (0.6, 0.7, 0.5)  # of T_eff and log g, T_eff and [Fe/H], log g and [Fe/H]
HEAD = ["errors", "stars", "68%", "95%", "median offset", "scatter"]


def main() -> None:
    """Compute, print, and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stars", type=int, default=FULL)
    parser.add_argument("--cases", help="comma-separated: of the table, by number; else all")
    given = parser.parse_args()
    own = CalibrationOptions(stars=given.stars)
    together = own.model_copy(update={"correlations": CORRELATED})
    # Errors, the law that stars are made by, the law that they are aged by, columns left out.
    cases = {
        "default": (own, PLAIN, PLAIN),
        "correlated": (together, PLAIN, PLAIN),
        "halved": (own.times(0.5), PLAIN, PLAIN),
        "doubled": (own.times(2.0), PLAIN, PLAIN),
        "with pairs": (own, PAIRS, PAIRS),
        "correlated, taken as independent": (together, PLAIN, PLAIN),
        "with pairs, taken as single": (own, PAIRS, PLAIN),
    }
    chosen = list(cases)
    if given.cases:
        chosen = [chosen[int(k)] for k in given.cases.split(",")]
    rows = []
    for label in chosen:
        errors, made, aged = cases[label]
        stars = draw_prior_stars(made, errors, seed=SEED)
        if label.endswith("independent"):
            stars = stars.drop_vars([n for n in stars.data_vars if str(n).endswith("_corr")])
        c = coverage_table(calibrate(stars, aged))[0]
        rows.append([
            label, f"{c.stars:,}", f"{c.coverage68:.1%} ± {c.error68:.1%}",
            f"{c.coverage95:.1%} ± {c.error95:.1%}", f"{c.median_relative_offset:+.1%}",
            f"{c.relative_scatter:.1%}",
        ])  # fmt: skip
        print(rows[-1], flush=True)
    table = Table("Coverage by error model", HEAD, rows)
    table.print()
    if given.stars == FULL and len(chosen) == len(cases):
        text = "\n".join(["<!-- error-models -->", "```", *table.lines(), "```", "<!-- end -->"])
        page, at = PAGE.read_text(), r"<!-- error-models -->\n.*?<!-- end -->"
        PAGE.write_text(re.sub(at, lambda _: text, page, count=1, flags=re.DOTALL))


if __name__ == "__main__":
    main()
