"""Recipes: what they mean, and what is said of a wrong one."""

import pytest

from migrate_bayes.core.errors import RecipeError, suggest
from migrate_bayes.run.recipe import Recipe, load_recipe, resolve_data_path

RUNS = __import__("pathlib").Path(__file__).parents[2] / "runs"


@pytest.mark.parametrize(
    "name",
    [
        "demo", "apokasc2", "cks", "clusters", "clusters-mrs", "harps", "corogee", "gcs",
        "hypatia", "migration", "paper",
    ],
)  # fmt: skip
def test_recipes_of_the_project(name):
    recipe = load_recipe(RUNS / f"{name}.toml")
    assert recipe.name == name


def test_hash_is_of_the_content(tmp_path):
    a, b, c = (tmp_path / f"{x}.toml" for x in "abc")
    a.write_text('name = "x"\nseed = 3\n[data]\nsource = "mock"\n')
    b.write_text('seed = 3   # the same\nname = "x"\n\n[data]\nsource = "mock"')
    c.write_text('name = "x"\nseed = 4\n[data]\nsource = "mock"\n')
    hashes = [load_recipe(p).hash for p in (a, b, c)]
    assert hashes[0] == hashes[1] != hashes[2]
    # The size of chunks changes no number.
    assert load_recipe(a).model_copy(update={"chunk_size": 7}).hash == hashes[0]


def test_truth_is_the_mocks(tmp_path):
    mock = Recipe(name="x", data={"source": "mock"}, simulate={"gradient_young": -0.05})
    assert mock.truth() == {
        "gradient_young": -0.05,
        "flattening_rate": 0.003,
        "gradient_thick": 0.02,
    }
    assert Recipe(name="x").truth() is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = ", "not valid TOML"),
        (
            '[data]\ncolumns = "gaia"\n[data.columns]\nteff = "T"',
            r"\[data.columns\] stands in the file already\. Of .* keep the table, with extends",
        ),
        (
            '[data.columns]\nteff = "T"\n[data]\ncolumns = "gaia"',
            r"'columns' of \[data\] stands in the file already\. Of .* keep the table",
        ),
        ("seed = 1\nseed = 2", "'seed' stands in the file already$"),
        ("[model]\n[data] # again\n[model]", r"\[model\] stands in the file already$"),
        (
            '[data.columns]\nteff = "T"\nra = [\n1]\nra = "x"\n[fit]',
            r"'ra' of \[data.columns\] stands in the file already$",
        ),
        (
            '[data.columns]\nteff = "T"\n[data.columns]',
            r"\[data.columns\] stands in the file already$",
        ),
        ('[data]\nsource = "mock"\nmin_sn = 50', r"unknown entry 'data.min_sn'; did you mean 'mi"),
        ('[dta]\nsource = "mock"', "unknown entry 'dta'; did you mean 'data'"),
        ("[data]\nsource = 'mock'\n[sampler]\ndraws = 0", "'sampler.draws': .*greater than 0"),
        ('name = "../up"\n[data]\nsource = "mock"', "'name': .*pattern"),
        (
            "[model]\nselection = 'thn'",
            "'model.selection': unknown selection 'thn'; did you mean 'thin'",
        ),
        ("", r"\[data\] needs a `path`"),
        ("[data]\nsource = 'mock'\n[orbits]\nscaling = 'scaled'", "'orbits.scaling': .*rescaled"),
    ],
)
def test_wrong_recipes(tmp_path, text, message):
    path = tmp_path / "r.toml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=message):
        load_recipe(path)


@pytest.mark.parametrize("what", [".", "", "/"])
def test_a_folder_is_no_recipe(what):
    with pytest.raises(RecipeError, match=r"cannot read recipe .*: Is a directory"):
        load_recipe(what)


def test_missing_recipe(tmp_path):
    with pytest.raises(RecipeError, match=r"cannot read recipe .*none\.toml: No such file"):
        load_recipe(tmp_path / "none.toml")


def test_absent_data_folder_is_said(monkeypatch, tmp_path):
    monkeypatch.setenv("MIGRATE_BAYES_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(RecipeError, match=r"set \$MIGRATE_BAYES_DATA"):
        resolve_data_path("$MIGRATE_BAYES_DATA/x.fits")
    monkeypatch.setenv("MIGRATE_BAYES_DATA", str(tmp_path))
    assert resolve_data_path("$MIGRATE_BAYES_DATA/x.fits") == tmp_path / "x.fits"


def test_suggest():
    assert suggest("dartmuth", ["mist", "dartmouth"]).startswith("did you mean 'dartmouth'?")
    assert suggest("zzz", ["b", "a"]) == "Valid: a, b"


def test_a_recipe_may_extend_another(tmp_path):
    (tmp_path / "base.toml").write_text(
        'name = "base"\nseed = 3\n[data]\nsource = "mock"\nmin_snr = 20.0\n[sampler]\ndraws = 7\n'
    )
    (tmp_path / "in").mkdir()
    over = tmp_path / "in" / "over.toml"
    over.write_text('extends = "../base.toml"\nname = "over"\n[data]\nmin_snr = 30.0\n')
    recipe = load_recipe(over)
    assert (recipe.name, recipe.seed, recipe.sampler.draws) == ("over", 3, 7)
    assert (recipe.data.source, recipe.data.min_snr) == ("mock", 30.0)
    (tmp_path / "base.toml").write_text('extends = "in/over.toml"\n')
    with pytest.raises(RecipeError, match="'extends' leads back to"):
        load_recipe(over)
    over.write_text('extends = "paper"\nname = "over"\n[simulate]\nstars = 9\n')
    recipe = load_recipe(over)
    assert (recipe.name, recipe.simulate.stars, recipe.model.spec) == ("over", 9, "survey")
    over.write_text('extends = "none.toml"\n')
    with pytest.raises(RecipeError, match=r"cannot read recipe .*none\.toml"):
        load_recipe(over)
    over.write_text("extends = 3\n")
    with pytest.raises(RecipeError, match="'extends' is the path of another recipe"):
        load_recipe(over)


def test_a_file_here_comes_before_the_packages_recipe_of_its_name(tmp_path, monkeypatch):
    # By the same rule for what is run and for what is extended, and it is said.
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.toml").write_text('extends = "paper"\nname = "own"\n')
    spec = load_recipe("own").model.spec
    (tmp_path / "paper.toml").write_text('seed = 5\n[data]\nsource = "mock"\n')
    for name in ("own", "paper"):
        with pytest.warns(UserWarning, match=r"recipe 'paper' is the file .*paper\.toml here, not"):
            recipe = load_recipe(name)
        assert (recipe.seed, recipe.name) == (5, name)
    # A file that extends its own name can only mean the package's; a folder is no recipe.
    (tmp_path / "paper.toml").write_text('extends = "paper"\nseed = 6\n')
    recipe = load_recipe("paper.toml")
    assert (recipe.seed, recipe.model.spec) == (6, spec)
    (tmp_path / "demo").mkdir()
    assert load_recipe("demo").name == "demo"
