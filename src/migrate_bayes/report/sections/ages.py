"""Figures 1 to 4 of the paper: the validation of isochrone ages, from its own report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from migrate_bayes.report.data import ReportData
from migrate_bayes.report.image import Picture

__all__ = ["catalogues", "clusters", "m67", "seismic"]


def _embedded(number: str) -> Callable[[ReportData], Picture | str | None]:
    def plate(d: ReportData) -> Picture | str | None:
        source = str(d.stars.attrs.get("isochrone_source", ""))
        if source == "external":
            return "the run's ages are the catalogue's own: there are no isochrone ages to hold up"
        if not d.validation:
            return d.no_validation or "the report was made without a validation of ages"
        pictures = d.validation.get(number, ())
        if not pictures:
            return "the validation of ages was made without the stars of this figure"
        # The place has its own heading.
        return replace(pictures[0], title="", key="")

    return plate


clusters, m67 = _embedded("1"), _embedded("2")
catalogues, seismic = _embedded("3"), _embedded("4")
