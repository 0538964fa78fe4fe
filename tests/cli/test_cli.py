"""The command line as a person meets it: exit codes, one message, no traceback."""

import subprocess
import sys

import pytest
import xarray as xr
from typer.testing import CliRunner

import migrate_bayes
from migrate_bayes.cli import app
from migrate_bayes.population.results.diagnostics import Check, Verdict
from migrate_bayes.run import Run


@pytest.mark.parametrize(("arguments", "words"), [
    ([], ["run", "simulate", "ages", "orbits", "baseline", "fit", "report", "show", "benchmark",
          "isochrones", "calibrate", "bias"]),
    (["validate", "ages"], ["--json", "--stars", "--overwrite", "M67"]),
])  # fmt: skip
def test_help_needs_nothing_heavy(arguments, words):
    code = (
        f"import sys; sys.argv = {['migrate-bayes', *arguments, '--help']}\n"
        "from migrate_bayes.cli import main\n"
        "try:\n    main()\nexcept SystemExit: pass\n"
        "heavy = {'numpy', 'pandas', 'xarray', 'pymc', 'galpy', 'astropy', 'numba', 'matplotlib'}\n"
        "heavy &= set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for word in words:
        assert word in done.stdout


def test_a_start_loads_no_more_than_it_needs(tmp_path):
    """Scipy and astropy's units took half of the time in which `ages` found everything made."""
    path = tmp_path / "stars.csv"
    path.write_text("source_id,teff,teff_error,logg,logg_error,feh,feh_error\n1,5e3,50,4,.1,0,.1\n")
    code = (
        "import sys\nfrom pathlib import Path\nfrom migrate_bayes.run import Recipe, stages\n"
        "from migrate_bayes.run.before import check_run\n"
        "data = {'source': 'file', 'path': sys.argv[1], 'duplicate_radius': None}\n"
        "recipe = Recipe(name='x', data=data, until='ages')\n"
        "check_run(recipe, catalog=Path(sys.argv[1]), stages=['ages'])\n"
        "heavy = {'scipy.special', 'scipy.spatial', 'astropy.units', 'galpy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)


RECIPE = '[data]\npath = "{path}"\n[isochrones]\nsource = "{source}"\n'


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (None, "cannot read recipe"),
        ("[data]\nsource = 'mok'", "'data.source'"),
        (RECIPE.format(path="none.csv", source="dartmouth"), "none.csv"),
        ('[data]\nsource = "mock"\n[isochrones]\nsource = "dartmuth"', "did you mean 'dartmouth'"),
        (
            '[data]\nsource = "mock"\n[simulate]\nstars = 50\n[orbits]\npotentials = ["McMilan17"]',
            "did you mean 'McMillan17'",
        ),
    ],
)
def test_errors_are_one_message_and_code_2(command, tmp_path, recipe, message):
    path = tmp_path / "recipe.toml"
    if recipe is not None:
        path.write_text(recipe)
    done = command("run", str(path))
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert done.stderr.startswith("migrate-bayes: ")
    assert "Traceback" not in done.stderr
    debug = command("--debug", "run", str(path), "--overwrite")
    assert "Traceback" in debug.stderr


def test_a_recipe_to_begin_with_reads_its_example(command):
    assert command("init", "--example").returncode == 0
    again = command("init", "--example")
    assert again.returncode == 2, again.stdout
    assert "example.parquet" in again.stderr
    done = command("check", "mine.toml")
    assert (done.returncode, done.stdout) == (0, "'mine' can run: example.parquet → runs/mine\n")


