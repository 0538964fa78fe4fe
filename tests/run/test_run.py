"""The whole chain on a small mock, and what must not change its numbers."""

import html
import json
import shutil

import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

from migrate_bayes.cli import app
from migrate_bayes.core.errors import ProductError
from migrate_bayes.population import ModelSpec, PopulationModel, population_data
from migrate_bayes.population.sampling import posterior
from migrate_bayes.population.sampling.density import PosteriorDensity
from migrate_bayes.run import Recipe, Run
from migrate_bayes.run.stages import gradient_table
from migrate_bayes.stars import open_stars

SMALL_MODEL = {
    "form": "linear",
    **{
        name: {"thin": [5.0], "thick": [8.0]}
        for name in ("scatter", "radius", "radius_scatter", "height")
    },
    "metallicity": {"thin": [1.0, 12.0], "thick": [8.0]},
    "age_weight": {"thin": [1.0, 5.0, 13.0], "thick": [2.0, 9.0, 13.0]},
}


def recipe(**changes):
    content = {
        "name": "small",
        "data": {"source": "mock"},
        "simulate": {"stars": 900, "thick_fraction": 0.25},
        "orbits": {"potentials": ["MWPotential2014"], "draws": 30, "zmax_draws": 4},
        "model": {"spec": SMALL_MODEL},
        "sampler": {"draws": 150, "tune": 150, "chains": 2, "starts": 2},
        **changes,
    }
    return Recipe.model_validate(content)


# To compile it takes minutes, longer than a climb and few draws.
INTERPRETED = property(lambda model: PosteriorDensity(model, mode="FAST_COMPILE"))


