"""From a block of a file's columns to the canonical ones, by the entries of a column map.

Everything here works element by element, so that a catalogue read in chunks is the same as one
read whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from migrate_bayes.catalog.columns import COLUMNS, EXTRA_PREFIX
from migrate_bayes.catalog.formats import Source, nearest_columns
from migrate_bayes.catalog.maps import ColumnMap, Entry
from migrate_bayes.catalog.units import conversion_factor
from migrate_bayes.core.errors import CatalogError

__all__ = ["Step", "evaluate", "guess_map", "plan"]

_BAILER_JONES = (("distance", "med"), ("distance_lo", "lo"), ("distance_hi", "hi"))


@dataclass(frozen=True, slots=True)
class Step:
    """One canonical column with its operands found in the file and their factors."""

    canonical: str
    entry: Entry
    operands: tuple[str | float, ...]
    factors: tuple[float, ...]
    unit: str


def guess_map(names: Sequence[str]) -> ColumnMap:
    """Map canonical names to themselves, as far as a file has them.

    Distances may be Bailer-Jones's (``r_med_geo``, else ``r_med_photogeo``, with ``lo`` and ``hi``;
    in pc where the file has no unit). ``bp_rp`` is the Gaia archive's *observed* colour, except
    beside ``abs_g``, where it is the dereddened one that this package wrote.
    """
    entries = {name: Entry("column", (name,), optional=True) for name in COLUMNS if name != "bp_rp"}
    entries["source_id"] = Entry("column", ("source_id",))
    lowered = {name.lower() for name in names}
    source = ""
    if "distance" not in lowered:
        for kind in ("geo", "photogeo"):
            if f"r_med_{kind}" in lowered:
                for canonical, part in _BAILER_JONES:
                    entries[canonical] = Entry("column", (f"r_{part}_{kind}",), unit="pc")
                source = f"Bailer-Jones et al. 2021, r_med_{kind}"
                break
    if "bp_rp" in lowered:
        target = "bp_rp" if "abs_g" in lowered else "bp_rp_observed"
        entries[target] = Entry("column", ("bp_rp",), optional=True)
    entries["flag"] = Entry("column", ("flag",), optional=True)
    for name in names:
        if name.startswith(EXTRA_PREFIX):
            entries[name] = Entry("column", (name,), optional=True)
    return ColumnMap("canonical", "canonical names", entries, source)


def _find(name: str, names: Sequence[str]) -> str | None:
    if name in names:
        return name
    same = [n for n in names if n.lower() == name.lower()]
    return same[0] if len(same) == 1 else None


def plan(column_map: ColumnMap, source: Source) -> list[Step]:
    """Find every column that a map names, and the factors to the canonical units.

    Raises
    ------
    CatalogError
        For a column that the file lacks (naming the nearest), or a unit that cannot be converted.
    """
    steps: list[Step] = []
    for canonical, entry in column_map.entries.items():
        operands: list[str | float] = []
        lacking: str | None = None
        for operand in entry.operands:
            if isinstance(operand, float):
                operands.append(operand)
                continue
            found = _find(operand, source.names)
            if found is not None:
                operands.append(found)
            else:
                lacking = lacking or operand
        if entry.operation == "column":
            operands = operands[:1]
            if operands:
                lacking = None
        if lacking is not None:
            if entry.optional:
                continue
            raise CatalogError(
                f"{source.path}: no column '{lacking}', which the column map "
                f"'{column_map.name}' reads as '{canonical}'; "
                f"{nearest_columns(lacking, source.names)}"
            )
        carried = canonical.startswith(EXTRA_PREFIX)
        named = [o for o in operands if isinstance(o, str)]
        stated = entry.unit if entry.unit is not None else None
        if carried:
            unit = stated or (source.units.get(named[0], "") if named else "")
            factors = tuple(1.0 for _ in operands)
        else:
            unit = COLUMNS[canonical].unit if canonical in COLUMNS else ""
            factors = tuple(
                1.0
                if isinstance(o, float) or entry.operation == "ratio" or canonical not in COLUMNS
                else conversion_factor(
                    # A column without a unit is taken to be in the canonical one.
                    stated if stated is not None else source.units.get(o, unit),
                    unit,
                    file=str(source.path),
                    column=o,
                    canonical=canonical,
                )
                for o in operands
            )
            if entry.operation == "ratio" and stated is not None:
                factor = conversion_factor(
                    stated,
                    unit,
                    file=str(source.path),
                    column=str(operands[0]),
                    canonical=canonical,
                )
                factors = (factor, 1.0)
        steps.append(Step(canonical, entry, tuple(operands), factors, unit))
    return steps


def _operand(
    step: Step, index: int, block: dict[str, NDArray[np.float64]], n: int
) -> NDArray[np.float64]:
    operand = step.operands[index]
    if isinstance(operand, float):
        return np.full(n, operand)
    values = block[operand]
    bad = ~np.isfinite(values)
    for sentinel in step.entry.missing:
        # Sentinels such as 9.99 are often stored in single precision.
        bad |= np.isclose(values, sentinel, rtol=1e-6, atol=0.0)
    return np.where(bad, np.nan, values * step.factors[index])


def evaluate(
    step: Step, block: dict[str, NDArray[np.float64]], n: int, *, file: str, first_row: int
) -> NDArray[np.float64]:
    """Compute one canonical column for a block.

    Raises
    ------
    CatalogError
        For a negative error, naming the column, how many, and the first row.
    """
    entry = step.entry
    x = [_operand(step, i, block, n) for i in range(len(step.operands))]
    match entry.operation:
        case "column" | "constant":
            value = x[0].copy()
        case "sum":
            value = np.sum(x, axis=0)
        case "quadrature":
            value = np.sqrt(np.sum(np.square(x), axis=0))
        case "mean":
            stack = np.stack(x)
            count = np.sum(np.isfinite(stack), axis=0)
            with np.errstate(invalid="ignore", divide="ignore"):
                value = np.where(count > 0, np.nansum(stack, axis=0) / count, np.nan)
        case "difference":
            value = x[0] - x[1]
        case "ratio":
            with np.errstate(invalid="ignore", divide="ignore"):
                value = x[0] / x[1]
        case _:
            value = np.arange(first_row, first_row + n, dtype=np.float64)
    value = value * entry.scale
    value[~np.isfinite(value)] = np.nan
    column = COLUMNS.get(step.canonical)
    if column is None:
        return value
    if column.is_error:
        negative = np.flatnonzero(value < 0)
        if negative.size:
            names = ", ".join(f"'{o}'" for o in step.operands if isinstance(o, str))
            raise CatalogError(
                f"{file}: {negative.size} negative values of {step.canonical} (column {names}), "
                f"the first, {value[negative[0]]:g}, in row {first_row + int(negative[0]) + 1} "
                f"(counting from 1). Where this marks a missing error, say so in the column map: "
                f"missing = [{value[negative[0]]:g}]"
            )
        if entry.add_error:
            value = np.hypot(value, entry.add_error)
    else:
        value[(value < column.low) | (value > column.high)] = np.nan
    if entry.floor is not None:
        value = np.maximum(value, entry.floor)
    return value
