"""Refresh the tables and the answers in docs/ages.md: run `validate ages`, fill in what it printed.

From the root of the project, with $MIGRATE_BAYES_DATA, some minutes: ``python docs/make_ages.py``.
"""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

from migrate_bayes.checks.ages.age_page import family_text, m67_text
from migrate_bayes.checks.ages.comparisons import tables
from migrate_bayes.cli.checks import validate_ages
from migrate_bayes.core.table import Table

PAGE = Path("docs/ages.md")


def block(table: Table) -> str:
    """Return a table as the command prints it."""
    return "\n".join(["```", *table.lines(), "```"])


def prose(paragraphs: list[str]) -> str:
    """Return paragraphs, wrapped."""
    return "\n\n".join(textwrap.fill(p, 104, break_long_words=False) for p in paragraphs)


def main() -> None:
    """Run, and rewrite what stands between the marks of each part."""
    found = validate_ages(Path("runs/validate-ages.toml"), overwrite=True)
    shown = tables(found)
    named = (
        "aims", "choices", "families", "m67", "clusters", "trends", "giants", "gravities",
        "calibration", "systematic",
    )  # fmt: skip
    parts = {name: block(shown[name]) for name in named}
    parts["members"], parts["members-all"] = block(shown["members usable"]), block(shown["members"])
    parts["parsec"] = block(shown["parsec medians"])
    parts["parsec-answer"] = prose(family_text(found))
    parts["m67-answer"] = prose(m67_text(found))
    page = PAGE.read_text()
    for name, content in parts.items():
        pattern = rf"(<!-- {name} -->\n).*?(<!-- end -->)"
        page, count = re.subn(
            pattern, lambda m, c=content: m[1] + c + "\n" + m[2], page, flags=re.S
        )
        if count != 1:
            raise SystemExit(f"{PAGE}: found {count} parts marked '{name}'")
    PAGE.write_text(page)


if __name__ == "__main__":
    main()
