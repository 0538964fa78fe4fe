"""A figure as it stands on the page: the image, what it shows in words, and its caption."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from migrate_bayes.plots.style import image_base64

__all__ = ["Picture", "encode", "picture"]


@dataclass(frozen=True)
class Picture:
    """An image in base64, what it shows, and a caption.

    Attributes
    ----------
    image : str
        WebP, base64.
    alt, caption : str
    wide : bool
        Takes the page's whole width.
    title, key : str
        Heading and anchor, where it has them.
    """

    image: str
    alt: str
    caption: str
    wide: bool = False
    title: str = ""
    key: str = ""


def encode(made: Any, alt: str, caption: str, *, wide: bool = True) -> Picture:
    """Encode a figure that is there."""
    return Picture(image_base64(made), alt, caption, wide)


def picture(made: Any, alt: str, caption: str, *, wide: bool = False) -> Picture | None:
    """Encode a figure; None where there is none."""
    return None if made is None else encode(made, alt, caption, wide=wide)
