"""σ_RM8 on stars that did migrate, under the right history of the gas and under a wrong one."""

import numpy as np
import pytest
import xarray as xr

from migrate_bayes.population import ModelSpec, build_model, population_data
from migrate_bayes.population.density import PosteriorDensity
from migrate_bayes.population.mode import find_mode

AGES = np.concatenate([np.arange(0.5, 5.0, 0.5), np.arange(5.0, 14.1, 1.0)])
SIGMA, SPREAD, NOW = 3.5, 3.0, -0.075  # kpc, kpc, dex/kpc

SMALL = {
    "form": "diffusion",
    "metallicity": {"thin": [1.0, 5.0, 12.0], "thick": [8.0]},
    "scatter": {"thin": [1.0, 12.0], "thick": [8.0]},
    "radius": {"thin": [5.0], "thick": [8.0]},
    "radius_scatter": {"thin": [1.0, 12.0], "thick": [8.0]},
    "zmax": {"thin": [1.0, 12.0], "thick": [8.0]},
    "age_weight": {"thin": [1.0, 4.0, 8.0, 13.0], "thick": [2.0, 8.0, 13.0]},
}


def migrated_stars(n, seed, *, rate, selected=False):
    """Stars born with spread SPREAD in a gradient NOW + rate·τ, then diffused: R_b → R_g.

    `selected` keeps those whose present radius a survey around the Sun would see.
    """
    rng = np.random.default_rng(seed)
    drawn = 6 * n if selected else n
    age = rng.uniform(0.7, 12.0, drawn)
    birth = rng.normal(8.0, SPREAD, drawn)
    radius = birth + SIGMA * np.sqrt(age / 8.0) * rng.normal(size=drawn)
    if selected:
        seen = rng.random(drawn) < np.exp(-0.5 * ((radius - 8.3) / 1.5) ** 2)
        age, birth, radius = (v[seen][:n] for v in (age, birth, radius))
        assert len(age) == n
    feh = 0.05 - 0.03 * age + (NOW + rate * age) * (birth - 8.0) + 0.06 * rng.normal(size=n)
    measured = age * np.exp(0.08 * rng.normal(size=n))
    one = np.ones(n)
    return xr.Dataset(
        {
            "log_age_likelihood": (
                ("star", "age"),
                -0.5 * ((np.log(measured)[:, None] - np.log(AGES)) / 0.08) ** 2,
            ),
            "feh": ("star", feh + 0.03 * rng.normal(size=n)),
            "feh_error": ("star", 0.03 * one),
            "alpha_fe": ("star", 0.03 - 0.1 * feh + 0.03 * rng.normal(size=n)),
            "alpha_fe_error": ("star", 0.02 * one),
            "rg_mean": (("star", "potential"), (radius + 0.1 * rng.normal(size=n))[:, None]),
            "rg_sd": (("star", "potential"), 0.1 * one[:, None]),
        },
        coords={"age": AGES, "potential": ["MWPotential2014"]},
    )


def fitted(stars, **options):
    """Posterior mean and sd of σ_RM8 by its mode and curvature, and the gradient at the mode."""
    model = build_model(population_data(stars), ModelSpec(**SMALL, **options))
    density = PosteriorDensity(model, mode="FAST_COMPILE")
    mode = find_mode(density)
    draws = np.random.default_rng(0).multivariate_normal(mode.vector, mode.covariance, 400)
    named = density.named(draws)
    sigma = named["sigma_rm8"]
    return sigma.mean(), sigma.std(), density.named(mode.vector[None])["gradient"][0, 0]


@pytest.mark.parametrize("selected", [False, True])
def test_recovered_under_the_right_history(selected):
    stars = migrated_stars(6000, 1, rate=0.0, selected=selected)
    sigma, error, gradient = fitted(stars, birth_gradient_rate=0.0)
    assert error < 0.35
    assert abs(sigma - SIGMA) < 3 * error
    truth = NOW * SPREAD**2 / (SPREAD**2 + SIGMA**2 * AGES / 8)
    np.testing.assert_allclose(gradient, truth, atol=0.006)


def test_biased_under_a_wrong_history():
    # The gas's gradient was steeper in the past: taken to be constant, the steepness that survived
    # looks like little churning; and the right history, on the same stars, gets it right.
    stars = migrated_stars(6000, 2, rate=-0.003)
    right, error, _ = fitted(stars, birth_gradient_rate=-0.003)
    assert abs(right - SIGMA) < 3 * error
    gradient_only, wrong_error, _ = fitted(stars, birth_gradient_rate=0.0, diffusion_widens=())
    assert gradient_only < SIGMA - 3 * wrong_error


def test_the_equations_are_the_moments_of_migrated_stars():
    rng = np.random.default_rng(3)
    n, age, rate = 400_000, 6.0, -0.002
    birth = rng.normal(0.0, SPREAD, n)
    radius = birth + SIGMA * np.sqrt(age / 8) * rng.normal(size=n)
    feh = (NOW + rate * age) * birth + 0.06 * rng.normal(size=n)
    slope, level = np.polyfit(radius, feh, 1)
    spec = ModelSpec(form="diffusion", birth_gradient_rate=rate)
    import pymc as pm

    from migrate_bayes.population.diffusion import RadialDiffusion

    with pm.Model():
        form = RadialDiffusion(spec)
        values = [form(np.array([age])), form.migrant_variance(np.array([age]))]
        at = {form.now: NOW, form.spread: SPREAD, form.sigma: SIGMA}
        import pytensor

        made = pytensor.function(list(at), [v[0] for v in values], mode="FAST_COMPILE")
        gradient, variance = made(*at.values())
    assert gradient == pytest.approx(slope, abs=4e-4)
    assert variance + 0.06**2 == pytest.approx(np.var(feh - slope * radius - level), rel=0.01)
