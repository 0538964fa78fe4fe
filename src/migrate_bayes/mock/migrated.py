r"""Stars that migrated: a thin disc born in a gradient that is known, and diffused since.

For tests of the ``diffusion`` form and of what a fit makes of a history it does not know; the
equations are those of `population.model.gradients`. Ages are observed with a constant error
in ln τ; everything else with constant normal errors.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.population.likelihood.kernel import PIVOT_RADIUS

__all__ = ["MIGRATED_AGES", "migrated_stars"]

#: Nodes of the age likelihoods, Gyr.
MIGRATED_AGES: NDArray[np.float64] = np.concatenate(
    [np.arange(0.5, 5.0, 0.5), np.arange(5.0, 14.1, 1.0)]
)

_AGE_ERROR, _FEH_ERROR, _ALPHA_ERROR, _RADIUS_ERROR = 0.08, 0.03, 0.02, 0.1
_SURVEY_RADIUS, _SURVEY_WIDTH = 8.3, 1.5  # kpc: what a survey around the Sun sees


def migrated_stars(
    n: int,
    *,
    seed: int,
    sigma_rm8: float = 3.5,
    birth_radius_spread: float = 3.0,
    birth_gradient: float = -0.075,
    birth_gradient_rate: float = 0.0,
    birth_scatter: float = 0.06,
    selected: bool = False,
) -> xr.Dataset:
    """Draw, let diffuse and observe thin-disc stars with ages from 0.7 to 12 Gyr.

    Parameters
    ----------
    n : int
    seed : int
    sigma_rm8 : float
        Diffusion of guiding radii in 8 Gyr, kpc.
    birth_radius_spread : float
        Standard deviation of birth radii about 8 kpc.
    birth_gradient, birth_gradient_rate : float
        Gradient of the gas today, dex/kpc, and its change per Gyr of lookback time.
    birth_scatter : float
        Scatter of [Fe/H] of the gas at given radius, dex.
    selected : bool
        Keep a star with a probability that depends on its present radius, as a survey around the
        Sun does; none is lost otherwise.

    Returns
    -------
    xarray.Dataset
        The variables of StarPosteriors that the population fit reads, without Z_max.
    """
    rng = np.random.default_rng(seed)
    drawn = 6 * n + 200 if selected else n
    age = rng.uniform(0.7, 12.0, drawn)
    birth = rng.normal(8.0, birth_radius_spread, drawn)
    radius = birth + sigma_rm8 * np.sqrt(age / 8.0) * rng.normal(size=drawn)
    if selected:
        chance = np.exp(-0.5 * ((radius - _SURVEY_RADIUS) / _SURVEY_WIDTH) ** 2)
        seen = np.flatnonzero(rng.random(drawn) < chance)[:n]
        if len(seen) < n:
            raise ValueError("too few stars near the Sun: a smaller sigma_rm8, or not selected")
        age, birth, radius = age[seen], birth[seen], radius[seen]
    slope = birth_gradient + birth_gradient_rate * age
    feh = 0.05 - 0.03 * age + slope * (birth - PIVOT_RADIUS) + birth_scatter * rng.normal(size=n)
    alpha = 0.03 - 0.1 * feh + 0.025 * rng.normal(size=n)
    ln_age = np.log(age) + _AGE_ERROR * rng.normal(size=n)
    pull = (ln_age[:, None] - np.log(MIGRATED_AGES)) / _AGE_ERROR
    one = np.ones(n)

    def observed(true: NDArray[np.float64], error: float) -> NDArray[np.float64]:
        return true + error * rng.normal(size=n)

    dex, kpc = {"units": "dex"}, {"units": "kpc"}
    return xr.Dataset(
        {
            "log_age_likelihood": (("star", "age"), -0.5 * pull**2, {"units": ""}),
            "feh": ("star", observed(feh, _FEH_ERROR), dex),
            "feh_error": ("star", _FEH_ERROR * one, dex),
            "alpha_fe": ("star", observed(alpha, _ALPHA_ERROR), dex),
            "alpha_fe_error": ("star", _ALPHA_ERROR * one, dex),
            "rg_mean": (("star", "potential"), observed(radius, _RADIUS_ERROR)[:, None], kpc),
            "rg_sd": (("star", "potential"), _RADIUS_ERROR * one[:, None], kpc),
        },
        coords={
            "age": ("age", MIGRATED_AGES, {"units": "Gyr"}),
            "potential": ["MWPotential2014"],
            "source_id": ("star", np.arange(n)),
        },
    )
