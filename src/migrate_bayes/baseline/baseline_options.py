"""Options of the baseline."""

from __future__ import annotations

from pydantic import Field

from migrate_bayes.core.options import Options


class BaselineOptions(Options):
    """ODR in bins of age, as in the paper.

    Parameters
    ----------
    selection : str
        The sample; see `migrate_bayes.select`.
    thick_selection : str, optional
        That of a second fit, for the thick disc; None for no such fit.
    bin_width : float
        Gyr. A last bin that would pass the end of `age_range` is left out.
    age_range : tuple of float
        Gyr. Bins are closed below and open above, the last one closed.
    min_stars : int
        A bin with fewer gives NaN.

    Examples
    --------
    >>> from migrate_bayes.baseline import BaselineOptions
    >>> BaselineOptions(bin_width=2.5).age_range
    (1.0, 12.25)
    """

    selection: str = "thin"
    thick_selection: str | None = "thick"
    bin_width: float = Field(default=1.25, gt=0)
    age_range: tuple[float, float] = (1.0, 12.25)
    min_stars: int = Field(default=20, gt=2)
