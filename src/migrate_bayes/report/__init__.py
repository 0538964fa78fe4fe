"""Figures, tables and the HTML page of a run, and its headline on the terminal.

`write_report` writes the page, `headline` gives the numbers at its top, `print_headline` and
`print_baseline` put them on the terminal.
"""

from __future__ import annotations

from migrate_bayes.report.headline import (
    Estimate,
    HeadlineRow,
    headline,
    print_baseline,
    print_headline,
)
from migrate_bayes.report.page import write_report

__all__ = [
    "Estimate",
    "HeadlineRow",
    "headline",
    "print_baseline",
    "print_headline",
    "write_report",
]
