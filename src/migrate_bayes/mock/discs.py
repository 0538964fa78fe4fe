r"""The stars of a mock: discs of the fitted model's own laws, or with radial migration.

**The "model" population**, with age τ in Gyr and x = R_g - 8 kpc:

* thin disc: τ from a gamma law, truncated to the isochrones' range;
  [Fe/H] ~ N(-0.02 - 0.01 τ + [G_1 + r (τ - 1)] x, 0.12 + 0.006 τ), with G_1 and r the recipe's
  ``gradient_young`` and ``flattening_rate``; [α/Fe] ~ N(0.03 - 0.10 [Fe/H], 0.025);
  ln Z_max ~ N(-1.5 + 0.08 τ, 0.6), at fixed R: the orbit's own, which is kept as the truth,
  reaches higher as it moves in R;
* thick disc: τ ~ N(10, 1.5); [Fe/H] ~ N(-0.5 + G_thick x, 0.22); [α/Fe] ~ N(0.20 - 0.10 [Fe/H],
  0.035); ln Z_max ~ N(0.3, 0.5).

**The "migration" population** is not of the fitted model's own form: the thin disc's gradient,
scatter and radii follow from the places of birth and the distances that stars have wandered. All
numbers are of the recipe's ``[simulate.migration]``:

* **birth**, thin disc: star formation falls as exp(τ/12 Gyr) from the past to today, τ in [1, 12];
  birth radius R_b ~ N(R_now - growth·τ, S), positive: the disc grows inside-out (Frankel et al.
  2019, ApJ 884, 99, find a half-mass radius growing by some 0.2 kpc/Gyr);
* **gas**: [Fe/H](R, τ) = Z(τ) + g_birth(τ) x + q x², x = R - 8 kpc, with g_birth(τ) = g₀ + g₁ τ
  (steeper in the past for g₁ < 0: Minchev et al. 2018, MNRAS 481, 1645) and the normalisation
  history Z(τ) = Z_now - rise·[1 - (1 - τ/14 Gyr)^p] (the form of Frankel et al. 2018); stars
  scatter about it by s;
* **churning**: R_g ~ N(R_b, σ_RM8 √(τ/8 Gyr)) (Frankel et al. 2018, ApJ 865, 96), R_g > 1 kpc;
* **blurring**: epicycles of Rayleigh amplitude σ_R/κ, σ_R = 41.9 (τ/10 Gyr)^0.307 km/s;
* **vertical heating**: energies E_z ~ exponential of mean σ_z² (isothermal and harmonic),
  σ_z = 23.8 (τ/10 Gyr)^0.445 km/s (both: Aumer & Binney 2009, MNRAS 397, 1286), and both falling
  outwards as exp(-(R_g - 8 kpc)/8 kpc);
* [α/Fe] ~ N(0.02 - 0.12 [Fe/H] + 0.008 (τ - 4), 0.02).

(R_b, R_g) are jointly normal but for R_b > 0: at given age and R_g, R_b = R_b* + √V ζ with
R_b* = (1 - h) (R_now - growth·τ) + h R_g, h = S²/(S² + D²), D² = σ_RM8² τ/8, V = h D² and ζ
standard normal above a = -R_b*/√V, of raw moments

.. math:: M_0 = 1, \quad M_1 = λ = φ(a) / (1 - Φ(a)), \quad M_k = (k - 1) M_{k-2} + a^{k-1} λ

[Fe/H] is a polynomial in ζ, so its mean and scatter at given R_g are sums of these moments and the
gradient G(τ) is the mean's derivative (`expected_metallicity`, `expected_scatter`,
`expected_gradient`, at 8 kpc). Far from R_b = 0 and with q = 0 they are a straight line of

.. math:: G(τ) = h g_\mathrm{birth}(τ), \qquad s^2 + g_\mathrm{birth}^2 V

of which R_b > 0 takes 3% of G at 12 Gyr with the default numbers, and 18% with σ_RM8 = 5 kpc and
growth = 0.4. No selection on R_g, on place or on age changes the law.

The rest: a **thick disc**, τ ~ N(10, 1.3) in [6, 13], R_g ~ N(6.5, 2.2) kpc, [Fe/H] ~ N(-0.5 +
G_thick (R_g - 8), 0.22), [α/Fe] ~ N(0.20 - 0.10 [Fe/H], 0.035), (σ_R, σ_z) = (67, 35) km/s; **young
α-rich stars**, a share of these whose mass speaks of τ in [1, 5] (mass gained from a companion:
Martig et al. 2015, Chiappini et al. 2015): their true age here is what the isochrones see; and
**outliers**, a stellar halo of [Fe/H] ~ N(-1.2, 0.4), [α/Fe] ~ N(0.25, 0.08), (σ_R, σ_φ, σ_z) =
(160, 90, 90) km/s about a rotation of 20 km/s (dispersions of thick disc and halo: Bensby,
Feltzing & Lundström 2003, A&A 410, 527).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammainc, gammaincinv, log_ndtr, ndtr, ndtri

from migrate_bayes.core.constants import PIVOT_RADIUS
from migrate_bayes.mock.mock_options import MigrationOptions, MockOptions
from migrate_bayes.mock.truth import Truth
from migrate_bayes.orbits import Potential, SolarFrame, circular_velocity, guiding_radius
from migrate_bayes.orbits.coordinates import from_cylindrical, phase_space_to_observed
from migrate_bayes.orbits.extrema import potential_difference, vertical_speed

Columns = dict[str, NDArray[Any]]

N_POPULATION, N_ORBIT, N_MIGRATION = 6, 4, 12
"""How many uniform numbers a star needs for each."""

_SFR_TIME = 12.0
_THIN_AGES = (1.0, 12.0)
_HISTORY = 14.0  # Gyr ago the gas had its first metals
_KINEMATIC_LENGTH = 8.0  # kpc over which dispersions fall by e
_MAX_AMPLITUDE = 0.45  # of R_g: beyond, an epicycle has no meaning
_HIGHEST = 8.0  # kpc


def truncated_normal(
    u: NDArray, mean: ArrayLike, sd: ArrayLike, low: float = -np.inf, high: float = np.inf
) -> NDArray[np.float64]:
    """Turn uniform numbers into a normal law truncated to [low, high]."""
    mean, sd = np.asarray(mean), np.asarray(sd)
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
    return {"thick": thick, "age": age, "rg": radius, "feh": feh, "alpha_fe": alpha, "zmax": zmax}


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
    v_r, v_phi = amplitude * kappa * np.sin(phase), rg * v_circ / R
    v_z = np.sign(np.cos(chi)) * vertical_speed(R, z, zmax, potential)
    return {"R": R, "phi": near_azimuth(u[3]), "z": z, "v_r": v_r, "v_phi": v_phi, "v_z": v_z}


def see_from_sun(place: Columns, frame: SolarFrame) -> Columns:
    """See the stars from the Sun, which stands on the negative x axis."""
    x, y = -place["R"] * np.cos(place["phi"]), place["R"] * np.sin(place["phi"])
    vx, vy = from_cylindrical(x, y, place["v_r"], place["v_phi"])
    seen = phase_space_to_observed(x, y, place["z"], vx, vy, place["v_z"], frame=frame)
    return dict(zip(("ra", "dec", "distance", "pmra", "pmdec", "rv"), seen, strict=True))


def birth_gradient(law: MigrationOptions, age: ArrayLike) -> NDArray[np.float64]:
    """Return the gas's gradient when stars of an age (Gyr) were born, dex/kpc."""
    return law.birth_gradient + law.birth_gradient_rate * np.asarray(age, dtype=np.float64)


