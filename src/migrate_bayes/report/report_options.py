"""Options of the report and of its checks against published values."""

from __future__ import annotations

from migrate_bayes.core.options import Options


class ReferenceColumn(Options):
    """A column of ours to hold against one that the catalogue brought along.

    Attributes
    ----------
    ours, reference : str
        Names of our column and of theirs (`ref_…`).
    label, unit : str
        For people.
    """

    ours: str
    reference: str
    label: str
    unit: str = ""


class PublishedGradient(Options):
    """A published gradient in an age range, to measure again on the same stars.

    Attributes
    ----------
    label : str
    age_range : (float, float)
        Gyr.
    slope, slope_error : float
        dex/kpc; the error may be unknown.
    """

    label: str
    age_range: tuple[float, float]
    slope: float
    slope_error: float | None = None


class PublishedOptions(Options):
    """How published gradients were measured.

    Attributes
    ----------
    radius, radius_error : str
        Columns of the radius against which [Fe/H] is fitted, kpc.
    height : str
        Column of the height, kpc.
    max_height : float
        Limit of its absolute value, kpc.
    gradients : tuple of PublishedGradient
    """

    radius: str = "r_present"
    radius_error: str = "r_present_sd"
    height: str = "z"
    max_height: float = 0.3
    gradients: tuple[PublishedGradient, ...] = ()


class StartColumn(Options):
    """A reference column, times `scale`, in kpc or km/s."""

    column: str
    scale: float = 1.0


class ReferenceStart(Options):
    """Published phase space to integrate as well, beside the stars' own.

    Attributes
    ----------
    label : str
        How the results are called.
    R, v_r, v_phi, z, v_z : StartColumn
        Cylindrical position (kpc) and velocity (km/s).
    """

    label: str = "from the published phase space"
    R: StartColumn
    v_r: StartColumn
    v_phi: StartColumn
    z: StartColumn
    v_z: StartColumn


class ReferenceOptions(Options):
    """Checks against the catalogue's own columns and published numbers.

    Attributes
    ----------
    frame : str
        The frame the reference columns were made in, in words.
    note : str
        What to know of them.
    columns : tuple of ReferenceColumn
    start : ReferenceStart, optional
    published : PublishedOptions, optional
    """

    frame: str = ""
    note: str = ""
    columns: tuple[ReferenceColumn, ...] = ()
    start: ReferenceStart | None = None
    published: PublishedOptions | None = None


class ReportOptions(Options):
    """What the report shows beside the run's own products.

    Attributes
    ----------
    validation : str
        Name of the report whose figures of ages are embedded; empty for none.
    comparisons : tuple of str
        NetCDF products of comparisons to draw.
    """

    validation: str = "validate-ages"
    comparisons: tuple[str, ...] = ()
