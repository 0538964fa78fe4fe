# mypy: disable-error-code="no-untyped-def"
"""A Galactic potential in the units of a solar frame, and the potentials of a recipe.

A galpy potential is dimensionless in natural units: lengths in `ro`, velocities in `vo`, so that
one table serves every solar frame. ``scaling="rescaled"`` takes (ro, vo) from the frame's (R₀, V₀),
as galpy does for ``Orbit(..., ro=R0, vo=V0)`` and as Vickers, Shen & Li (2021) did;
``scaling="native"`` keeps the values the potential was published with. galpy's normalisation is
kept, so v_c(ro) = vo holds to 0.05%, as in the published models.

The guiding radius R_g solves R_g v_c(R_g) = |L_z|. The table of circular orbits holds ln R and
d ln R/d ln L at uniform ln L; a cubic Hermite polynomial between the nodes is good to 1e-10 and
costs one logarithm and one exponential. Beyond the table (10 pc, 800 kpc) it goes on as a power
law.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Self

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from migrate_bayes.core.errors import OrbitError, suggest
from migrate_bayes.core.units import flatten
from migrate_bayes.orbits import potential_tables as tables
from migrate_bayes.orbits.frame import SolarFrame, get_frame
from migrate_bayes.orbits.kernel.spline import PotentialTable
from migrate_bayes.orbits.orbit_options import OrbitOptions

#: Names that a recipe or a caller of this process has given: of these, code may be imported.
_named: set[str] = set()


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
        tables.check_name(name)
        if scaling not in (known := ("rescaled", "native")):
            raise OrbitError(f"unknown scaling '{scaling}': {suggest(str(scaling), known)}")
        solar = get_frame(frame)
        units = (solar.r0, solar.v0) if scaling == "rescaled" else _native_units(name)
        _named.add(name)
        # The class is frozen, and the frame need not be given as one.
        self.__dict__.update(name=name, frame=solar, scaling=scaling, units=units)

    @classmethod
    def of(cls, potential: str | Self) -> Self:
        """Return a potential as it is, and a name in the default frame, rescaled."""
        return cls(potential) if isinstance(potential, str) else potential

    @classmethod
    def of_product(
        cls, name: str, frame: str | SolarFrame | Mapping[str, Any], scaling: str
    ) -> Self:
        """Return the potential that a product was made in; a product's word imports no code."""
        if name not in tables.POTENTIALS and name not in _named:
            raise OrbitError(
                f"the stars were made in the potential '{name}', which is code of somebody's own: "
                f"run their recipe, or say Potential({name!r}) first if you trust it"
            )
        return cls(name, frame, scaling)

    @property
    def galpy(self) -> Any:
        """The galpy potential, or list of them."""
        return tables.load_potential(self.name)

    @property
    def rotation(self) -> tables.RotationTable:
        """The table of circular orbits, from memory, disk or galpy."""
        return tables.rotation_table(self.name)

    @property
    def table(self) -> PotentialTable:
        """The spline of Φ, from memory, disk or galpy."""
        return tables.potential_table(self.name)

    def __repr__(self) -> str:
        """Name the potential and its units."""
        how = "rescaled to" if self.scaling == "rescaled" else "native,"
        ro, vo = self.units
        return f"Potential('{self.name}', {how} R0 = {ro:g} kpc, V0 = {vo:g} km/s)"


def _native_units(name: str) -> tuple[float, float]:
    if name in tables.POTENTIALS:
        return tables.POTENTIALS[name]
    first = tables.parts_of(tables.load_potential(name))[0]
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


@numba.njit(cache=True, nogil=True, inline="always")
def _hermite(x, curve):
    """Cubic Hermite on the uniform grid of a `Curve`, straight beyond its ends."""
    x0, step, values, slopes = curve
    n = values.size
    s = (x - x0) / step
    if not s > 0.0:
        return values[0] + (x - x0) * slopes[0]
    if s >= n - 1:
        return values[n - 1] + (x - x0 - (n - 1) * step) * slopes[n - 1]
    i = int(s)
    t = s - i
    rise = values[i + 1] - values[i]
    m0, m1 = slopes[i] * step, slopes[i + 1] * step
    return values[i] + t * (m0 + t * (3.0 * rise - 2.0 * m0 - m1 + t * (m0 + m1 - 2.0 * rise)))


@numba.njit(cache=True, nogil=True)
def on_curve(x, curve):
    """R_g of L_z, or v_c of R, natural units, whatever the sign of x; zero at zero."""
    x = abs(x)
    if x == 0.0:
        return 0.0
    return math.exp(_hermite(math.log(x), curve))


@numba.njit(cache=True, nogil=True)
def _block(x, curve):
    out = np.empty(x.size)
    for i in range(x.size):
        out[i] = on_curve(x[i], curve)
    return out


def guiding_radius(lz: ArrayLike, potential: str | Potential) -> NDArray[np.float64]:
    """Find the radius of the circular orbit of the same angular momentum.

    Parameters
    ----------
    lz : array_like or Quantity
        Angular momentum, kpc km/s. The sign is ignored.
    potential : str or Potential
        A name is taken in the default frame, rescaled.

    Returns
    -------
    ndarray
        kpc, of the shape of `lz`.

    Raises
    ------
    OrbitError
        If a name is unknown.

    Examples
    --------
    >>> from migrate_bayes.orbits import guiding_radius
    >>> guiding_radius([1700.0, -1700.0], "MWPotential2014").round(2)
    array([7.11, 7.11])
    """
    here = Potential.of(potential)
    shape, (flat,) = flatten([lz], ["kpc km / s"])
    ro, vo = here.units
    return ro * _block(flat / (ro * vo), here.rotation.radius).reshape(shape)


def circular_velocity(R: ArrayLike, potential: str | Potential) -> NDArray[np.float64]:
    """Circular velocity in the plane.

    Parameters
    ----------
    R : array_like or Quantity
        Galactocentric radius, kpc; the result is NaN if it is not positive.
    potential : str or Potential
        A name is taken in the default frame, rescaled.

    Returns
    -------
    ndarray
        km/s, of the shape of `R`.

    Raises
    ------
    OrbitError
        If a name is unknown.

    Examples
    --------
    >>> from migrate_bayes.orbits import circular_velocity
    >>> circular_velocity([4.0, 8.27], "MWPotential2014").round(1)
    array([238., 236.])
    """
    here = Potential.of(potential)
    shape, (flat,) = flatten([R], ["kpc"])
    ro, vo = here.units
    speed = vo * _block(flat / ro, here.rotation.speed)
    return np.where(flat > 0, speed, np.nan).reshape(shape)
