"""What stands on a page: sections of text, images and tables, and figures that are absent.

The validation of ages leaves its images in a file, for the reports of runs to embed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from migrate_bayes.core.errors import ProductError
from migrate_bayes.core.table import Table
from migrate_bayes.plots.style import image_base64

#: Name of the file of images, beside the validation's page.
FILE = "figures.json"
_FORMAT = "migrate-bayes figures 1"


@dataclass(frozen=True)
class Image:
    """An image in base64 (WebP), what it shows in words, and a caption.

    A `wide` one takes the page's whole width; `title` and `key` are its heading and anchor, if it
    has them.
    """

    image: str
    alt: str
    caption: str
    wide: bool = False
    title: str = ""
    key: str = ""


@dataclass(frozen=True)
class Absent:
    """A figure that the data do not allow, in its place, and why."""

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
