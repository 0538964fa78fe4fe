r"""Where a star was born, and how far its guiding radius has moved, under the form ``diffusion``.

With the fit's own parameters (`population.model.hierarchy`: birth radii spread by S, diffusion
:math:`D^2 = σ_{RM8}^2 τ / 8` Gyr, gradient of the gas g(τ)), the mean birth radius
:math:`\bar R_b(τ)` that the model states (`ModelSpec.birth_radius`), and m(R) and s², mean and
variance of [Fe/H] F at given R_g = R of a disc's stars of age τ, the birth radius of a star is

.. math::

   R_b \mid R, F, τ \sim N\left(\bar R_b + κ (R - \bar R_b) + γ (F - m(R)),\;
   κ D^2 - γ g κ D^2\right), \qquad
   κ = \frac{S^2}{S^2 + D^2}, \qquad γ = \frac{g κ D^2}{s^2}

R and F are those of the star; given its data and its age they are jointly normal under the disc's
laws, with mean and covariance C, so that R_b and R − R_b are, too. A star's posterior is the mean
over its ages as a star of the thin disc, and over the hyperparameters.

The mean birth radius is no result of the fit: where a disc formed, its stars of today's radius R
do not tell. A selection on today's radius changes nothing.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.core.constants import PIVOT_RADIUS
from migrate_bayes.population.likelihood.layout import StarArrays
from migrate_bayes.population.likelihood.theta import THETA, columns_of_classes

Floats = NDArray[np.float64]

#: kpc; what `PopulationModel.membership` adds under the form ``diffusion``, with its words.
WORDS = {
    "birth_radius": "birth radius, if of the thin disc: posterior mean",
    "birth_radius_sd": "birth radius, if of the thin disc: posterior sd",
    "radius_change": "guiding radius less birth radius, if of the thin disc: posterior mean",
    "radius_change_sd": "guiding radius less birth radius, if of the thin disc: posterior sd",
}


class Birth(NamedTuple):
    """Coefficients of the birth radius for one draw; arrays on the age nodes.

    `mean` is R̄_b (kpc), `kept` κ, `pull` γ (kpc/dex), `variance` that of R_b given R and F (kpc²).
    """

    mean: Floats
    kept: Floats
    pull: Floats
    variance: Floats


def births_of(
    posterior: xr.Dataset, thetas: Floats, ages: Floats, stated: tuple[float, float], rate: float
) -> list[Birth]:
    """Return the coefficients of the birth radius for draws of the form ``diffusion``.

    Parameters
    ----------
    posterior : xarray.Dataset
        Draws along `sample`, those of `thetas`.
    thetas : ndarray, shape (n, n_components, n_ages, n_theta)
    ages : ndarray, shape (n_ages,)
        Gyr.
    stated : tuple of float
        Mean birth radius today (kpc) and its change with age (kpc/Gyr).
    rate : float
        Change of the gas's gradient with lookback time, dex/kpc/Gyr, where it was not fitted.
    """
    values = {
        n: posterior[n].values for n in ("birth_gradient", "birth_radius_spread", "sigma_rm8")
    }
    rates = posterior.get("birth_gradient_rate", xr.full_like(posterior["sigma_rm8"], rate)).values
    out = []
    for now, spread, sigma, change, theta in zip(*values.values(), rates, thetas, strict=True):
        moved = sigma**2 * ages / 8.0
        kept = spread**2 / (spread**2 + moved)
        shared = (now + change * ages) * kept * moved
        # Where the scatter is not told by migrants it may be less than they alone would make it.
        pull = shared / np.maximum(theta[0, :, THETA.index("s2")], (now + change * ages) * shared)
        variance = kept * moved - pull * shared
        out.append(Birth(stated[0] + stated[1] * ages, kept, pull, np.maximum(variance, 0.0)))
    return out


def moments(
    stars: StarArrays, theta: Floats, birth: Birth
) -> tuple[Floats, Floats, Floats, Floats]:
    """Return mean and variance of R_b and of R − R_b at each age, each of shape (n, n_ages)."""
    Z, G, s2, a, b, t2 = theta[0].T[THETA.index("Z") : THETA.index("t2") + 1]
    at = columns_of_classes(theta, stars.radius_class)
    mu, sigma2 = (theta[0][:, at + i].T for i in (1, 2))
    # The precision of (R, F): of the data, of [α/Fe], and of the disc's laws.
    alpha_variance = t2 + stars.alpha_variance[:, None]
    of_R = 1.0 / stars.radius_variance[:, None] + 1.0 / sigma2
    of_F = 1.0 / stars.feh_variance + b**2 / alpha_variance
    right_R = stars.radius[:, None] / stars.radius_variance[:, None] + mu / sigma2
    right_F = stars.feh / stars.feh_variance + b * (stars.alpha[:, None] - a) / alpha_variance
    zero = Z - G * PIVOT_RADIUS
    A, B, E = of_R + G**2 / s2, -G / s2, of_F + 1.0 / s2
    det = A * E - B**2
    u, v = right_R - G * zero / s2, right_F + zero / s2
    R, F = (E * u - B * v) / det, (A * v - B * u) / det
    mean = birth.mean * (1.0 - birth.kept) + birth.kept * R + birth.pull * (F - zero - G * R)

    def spread(along: Floats, across: Floats) -> Floats:
        return (along**2 * E - 2.0 * along * across * B + across**2 * A) / det + birth.variance

    along = birth.kept - birth.pull * G
    return mean, spread(along, birth.pull), R - mean, spread(1.0 - along, -birth.pull)
