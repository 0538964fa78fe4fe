"""The Sun's place and motion: the frame that turns observations into phase space.

Galactocentric axes are right-handed by default, with the Sun at negative x: x points from the
Sun towards the centre, y in the direction of Galactic rotation at the Sun, z to the north
Galactic pole. ``handedness="left"`` turns x round, so that the Sun stands at positive x. In either,
**the disc rotates with positive v_phi and L_z**, though its angular momentum points to negative z.

`v0` is the circular velocity at the Sun, and `v` the Sun's motion beyond it. Their sum is known
best (the proper motion of Sgr A* times R0). docs/orbits.md tabulates the presets.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from migrate_bayes.core.errors import OrbitError, suggest


@dataclass(frozen=True, kw_only=True)
class SolarFrame:
    """Position and velocity of the Sun.

    Parameters
    ----------
    r0 : float
        Distance of the Sun from the Galactic centre, kpc.
    v0 : float
        Circular velocity at the Sun (of the local standard of rest), km/s.
    u, v, w : float
        Velocity of the Sun relative to the local standard of rest, km/s: towards the centre, along
        rotation, and to the north pole.
    z_sun : float
        Height of the Sun above the plane, kpc. The plane is tilted to contain the centre, as in
        astropy's ``Galactocentric``.
    handedness : {"right", "left"}
        Of the Cartesian axes. Nothing but the signs of x and v_x depends on it.
    name : str
        What to call it in products.

    Raises
    ------
    OrbitError
        If a number is impossible.

    Examples
    --------
    >>> from migrate_bayes.orbits import SolarFrame
    >>> SolarFrame(r0=8.178, v0=236.0, v=12.5).v_sun
    248.5
    """

    r0: float = 8.27
    v0: float = 236.0
    u: float = 13.0
    v: float = 12.24
    w: float = 7.24
    z_sun: float = 0.0
    handedness: str = "right"
    name: str = "custom"

    def __post_init__(self) -> None:
        for name in ("r0", "v0", "u", "v", "w", "z_sun"):
            value = getattr(self, name)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not (number and math.isfinite(value)):
                raise OrbitError(f"solar frame: {name} must be a number and finite, not {value!r}")
            if name in ("r0", "v0") and value <= 0:
                raise OrbitError(f"solar frame: {name} must be positive")
            object.__setattr__(self, name, float(value))
        if self.handedness not in ("right", "left"):
            raise OrbitError(
                f"solar frame: handedness is 'right' or 'left', not {self.handedness!r}"
            )
        if abs(self.z_sun) >= self.r0:
            raise OrbitError("solar frame: |z_sun| must be smaller than r0 (both are kpc)")

    @property
    def v_sun(self) -> float:
        """Speed of the Sun along rotation about the centre, km/s."""
        return self.v0 + self.v

    def as_dict(self) -> dict[str, float | str]:
        """Return the numbers and the name, for a product's attributes."""
        return asdict(self)


_PRESETS = (
    # Schönrich & Aumer (2017), as adopted by Vickers, Shen & Li (2021).
    SolarFrame(name="vickers2021"),
    # Bland-Hawthorn & Gerhard (2016), table 1 and section 3.4; LSR of Schönrich et al. (2010).
    SolarFrame(name="bland-hawthorn2016", r0=8.2, v0=238.0, u=10.0, v=11.0, w=7.0, z_sun=0.025),
    # GRAVITY Collaboration (2019): R0. Reid & Brunthaler (2020): Sgr A* moves 6.411 mas/yr along
    # the plane, so V_sun = 4.740470 × 6.411 × 8.178 = 248.5 km/s, of which 12.24 are the Sun's own
    # (Schönrich et al. 2010). Height from Bennett & Bovy (2019).
    SolarFrame(name="gravity2019", r0=8.178, v0=236.3, u=11.1, v=12.24, w=7.25, z_sun=0.0208),
)
FRAMES = {frame.name: frame for frame in _PRESETS}


def get_frame(frame: str | SolarFrame | Mapping[str, Any]) -> SolarFrame:
    """Look up a solar frame.

    Parameters
    ----------
    frame : str, SolarFrame or mapping
        A preset's name, a frame, or a mapping of `SolarFrame`'s fields. A mapping may hold
        ``base``, the preset that gives all other numbers (default ``vickers2021``).

    Returns
    -------
    SolarFrame
        `frame` itself if it is one.

    Raises
    ------
    OrbitError
        If the name or a field is unknown, or a number impossible.

    Examples
    --------
    >>> from migrate_bayes.orbits import get_frame
    >>> get_frame({"base": "gravity2019", "v0": 229.0}).r0
    8.178
    """
    if isinstance(frame, SolarFrame):
        return frame
    if isinstance(frame, str):
        if frame not in FRAMES:
            raise OrbitError(f"unknown solar frame '{frame}': {suggest(frame, FRAMES)}")
        return FRAMES[frame]
    given = dict(frame)
    base = get_frame(given.pop("base", "vickers2021"))
    values = base.as_dict() | {"name": "custom"}
    for key in given.keys() - values:
        raise OrbitError(f"unknown solar frame field '{key}': {suggest(key, [*values, 'base'])}")
    return SolarFrame(**(values | given))
