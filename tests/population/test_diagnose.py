"""The verdict on a fit: each check fails where it should, and only there."""

import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

from migrate_bayes.cli import app
from migrate_bayes.core.errors import ProductError
from migrate_bayes.population.results.diagnostics import diagnose, print_diagnosis, read_fit

SAMPLE = ("chain", "draw")


def fit(shift=0.0, wide=1.0, p_outside=0.05, left_out=10):
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
    far = np.zeros(shape)
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
         "posterior_predictive": checks}
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


def test_the_table_names_the_worst():
    lines = []
    assert not print_diagnosis(fit(shift=4.0), say=lines.append)
    text = "\n".join(lines)
    assert "4.0 σ (flattening_rate)" in text
    assert "0.030 dex (alpha_fe, 8–10 Gyr)" in text
    assert "2 of 9 checks failed." in text
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


def test_no_fit_there(tmp_path):
    with pytest.raises(ProductError, match="no fit at"):
        read_fit(tmp_path)
    (tmp_path / "fit.nc").write_text("no NetCDF")
    with pytest.raises(ProductError, match="damaged"):
        read_fit(tmp_path)
    xr.Dataset({"x": 1}).to_netcdf(tmp_path / "other.nc", engine="h5netcdf")
    with pytest.raises(ProductError, match="it has no posterior"):
        read_fit(tmp_path / "other.nc")
