"""The package runs wherever it is: read-only folders, links, full disks, old terminals, scripts."""

import errno
import os
import resource
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from migrate_bayes.core import places
from migrate_bayes.core.errors import ProductError
from migrate_bayes.core.io import atomic_output, write_netcdf
from migrate_bayes.core.journal import Journal
from migrate_bayes.core.parallel import apart_from_main
from migrate_bayes.mock import simulated_stars
from migrate_bayes.run import Recipe, load_recipe
from migrate_bayes.run.recipe import write_template
from migrate_bayes.stars import StarWriter, open_stars

ROOT = Path(__file__).parents[2]


def python(code, cwd, **environment):
    """Run a script, from a file without a main guard."""
    (cwd / "script.py").write_text(code, encoding="utf-8")
    return subprocess.run(
        [sys.executable, "script.py"], cwd=cwd, capture_output=True, check=False,
        env=os.environ | environment,
    )  # fmt: skip


def product():
    return xr.Dataset({"x": ("star", [1.0, 2.0])})


@pytest.mark.parametrize("made", [True, False])
def test_a_product_is_written_through_a_link(tmp_path, made):
    (tmp_path / "scratch").mkdir()
    for directory in (False, True):
        target, link = tmp_path / "scratch" / str(directory), tmp_path / f"link-{directory}"
        if made:
            target.mkdir() if directory else target.write_text("old")
        link.symlink_to(target)
        with atomic_output(link, overwrite=True, directory=directory) as out:
            (out / "file" if directory else out).write_text("new")
        assert link.is_symlink()
        assert (target / "file" if directory else target).read_text() == "new"
    assert sorted(p.name for p in (tmp_path / "scratch").iterdir()) == ["False", "True"]


def test_stars_are_gathered_and_kept_behind_a_link(tmp_path):
    (tmp_path / "scratch").mkdir()
    link = tmp_path / "stars"
    link.symlink_to(tmp_path / "scratch" / "stars")
    for seed in (1, 2):
        with StarWriter(link, overwrite=True, made_from={"seed": seed}) as out:
            assert [p.name for p in tmp_path.iterdir() if p.name != "scratch"] == ["stars"]
            out.append(simulated_stars(5, seed=seed))
        assert link.is_symlink()
        assert open_stars(link).sizes["star"] == 5
        assert [p.name for p in (tmp_path / "scratch").iterdir()] == ["stars"]


def test_a_link_to_nowhere_is_an_error_before_the_work(tmp_path):
    link = tmp_path / "link.nc"
    link.symlink_to(tmp_path / "gone" / "fit.nc")
    with pytest.raises(ProductError, match=r"is a link to .*gone"):
        write_netcdf(product(), link)
    assert not (tmp_path / "gone").exists()


def _fails(code):
    """Fail as the libraries do that write: with an error of their own, of whatever cause."""
    try:
        raise OSError(code, os.strerror(code))
    except OSError:
        raise RuntimeError("NetCDF: HDF error") from None


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_full_disk_is_named_whatever_the_library_says(tmp_path, code):
    said = r"cannot write .*fit\.nc: .* in /.*: make room"
    with pytest.raises(ProductError, match=said), atomic_output(tmp_path / "fit.nc"):
        _fails(code)
    with pytest.raises(RuntimeError, match="HDF error"), atomic_output(tmp_path / "fit.nc"):
        _fails(errno.ENOENT)
    assert list(tmp_path.iterdir()) == []


def test_a_tree_that_does_not_fit_is_an_error_and_leaves_nothing(tmp_path):
    """A library that crashes as it clears up would take the process with it."""
    code = (
        "import resource, sys, xarray as xr\n"
        "from migrate_bayes.core.errors import ProductError\n"
        "from migrate_bayes.core.io import write_netcdf\n"
        "groups = {f'/{k}': xr.Dataset({'x': ('star', [1.0] * 300)}) for k in 'abcd'}\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (9_000, 9_000))\n"
        "try:\n    write_netcdf(xr.DataTree.from_dict(groups), 'out/fit.nc')\n"
        "except ProductError as error:\n    sys.exit(f'said: {error}')\n"
    )
    done = python(code, tmp_path)
    assert done.stderr.startswith(b"said: cannot write out/fit.nc: file too large"), done.stderr
    assert done.stderr.count(b"\n") == 1, done.stderr
    assert list((tmp_path / "out").iterdir()) == []


