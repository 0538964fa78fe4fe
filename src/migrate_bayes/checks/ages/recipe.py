"""What ages are validated on: the schema of ``runs/validate-ages.toml``, with its defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field

from migrate_bayes.core.errors import DataAbsentError
from migrate_bayes.core.options import Options
from migrate_bayes.core.provenance import content_hash
from migrate_bayes.isochrones.age_options import AgeOptions
from migrate_bayes.run.recipe import DATA_ENV, data_root


class SamplePaths(Options):
    """Tables of stars with known ages; ``$MIGRATE_BAYES_DATA`` is expanded."""

    m67: str = f"${DATA_ENV}/m67/m67_apogee_edr3.csv"
    kepler: str = f"${DATA_ENV}/kepler_dwarfs/legacy_kages_with_parallax.csv"
    harps: str = f"${DATA_ENV}/harps_gto/DelgadoMena2017.fits"
    clusters: str = f"${DATA_ENV}/open_clusters/DIAS21.dat"
    more_clusters: str = f"${DATA_ENV}/open_clusters/CG20.dat"
    apokasc: str = f"${DATA_ENV}/apokasc2/apokasc2_apogee_even_kic.csv"
    members_low: str = f"${DATA_ENV}/open_clusters/lamost_lrs_members.csv"
    members_medium: str = f"${DATA_ENV}/open_clusters/lamost_mrs_members.csv"
    cks: str = f"${DATA_ENV}/cks/cks_gaia_dr2_even_koi.csv"
    hypatia: str = f"${DATA_ENV}/hypatia/hypatia_6d_even_hip.csv"
    lamost: str = f"${DATA_ENV}/lamost_gaia/gaia_lamost_larger_velocity_features.csv"


class FamilyOptions(Options):
    """Isochrone families that are compared, and the number of mock stars for it."""

    sources: tuple[str, ...] = (
        "dartmouth", f"dartmouth-native:${DATA_ENV}/dartmouth_gaia", "mist", "parsec", "basti",
        "yapsi",
    )  # fmt: skip
    stars: int = Field(default=4000, ge=100)


class CalibrationOptions(Options):
    """Number of stars drawn from the prior, and their errors (K, dex, dex, dex, mag).

    `correlations` are those of the errors of T_eff and log g, T_eff and [Fe/H], log g and [Fe/H].
    """

    stars: int = Field(default=20_000, ge=100)
    teff_error: float = Field(default=22.6, gt=0)
    logg_error: float = Field(default=0.05, gt=0)
    feh_error: float = Field(default=0.03, gt=0)
    alpha_error: float = Field(default=0.02, gt=0)
    abs_g_error: float = Field(default=0.1, gt=0)
    correlations: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def times(self, factor: float) -> Self:
        """Return the same with errors so many times as large."""
        errors = {n: factor * v for n, v in self.model_dump().items() if n.endswith("_error")}
        return self.model_copy(update=errors)


class ValidateAges(Options):
    """Options of a validation of the age stage.

    Parameters
    ----------
    name, description : str
        Name of the folders of product and page, and text at the top of the page.
    seed : int
        All random numbers follow from it.
    data : SamplePaths
        Tables of stars with known ages.
    ages : AgeOptions
        As a run's ``[isochrones]``.
    families : FamilyOptions
        Isochrone families that are compared.
    calibration : CalibrationOptions
        Stars drawn from the prior, and their errors.

    Examples
    --------
    >>> from migrate_bayes.checks.ages import ValidateAges
    >>> recipe = ValidateAges(ages={"method": "paper"}, calibration={"stars": 1000})
    >>> recipe.ages.source, recipe.calibration.stars
    ('dartmouth', 1000)
    """

    name: str = Field(default="validate-ages", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    description: str = ""
    seed: int = 20210301
    data: SamplePaths = SamplePaths()
    ages: AgeOptions = AgeOptions()
    families: FamilyOptions = FamilyOptions()
    calibration: CalibrationOptions = CalibrationOptions()

    @property
    def hash(self) -> str:
        """Hash of the content, 16 hex digits."""
        return content_hash(self.model_dump(mode="json"))


def locate(text: str) -> str:
    """Expand the data folder in a path, or in a source such as ``dartmouth-native:DIR``.

    Raises `DataAbsentError` if the file or folder does not exist.
    """
    expanded = text.replace(f"${DATA_ENV}", str(data_root()))
    _, _, folder = expanded.rpartition(":")
    is_path = "/" in folder or "$" in text
    if is_path and not Path(folder).exists():
        raise DataAbsentError(f"{folder} is absent (set ${DATA_ENV} to the folder of the data)")
    return expanded