def gaussian(target, mode, options, *, seed, **_):
    """Draw from the Gaussian at the mode, and its energies, in place of NUTS."""
    z, momentum = np.random.default_rng(seed).normal(
        size=(2, options.chains, options.draws, len(mode.vector))
    )
    stats = {"diverging": z[..., 0] > 9, "energy": 0.5 * (z**2 + momentum**2).sum(axis=-1)}
    draws = mode.vector + z @ np.linalg.cholesky(mode.covariance).T
    return draws, xr.Dataset({name: (("chain", "draw"), v) for name, v in stats.items()})


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run whose posterior is the Gaussian at its mode.

    NUTS is held by the run without [α/Fe], by tests/population, and on the compiled density by
    `test_sampled_as_by_default`.
    """
    folder = tmp_path_factory.mktemp("run")
    lines = []
    run = Run(recipe(), products=folder / "runs", reports=folder / "reports", say=lines.append)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PopulationModel, "density", INTERPRETED)
        patch.setattr(posterior, "run_nuts", gaussian)
        return run, run.all(), lines


def test_every_product_is_there(finished):
    run, page, lines = finished
    assert page.name == "index.html"
    assert page.read_text().count("<img") > 4
    assert {p.name for p in run.folder.path.iterdir()} >= {
        "catalogue.parquet",
        "stars",
        "baseline.nc",
        "baseline-variants.nc",
        "fit.nc",
    }
    tree = xr.load_datatree(run.folder / "fit.nc", engine="h5netcdf")
    assert tree.attrs["recipe_hash"] == run.recipe.hash
    assert "catalogue.parquet" in tree.attrs["inputs"]
    assert set(tree["membership"].data_vars) >= {"p_thin", "age_population"}
    assert tree["posterior"]["flattening_rate"].attrs["units"] == "dex / (kpc Gyr)"
    text = "\n".join(lines)
    assert "relative age error above the cut" in text
    stars = open_stars(run.folder / "stars")
    assert stars.sizes["star"] >= 900  # nobody is dropped
    assert stars.attrs["recipe_hash"] == run.recipe.hash


def assert_truth_is_within_reach(run):
    fitted = xr.load_datatree(run.folder / "fit.nc", engine="h5netcdf")["posterior"]
    for name, truth in run.recipe.truth().items():
        draws = fitted[name].values
        assert abs(draws.mean() - truth) < 4 * draws.std(), name
    return fitted.to_dataset()


@pytest.mark.slow
def test_sampled_as_by_default(finished, tmp_path):
    """Compiled and by NUTS; `finished` is the quick one, interpreted and drawn at the mode."""
    quick, _, _ = finished
    folder = tmp_path / "small"
    shutil.copytree(quick.folder.path, folder, ignore=shutil.ignore_patterns("fit.nc"))
    run = Run(recipe(), products=tmp_path, reports=tmp_path / "reports", say=lambda line: None)
    run.all()
    assert run.verdict.believed
    ours = assert_truth_is_within_reach(run)
    theirs = assert_truth_is_within_reach(quick)
    for name in run.recipe.truth():
        apart = abs(float(ours[name].mean() - theirs[name].mean()))
        assert apart < 0.5 * float(ours[name].std()), name
    stars = open_stars(run.folder / "stars")
    model = PopulationModel(population_data(stars), ModelSpec.model_validate(SMALL_MODEL))
    compiled, interpreted = model.density, PosteriorDensity(model, mode="FAST_COMPILE")
    x = compiled.start + 0.1 * np.random.default_rng(0).normal(size=compiled.n)
    one, other = compiled(x), interpreted(x)
    assert one[0] == pytest.approx(other[0], rel=1e-11)
    np.testing.assert_allclose(one[1], other[1], rtol=1e-8, atol=1e-7)


def test_truth_is_within_reach(finished):
    run, _, _ = finished
    _, header, rows = gradient_table(assert_truth_is_within_reach(run))
    assert header[1] == "thin disc"
    assert [row[0] for row in rows][:2] == ["1", "2"]


def test_a_catalogue_without_alpha_goes_all_the_way(finished, tmp_path, monkeypatch):
    """Selections of the paper's ask for [α/Fe]: what cannot be had without it is said, no more."""
    import pyarrow.parquet as pq

    monkeypatch.setattr(PopulationModel, "density", INTERPRETED)
    whole = pq.read_table(finished[0].folder.catalog)
    path = tmp_path / "plain.parquet"
    pq.write_table(whole.drop_columns(["alpha_fe", "alpha_fe_error"]), path)
    few = {"draws": 20, "tune": 20, "chains": 2, "starts": 1, "patience": 1, "target_accept": 0.6}
    told = recipe(name="plain", data={"path": str(path)}, sampler=few)
    lines = []
    run = Run(told, products=tmp_path, reports=tmp_path / "reports", say=lines.append)
    page = run.all()
    # Forty draws are no result, in the terminal either.
    assert not run.verdict.believed
    assert xr.load_datatree(run.folder / "fit.nc", engine="h5netcdf").attrs["believed"] == "no"
    assert "Hierarchical gradient(age)" not in "\n".join(lines)
    lacks = "No ODR baseline of 'thin': the catalogue has no alpha_fe, which the selection needs"
    assert lacks in lines
    text = page.read_text()
    assert lacks.replace("'", "&#39;") in text
    assert "No star of the fit has [α/Fe]" in text
    assert "Z_max, radius and age decide" in text
    assert "the likelihood of T_eff, log g, [Fe/H], M_G is" in text
    for anchor in ("replicated", "expected", "figure-9"):
        assert f'id="{anchor}"' in text


