"""Options of the report and of its checks against published values."""

from __future__ import annotations

from migrate_bayes.core.options import Options


class ReferenceColumn(Options):
    """A column of ours against one that the catalogue brought along (`ref_…`)."""

    ours: str
    reference: str
    label: str
    unit: str = ""


class PublishedGradient(Options):
    """A published gradient (dex/kpc) in an age range (Gyr), to measure again on the same stars."""

    label: str
    age_range: tuple[float, float]
    slope: float
    slope_error: float | None = None


class PublishedOptions(Options):
    """How published gradients were measured: [Fe/H] against which radius, |height| below what.

    Columns of the radius, its error and the height, and `max_height` are in kpc.
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
    """Published phase space, cylindrical (kpc, km/s), to integrate beside the stars' own.

    `label` is how the results are called.
    """

    label: str = "from the published phase space"
    R: StartColumn
    v_r: StartColumn
    v_phi: StartColumn
    z: StartColumn
    v_z: StartColumn


class ReferenceOptions(Options):
    """Checks against the catalogue's own columns and published numbers.

    `frame` words the frame that the reference columns were made in, `note` what to know of them.
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