def test_a_journal_does_not_believe_what_a_full_disk_took_of_a_record(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Journal(tmp_path / "journal", "x") as kept:
        kept.put(b"a" * 16, np.arange(10.0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, limits[1]))
        try:
            with pytest.raises(OSError, match="journal"):
                kept.put(b"b" * 16, np.arange(1000.0))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert kept.get(b"b" * 16) is None
    with Journal(tmp_path / "journal", "x") as kept:
        assert len(kept) == 1


def test_a_product_is_not_begun_where_it_cannot_be_written(tmp_path, monkeypatch):
    assert places.why_not_writable(tmp_path / "a" / "b") == ""
    (tmp_path / "file").write_text("")
    assert "is a file" in places.why_not_writable(tmp_path / "file" / "b")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert "is read-only here" in places.why_not_writable(tmp_path / "a")


def test_caches_move_to_a_temporary_folder_and_the_variables_are_named(tmp_path, monkeypatch):
    for variable in (*places._CACHES, "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(variable, "")
    places.find_caches()  # nothing is amiss
    assert os.environ["NUMBA_CACHE_DIR"] == ""
    monkeypatch.setenv("PYTENSOR_FLAGS", "floatX=float64")
    monkeypatch.setattr(places, "_writable", lambda path: False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.warns(UserWarning, match="set NUMBA_CACHE_DIR, PYTENSOR_FLAGS=base_compiledir="):
        places.find_caches()
    folder = Path(os.environ["NUMBA_CACHE_DIR"])
    assert folder.is_dir()
    assert folder.parent.stat().st_mode & 0o777 == 0o700
    first, _, second = os.environ["PYTENSOR_FLAGS"].partition(",")
    assert (first, second[:16]) == ("floatX=float64", "base_compiledir=")
    # A folder that others can write to is not trusted.
    folder.parent.chmod(0o777)
    assert places._own_folder(tmp_path) != folder.parent


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_a_terminal_that_is_not_utf8_shows_plain_signs(tmp_path, encoding):
    code = (
        "from migrate_bayes.core.table import Table\n"
        "Table('σ → −1 ± 2', ['[α/Fe]', '☉'], [['1', '2']]).print()\n"
    )
    done = python(code, tmp_path, PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode(encoding).splitlines()[1].startswith("sigma -> -1 ")
    assert "[alpha/Fe]  ?" in done.stdout.decode(encoding)
    code = (
        "from migrate_bayes.cli import main\nimport sys\nsys.argv[1:] = ['run', 'σ.toml']\nmain()\n"
    )
    done = python(code, tmp_path, PYTHONIOENCODING=encoding)
    assert done.returncode == 2
    assert b"cannot read recipe sigma.toml" in done.stderr
    assert b"Traceback" not in done.stderr


def test_text_is_utf8_whatever_the_locale():
    """Python can say where a file is opened in the encoding of the locale."""
    code = (
        "import tempfile, warnings; warnings.simplefilter('always', EncodingWarning)\n"
        "from pathlib import Path\n"
        "from migrate_bayes.run.recipe import load_recipe, write_template\n"
        "from migrate_bayes.population import load_model_spec\n"
        "from migrate_bayes import open_stars, write_stars\n"
        "from migrate_bayes.mock import simulated_stars\n"
        "folder = tempfile.mkdtemp()\n"
        "load_model_spec(load_recipe(write_template(f'{folder}/r.toml')).model.spec)\n"
        "open_stars(write_stars(simulated_stars(5, seed=1), f'{folder}/stars'))\n"
    )
    command = [sys.executable, "-X", "warn_default_encoding", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    ours = [line for line in done.stderr.splitlines() if "/migrate_bayes/" in line]
    assert done.returncode == 0, done.stderr
    assert not ours


def test_processes_start_from_a_script_without_a_main_guard(tmp_path):
    code = (
        "import multiprocessing as mp, operator\n"
        "from concurrent.futures import ProcessPoolExecutor\n"
        "from migrate_bayes.checks.posterior.ledger import run_tasks\n"
        "print(sorted(run_tasks(operator.methodcaller, ('__abs__',), [-1, 2], workers=2)))\n"
        "print(__file__)\n"
    )
    done = python(code, tmp_path)
    assert done.stdout.split() == [b"[1,", b"2]", str(tmp_path / "script.py").encode()], done.stderr
    main = sys.modules["__main__"]
    before = getattr(main, "__file__", None), main.__spec__  # a worker of the tests has no file
    with apart_from_main(), apart_from_main():
        assert not hasattr(sys.modules["__main__"], "__file__")
    assert (getattr(main, "__file__", None), main.__spec__) == before


@pytest.mark.slow
def test_dask_workers_start_from_a_script_without_a_main_guard(tmp_path):
    code = (
        "import migrate_bayes as mb\n"
        "from migrate_bayes.mock.model_stars import simulated_stars\n"
        "data = mb.population_data(simulated_stars(100, seed=1))\n"
        "with mb.likelihood_on(data.stars, 'local:2') as likelihood:\n"
        "    print(likelihood.n_stars)\n"
    )
    done = python(code, tmp_path)
    assert done.stdout.strip() == b"100", done.stderr


def test_the_template_holds_every_default(tmp_path):
    path = write_template(tmp_path / "new.toml", data="in.csv", columns="gaia")
    recipe = load_recipe(path)
    assert (recipe.name, recipe.data.path, recipe.data.columns["extends"]) == (
        "new",
        "in.csv",
        "gaia",
    )
    with pytest.raises(ProductError, match="exists already"):
        write_template(path)
    # Each commented entry is one that there is, and has the default.
    lines = write_template(path, data="in.csv", overwrite=True).read_text("utf-8").splitlines()
    told = [line[2:] if line.startswith("# ") and " = " in line else line for line in lines]
    content = tomllib.loads("\n".join(told))
    plain = Recipe(name="new", data={"path": "in.csv"})
    assert Recipe.model_validate(content).model_dump() == plain.model_dump()


def test_a_wheel_holds_models_and_recipes(tmp_path):
    """What an installed package needs in an empty folder."""
    pytest.importorskip("setuptools")
    built = tmp_path / "code"
    built.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, built)
    unwanted = shutil.ignore_patterns("__pycache__", "*.egg-info", "*.so")
    shutil.copytree(ROOT / "src", built / "src", symlinks=True, ignore=unwanted)
    for name in ("models", "runs"):
        (built / name / "product").mkdir(parents=True)
        (built / name / "product" / "module.py").write_text("")
        for file in (ROOT / name).glob("*.toml"):
            shutil.copy(file, built / name)
    code = "from setuptools import build_meta; print(build_meta.build_wheel('..'))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=built, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    wheel = tmp_path / done.stdout.split()[-1]
    names = set(zipfile.ZipFile(wheel).namelist())
    assert not [n for n in names if "/product/" in n]
    for kind, top in (("models", "models"), ("recipes", "runs")):
        there = {p.name for p in (ROOT / top).glob("*.toml")}
        assert {f"migrate_bayes/{kind}/{name}" for name in there} <= names
    code = (
        "from migrate_bayes.run import Run, load_recipe\n"
        "from migrate_bayes.population import load_model_spec\n"
        "import migrate_bayes; assert '.whl' in migrate_bayes.__file__\n"
        "recipe = load_recipe('demo'); print(load_model_spec(recipe.model.spec).name)\n"
    )
    (tmp_path / "empty").mkdir()
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(tmp_path / "site.whl")
    done = python(code, tmp_path / "empty", PYTHONPATH=str(tmp_path / "site.whl"))
    assert done.stdout.strip() == b"thin-thick", done.stderr


def test_a_working_directory_that_is_gone(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert "has been removed" in places.why_not_writable("a/b")
