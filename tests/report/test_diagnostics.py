"""Diagnostics: closed forms, and that each check can fail."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from migrate_bayes.population.results.diagnostics import (
    Check,
    check_fit,
    missing_information,
    summary_table,
)


def verdicts(fit: xr.DataTree) -> dict[str, Check]:
    return {c.name: c for c in check_fit(fit)}


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_missing_information_of_an_autoregressive_energy(rho: float) -> None:
    """For AR(1), E[ΔE²] / Var[E] = 2 (1 − ρ)."""
    rng = np.random.default_rng(0)
    energy = np.zeros((2, 40_000))
    for i in range(1, energy.shape[1]):
        energy[:, i] = rho * energy[:, i - 1] + rng.normal(size=2)
    np.testing.assert_allclose(missing_information(energy), 2 * (1 - rho), rtol=0.06)


def test_a_good_fit_passes_every_check(fit: xr.DataTree) -> None:
    checks = verdicts(fit)
    assert list(checks) == [
        "R-hat", "bulk ESS", "tail ESS", "divergences", "longest trajectories", "energy BFMI",
    ]  # fmt: skip
    assert all(c.passed for c in checks.values())


def test_both_samplers_names_are_read(make_fit: object, stars: xr.Dataset) -> None:
    for nutpie in (True, False):
        tree = make_fit(stars, nutpie=nutpie)  # type: ignore[operator]
        name = "maxdepth_reached" if nutpie else "reached_max_treedepth"
        tree["sample_stats"][name] = ~tree["sample_stats"][name]
        check = verdicts(tree)["longest trajectories"]
        assert check.passed is False
        assert check.value == "100.0%"


def test_chains_apart_fail_on_r_hat_and_name_the_parameter(
    make_fit: object, stars: xr.Dataset
) -> None:
    tree = make_fit(stars)  # type: ignore[operator]
    posterior = tree["posterior"].to_dataset()
    posterior["sigma_G"][0] += 0.05
    tree["posterior"] = posterior
    checks = verdicts(tree)
    assert checks["R-hat"].passed is False
    assert "sigma_G" in checks["R-hat"].value
    assert checks["bulk ESS"].passed is False


def test_divergences_and_a_sticky_energy_fail(make_fit: object, stars: xr.Dataset) -> None:
    tree = make_fit(stars)  # type: ignore[operator]
    stats = tree["sample_stats"].to_dataset()
    stats["diverging"][1, 5:8] = True
    stats["energy"] = stats["energy"].cumsum("draw")
    tree["sample_stats"] = stats
    checks = verdicts(tree)
    assert checks["divergences"].value == "3"
    assert checks["divergences"].passed is False
    assert checks["energy BFMI"].passed is False


def test_what_is_not_recorded_is_not_judged(make_fit: object, stars: xr.Dataset) -> None:
    tree = make_fit(stars)  # type: ignore[operator]
    del tree["sample_stats"]
    checks = verdicts(tree)
    assert checks["divergences"].passed is None
    assert "energy BFMI" not in checks


def test_pareto_k_is_judged_where_the_fit_has_it(make_fit: object, stars: xr.Dataset) -> None:
    tree = make_fit(stars)  # type: ignore[operator]
    tree.attrs["pareto_k"] = 0.9
    assert verdicts(tree)["Pareto k̂"].passed is False
    tree.attrs["pareto_k"] = 0.3
    assert verdicts(tree)["Pareto k̂"].passed is True


def test_summary_holds_parameters_and_no_curves(fit: xr.DataTree) -> None:
    table = summary_table(fit)
    names = list(table.index)
    assert "gradient_young" in names
    assert "z_G[5.0]" in names
    assert not any(n.startswith(("gradient[", "metallicity")) for n in names)
    draws = fit["posterior"]["gradient_young"].values
    assert table.loc["gradient_young", "mean"] == pytest.approx(draws.mean())
    assert table.loc["gradient_young", "eti68_lb"] == pytest.approx(np.percentile(draws, 16))


def test_few_draws_and_no_draws_are_no_crash(make_fit: object, stars: xr.Dataset) -> None:
    tree = make_fit(stars)  # type: ignore[operator]
    short = tree.sel(draw=slice(0, 2), chain=[0])
    assert verdicts(short)["R-hat"].passed in (None, False)
    assert len(summary_table(xr.DataTree())) == 0


def test_a_surrogate_is_judged_by_its_weights(make_fit: object, stars: xr.Dataset) -> None:
    tree = make_fit(stars)  # type: ignore[operator]
    tree.attrs |= {"method": "surrogate", "pareto_k": 0.31, "importance_ess": 1234.5}
    check = verdicts(tree)["Pareto k̂"]
    assert check.passed
    assert check.value == "0.31 (ESS of the weights 1,234)"
    tree.attrs["pareto_k"] = 0.8
    assert verdicts(tree)["Pareto k̂"].passed is False
    del tree.attrs["pareto_k"]
    tree.attrs |= {"method": "nuts", "surrogate_pareto_k": 0.8}
    assert verdicts(tree)["Pareto k̂ of the surrogate"].passed is None
