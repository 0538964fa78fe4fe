"""`migrate-bayes validate ages` as a person meets it."""


def test_a_bad_recipe_is_one_message(command, tmp_path):
    path = tmp_path / "v.toml"
    path.write_text("[families]\nsource = ['mist']\n")
    done = command("validate", "ages", str(path))
    assert done.returncode == 2
    assert done.stderr.startswith("migrate-bayes: ")
    assert "did you mean 'sources'" in done.stderr
    missing = command("validate", "ages", str(tmp_path / "none.toml"))
    assert missing.returncode == 2
    assert "cannot read recipe" in missing.stderr


def test_nothing_runs_where_a_product_stands(command, tmp_path):
    (tmp_path / "runs" / "validate-ages").mkdir(parents=True)
    (tmp_path / "runs" / "validate-ages" / "ages.nc").touch()
    done = command("validate", "ages")
    assert done.returncode == 2
    assert "use --overwrite" in done.stderr
    assert done.stdout == ""
