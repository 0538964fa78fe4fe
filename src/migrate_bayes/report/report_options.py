"""Options of the report and of its checks against published values."""

from __future__ import annotations

from migrate_bayes.core.options import Options

__all__ = [
    "PublishedGradient",
    "PublishedOptions",
    "ReferenceColumn",
    "ReferenceOptions",
    "ReferenceStart",
    "ReportOptions",
    "StartColumn",
]


class ReferenceColumn(Options):
    """A column of ours to hold against one that the catalogue brought along (`ref_…`)."""

    ours: str
    reference: str
    label: str
    unit: str = ""


class PublishedGradient(Options):
    """A published gradient in an age range, to measure again on the same stars."""

    label: str
    age_range: tuple[float, float]  # Gyr
    slope: float  # dex/kpc
    slope_error: float | None = None


class PublishedOptions(Options):
    """How published gradients were measured."""

    radius: str = "r_present"  # column against which [Fe/H] is fitted
    radius_error: str = "r_present_sd"
    height: str = "z"
    max_height: float = 0.3  # kpc
    gradients: tuple[PublishedGradient, ...] = ()


class StartColumn(Options):
    """A reference column, times `scale`, in kpc or km/s."""

    column: str
    scale: float = 1.0


class ReferenceStart(Options):
    """Published phase space to integrate as well, beside the stars' own."""

    label: str = "from the published phase space"
    R: StartColumn
    v_r: StartColumn
    v_phi: StartColumn
    z: StartColumn
    v_z: StartColumn


class ReferenceOptions(Options):
    """Checks against the catalogue's own columns and published numbers."""

    frame: str = ""  # the frame the reference columns were made in, in words
    note: str = ""  # what to know of them
    columns: tuple[ReferenceColumn, ...] = ()
    start: ReferenceStart | None = None
    published: PublishedOptions | None = None


class ReportOptions(Options):
    """What the report shows beside the run's own products."""

    validation: str = "validate-ages"  # the report whose figures of ages are embedded; "": none
    comparisons: tuple[str, ...] = ()  # NetCDF products of comparisons to draw
