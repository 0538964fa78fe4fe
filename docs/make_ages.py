"""Refresh the tables and the answers in docs/ages.md: run `validate ages`, fill in what it printed.

From the root of the project, with $MIGRATE_BAYES_DATA, some minutes: ``python docs/make_ages.py``.
"""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

from migrate_bayes.checks.ages import tables, text
from migrate_bayes.cli.validate import run_validate_ages
from migrate_bayes.core.table import print_table

PAGE = Path("docs/ages.md")


def block(table: tables.Table) -> str:
    """Return a table as the command prints it."""
    lines: list[str] = []
    print_table(*table, say=lines.append)
    return "\n".join(["```", *lines[1:], "```"])


def prose(paragraphs: list[str]) -> str:
    """Return paragraphs, wrapped."""
    return "\n\n".join(textwrap.fill(p, 104, break_long_words=False) for p in paragraphs)


def main() -> None:
    """Run, and rewrite what stands between the marks of each part."""
    found = run_validate_ages(Path("runs/validate-ages.toml"), overwrite=True)
    regions = [c for c in found.coverage if c.group in ("all", "region")]
    parts = {
        "aims": block(tables.aims_table(found)),
        "choices": block(tables.choice_table("By choice (Gyr)", found.choices)),
        "families": block(tables.choice_table("By family (Gyr)", found.families)),
        "parsec": block(tables.explain_table(found, short=True)),
        "parsec-answer": prose(text.family_text(found)),
        "m67": block(tables.m67_table(found)),
        "m67-answer": prose(text.m67_text(found)),
        "clusters": block(tables.cluster_table(found)),
        "calibration": block(tables.coverage_rows(regions, "Calibration")),
        "systematic": block(tables.systematic_table(found)),
    }
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
