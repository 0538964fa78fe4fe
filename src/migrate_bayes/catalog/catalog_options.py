"""Options of the catalogue."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from migrate_bayes.core.options import Options


class CatalogOptions(Options):
    """Source of the stars, and cuts.

    Parameters
    ----------
    source : {"file", "mock"}
        A file, or the mock survey of the run's own ``[simulate]``.
    path : str
        The file, of a format that `read_catalog` reads; ``$MIGRATE_BAYES_DATA`` in it is expanded.
    columns : str or dict, optional
        A packaged column map, a TOML file, or a map's content; by default the canonical names are
        looked for.
    hdu : int or str, optional
        Which table of a file that holds several: see `read_catalog`.
    duplicate_radius : float, optional
        Linking length of repeat observations, arcsec (see `mark_duplicates`); None keeps them.
    min_snr : float, optional
        Least signal-to-noise ratio in each of g, r, i and of the whole spectrum, as far as there
        are such columns (see `quality_cuts`); None cuts nothing.
    max_age_error : float, optional
        Greatest relative age error (see `flag_age_error`); None cuts nothing.
    survey_flags : {"cut", "keep"}
        Whether a star that the survey's own flags doubt, by the column map's ``survey_flag``, is
        not usable.
    skip_cut : bool
        Whether stars that these cuts leave out get no ages and orbits (`max_age_error` needs the
        age). Of a survey of which most have a low S/N it saves most of the time; with other cuts
        such stars are computed again.
    parallax_zero_point : str or float, optional
        What is subtracted from parallaxes, and so changes distances that are their inverse:
        ``"lindegren2021"`` or a number of mas (see `correct_parallax`).
    extinction : str or tuple of str, optional
        ``source`` of `correct_extinction`, several for one beyond another's reach; None leaves
        magnitudes as they are, and so does ``auto`` if there is no G.

    Examples
    --------
    >>> from migrate_bayes.catalog import CatalogOptions
    >>> CatalogOptions(path="stars.fits", min_snr=30).duplicate_radius
    5.0
    """

    # The extinction "none" is zero, and M_G is computed all the same.
    _OWN_NONE: ClassVar[frozenset[str]] = frozenset({"extinction"})

    source: Literal["file", "mock"] = "file"
    path: str = ""
    columns: str | dict[str, Any] | None = None
    hdu: int | str | None = None
    duplicate_radius: float | None = Field(default=5.0, gt=0, le=60)
    min_snr: float | None = Field(default=50.0, ge=0, allow_inf_nan=False)
    max_age_error: float | None = Field(default=0.25, gt=0, le=10)
    survey_flags: Literal["cut", "keep"] = "cut"
    skip_cut: bool = False
    parallax_zero_point: str | float | None = None
    extinction: str | tuple[str, ...] | None = "auto"
