"""The works that a report may cite, from ``references.bib``."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import NamedTuple


class Source(NamedTuple):
    """A work as it is named in a sentence, and in full."""

    short: str
    full: str


@cache
def sources() -> dict[str, Source]:
    """Return all works by their BibTeX keys."""
    text = files("migrate_bayes.report").joinpath("references.bib").read_text(encoding="utf-8")
    return {
        key: _source(dict(re.findall(r"(\w+) = \{((?:[^{}]|\{[^{}]*\})*)\}", entry)))
        for key, entry in re.findall(r"^@\w+\{(\w+),(.*?\})\}$", text, re.DOTALL | re.MULTILINE)
    }


def _source(entry: dict[str, str]) -> Source:
    """Word an entry as astronomical journals do."""
    names = [name.strip("{}") for name in entry["author"].split(" and ")]
    families = [name.partition(",")[0] for name in names]
    year = entry["year"]
    if families[0].endswith("Collaboration"):
        short = families[0]
    elif len(names) < 3 and names[-1] != "others":
        short = " & ".join(families)
    else:
        short = f"{families[0]} et al."
    if names[-1] == "others":
        authors = ", ".join([*names[:-1], "et al."])
    else:
        authors = ", & ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)
    where = [entry[f].replace(r"\&", "&") for f in ("journal", "volume", "pages") if f in entry]
    where = where or [f"arXiv:{entry['eprint']}"]
    return Source(f"{short} {year}", f"{authors} {year}, {', '.join(where)}")
