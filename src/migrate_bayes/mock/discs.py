"""Discs of the fitted model's own laws: the stars of a mock with ``population = "model"``.

With age τ in Gyr and x = R_g - 8 kpc:

* thin disc: τ from a gamma law, truncated to the isochrones' range;
  [Fe/H] ~ N(-0.02 - 0.01 τ + [G_1 + r (τ - 1)] x, 0.12 + 0.006 τ), with G_1 and r the recipe's
  ``gradient_young`` and ``flattening_rate``; [α/Fe] ~ N(0.03 - 0.10 [Fe/H], 0.025);
  ln Z_max ~ N(-1.5 + 0.08 τ, 0.6), at fixed R: the orbit's own, which is kept as the truth,
  reaches higher as it moves in R;
* thick disc: τ ~ N(10, 1.5); [Fe/H] ~ N(-0.5 + G_thick x, 0.22); [α/Fe] ~ N(0.20 - 0.10 [Fe/H],
  0.035); ln Z_max ~ N(0.3, 0.5).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammainc, gammaincinv, ndtr, ndtri

from migrate_bayes.core.constants import PIVOT_RADIUS
from migrate_bayes.mock.mock_options import MockOptions
from migrate_bayes.orbits import (
    Potential,
    SolarFrame,
    circular_velocity,
    from_cylindrical,
    phase_space_to_observed,
)
from migrate_bayes.orbits.extrema import vertical_speed

Columns = dict[str, NDArray[Any]]

N_POPULATION, N_ORBIT = 6, 4
"""How many uniform numbers a star needs for each."""


def truncated_normal(
    u: NDArray, mean: float, sd: float, low: float = -np.inf, high: float = np.inf
) -> NDArray[np.float64]:
    """Turn uniform numbers into a normal law truncated to [low, high]."""
    below, above = ndtr((low - mean) / sd), ndtr((high - mean) / sd)
    return np.clip(mean + sd * ndtri(below + u * (above - below)), low, high)


def draw_population(truth: MockOptions, ages: tuple[float, float], u: NDArray) -> Columns:
    """Draw age, R_g, abundances and Z_max from six uniform numbers a star."""
    low, high = ages
    thick = u[0] < truth.thick_fraction
    old = truncated_normal(u[1], 10.0, 1.5, max(low, 5.0), high)
    # Thin: a gamma law of shape 2.2 and scale 2.2 Gyr, truncated.
    below, above = gammainc(2.2, low / 2.2), gammainc(2.2, high / 2.2)
    young = np.clip(2.2 * gammaincinv(2.2, below + u[1] * (above - below)), low, high)
    age = np.where(thick, old, young)
    # Kept within reach of the survey; 3σ on either side, so hardly a truncation.
    radius = np.where(
        thick,
        truncated_normal(u[2], 7.4, 1.3, 3.4, 11.4),
        truncated_normal(u[2], 8.7, 1.3, 4.7, 12.7),
    )
    x = radius - PIVOT_RADIUS
    slope = truth.gradient_young + truth.flattening_rate * (age - 1.0)
    noise = ndtri(u[3:6])
    feh = np.where(
        thick,
        -0.5 + truth.gradient_thick * x + 0.22 * noise[0],
        -0.02 - 0.01 * age + slope * x + (0.12 + 0.006 * age) * noise[0],
    )
    feh = np.clip(feh, -1.9, 0.48)  # the isochrones' range
    alpha = np.where(thick, 0.20, 0.03) - 0.10 * feh + np.where(thick, 0.035, 0.025) * noise[1]
    ln_zmax = np.where(thick, 0.3 + 0.5 * noise[2], -1.5 + 0.08 * age + 0.6 * noise[2])
    zmax = np.exp(np.minimum(ln_zmax, np.log(6.0)))
    return {
        "thick": thick, "age": age, "rg": radius, "feh": feh, "alpha_fe": alpha, "zmax": zmax,
    }  # fmt: skip


def near_azimuth(u: NDArray) -> NDArray[np.float64]:
    """Return azimuths (rad) of stars in a narrow wedge about the Sun's."""
    return 0.10 * ndtri(u)


def draw_orbit(star: Columns, potential: Potential, u: NDArray) -> Columns:
    """Place each star on its orbit: L_z exact, radial motion epicyclic, vertical by energy.

    Four uniform numbers a star: radial amplitude and phase, vertical phase, azimuth.
    """
    rg, zmax = star["rg"], star["zmax"]
    v_circ = circular_velocity(rg, potential)
    # Radial dispersion grows with age (e.g. Mackereth et al. 2019); epicycle frequency of a flat
    # rotation curve.
    sigma_r = np.where(star["thick"], 55.0, 18.0 + 2.2 * star["age"])
    kappa = np.sqrt(2.0) * v_circ / rg
    amplitude = np.minimum(sigma_r / kappa * np.sqrt(-2 * np.log1p(-u[0])), 0.35 * rg)
    phase = 2 * np.pi * u[1]
    R = rg - amplitude * np.cos(phase)
    chi = 2 * np.pi * u[2]
    z = zmax * np.sin(chi)
    return {
        "R": R,
        "phi": near_azimuth(u[3]),
        "z": z,
        "v_r": amplitude * kappa * np.sin(phase),
        "v_phi": rg * v_circ / R,
        "v_z": np.sign(np.cos(chi)) * vertical_speed(R, z, zmax, potential),
    }


def see_from_sun(place: Columns, frame: SolarFrame) -> Columns:
    """See the stars from the Sun, which stands on the negative x axis."""
    x, y = -place["R"] * np.cos(place["phi"]), place["R"] * np.sin(place["phi"])
    vx, vy = from_cylindrical(x, y, place["v_r"], place["v_phi"])
    seen = phase_space_to_observed(x, y, place["z"], vx, vy, place["v_z"], frame=frame)
    return dict(zip(("ra", "dec", "distance", "pmra", "pmdec", "rv"), seen, strict=True))
