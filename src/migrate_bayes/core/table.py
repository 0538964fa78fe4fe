"""Short tables for the terminal: aligned columns, plain text, readable in a log."""

from __future__ import annotations

from collections.abc import Callable, Sequence

__all__ = ["print_table"]


def print_table(
    title: str,
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    say: Callable[[str], None] = print,
) -> None:
    """Print rows under a title and a header, numbers to the right and words to the left."""
    say("")
    say(title)
    if not rows:
        say("  (none)")
        return
    cells = [list(header), *[[str(cell) for cell in row] for row in rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    numeric = [all(_is_number(row[i]) for row in cells[1:]) for i in range(len(header))]
    for row in cells:
        aligned = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        ]
        say("  " + "  ".join(aligned).rstrip())


def _is_number(text: str) -> bool:
    return text[:1].isdigit() or text[:1] in "-−+." or text == ""
