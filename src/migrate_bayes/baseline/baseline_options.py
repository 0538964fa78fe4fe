"""Options of the baseline."""

from __future__ import annotations

from pydantic import Field

from migrate_bayes.core.options import Options

__all__ = ["BaselineOptions"]


class BaselineOptions(Options):
    """The paper's way: ODR in age bins."""

    selection: str = "thin"
    thick_selection: str | None = "thick"  # a second fit, for the thick disc; null: none
    bin_width: float = Field(default=1.25, gt=0)
    age_range: tuple[float, float] = (1.0, 12.25)
    min_stars: int = Field(default=20, gt=2)
