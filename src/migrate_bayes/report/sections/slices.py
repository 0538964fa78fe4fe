"""Slices in Z_max and in chemistry."""

from __future__ import annotations

from collections.abc import Sequence

from migrate_bayes.baseline import ALPHA_SLICES, ZMAX_SLICES, why_absent
from migrate_bayes.plots import SlicePanel, limits_of, slice_figure
from migrate_bayes.report.data import ReportData
from migrate_bayes.report.image import Picture, encode
from migrate_bayes.report.sections.gradients import BANDS, POINTS, everyone
from migrate_bayes.selection import SELECTIONS

__all__ = ["alpha_slices", "zmax_slices"]


def zmax_slices(d: ReportData) -> Picture | str | None:
    """Figure 9 of the paper."""
    return _slices(d, ZMAX_SLICES, "Z_max", "zmax", "from vertically cold orbits to hot ones")


def alpha_slices(d: ReportData) -> Picture | str | None:
    """Figure 10 of the paper."""
    return _slices(d, ALPHA_SLICES, "chemistry", "alpha_fe", "from α-poor stars to α-rich ones")


def _slices(
    d: ReportData, names: Sequence[str], what: str, column: str, order: str
) -> Picture | str:
    if why := d.lacks(column, "radius", "feh"):
        return why
    if d.variants is None:
        return why_absent(None, "")
    panels, thin = [], []
    for name in names:
        mask = d.chosen(name)
        if isinstance(mask, str):
            return mask
        baseline = d.baseline_of(name)
        why = why_absent(d.variants, name)
        if why:
            thin.append(f"{SELECTIONS[name].description}: {_short(why)}")
        words = "" if baseline is not None else "no age bin can be fitted"
        panels.append(SlicePanel(_title(name), d.plane(mask), baseline, words))
    if all(p.baseline is None for p in panels):
        counts = ", ".join(f"{len(p.stars.feh):,}" for p in panels)
        return f"no slice in {what} has an age bin that can be fitted ({counts} stars): {thin[0]}"
    caption = (
        f"Slices in {what}, {order}. Top: gradient against age in each slice. "
        f"{BANDS if d.fit else ''}They are of the whole survey, and the same in every column. "
        f"{POINTS}Dashed: the straight line through them. Below: chemistry, with the dividing "
        "lines, and Z_max against radius."
    )
    if thin:
        caption += f" Without a baseline: {'; '.join(thin)}."
    made = slice_figure(panels, limits_of(everyone(d)), fit=d.fit, symbol=d.symbol)
    return encode(made, f"Gradient against age in slices of {what}", caption)


def _short(why: str) -> str:
    return why.split(": ")[-1] if len(why) > 120 else why


def _title(name: str) -> str:
    """A slice's condition in mathematical type, on as many lines as it needs."""
    text = SELECTIONS[name].description
    for plain, maths in (("Z_max", r"$Z_\mathrm{max}$"), ("[α/Fe]", r"[$\alpha$/Fe]")):
        text = text.replace(plain, maths)
    words, lines = text.split(), [""]
    for word in words:
        if len(lines[-1]) + len(word) > 30 + 20 * lines[-1].count("$"):
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)
