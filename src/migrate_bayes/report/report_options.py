"""Options of the report and of its checks against published values."""

from __future__ import annotations

from migrate_bayes.core.options import Options


class ReferenceColumn(Options):
    """A computed column to compare with a column of the catalogue (``ref_…``).

    Parameters
    ----------
    ours : str
        Variable of StarPosteriors.
    reference : str
        The catalogue's column, ``ref_…``, in the same unit.
    label : str
        Name of the difference in tables.
    unit : str
        Unit of both columns; empty for a pure number.
    selection : str, optional
        The stars that are compared, see `migrate_bayes.select`; all that have both, by default.

    Examples
    --------
    >>> from migrate_bayes.report.report_options import ReferenceColumn
    >>> ReferenceColumn(ours="rg_mean", reference="ref_Rc", label="R_g - Rc", unit="kpc").unit
    'kpc'
    """

    ours: str
    reference: str
    label: str
    unit: str = ""
    selection: str | None = None


class PublishedGradient(Options):
    """A published gradient, to be measured again on the same stars.

    Parameters
    ----------
    label : str
        Name of the age range in tables.
    age_range : tuple of float
        Least and greatest median age, Gyr; the upper end is open.
    slope, slope_error : float
        Published d[Fe/H]/dR and its standard error, dex/kpc; the error is optional.

    Examples
    --------
    >>> from migrate_bayes.report.report_options import PublishedGradient
    >>> PublishedGradient(label="1-4 Gyr", age_range=(1.0, 4.0), slope=-0.066).slope_error is None
    True
    """

    label: str
    age_range: tuple[float, float]
    slope: float
    slope_error: float | None = None


class PublishedOptions(Options):
    """Sample and radius of published gradients of [Fe/H].

    Parameters
    ----------
    radius, radius_error : str
        Columns of the Galactocentric radius and its standard error, kpc.
    height : str
        Column of the height above the plane, kpc.
    max_height : float
        Greatest absolute height of the sample, kpc.
    gradients : tuple of PublishedGradient
        The published values.

    Examples
    --------
    >>> from migrate_bayes.report.report_options import PublishedOptions
    >>> one = {"label": "1-4 Gyr", "age_range": (1.0, 4.0), "slope": -0.066}
    >>> PublishedOptions(max_height=0.5, gradients=[one]).gradients[0].slope
    -0.066
    """

    radius: str = "r_present"
    radius_error: str = "r_present_sd"
    height: str = "z"
    max_height: float = 0.3
    gradients: tuple[PublishedGradient, ...] = ()


class StartColumn(Options):
    """A column of a published start, converted to kpc or km/s.

    Parameters
    ----------
    column : str
        The catalogue's column, ``ref_…``.
    scale : float
        Factor from the column's unit to kpc or km/s.

    Examples
    --------
    >>> from migrate_bayes.report.report_options import StartColumn
    >>> StartColumn(column="ref_Zg", scale=0.001).scale
    0.001
    """

    column: str
    scale: float = 1.0


class ReferenceStart(Options):
    """Published phase space, to be integrated beside the stars' own.

    Parameters
    ----------
    label : str
        Name of the results in tables.
    R : StartColumn
        Cylindrical radius, kpc.
    v_r, v_phi : StartColumn
        Radial and azimuthal velocity, km/s; `v_phi` is positive for the disc.
    z : StartColumn
        Height above the plane, kpc.
    v_z : StartColumn
        Vertical velocity, km/s.

    Examples
    --------
    >>> from migrate_bayes.report.report_options import ReferenceStart
    >>> names = ("R", "v_r", "v_phi", "z", "v_z")
    >>> ReferenceStart(**{name: {"column": f"ref_{name}"} for name in names}).R.column
    'ref_R'
    """

    label: str = "from the published phase space"
    R: StartColumn
    v_r: StartColumn
    v_phi: StartColumn
    z: StartColumn
    v_z: StartColumn


class ReferenceOptions(Options):
    """Comparisons with the catalogue's own columns and with published numbers.

    Parameters
    ----------
    frame : str
        Solar frame and potential of the reference columns, as text for the report.
    note : str
        Remark on the reference columns, as text for the report.
    columns : tuple of ReferenceColumn
        Columns that are compared.
    start : ReferenceStart, optional
        Published phase space from which orbits are integrated too.
    published : PublishedOptions, optional
        Published gradients.

    Examples
    --------
    >>> from migrate_bayes.report.report_options import ReferenceOptions
    >>> column = {"ours": "zmax", "reference": "ref_zmax", "label": "Z_max", "unit": "kpc"}
    >>> ReferenceOptions(columns=[column]).columns[0].ours
    'zmax'
    """

    frame: str = ""
    note: str = ""
    columns: tuple[ReferenceColumn, ...] = ()
    start: ReferenceStart | None = None
    published: PublishedOptions | None = None


class ReportOptions(Options):
    """What the report shows beside the run's own products.

    Parameters
    ----------
    validation : str
        Name of the report whose figures of ages are embedded; empty for none.
    comparisons : tuple of str
        Paths of comparisons (``comparison.nc``) that are drawn.

    Examples
    --------
    >>> from migrate_bayes.report.report_options import ReportOptions
    >>> ReportOptions(validation="").comparisons
    ()
    """

    validation: str = "validate-ages"
    comparisons: tuple[str, ...] = ()
