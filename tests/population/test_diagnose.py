"""The verdict on a fit: each check fails where it should, and only there."""

import json

import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

from migrate_bayes.cli import app
from migrate_bayes.core.errors import ProductError
from migrate_bayes.mock.model_stars import PopulationTruth, simulated_stars
from migrate_bayes.population import population_data
from migrate_bayes.population.likelihood.theta import THETA
from migrate_bayes.population.results.diagnostics import (
    Check,
    Verdict,
    diagnose,
    judge,
    print_diagnosis,
    read_fit,
)
from migrate_bayes.population.results.predictive import posterior_predictive

SAMPLE = ("chain", "draw")


def fit(shift=0.0, wide=1.0, p_outside=0.05, left_out=10, misfit=0.0):
    """A fit whose draws are independent: one parameter, one of three knots."""
    rng = np.random.default_rng(0)
    posterior = xr.Dataset(
        {
            "flattening_rate": (SAMPLE, 0.01 * (shift + 0.1 * wide * rng.normal(size=(4, 500)))),
            "metallicity_thin": ((*SAMPLE, "knot"), 0.02 * rng.normal(size=(4, 500, 3))),
        }
    )
    prior = xr.Dataset(
        {
            "flattening_rate": (SAMPLE, 0.01 * rng.normal(size=(1, 2000))),
            "metallicity_thin": ((*SAMPLE, "knot"), 0.3 * rng.normal(size=(1, 2000, 3))),
        }
    )
    stats = xr.Dataset(
        {
            "diverging": (SAMPLE, np.zeros((4, 500), bool)),
            "energy": (SAMPLE, rng.normal(size=(4, 500))),
        }
    )
    shape = (2, 6, 3, 5)
    p = rng.uniform(0.05, 0.95, shape)
    p.ravel()[: int(p_outside * p.size)] = 0.001
    dims = ("observable", "age_bin", "radius_bin", "quantile")
    far = np.where(p < 0.01, misfit, 0.0)
    far[1, 4, 0, 2] = 0.03
    checks = xr.Dataset(
        {
            "tail_probability": (dims, p), "data": (dims, far),
            "replicated": (dims, np.zeros(shape)),
        },
        coords={
            "observable": ["feh", "alpha_fe"],
            "age_lo": ("age_bin", np.arange(0.0, 12, 2)),
            "age_hi": ("age_bin", np.arange(2.0, 13, 2)),
        },
    )  # fmt: skip
    tree = xr.DataTree.from_dict(
        {"posterior": posterior, "prior": prior, "sample_stats": stats,
         "predictive_check": checks}
    )  # fmt: skip
    tree.attrs = {"n_stars": 1000, "left_out": f'{{"no radius": {left_out}}}'}
    return tree


def verdicts(tree):
    return {c.name: c.passed for c in diagnose(tree)}


def test_a_good_fit_passes():
    found = verdicts(fit())
    assert len(found) == 9
    assert all(found.values())


@pytest.mark.parametrize(
    ("options", "failing"),
    [
        ({"shift": 4.0}, {"prior-data conflict", "posterior at prior's edge"}),
        ({"shift": 2.6}, {"posterior at prior's edge"}),
        ({"p_outside": 0.3}, {"posterior predictive"}),
        ({"left_out": 500}, {"selected stars left out"}),
    ],
)
def test_what_is_wrong_fails(options, failing):
    assert {name for name, passed in verdicts(fit(**options)).items() if passed is False} == failing


def test_what_may_be_nothing_has_no_lower_edge():
    """A scatter that quoted errors explain whole, a disc without stars at an age: ln → −∞."""
    for name, below in (("log_scatter_thin", True), ("log_scatter_thin", False), ("slope", True)):
        tree = fit()
        rng = np.random.default_rng(3)
        posterior, prior = (tree[group].to_dataset() for group in ("posterior", "prior"))
        shift = -2.8 if below else 2.8
        prior[name] = (SAMPLE, rng.normal(size=prior[next(iter(prior))].shape[:2]))
        posterior[name] = (SAMPLE, shift + 0.1 * rng.normal(size=(4, 500)))
        tree["posterior"], tree["prior"] = posterior, prior
        assert verdicts(tree)["posterior at prior's edge"] == (below and name != "slope")


