"""Options of the orbit stage."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import AliasChoices, Field, field_validator

from migrate_bayes.core.options import Options
from migrate_bayes.orbits.frame import SolarFrame


class SweepOptions(Options):
    """Solar parameters and scalings to vary: every combination, with every potential.

    Parameters
    ----------
    r0 : tuple of float, optional
        Distances of the Sun from the Galactic centre, kpc.
    v0 : tuple of float, optional
        Circular velocities at the Sun, km/s.
    scaling : tuple of {"rescaled", "native"}, optional
        As in `OrbitOptions`.
    """

    r0: tuple[float, ...] | None = None
    v0: tuple[float, ...] | None = None
    scaling: tuple[Literal["rescaled", "native"], ...] | None = None


class OrbitOptions(Options):
    """Frame, potentials and Monte-Carlo draws.

    Parameters
    ----------
    frame : str, SolarFrame or mapping
        See `migrate_bayes.orbits.get_frame`. Phase space (x … r_present) is in this frame.
    potentials : tuple of str
        Names; see `migrate_bayes.orbits.Potential`.
    zmax_potentials : tuple of str or bool, optional
        Those in which orbits are integrated; all if not given, none if False. In the others the
        extrema are NaN, and no star is found unbound. `zmax` is its earlier name.
    scaling : {"rescaled", "native"}
        Whether the frame's (R₀, V₀) set each potential's units, or its own.
    draws : int
        Mock observations per star, at least 2.
    zmax_draws : int
        0: ln Z_max of every draw is that of the mean point's orbit plus a Stäckel difference. From
        2 to `draws`: the orbits of that many draws are integrated instead, each at the price of the
        star's own, and ln Z_max's moments are over these.
    sweep : SweepOptions, optional
        Every combination with every potential becomes an entry along `potential`, from the same
        draws.

    Examples
    --------
    >>> from migrate_bayes.orbits import OrbitOptions
    >>> OrbitOptions(frame="gravity2019", potentials=["McMillan17"]).potentials
    ('McMillan17',)
    """

    frame: str | dict[str, float | str] = "vickers2021"
    potentials: tuple[str, ...] = ("MWPotential2014", "Irrgang13I", "McMillan17")
    zmax_potentials: tuple[str, ...] | None = Field(
        default=None, validation_alias=AliasChoices("zmax_potentials", "zmax")
    )
    scaling: Literal["rescaled", "native"] = "rescaled"
    draws: int = Field(default=100, gt=1, le=100_000)
    zmax_draws: int = Field(default=0, ge=0)
    sweep: SweepOptions | None = None

    @field_validator("zmax_potentials", mode="before")
    @classmethod
    def _all_or_none(cls, names: Any) -> Any:
        return (None if names else ()) if isinstance(names, bool) else names

    @field_validator("frame", mode="before")
    @classmethod
    def _as_mapping(cls, frame: Any) -> Any:
        return frame.as_dict() if isinstance(frame, SolarFrame) else frame
