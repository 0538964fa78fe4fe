"""What stands on a page: sections of text, images and tables, and figures that are absent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from migrate_bayes.core.table import Table
from migrate_bayes.plots.style import image_base64


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