def test_a_share_of_nothing_is_at_no_edge_whatever_the_draws():
    """Defect: of 500 draws of Beta(1, 50) the first quantile may be 0.03 of the median."""
    for seed in range(60):
        tree, rng = fit(), np.random.default_rng(seed)
        prior = tree["prior"].to_dataset().isel(draw=slice(500))
        prior["outlier_fraction"] = (SAMPLE, rng.beta(1.0, 50.0, prior["flattening_rate"].shape))
        posterior = tree["posterior"].to_dataset()
        posterior["outlier_fraction"] = (SAMPLE, 1e-6 * rng.random((4, 500)))
        tree["posterior"], tree["prior"] = posterior, prior
        assert verdicts(tree)["posterior at prior's edge"], seed


def spoil(name):
    """The good fit with one defect that makes its numbers meaningless."""
    if name == "posterior predictive":
        return fit(p_outside=0.3, misfit=0.06)
    tree = fit(left_out=1100) if name == "selected stars left out" else fit()
    posterior, stats = (tree[group].to_dataset() for group in ("posterior", "sample_stats"))
    rng = np.random.default_rng(1)
    if name == "R-hat":  # of a parameter that is not in the headline
        posterior["metallicity_thin"] = posterior["metallicity_thin"].copy()
        posterior["metallicity_thin"][0, :, 1] += 0.02
    elif name == "bulk ESS":  # a walk that all chains take alike
        walk = 0.001 * np.repeat(rng.normal(size=(4, 20)), 25, axis=1)
        posterior["flattening_rate"] = (SAMPLE, walk + 1e-5 * rng.normal(size=(4, 500)))
    elif name == "divergences":
        stats["diverging"] = (SAMPLE, rng.random((4, 500)) < 0.03)
    elif name == "Pareto k̂":
        tree.attrs["pareto_k"] = 0.75
    tree["posterior"], tree["sample_stats"] = posterior, stats
    return tree


GRAVE = [
    "R-hat", "bulk ESS", "divergences", "Pareto k̂", "posterior predictive",
    "selected stars left out",
]  # fmt: skip


@pytest.mark.parametrize("name", GRAVE)
def test_a_grave_failure_withholds_the_headline(name):
    verdict = judge(spoil(name))
    assert not verdict.believed
    assert name in [c.name for c in verdict.causes]
    assert name in verdict.sentence
    assert all(c.advice and c.advice in verdict.sentence for c in verdict.causes)
    cause = next(c for c in verdict.causes if c.name == name)
    assert any(cause.text in line and cause.advice in line for line in verdict.lines)


@pytest.mark.parametrize("n", [1500, 4000])
def test_the_predictive_check_knows_a_lost_gradient_by_its_size(n):
    """Whatever the number of stars: shares outside the replicates alone grow with it."""
    data = population_data(simulated_stars(n, seed=3))
    thin = PopulationTruth().theta(data.ages)
    for factor, believed in ((1.0, True), (0.4, False)):
        theta = thin.copy()
        theta[0, :, THETA.index("G")] *= factor
        tree = xr.DataTree()
        tree["predictive_check"] = posterior_predictive(
            data, np.stack([theta] * 40), stars=n, seed=0
        )
        assert judge(tree).believed is believed, factor


def test_too_few_draws_to_compute_anything_are_no_result():
    few = fit().isel(draw=slice(0, 2))
    assert [c.name for c in judge(few).causes] == ["bulk ESS"]


def test_failures_within_the_grave_limits_leave_the_headline_standing():
    assert judge(None) == Verdict()
    good = judge(fit())
    assert good.believed
    assert good.lines == []
    assert good.sentence == ""
    for options in ({"shift": 4.0}, {"p_outside": 0.3}, {"left_out": 500}):
        verdict = judge(fit(**options))
        assert verdict.believed
        (line,) = verdict.lines
        assert all(c.text in line for c in verdict.caveats)
    # One divergence, and one quantile in ten far off.
    tree = fit(p_outside=0.1, misfit=0.06)
    tree["sample_stats"]["diverging"][0, 0] = True
    assert [c.name for c in judge(tree).caveats] == ["divergences"]


def test_a_check_of_any_name_governs_the_verdict():
    """Whoever adds a grave check to `diagnose` needs to say nothing anywhere else."""
    fails = Check("identity of the discs", "0.12", "> 0.5", False, grave=True)
    assert not Verdict([*diagnose(fit()), fails]).believed
    assert Verdict([fails._replace(passed=True)]).believed
    assert Verdict([fails._replace(passed=None)]).believed


