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
    recipe_text: str = "",
    beside: Mapping[str, str] | None = None,
    overwrite: bool = False,
    **own: Any,
) -> Path:
    """Write ``directory/index.html``; raise `ProductError` if the folder may not be replaced.

    `facts` stand under the title, `notes` above the first section; `record` is the provenance;
    `beside` are further files of the folder, from name to text. `own` is what the template wants
    beside these: `inputs` (checksums of input files) and `versions` (of packages, by default those
    of today) are `Pairs`.
    """
    contents: list[dict[str, Any]] = [
        {"key": s.key, "title": s.title, "figures": [(i.key, i.title) for i in s.images if i.key]}
        for s in sections
    ]
    contents.append({"key": "run", "title": "What was run", "figures": []})
    context = {"inputs": (), **own}
    context["versions"] = own.get("versions") or sorted(versions().items())
    page = _environment().get_template(template).render(
        title=title, facts=facts, contents=contents, notes=notes, sections=sections,
        record=record, recipe_text=recipe_text, **context,
    )  # fmt: skip
    directory = Path(directory)
    with atomic_output(directory, overwrite=overwrite, directory=True) as out:
        for name, text in {"index.html": page, **(beside or {})}.items():
            (out / name).write_text(text, encoding="utf-8")
    return directory / "index.html"


def _environment() -> Any:
    """The room's templates; every text is escaped, every name must be given."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("migrate_bayes.report"), undefined=StrictUndefined, autoescape=True,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["code"] = _code
    return environment


def _code(text: str) -> Any:
    """Escape a text, and set what stands between backticks as code."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))
