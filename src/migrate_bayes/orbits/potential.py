"""A Galactic potential in the units of a solar frame, and the potentials of a recipe.

A galpy potential is dimensionless in natural units: lengths in `ro`, velocities in `vo`, so that
one table serves every solar frame. ``scaling="rescaled"`` takes (ro, vo) from the frame's (R₀, V₀),
as galpy does for ``Orbit(..., ro=R0, vo=V0)`` and as Vickers, Shen & Li (2021) did;
``scaling="native"`` keeps the values the potential was published with. galpy's normalisation is
kept, so v_c(ro) = vo holds to 0.05%, as in the published models.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Self

from migrate_bayes.core.errors import OrbitError, suggest
from migrate_bayes.orbits.frame import SolarFrame, get_frame
from migrate_bayes.orbits.kernel.spline import PotentialTable
from migrate_bayes.orbits.orbit_options import OrbitOptions
from migrate_bayes.orbits.potential_tables import (
    POTENTIALS,
    RotationTable,
    check_name,
    load_potential,
    parts_of,
    potential_table,
    rotation_table,
)


@dataclass(frozen=True, init=False, repr=False)
class Potential:
    """A Galactic potential in the units of a solar frame.

    Parameters
    ----------
    name : str
        One of `POTENTIALS`, or the place of any axisymmetric galpy potential:
        ``module:attribute``, such as ``galpy.potential.mwpotentials:Cautun20``, or
        ``path/to/file.py:attribute``.
    frame : str, SolarFrame or mapping
        See `get_frame`; its r0 and v0 scale the potential if `scaling` is ``"rescaled"``.
    scaling : {"rescaled", "native"}
        Whether the frame's (R₀, V₀) set the potential's units, or those it was published with.

    Attributes
    ----------
    units : tuple of float
        (ro kpc, vo km/s): what one natural unit of length and one of velocity stand for.

    Raises
    ------
    OrbitError
        If a name is unknown, or the potential has no native units.

    Examples
    --------
    >>> from migrate_bayes.orbits import Potential
    >>> Potential("McMillan17")
    Potential('McMillan17', rescaled to R0 = 8.27 kpc, V0 = 236 km/s)
    >>> Potential("McMillan17", "gravity2019", "native").units
    (8.21, 233.1)
    """

    name: str
    frame: SolarFrame
    scaling: str
    units: tuple[float, float]

    def __init__(
        self,
        name: str,
        frame: str | SolarFrame | Mapping[str, Any] = "vickers2021",
        scaling: str = "rescaled",
    ) -> None:
        check_name(name)
        if scaling not in (known := ("rescaled", "native")):
            raise OrbitError(f"unknown scaling '{scaling}': {suggest(str(scaling), known)}")
        solar = get_frame(frame)
        units = (solar.r0, solar.v0) if scaling == "rescaled" else _native_units(name)
        # The class is frozen, and the frame need not be given as one.
        self.__dict__.update(name=name, frame=solar, scaling=scaling, units=units)

    @classmethod
    def of(cls, potential: str | Self) -> Self:
        """Return a potential as it is, and a name in the default frame, rescaled."""
        return cls(potential) if isinstance(potential, str) else potential

    @property
    def galpy(self) -> Any:
        """The galpy potential, or list of them."""
        return load_potential(self.name)

    @property
    def rotation(self) -> RotationTable:
        """The table of circular orbits, from memory, disk or galpy."""
        return rotation_table(self.name)

    @property
    def table(self) -> PotentialTable:
        """The spline of Φ, from memory, disk or galpy."""
        return potential_table(self.name)

    def __repr__(self) -> str:
        """Name the potential and its units."""
        how = "rescaled to" if self.scaling == "rescaled" else "native,"
        ro, vo = self.units
        return f"Potential('{self.name}', {how} R0 = {ro:g} kpc, V0 = {vo:g} km/s)"


def _native_units(name: str) -> tuple[float, float]:
    if name in POTENTIALS:
        return POTENTIALS[name]
    first = parts_of(load_potential(name))[0]
    ro, vo = getattr(first, "_ro", None), getattr(first, "_vo", None)
    if ro is None or vo is None:
        raise OrbitError(f"potential '{name}' has no units of its own: use scaling 'rescaled'")
    return float(ro), float(vo)


def list_potentials(options: OrbitOptions) -> dict[str, Potential]:
    """List the potentials of a recipe and its sweep by label, potentials varying fastest.

    The label is the potential's name if frame and scaling are the recipe's own, else the name and
    what differs: ``"McMillan17 R0=8.0 V0=220.0 native"``.
    """
    names, frame = options.potentials, get_frame(options.frame)
    if not names or len(set(names)) != len(names):
        raise OrbitError("potentials: name at least one, each once")
    own = {"r0": frame.r0, "v0": frame.v0, "scaling": options.scaling}
    swept = {} if options.sweep is None else options.sweep.model_dump(exclude_none=True)
    for key, values in swept.items():
        if not values:
            raise OrbitError(f"orbits.sweep: {key} is empty; leave it out, or give some values")
    made: dict[str, Potential] = {}
    for r0, v0, scaling in product(*[swept.get(key, (value,)) for key, value in own.items()]):
        here = replace(frame, r0=r0, v0=v0)
        suffix = ""
        if here != frame:
            suffix = f" R0={here.r0} V0={here.v0}"
            here = replace(here, name=frame.name + suffix)
        suffix += f" {scaling}" if scaling != options.scaling else ""
        for name in names:
            if name + suffix in made:
                raise OrbitError(
                    f"orbits.sweep: '{name + suffix}' comes out twice; give each value once"
                )
            made[name + suffix] = Potential(name, here, scaling)
    return made
