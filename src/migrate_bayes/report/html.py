"""From sections to a page: one self-contained file, written whole or not at all.

All kinds of pages share ``templates/base.html``: title, facts, contents, notes, sections, and what
was run. Their own templates say how a section looks. All text is escaped by the template engine.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from migrate_bayes.core.io import atomic_output
from migrate_bayes.core.provenance import versions
from migrate_bayes.report.section import Section

__all__ = ["write_html"]

Pairs = Sequence[tuple[str, str]]


def write_html(
    directory: str | Path,
    template: str = "sections.html",
    *,
    title: str,
    facts: Pairs,
    sections: Sequence[Section],
    record: Pairs,
    notes: Sequence[str] = (),
    inputs: Pairs = (),
    packages: Pairs = (),
    recipe_text: str = "",
    beside: Mapping[str, str] | None = None,
    overwrite: bool = False,
    **own: Any,
) -> Path:
    """Write ``directory/index.html``.

    Parameters
    ----------
    directory : path-like
        The page's folder.
    template : str
        In ``templates/``.
    title : str
    facts : sequence of (name, value)
        Under the title.
    sections : sequence of Section
        The contents list is made from them.
    record : sequence of (name, value)
        Provenance.
    notes : sequence of str
        Above the first section.
    inputs, packages : sequence of (name, value)
        Checksums of input files; versions, today's where not given.
    recipe_text : str
        Shown as it is.
    beside : mapping, optional
        Further files of the folder, from name to text.
    overwrite : bool
        Replace a folder that exists.
    **own
        What the template wants beside these.

    Raises
    ------
    ProductError
        Where something stands there already and may not be replaced.
    """
    page = _render(
        template,
        {
            "title": title,
            "facts": facts,
            "contents": _contents(sections),
            "notes": notes,
            "sections": sections,
            "record": record,
            "inputs": inputs,
            "versions": packages or sorted(versions().items()),
            "recipe_text": recipe_text,
            **own,
        },
    )
    directory = Path(directory)
    with atomic_output(directory, overwrite=overwrite, directory=True) as out:
        for name, text in {"index.html": page, **(beside or {})}.items():
            (out / name).write_text(text, encoding="utf-8")
    return directory / "index.html"


def _render(template: str, context: Mapping[str, Any]) -> str:
    """Fill in one of the room's templates; every text is escaped, every name must be given."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("migrate_bayes.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["code"] = _code
    return environment.get_template(template).render(context)


def _code(text: str) -> Any:
    """Escape a text, and set what stands between backticks as code."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def _contents(sections: Sequence[Section]) -> list[dict[str, Any]]:
    """List the sections and, by heading and anchor, the figures in each."""
    entries: list[dict[str, Any]] = []
    for section in sections:
        figures = [(p.key, p.title) for p in section.pictures if p.key]
        entries.append({"key": section.key, "title": section.title, "figures": figures})
    return [*entries, {"key": "run", "title": "What was run", "figures": []}]