def test_a_fit_whose_chains_disagree_is_reported_without_its_numbers(
    finished, tmp_path, monkeypatch
):
    """What the file records is that the fit may be believed: its chains govern.

    A run, `diagnose` and the report say the same of either fit. Regression: tables against
    published values were only in the report of a whole run.
    """
    run, page, lines = finished
    assert run.verdict.believed
    tree = xr.load_datatree(run.folder / "fit.nc", engine="h5netcdf")
    assert tree.attrs["believed"] == "yes"
    text = "\n".join(lines)
    assert "Hierarchical gradient(age)" in text
    assert "This fit may not be believed" not in page.read_text()
    outcome = f"The fit {run.verdict.outcome}"
    assert outcome in text
    assert outcome in html.unescape(page.read_text())
    diagnosis = CliRunner().invoke(app, ["diagnose", str(run.folder.path)]).output
    assert f"{outcome}." in diagnosis
    folder = tmp_path / "runs/small"
    unread = shutil.ignore_patterns("fit.nc", "membership", "baseline-variants.nc")
    shutil.copytree(run.folder.path, folder, ignore=unread)
    altered = tree["posterior"].to_dataset()
    altered["thick_fraction"][0] += 1.0
    tree["posterior"] = altered
    tree.to_netcdf(folder / "fit.nc", engine="h5netcdf")
    shown = CliRunner().invoke(app, ["show", str(folder / "fit.nc")], catch_exceptions=False)
    assert "The fit may not be believed; its numbers are withheld:" in shown.output
    rows = [line for line in shown.output.splitlines() if line.split()[:1] == ["gradient_young"]]
    assert [" … " in row for row in rows] == [False, True]  # of posterior, of prior
    path = tmp_path / "small.toml"
    path.write_text("its text is only shown")
    column = {"ours": "rg_mean", "reference": "ref_true_rg", "label": "R_g - true", "unit": "kpc"}
    told = recipe(reference={"columns": [column], "note": "a note on them", "frame": "a frame"})
    monkeypatch.setattr("migrate_bayes.run.load_recipe", lambda path: told)
    places = ["--products", str(tmp_path / "runs"), "--reports", str(tmp_path / "reports")]
    done = CliRunner().invoke(app, ["report", str(path), *places], catch_exceptions=False)
    assert done.exit_code == 3, done.output
    last = done.output.splitlines()[-1]
    assert last.startswith("The fit may not be believed: R-hat")
    assert "(thick_fraction)" in last
    done = CliRunner().invoke(app, ["report", str(path), "--json", *places], catch_exceptions=False)
    assert done.exit_code == 3
    found = json.loads(done.stdout)
    assert not found["believed"]
    assert found["causes"] == last
    assert found["quantities"]["gradient_young"]["hierarchical"] is None
    made = (tmp_path / "reports/small/index.html").read_text()
    assert "This fit may not be believed" in made
    diagnosis = CliRunner().invoke(app, ["diagnose", str(folder)]).output.splitlines()
    assert diagnosis[-1] == last
    assert diagnosis[-2].startswith("The fit fails ")
    said = html.unescape(made)
    assert diagnosis[-2].removesuffix(".") in said
    failed = [line.split("  ")[2] for line in diagnosis if line.startswith("  FAIL")]
    assert all(f'<th scope="row">{name}</th>' in said for name in failed)
    assert made.count("✗ fail") == len(failed)
    assert "Hierarchical gradient(age)" not in made
    assert "Against the catalogue&#39;s own columns" in made
    assert "R_g - true" in made
    assert "a note on them" in made
    assert "Frames: ours (R0, V0) = (8.27 kpc, 236 km/s)" in made
    for anchor in ("figure-6", "figure-9", "r-present", "methods", "diagnostics"):
        assert f'id="{anchor}"' in made
        assert f'id="{anchor}"' in page.read_text()


def test_a_catalogue_without_velocities_ends_with_ages(finished, tmp_path):
    import pyarrow.parquet as pq

    whole = pq.read_table(finished[0].folder.catalog).slice(0, 300)
    moving = [n for n in whole.column_names if n.startswith(("pm", "radial_velocity"))]
    path = tmp_path / "still.parquet"
    pq.write_table(whole.drop_columns(moving), path)
    column = {"ours": "age_median", "reference": "ref_true_age", "label": "age - true, rich"}
    reference = {"columns": [{**column, "selection": "rich"}, column]}
    told = recipe(
        name="still", until="ages", data={"path": str(path)}, reference=reference,
        selections={"rich": "feh > -0.2"}, description="Stars at rest",
    )  # fmt: skip
    lines = []
    run = Run(told, products=tmp_path, reports=tmp_path / "reports", say=lines.append)
    text = run.all().read_text()
    assert not (run.folder / "fit.nc").exists()
    assert 100 < int(run.mask("all").sum()) < 300  # no orbit is no reason here
    assert "Stars at rest" in text
    assert 'id="published"' in text
    assert "Guiding radii" not in text
    rows = [line.split() for line in lines if line.strip().startswith("age - true")]
    assert 0 < int(rows[0][4]) < int(rows[1][4])


