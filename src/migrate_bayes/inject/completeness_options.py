"""Options of the completeness."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from migrate_bayes.core.options import Options


class CompletenessOptions(Options):
    """How the survey took its stars by [Fe/H]: a recipe's ``[completeness]``.

    Parameters
    ----------
    source : str
        ``"none"``: all [Fe/H] alike; ``"inject"``: as `migrate-bayes inject` finds it; or a NetCDF
        file with ``ln_s`` on ([component], age, rg, feh).
    survey : {"mock", "catalogue"}
        Whose limits injected stars meet: those of the mock survey of ``[simulate]``; or those of
        the catalogue, whose stars lend their places, depth and errors.
    observed : str, optional
        Of a catalogue: a table (any text that astropy reads, or FITS) with columns ``g``, mag, and
        ``share``: which share of the stars of a magnitude the survey observes. Only ratios matter.
    injections : int
        Injected stars that the survey observes, before the recipe's cuts.
    thick_share : float
        Share of them in the thick disc.
    directions : int
        Most directions of ln S whose error, of a limited number of injections, the fit carries.

    Examples
    --------
    >>> from migrate_bayes.inject import CompletenessOptions
    >>> CompletenessOptions(source="inject").injections
    1000000
    """

    source: str = "none"
    survey: Literal["mock", "catalogue"] = "mock"
    observed: str | None = None
    injections: int = Field(default=1_000_000, gt=0)
    thick_share: float = Field(default=0.25, gt=0, lt=1)
    directions: int = Field(default=12, ge=0)