def _diffusion(law: MigrationOptions, age: ArrayLike) -> NDArray[np.float64]:
    """Return the variance of R_g - R_birth, kpc²."""
    return law.sigma_rm8**2 * np.asarray(age, dtype=np.float64) / 8.0


def _kept(law: MigrationOptions, age: ArrayLike) -> NDArray[np.float64]:
    """Return h, the share of the variance of R_g that is of birth."""
    spread = law.birth_radius_spread**2
    return spread / (spread + _diffusion(law, age))


def expected_gradient(law: MigrationOptions, age: ArrayLike) -> NDArray[np.float64]:
    """Return d[Fe/H]/dR_g at 8 kpc of thin-disc stars of an age (Gyr), dex/kpc, in closed form."""
    return _of_births(law, PIVOT_RADIUS, age)[1]


def expected_scatter(law: MigrationOptions, age: ArrayLike) -> NDArray[np.float64]:
    """Return the scatter of [Fe/H] at R_g = 8 kpc of thin-disc stars of an age (Gyr), dex."""
    return _of_births(law, PIVOT_RADIUS, age)[2]


def expected_metallicity(law: MigrationOptions, radius: ArrayLike, age: ArrayLike) -> NDArray:
    """Return the mean [Fe/H] of thin-disc stars of an R_g (kpc) and age (Gyr), dex."""
    return _of_births(law, radius, age)[0]


def draw_metallicity(
    law: MigrationOptions, radius: ArrayLike, age: ArrayLike, u: NDArray
) -> NDArray[np.float64]:
    """Draw [Fe/H] of thin-disc stars of an R_g (kpc) and age (Gyr) by two uniform numbers each."""
    _, born, spread = _born(law, radius, age)
    born = truncated_normal(u[0], born, spread, low=0.0)
    return gas_metallicity(law, born, age) + law.ism_scatter * ndtri(u[1])


