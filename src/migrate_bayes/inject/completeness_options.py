"""Options of the completeness."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from migrate_bayes.core.options import Options


class ShareOptions(Options):
    """A table of the share of stars that a survey takes: one of ``[[completeness.shares]]``.

    Which axes a table may have, `migrate_bayes.inject.shares` says.

    Parameters
    ----------
    path : str
        FITS, NetCDF (an array on its axes), or any text that astropy reads.
    columns : mapping
        What the file calls an axis or ``share``, by our name; not needed if it has our name.
    nside : int, optional
        Of HEALPix. Like the next two it is the file's own (NSIDE, ORDERING, COORDSYS) if not given.
    ordering : {"nested", "ring"}, optional
        How pixels are numbered.
    frame : {"icrs", "galactic"}, optional
        Of the pixels.

    Examples
    --------
    >>> from migrate_bayes.inject.completeness_options import ShareOptions
    >>> ShareOptions(path="fields.csv", columns={"H_min": "Hmin", "H_max": "Hmax"}).columns["H_min"]
    'Hmin'
    """

    path: str
    columns: Mapping[str, str] = Field(default_factory=dict)
    nside: int | None = Field(default=None, gt=0)
    ordering: Literal["nested", "ring"] | None = None
    frame: Literal["icrs", "galactic"] | None = None


class CompletenessOptions(Options):
    """How the survey took its stars by [Fe/H]: a recipe's ``[completeness]``.

    Parameters
    ----------
    source : str
        ``"none"``: all [Fe/H] alike; ``"inject"``: as `migrate-bayes inject` finds it; or a NetCDF
        file with ``ln_s``, ln of the share taken up to a constant of each radius, on ([component],
        age, r_present, feh).
    survey : {"mock", "catalogue"}
        Whose limits injected stars meet: those of the mock survey of ``[simulate]``; or those of
        the catalogue, whose stars lend their places, depth and errors.
    shares : list of ShareOptions
        Tables of the share of stars that the survey takes, by place, magnitude and colour; they
        multiply. Only ratios matter. Without them the survey's limits decide alone.
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
    shares: tuple[ShareOptions, ...] = ()
    injections: int = Field(default=1_000_000, gt=0)
    thick_share: float = Field(default=0.25, gt=0, lt=1)
    directions: int = Field(default=12, ge=0)
