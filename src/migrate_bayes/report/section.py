"""Sections of a page, and the self-contained file that holds them, written whole or not at all.

All kinds of pages share ``templates/base.html``: title, facts, contents, notes, sections and
provenance. Their own templates lay out a section. The template engine escapes all text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from migrate_bayes.core.errors import ProductError
from migrate_bayes.core.io import atomic_output
from migrate_bayes.core.provenance import versions
from migrate_bayes.core.table import Table
from migrate_bayes.plots.style import image_base64

#: Images that the validation of ages leaves beside its page, for the reports of runs to embed.
FILE = "figures.json"
_FORMAT = "migrate-bayes figures 1"
Pairs = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Image:
    """An image in base64 (WebP), what it shows in words, a caption; heading and anchor if any."""

    image: str
    alt: str
    caption: str
    wide: bool = False  # the page's whole width
    title: str = ""
    key: str = ""


@dataclass(frozen=True)
class Absent:
    """Placeholder of a figure that the data do not allow, with the reason."""

    title: str
    key: str
    why: str


class NotDrawnError(Exception):
    """A figure that the data do not allow; the message says why."""


def encode(drawn: Any, alt: str, caption: str, *, wide: bool = True) -> Image:
    """Encode a figure, or that of some axes."""
    return Image(image_base64(drawn), alt, caption, wide)


@dataclass
class Section:
    """A heading, its anchor, and what stands under it: paragraphs, images, tables, references.

    The first `shown` tables stand open, the others are folded away.
    """

    title: str
    key: str
    text: list[str] = field(default_factory=list)
    images: Sequence[Image | Absent] = ()
    tables: Sequence[Table] = ()
    shown: int = 9
    references: Sequence[str] = ()


def images_file(images: Iterable[tuple[str, Image]], made_with: Mapping[str, str]) -> str:
    """Return the file's text: images with the number of the paper's figure, how and when made."""
    figures = [{"paper": number, **asdict(image)} for number, image in images]
    content = {"format": _FORMAT, "made_with": dict(made_with), "figures": figures}
    return json.dumps(content, ensure_ascii=False)


def load_validation(folder: str | Path) -> dict[str, list[Image]]:
    """Read the figures beside a validation's page, by the paper's number; empty without a file."""
    path = Path(folder) / FILE
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != _FORMAT:
            raise ProductError(f"{path} has format {content['format']!r}, expected {_FORMAT!r}")
        made = "; ".join(f"{key} {value}" for key, value in content["made_with"].items())
        found: dict[str, list[Image]] = {}
        for entry in content["figures"]:
            number = entry.pop("paper")
            image = Image(**entry)
            note = f"{image.caption} From the validation of ages ({made})."
            found.setdefault(number, []).append(replace(image, caption=note))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ProductError(
            f"{path} is damaged ({type(error).__name__}: {error}): run "
            "`migrate-bayes validate ages --overwrite` again"
        ) from None
    return found


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
    """The room's templates; every name must be given."""
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