def test_a_record_is_trusted_only_where_the_fit_cannot_be_judged():
    tree, good = spoil("R-hat"), fit()
    tree.attrs |= good.attrs | judge(good).attrs
    assert tree.attrs["believed"] == "yes"
    assert not judge(tree).believed  # the chains say otherwise
    good.attrs |= judge(spoil("R-hat")).attrs
    assert json.loads(good.attrs["causes"])[0][0] == "R-hat"
    assert judge(good).believed
    # A variant of a comparison keeps no chains.
    draws = good["posterior"].to_dataset().isel(chain=0, drop=True)
    variant = xr.DataTree.from_dict({"posterior": draws})
    variant.attrs = good.attrs
    assert [c.name for c in judge(variant).causes] == ["R-hat"]


def test_the_table_names_the_worst():
    lines = []
    assert not print_diagnosis(fit(shift=4.0), say=lines.append)
    text = "\n".join(lines)
    assert "4.0 σ (flattening_rate)" in text
    assert "0.030 dex (alpha_fe, 8–10 Gyr)" in text
    assert "The fit fails 2 of 9 checks (" in text
    assert "widen it" in text


def test_the_command_and_its_exit_code(tmp_path):
    good, bad = tmp_path / "good", tmp_path / "bad.nc"
    good.mkdir()
    fit().to_netcdf(good / "fit.nc", engine="h5netcdf")
    fit(shift=4.0).to_netcdf(bad, engine="h5netcdf")
    run = CliRunner().invoke
    assert run(app, ["diagnose", str(good), "--strict"]).exit_code == 0
    assert run(app, ["diagnose", str(bad)]).exit_code == 0
    failed = run(app, ["diagnose", str(bad), "--strict"])
    assert failed.exit_code == 1
    assert "FAIL" in failed.output
    assert "may not be believed" not in failed.output
    spoil("R-hat").to_netcdf(tmp_path / "grave.nc", engine="h5netcdf")
    grave = run(app, ["diagnose", str(tmp_path / "grave.nc")])
    assert grave.exit_code == 0
    assert "may not be believed: R-hat" in grave.output.splitlines()[-1]


def test_no_fit_there(tmp_path):
    with pytest.raises(ProductError, match="no fit at"):
        read_fit(tmp_path)
    with pytest.raises(ProductError, match=r"demo.toml is a recipe: give .*runs/demo$"):
        read_fit("runs/demo.toml")
    (tmp_path / "fit.nc").write_text("no NetCDF")
    with pytest.raises(ProductError, match="damaged"):
        read_fit(tmp_path)
    xr.Dataset({"x": 1}).to_netcdf(tmp_path / "other.nc", engine="h5netcdf")
    with pytest.raises(ProductError, match="it has no posterior"):
        read_fit(tmp_path / "other.nc")


def two_discs(younger=0.0, stars=2000, lower=None):
    rng = np.random.default_rng(1)
    age = np.stack([np.full((4, 500), 4.0), np.full((4, 500), 9.0)], axis=-1)
    age[..., 1][rng.random((4, 500)) < younger] = 3.0
    posterior = xr.Dataset(
        {
            "mean_age": ((*SAMPLE, "disc"), age + 0.1 * rng.normal(size=age.shape)),
            "thick_fraction": (SAMPLE, 0.1 + 0.01 * rng.normal(size=(4, 500))),
        },
        coords={"disc": ["thin", "thick"]},
    )
    tree = xr.DataTree.from_dict({"posterior": posterior})
    modes = [{"starts": 3, "log_evidence": 0.0, "flattening_rate": 0.003}]
    if lower is not None:
        modes.append({"starts": 1, "log_evidence": -lower, "flattening_rate": 0.02})
    tree.attrs.update(n_stars=stars, modes=json.dumps(modes))
    return tree


@pytest.mark.parametrize(
    ("tree", "cause"),
    [
        (two_discs(), None),
        (two_discs(lower=12.0), None),
        (two_discs(younger=0.2), "thick disc older than thin"),
        (two_discs(lower=2.0), "posterior maxima"),
    ],
)
def test_discs_and_maxima(tree, cause):
    verdict = judge(tree)
    assert [c.name for c in verdict.causes] == ([cause] if cause else [])


def test_both_answers_of_two_maxima_are_told():
    (check,) = judge(two_discs(lower=2.0)).causes
    assert "flattening_rate 0.0030 or 0.0200" in check.value


def test_a_thick_disc_of_a_few_stars_has_no_gradient_of_its_own():
    verdict = judge(two_discs(stars=100))
    assert verdict.believed
    assert "thick-disc stars" in [c.name for c in verdict.caveats]