def _born(
    law: MigrationOptions, radius: ArrayLike, age: ArrayLike
) -> tuple[NDArray, NDArray, NDArray]:
    """Return h, and R_b* and √V (kpc) of stars of an R_g and age."""
    kept, age = _kept(law, age), np.asarray(age, dtype=np.float64)
    mean = law.birth_radius_now - law.growth * age
    born = (1.0 - kept) * mean + kept * np.asarray(radius, dtype=np.float64)
    return kept, born, np.maximum(np.sqrt(kept * _diffusion(law, age)), 1e-9)


def _of_births(
    law: MigrationOptions, radius: ArrayLike, age: ArrayLike
) -> tuple[NDArray, NDArray, NDArray]:
    """Return mean, derivative by R_g and scatter of [Fe/H] at given R_g and age."""
    age, (kept, born, spread) = np.asarray(age, dtype=np.float64), _born(law, radius, age)
    a = -born / spread
    first = np.exp(-0.5 * a**2 - 0.5 * np.log(2.0 * np.pi) - log_ndtr(-a))
    second, third = 1.0 + a * first, (2.0 + a**2) * first
    fourth = 3.0 * second + a**3 * first
    q, at_place = law.birth_curvature, birth_gradient(law, age)
    at_place = at_place + 2.0 * q * (born - PIVOT_RADIUS)
    line, bend = at_place * spread, q * spread**2
    bent = first * (first - a)  # dλ/da
    by_place = at_place * (1.0 - bent) + q * spread * (first - a * bent)
    variance = law.ism_scatter**2 + line**2 * (second - first**2) + bend**2 * (fourth - second**2)
    variance = variance + 2.0 * line * bend * (third - first * second)
    level = gas_metallicity(law, born, age) + line * first + bend * second
    return level, kept * by_place, np.sqrt(variance)


def gas_metallicity(law: MigrationOptions, radius: ArrayLike, age: ArrayLike) -> NDArray:
    """Return [Fe/H] of the gas at a radius (kpc), a time (Gyr) ago."""
    age = np.asarray(age, dtype=np.float64)
    risen = 1.0 - (1.0 - age / _HISTORY) ** law.ism_power
    offset = np.asarray(radius, dtype=np.float64) - PIVOT_RADIUS
    bent = birth_gradient(law, age) * offset + law.birth_curvature * offset**2
    return law.ism_now - law.ism_rise * risen + bent


def true_line(truth: MockOptions, knots: Sequence[float]) -> Truth:
    """Return what the headline holds a fit against.

    The flattening rate is the curve's least-squares slope over `knots` (Gyr), as it is a fit's.
    """
    law, at = truth.migration, np.asarray(knots, dtype=np.float64)
    centred = at - at.mean()
    numbers = {
        "gradient_young": float(expected_gradient(law, 1.0)),
        "flattening_rate": float(centred @ expected_gradient(law, at) / (centred @ centred)),
        "gradient_thick": truth.gradient_thick,
        "sigma_rm8": law.sigma_rm8,
    }
    return Truth(numbers, lambda ages: expected_gradient(law, ages), knots)


def draw_migration(
    truth: MockOptions, ages: tuple[float, float], potential: Potential, u: NDArray[np.float64]
) -> Columns:
    """Draw stars by uniform numbers (N_MIGRATION, n) and put them on their orbits.

    `ages` are those of the isochrones, Gyr. Returns arrays (n,): ``component``, ``thick`` (bool: of
    the thick disc's chemistry), ``age`` Gyr, ``r_birth`` (kpc; NaN outside the thin disc) and
    ``rg`` kpc, ``feh``, ``alpha_fe`` dex, ``zmax`` kpc (at fixed R), and the place ``R phi z v_r
    v_phi v_z``, kpc, rad and km/s; ``possible``, False if a radius came out negative.
    """
    law = truth.migration
    halo = u[0] < law.outliers
    v = (u[0] - law.outliers) / (1.0 - law.outliers)
    old, young = v < truth.thick_fraction, v < truth.thick_fraction * law.young_alpha_rich
    component = np.select([halo, young, old], [3, 2, 1], 0)
    thin = component == 0
    low, high = max(ages[0], _THIN_AGES[0]), min(ages[1], _THIN_AGES[1])
    grow = np.exp((high - low) / _SFR_TIME) - 1.0
    age = np.select(
        [thin, component == 2],
        [low + _SFR_TIME * np.log1p(u[1] * grow), low + u[1] * (5.0 - low)],
        truncated_normal(u[1], 10.0, 1.3, max(low, 6.0), min(ages[1], 13.0)),
    )
    e = ndtri(u[2:6])
    born = law.birth_radius_now - law.growth * age + law.birth_radius_spread * e[0]
    rg = np.where(thin, born + np.sqrt(_diffusion(law, age)) * e[1], 6.5 + 2.2 * e[0])
    possible = ((born > 0) | ~thin) & ((rg > 1.0) | halo)
    rg = np.maximum(rg, 1.0)
    feh = np.select(
        [thin, halo],
        [gas_metallicity(law, born, age) + law.ism_scatter * e[2], -1.2 + 0.4 * e[2]],
        -0.5 + truth.gradient_thick * (rg - PIVOT_RADIUS) + 0.22 * e[2],
    )
    feh = np.maximum(feh, -1.9)  # the isochrones' range; above it, no isochrone, no star
    alpha = np.select(
        [thin, halo],
        [0.02 - 0.12 * feh + 0.008 * (age - 4.0) + 0.02 * e[3], 0.25 + 0.08 * e[3]],
        0.20 - 0.10 * feh + 0.035 * e[3],
    )
    star = {
        "component": component, "thick": (component == 1) | (component == 2), "age": age,
        "r_birth": np.where(thin, born, np.nan), "rg": rg, "feh": feh, "alpha_fe": alpha,
        "possible": possible,
    }  # fmt: skip
    return star | place(star, potential, u[6:])