def test_a_finished_run_is_kept_and_a_stale_one_refused(finished):
    run, page, lines = finished
    folders = {"products": run.folder.path.parent, "reports": run.folder.report.parent}

    def state():
        there = [run.folder.path, run.folder.report]
        found = {p: p.stat().st_mtime_ns for folder in there for p in folder.glob("**/*.*")}
        return {p: t for p, t in found.items() if p.name not in (".lock", "progress.json")}

    before, said = state(), []
    again = Run(run.recipe, **folders, overwrite=True, say=said.append)
    assert again.all() == page
    assert state() == before
    assert again.verdict.believed == run.verdict.believed
    kept = ["simulate", "stars", "baseline", "baseline", "slices", "fit", "report"]
    assert [line.split()[0] for line in said if " kept: " in line] == kept
    # All but the lines of the stages.
    ours, theirs = ([x for x in text if not x.startswith(tuple(kept))] for text in (said, lines))
    assert ours == [line for line in theirs if not line.startswith("catalogue")]
    # A changed model never costs ages: with --overwrite the stars are kept.
    other = Run(recipe(model={"spec": SMALL_MODEL, "selection": "thin"}), **folders)
    with pytest.raises(ProductError, match=r"fit\.nc is stale: `model\.selection` was \"all\""):
        other.all()
    with pytest.raises(ProductError, match=r"fit\.nc is stale.*use `migrate-bayes fit --overwrite"):
        other.report()
    assert state() == before


@pytest.mark.parametrize(
    ("chunk", "workers"), [(137, "1"), pytest.param(450, "2", marks=pytest.mark.slow)]
)
def test_stars_do_not_depend_on_chunks_or_workers(finished, tmp_path, monkeypatch, chunk, workers):
    run, _, _ = finished
    monkeypatch.setenv("MIGRATE_BAYES_WORKERS", workers)
    other = Run(recipe(chunk_size=chunk), products=tmp_path, say=lambda line: None)
    other.make_stars()
    a, b = run.stars, other.stars
    assert set(a.variables) == set(b.variables)
    for name in a.variables:
        np.testing.assert_array_equal(a[name].values, b[name].values, err_msg=str(name))
    # Not only the numbers: the files.
    assert other.folder.catalog.read_bytes() == run.folder.catalog.read_bytes()
    manifests = [json.loads((r.folder / "stars/manifest.json").read_text()) for r in (run, other)]
    sums = [[part["sha256"] for part in manifest["parts"]] for manifest in manifests]
    assert sums[0] == sums[1]


def test_recipe_chooses_scale_and_nodes_of_the_ages(tmp_path):
    nodes = (1.0, 1.1, 1.5, 2.0, 4.0, 8.0, 12.0, 14.5)
    changes = {
        "simulate": {"stars": 60},
        "orbits": {"potentials": ["MWPotential2014"], "draws": 5, "zmax_draws": 0},
    }
    runs = {}
    for scale in ("surface", "initial"):
        isochrones = {"feh_scale": scale, "ages": nodes}
        run = Run(
            recipe(isochrones=isochrones, **changes), products=tmp_path / scale, say=lambda _: None
        )
        run.make_stars()
        np.testing.assert_array_equal(run.stars["age"].values, nodes)
        assert run.stars.attrs["feh_scale"] == scale
        runs[scale] = run
    catalogs = [run.folder.catalog.read_bytes() for run in runs.values()]
    ages = [run.stars["age_median"].values for run in runs.values()]
    # The same stars; those on the main sequence look older where labels are taken literally.
    assert catalogs[0] == catalogs[1]
    assert np.nanmedian(ages[1] - ages[0]) > 0.1


def test_separate_stages_make_the_same_stars(finished, tmp_path):
    run, _, _ = finished
    halves = Run(recipe(), products=tmp_path, say=lambda line: None)
    halves.folder.path.mkdir()
    shutil.copy(run.folder.catalog, halves.folder.catalog)
    with pytest.raises(ProductError, match="run `migrate-bayes run`, or `ages` and `orbits`"):
        _ = halves.stars
    halves.ages()
    halves.orbits()
    for name in run.stars.variables:
        np.testing.assert_array_equal(
            halves.stars[name].values, run.stars[name].values, err_msg=str(name)
        )
    with pytest.raises(ProductError, match=r"no fit\.nc"):
        Run(recipe(), products=tmp_path, reports=tmp_path / "r", say=print).report()
