"""A section of a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from migrate_bayes.report.image import Picture
from migrate_bayes.report.registry import Absent

__all__ = ["Section"]


@dataclass
class Section:
    """A heading and what stands under it.

    Attributes
    ----------
    title, key : str
        Heading and anchor.
    text : list of str
        Paragraphs.
    pictures : list of Picture or Absent
    tables : list of (title, header, rows)
    shown : int
        How many of the tables stand open; the others are folded away.
    references : list of str
    """

    title: str
    key: str
    text: list[str] = field(default_factory=list)
    pictures: Sequence[Picture | Absent] = ()
    tables: Sequence[tuple[str, Sequence[str], Sequence[Sequence[str]]]] = ()
    shown: int = 9
    references: list[str] = field(default_factory=list)
