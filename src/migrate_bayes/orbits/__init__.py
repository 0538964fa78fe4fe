"""Solar frame, Monte-Carlo draws, potentials, guiding radii and orbit extrema."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "coordinates": [
            "from_cylindrical",
            "observed_to_phase_space",
            "phase_space_to_observed",
            "to_cylindrical",
        ],
        "extrema": ["orbit_extrema"],
        "frame": ["FRAMES", "SolarFrame", "get_frame"],
        "orbit_options": ["OrbitOptions"],
        "orbits": ["compute_orbits"],
        "potential": ["Potential", "circular_velocity", "guiding_radius"],
        "potential_tables": ["POTENTIALS"],
    },
)