def test_gradient_form_and_show(command, tmp_path):
    recipe = tmp_path / "r.toml"
    recipe.write_text(
        '[data]\nsource = "mock"\n[simulate]\nstars = 60\n'
        '[orbits]\npotentials = ["MWPotential2014"]\ndraws = 10\n'
    )
    assert command("simulate", str(recipe)).returncode == 0
    again = command("--log-file", "all.log", "simulate", str(recipe))
    assert again.returncode == 0, again.stderr
    assert "simulate   kept: runs/r/catalogue.parquet" in again.stdout
    fewer = command("--log-file", "all.log", "simulate", str(recipe), "--stars", "50")
    assert fewer.returncode == 2
    assert "Traceback" not in fewer.stderr
    log = (tmp_path / "all.log").read_text()
    assert "INFO migrate_bayes.core.progress: simulate   kept: runs/r/catalogue.parquet" in log
    assert "Traceback" in log
    assert "`simulate.stars` was 60, is 50; use --overwrite" in fewer.stderr
    shown = command("show", "runs/r/catalogue.parquet")
    assert shown.returncode == 0, shown.stderr
    assert "ref_true_age" in shown.stdout
    missing = command("show", "runs/r/nothing.nc")
    assert missing.returncode == 2
    assert "no such product" in missing.stderr
    done = command("ages", str(recipe))
    assert done.returncode == 0, done.stderr
    shown = command("show", "runs/r/ages")
    assert shown.returncode == 0, shown.stderr
    assert "log_age_likelihood" in shown.stdout
    # A wrong entry is said at once, whatever the stage.
    recipe.write_text(recipe.read_text() + '[model]\nspec = { form = "cubic" }\n')
    for stage in ("simulate", "fit"):
        fit = command(stage, str(recipe), "--overwrite")
        assert fit.returncode == 2
        assert "unknown gradient form 'cubic'" in fit.stderr
        assert "linear+deviations" in fit.stderr


@pytest.mark.parametrize("shard", ["2/2", "1", "a/b", "-1/2"])
def test_no_such_shard(shard):
    done = CliRunner().invoke(app, ["ages", "demo", "--shard", shard])
    assert done.exit_code == 2
    assert "0/8 to 7/8 are the shards of 8" in done.output


@pytest.mark.parametrize("command", ["run", "fit", "report"])
def test_a_fit_that_may_not_be_believed_ends_with_status_3_and_says_so(
    tmp_path, monkeypatch, command
):
    """The stage itself is not run here: tests/run has a real one."""
    recipe = tmp_path / "r.toml"
    recipe.write_text('[data]\nsource = "mock"\n')
    bad = Verdict([Check("R-hat", "1.080 (sigma_G)", "< 1.05", False, grave=True)])

    stage = {"run": "all"}.get(command, command)

    def end(verdict):
        def stand_in(run):
            run.verdict = verdict
            return xr.DataTree() if stage == "fit" else "page"

        monkeypatch.setattr(Run, stage, stand_in)
        return CliRunner().invoke(app, [command, str(recipe)], catch_exceptions=False)

    assert end(Verdict()).exit_code == 0
    done = end(bad)
    assert done.exit_code == 3
    assert done.output.splitlines()[-1] == bad.sentence
    assert "Exit status 3" in CliRunner().invoke(app, [command, "--help"]).output


def test_version_and_short_help():
    assert CliRunner().invoke(app, ["--version"]).output.strip() == migrate_bayes.__version__
    whole, short = (CliRunner().invoke(app, ["fit", option]).output for option in ("--help", "-h"))
    assert short == whole


def test_isochrone_sources_are_listed(command):
    done = command("isochrones", "dartmouth", "basti")
    assert done.returncode == 0, done.stderr
    for word in ("1 to 15 (29)", "-2 to 0.3 (9)", "Gaia_BP_EDR3", "Hidalgo et al. 2018"):
        assert word in done.stdout
    unknown = command("isochrones", "dartmuth")
    assert unknown.returncode == 2
    assert "did you mean 'dartmouth'" in unknown.stderr


@pytest.mark.parametrize("module", ["migrate_bayes", "migrate_bayes.cli"])
def test_the_package_and_its_command_line_run_as_modules(module):
    done = subprocess.run(
        [sys.executable, "-m", module, "--help"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "compare-models" in done.stdout
