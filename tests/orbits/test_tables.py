"""Tables: splines against their definition, and a cache that cannot be spoilt."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from migrate_bayes.orbits import potential_tables as tables
from migrate_bayes.orbits.kernel.spline import gradient, potential
from migrate_bayes.orbits.potential_tables import load_potential

NAME = "MWPotential2014"


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MIGRATE_BAYES_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_bspline_reproduces_a_cubic_exactly() -> None:
    x = np.linspace(0.0, 1.0, 21)
    f = 1 + 2 * x - 3 * x**2 + 0.7 * x**3
    c = tables.bspline_coefficients(f[None], even=False)[0]
    np.testing.assert_allclose((c[:-2] + 4 * c[1:-1] + c[2:]) / 6, f, atol=1e-13)
    middle = (c[:-3] + 23 * c[1:-2] + 23 * c[2:-1] + c[3:]) / 48
    half = (x[1:] + x[:-1]) / 2
    np.testing.assert_allclose(middle, 1 + 2 * half - 3 * half**2 + 0.7 * half**3, atol=1e-13)


def test_bspline_of_an_even_function_is_flat_at_zero() -> None:
    x = np.linspace(0.0, 1.5, 30)
    c = tables.bspline_coefficients(np.cos(x)[None], even=True)[0]
    assert c[0] == pytest.approx(c[2], abs=1e-14)


@pytest.mark.filterwarnings("ignore:'where' used without 'out'")  # galpy's SCF potential
@pytest.mark.parametrize("name", ["MWPotential2014", "Irrgang13I"])
def test_potential_and_forces_agree_with_galpy(name: str) -> None:
    from galpy.potential import evaluatePotentials, evaluateRforces, evaluatezforces

    pot, table = load_potential(name), tables.potential_table(name)
    rng = np.random.default_rng(2)
    for R, z in zip(rng.uniform(0.15, 3.0, 60), rng.uniform(-0.8, 0.8, 60), strict=True):
        phi = evaluatePotentials(pot, R, z, use_physical=False)
        force_r = evaluateRforces(pot, R, z, use_physical=False)
        force_z = evaluatezforces(pot, R, z, use_physical=False)
        size = np.hypot(force_r, force_z)
        assert potential(R, z, table) == pytest.approx(phi, rel=1e-7)
        d_r, d_z = gradient(R, z, table)
        assert -d_r == pytest.approx(force_r, abs=1e-5 * size)
        assert -d_z == pytest.approx(force_z, abs=1e-5 * size)


def test_gradient_is_that_of_the_spline() -> None:
    """Conservative: forces are the derivative of the very function that gives the energy."""
    table = tables.potential_table(NAME)
    rng = np.random.default_rng(5)
    h = 1e-5
    for R, z in zip(rng.uniform(0.05, 4.0, 40), rng.uniform(-1.0, 1.0, 40), strict=True):
        d_r, d_z = gradient(R, z, table)
        by_r = (potential(R + h, z, table) - potential(R - h, z, table)) / (2 * h)
        by_z = (potential(R, z + h, table) - potential(R, z - h, table)) / (2 * h)
        assert d_r == pytest.approx(by_r, abs=2e-7)
        assert d_z == pytest.approx(by_z, abs=2e-7)


def test_table_is_kept_and_read_again(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = tables.potential_table(NAME)
    (file,) = empty_cache.glob("*.table")
    assert file.name.startswith("MWPotential2014-potential-")
    tables._potential_table.cache_clear()
    monkeypatch.setattr(tables, "_build_potential", lambda name: pytest.fail("built again"))
    read = tables.potential_table(NAME)
    np.testing.assert_array_equal(read.coefficients, built.coefficients)
    np.testing.assert_array_equal(read.shape, built.shape)


@pytest.mark.parametrize("harm", ["truncated", "nonsense", "empty"])
def test_corrupt_table_is_built_again(empty_cache: Path, harm: str) -> None:
    built = tables.rotation_table(NAME)
    (file,) = empty_cache.glob("*.table")
    whole = file.read_bytes()
    spoilt = {"truncated": whole[: len(whole) // 2], "nonsense": b"no table", "empty": b""}
    file.write_bytes(spoilt[harm])
    tables._rotation_table.cache_clear()
    again = tables.rotation_table(NAME)
    np.testing.assert_array_equal(again.radius.values, built.radius.values)
    assert file.read_bytes() == whole


def test_any_flipped_byte_is_noticed(empty_cache: Path) -> None:
    tables.rotation_table(NAME)
    (file,) = empty_cache.glob("*.table")
    whole = file.read_bytes()
    assert tables._read(file) is not None
    places = [0, 63, 64, 70, len(whole) - 1]
    for place in [*places, *np.random.default_rng(0).integers(0, len(whole), 50)]:
        spoilt = bytearray(whole)
        spoilt[place] ^= 0x01
        file.write_bytes(bytes(spoilt))
        assert tables._read(file) is None, place


def _build_in_a_process(directory: str) -> bytes:
    os.environ["MIGRATE_BAYES_CACHE"] = directory
    return tables.rotation_table(NAME).radius.values.tobytes()


def test_two_processes_may_build_at_once(empty_cache: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=spawn) as pool:
        one, two = pool.map(_build_in_a_process, [str(empty_cache)] * 2)
    assert one == two == tables.rotation_table(NAME).radius.values.tobytes()
    assert [path.suffix for path in empty_cache.iterdir()] == [".table"]


def test_many_may_build_at_once(empty_cache: Path) -> None:
    def build(_: int) -> np.ndarray:
        return tables._cached(NAME, "rotation", tables._build_rotation)["ln_r"]

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(build, range(8)))
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])
    assert len(list(empty_cache.iterdir())) == 1


def test_cache_that_cannot_be_written_is_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("MIGRATE_BAYES_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.warns(UserWarning, match="not kept"):
        table = tables.rotation_table(NAME)
    assert np.all(np.isfinite(table.radius.values))


def test_key_follows_what_shapes_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    before = tables._path(NAME, "potential")
    assert tables._path("Irrgang13I", "potential") != before
    assert tables._path(NAME, "rotation") != before
    monkeypatch.setattr(tables, "N_U", 1024)
    assert tables._path(NAME, "potential") != before


def test_users_potential_is_known_by_what_it_gives(
    empty_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same file with other content is another potential; the same content elsewhere is not."""
    from migrate_bayes.core.errors import OrbitError

    text = "from galpy.potential import LogarithmicHaloPotential as Halo\n"
    file = tmp_path / "mine.py"
    name = f"{file}:halo"

    def path(content: str) -> Path:
        file.write_text(text + content)
        load_potential.cache_clear()
        return tables._path(name, "rotation")

    round_halo = path("halo = Halo(normalize=1.0)\n")
    assert path("halo = Halo(normalize=1.0, q=0.7)\n") != round_halo
    assert path("halo = [Halo(normalize=1.0)]\n") == round_halo
    assert np.isfinite(tables.rotation_table(name).radius.values).all()
    with pytest.raises(OrbitError, match="no galpy potential"):
        path("halo = 3.0\n")
    with pytest.raises(OrbitError, match="cannot import"):
        path("halo = 1 / 0\n")
    file.unlink()
    load_potential.cache_clear()
    with pytest.raises(OrbitError, match="there is no file"):
        load_potential(name)


def test_home_of_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MIGRATE_BAYES_CACHE", str(tmp_path))
    assert tables.cache_directory() == tmp_path
    monkeypatch.delenv("MIGRATE_BAYES_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert tables.cache_directory() == tmp_path / "xdg" / "migrate-bayes"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert tables.cache_directory() == tmp_path / ".cache" / "migrate-bayes"


def test_a_table_that_anybody_could_write_is_made_anew(tmp_path, monkeypatch):
    monkeypatch.setenv("MIGRATE_BAYES_CACHE", str(tmp_path))
    made = []

    def build(name):
        made.append(name)
        return {"ln_r": np.arange(3.0)}

    for mode, times in ((0o600, 1), (0o666, 2), (0o600, 2)):
        tables._cached(NAME, "rotation", build)
        tables._path(NAME, "rotation").chmod(mode)
        tables._cached(NAME, "rotation", build)
        assert len(made) == times
