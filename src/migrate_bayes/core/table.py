"""Tables and numbers with an error, worded in one way for terminal, page and JSON."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from migrate_bayes.core.progress import say


class Table(NamedTuple):
    """A short table of text.

    Parameters
    ----------
    title : str
    header : sequence of str
        Names of the columns.
    rows : sequence of sequence of str
        Cells, row by row. A table without rows is false.

    Examples
    --------
    >>> from migrate_bayes.core.table import Table
    >>> Table("Discs", ["disc", "stars"], [["thin", "1,200"], ["thick", "90"]]).print()
    <BLANKLINE>
    Discs
      disc   stars
      thin   1,200
      thick     90
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def __bool__(self) -> bool:
        return len(self.rows) > 0

    def lines(self) -> list[str]:
        """Return the table as aligned lines: numbers to the right, words to the left."""
        if not self.rows:
            return [self.title, "  (none)"]
        cells = [list(self.header), *[[str(cell) for cell in row] for row in self.rows]]
        columns = list(zip(*cells, strict=True))
        widths = [max(map(len, column)) for column in columns]
        right = [all(_is_number(cell) for cell in column[1:]) for column in columns]
        lines = [self.title]
        for row in cells:
            aligned = [
                cell.rjust(width) if number else cell.ljust(width)
                for cell, width, number in zip(row, widths, right, strict=True)
            ]
            lines.append("  " + "  ".join(aligned).rstrip())
        return lines

    def print(self, say: Callable[[str], None] = say) -> None:
        """Print an empty line and the table, line by line, through `say`."""
        for line in ["", *self.lines()]:
            say(line)

    def records(self) -> list[dict[str, str]]:
        """Return the rows as dictionaries by column, as JSON can hold them."""
        return [dict(zip(self.header, row, strict=True)) for row in self.rows]

    def _repr_html_(self) -> str:
        def row(cells: Sequence[str], tag: str) -> str:
            inner = "".join(f"<{tag}>{html.escape(str(cell))}</{tag}>" for cell in cells)
            return f"<tr>{inner}</tr>"

        body = "".join(row(cells, "td") for cells in self.rows)
        caption = f"<caption>{html.escape(self.title)}</caption>" if self.title else ""
        return f"<table>{caption}{row(self.header, 'th')}{body}</table>"


def _is_number(text: str) -> bool:
    return text[:1].isdigit() or text[:1] in "-−+." or text == ""


@dataclass(frozen=True)
class Estimate:
    """A value with its 1σ (68%) errors downwards and upwards, both positive.

    Examples
    --------
    >>> from migrate_bayes.core.table import Estimate
    >>> print(Estimate.symmetric(-0.07518, 0.00042), Estimate(-0.0751, 0.002, 0.004))
    -0.07518 ± 0.00042 -0.0751 +0.0040 -0.0020
    >>> Estimate.symmetric(0.0029, 0.0006).text(digits=4, sign=True)
    '+0.0029 ± 0.0006'
    """

    value: float
    minus: float
    plus: float

    @classmethod
    def symmetric(cls, value: float, error: float) -> Self:
        """Return a value whose error is the same in both directions."""
        return cls(float(value), float(error), float(error))

    @classmethod
    def of_draws(cls, draws: Any) -> Self | None:
        """Return the median and central 68% interval of draws; None if no draw is finite."""
        import numpy as np

        finite = np.asarray(draws)[np.isfinite(draws)]
        if not finite.size:
            return None
        low, mid, high = np.percentile(finite, [16, 50, 84])
        return cls(float(mid), float(mid - low), float(high - mid))

    def text(self, *, digits: int | None = None, sign: bool = False) -> str:
        """Word the estimate: ``-0.0752 ± 0.0004``, with `sign` ``+`` for a positive value too.

        ``-0.075 +0.004 -0.002`` if the sides differ by over a fifth. Without `digits`, the decimals
        show two figures of the smaller error.
        """
        if not math.isfinite(self.value):
            return "n/a"
        smaller = min(self.minus, self.plus)
        if digits is None:
            if not smaller > 0 or not math.isfinite(smaller):
                return f"{self.value:.4g}"
            digits = decimals(smaller)
        value = f"{self.value:{'+' if sign else ''}.{digits}f}"
        if abs(self.plus - self.minus) > 0.2 * max(self.plus, self.minus):
            return f"{value} +{self.plus:.{digits}f} -{self.minus:.{digits}f}"
        return f"{value} ± {0.5 * (self.minus + self.plus):.{digits}f}"

    def __str__(self) -> str:
        """Word the estimate with decimals that follow from its error."""
        return self.text()


def decimals(error: float, otherwise: int = 4) -> int:
    """Decimals that show two figures of an error; `otherwise` if it is no positive number."""
    if not error > 0 or not math.isfinite(error):
        return otherwise
    return min(max(1 - math.floor(math.log10(error)), 0), 8)


def plain(value: Any, digits: int | None = None) -> Any:
    """Turn a result, nested in any way, into what JSON can hold: null for NaN, floats rounded."""
    if isinstance(value, Mapping):
        return {str(k): plain(v, digits) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v, digits) for v in value]
    if hasattr(value, "tolist"):  # NumPy's arrays and scalars
        return plain(value.tolist(), digits)
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return value if digits is None else round(value, digits)
    return value
