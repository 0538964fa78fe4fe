"""Solar frame, Monte-Carlo draws, potentials, guiding radii and orbit extrema."""

from __future__ import annotations

__all__ = [
    "FRAMES",
    "POTENTIALS",
    "SolarFrame",
    "circular_velocity",
    "compute_orbits",
    "from_cylindrical",
    "get_frame",
    "guiding_radius",
    "observed_to_phase_space",
    "orbit_extrema",
    "phase_space_to_observed",
    "potential_difference",
    "to_cylindrical",
    "vertical_speed",
]

from migrate_bayes.orbits.coordinates import (
    from_cylindrical,
    observed_to_phase_space,
    phase_space_to_observed,
    to_cylindrical,
)
from migrate_bayes.orbits.extrema import orbit_extrema, potential_difference, vertical_speed
from migrate_bayes.orbits.frame import FRAMES, SolarFrame, get_frame
from migrate_bayes.orbits.guiding import circular_velocity, guiding_radius
from migrate_bayes.orbits.orbits import compute_orbits
from migrate_bayes.orbits.potential import POTENTIALS