def place(star: Columns, potential: Potential, u: NDArray) -> Columns:
    """Place stars by six uniform numbers each: L_z exact, epicycle, vertical energy."""
    rg, thin, halo = star["rg"], star["component"] == 0, star["component"] == 3
    v_circ = circular_velocity(rg, potential)
    decade = star["age"] / 10.0
    hotter = np.exp(-(np.clip(rg, 2.0, 14.0) - PIVOT_RADIUS) / _KINEMATIC_LENGTH)
    sigma_r = np.where(thin, 41.9 * decade**0.307, 67.0) * hotter
    sigma_z = np.where(thin, 23.8 * decade**0.445, 35.0) * hotter
    kappa = np.sqrt(2.0) * v_circ / rg  # of a flat rotation curve
    # Rayleigh amplitudes, truncated.
    scale = sigma_r / kappa
    within = -np.expm1(-0.5 * (_MAX_AMPLITUDE * rg / scale) ** 2)
    amplitude = scale * np.sqrt(-2.0 * np.log1p(-u[0] * within))
    phase, chi = 2.0 * np.pi * u[1], 2.0 * np.pi * u[2]
    R = rg - amplitude * np.cos(phase)
    v_r, v_phi = amplitude * kappa * np.sin(phase), rg * v_circ / R
    energy = -(sigma_z**2) * np.log1p(-u[3])
    highest = _height(R, energy, potential)
    z = highest * np.sin(chi)
    v_z = np.sqrt(2.0 * np.maximum(energy - potential_difference(R, 0.0, z, potential), 0.0))
    v_z *= np.sign(np.cos(chi))
    if halo.any():
        # A halo star has no epicycle: a place, and a velocity beside it.
        R = np.where(halo, 12.0 * np.sqrt(u[0]), R)
        z = np.where(halo, -3.0 * np.log(u[1]) * np.where(u[5] < 0.5, -1.0, 1.0), z)
        v_r = np.where(halo, 160.0 * ndtri(u[2]), v_r)
        v_phi = np.where(halo, 20.0 + 90.0 * ndtri(u[3]), v_phi)
        v_z = np.where(halo, 90.0 * ndtri(2.0 * u[5] % 1.0), v_z)
        rg = np.where(halo, guiding_radius(np.abs(R * v_phi), potential), rg)
    return {
        "rg": rg, "zmax": highest, "R": R, "phi": near_azimuth(u[4]), "z": z,
        "v_r": v_r, "v_phi": v_phi, "v_z": v_z,
    }  # fmt: skip


def _height(R: NDArray, energy: NDArray, potential: Potential) -> NDArray[np.float64]:
    """Return the height (kpc) that a vertical energy (km²/s²) reaches at fixed R, to `_HIGHEST`.

    The rise goes as z² near the plane and as z far from it: the exponent, between 1/2 and 1, makes
    an error shrink to a quarter in the one case and to four tenths in the other, at each turn.
    """
    height = np.sqrt(2.0 * energy) * R / 600.0  # of a disc with a vertical frequency of 75 km/s/kpc
    for _ in range(4):
        rise = np.maximum(potential_difference(R, 0.0, height, potential), 1e-9)
        height = np.clip(height * (energy / rise) ** 0.62, 1e-4, _HIGHEST)
    return height
