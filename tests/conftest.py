"""Fixtures for every room: where the shared real data lie, and a made-up catalogue."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr

from migrate_bayes.cli import main

_PROJECT = Path(__file__).resolve().parents[1]

_UNITS = {
    name: unit
    for unit, names in {
        "deg": "ra dec", "mas": "parallax", "mas/yr": "pmra pmdec", "km/s": "radial_velocity",
        "kpc": "distance distance_lo distance_hi", "K": "teff", "dex": "logg feh alpha_fe",
        "mag": "phot_g_mean_mag phot_bp_mean_mag phot_rp_mean_mag a_v abs_g bp_rp",
        "": "snr_g snr_r snr_i",
    }.items()
    for name in names.split()
}  # fmt: skip


# With a file to a worker, the last one to begin must not be a long one. The first two compile other
# functions: of ages and orbits, and of the population's likelihood.
_LONGEST = ("run/test_run.py", "population/test_model.py", "compare/test_fits.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of the longest files first, in the order of `_LONGEST`."""

    def place(item: pytest.Item) -> int:
        path = item.path.as_posix()
        return next((i for i, name in enumerate(_LONGEST) if path.endswith(name)), len(_LONGEST))

    items.sort(key=place)


def pytest_collection_finish() -> None:
    """Keep the garbage collector from going through all that was imported, again and again.

    That was a tenth of what the building of a PyTensor graph takes.
    """
    gc.collect()
    gc.freeze()
    # PyTensor would have g++ compile parts of graphs that it interprets: a quarter of a minute
    # where nothing is cached, and no faster after.
    if "pytensor" in sys.modules:
        sys.modules["pytensor"].config.cxx = ""


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """Give ``function(name) -> Path`` into the shared real data; it skips where they are absent."""
    root = Path(os.environ.get("MIGRATE_BAYES_DATA", _PROJECT.parent / "shared" / "data"))

    def locate(name: str) -> Path:
        path = root / name
        if not path.exists():
            pytest.skip(f"shared data absent: {path} (set MIGRATE_BAYES_DATA)")
        return path

    return locate


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., SimpleNamespace]:
    """Give ``function(*arguments)``: `main` in this process and ``tmp_path``, told as of another.

    A process of its own takes seconds to begin with; tests of `migrate_bayes.cli` begin some.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    log = logging.getLogger("migrate_bayes")

    def call(*arguments: object) -> SimpleNamespace:
        monkeypatch.setattr(sys, "argv", ["migrate-bayes", *map(str, arguments)])
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        before, level = list(log.handlers), log.level
        capsys.readouterr()
        code: object = 0
        with warnings.catch_warnings(action="default"):
            try:
                main()
            except SystemExit as end:
                code = end.code or 0
            except Exception:
                traceback.print_exc()
                code = 1
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for made in set(log.handlers) - set(before):
            log.removeHandler(made)
            made.close()
        log.setLevel(level)
        said = capsys.readouterr()
        return SimpleNamespace(returncode=code, stdout=said.out, stderr=said.err)

    return call


@pytest.fixture(scope="session")
def make_catalog() -> Callable[..., xr.Dataset]:
    """Give ``function(n, seed) -> Dataset``: dwarfs and subgiants within 3 kpc, in canonical form.

    Kinematics are a disc rotating at 220 km/s seen from the Sun, photometry a rough main sequence:
    enough for units, shapes and orders of magnitude, not for inference.
    """

    def build(n: int = 50, seed: int = 1) -> xr.Dataset:
        rng = np.random.default_rng(seed)
        teff = rng.uniform(5000.0, 6600.0, n)
        logg = rng.uniform(3.8, 4.5, n)
        feh = rng.normal(-0.15, 0.2, n)
        bp_rp = np.interp(teff, [5000.0, 5772.0, 6600.0], [1.04, 0.82, 0.57])
        abs_g = np.interp(teff, [5000.0, 5772.0, 6600.0], [6.1, 4.67, 3.3]) - 2.0 * (4.4 - logg)
        distance = rng.uniform(0.2, 3.0, n)
        sd = 0.03 * distance
        a_v = rng.uniform(0.0, 0.8, n)
        a_g, a_bp, a_rp = 0.84 * a_v, 1.06 * a_v, 0.63 * a_v
        g = abs_g + 5 * np.log10(distance) + 10 + a_g
        values = {
            "ra": rng.uniform(0.0, 360.0, n),
            "dec": np.degrees(np.arcsin(rng.uniform(-0.2, 1.0, n))),
            "parallax": 1 / distance,
            "parallax_error": np.full(n, 0.02),
            "pmra": rng.normal(0.0, 30.0, n) / 4.74 / distance,
            "pmra_error": np.full(n, 0.02),
            "pmdec": rng.normal(0.0, 30.0, n) / 4.74 / distance,
            "pmdec_error": np.full(n, 0.02),
            "radial_velocity": rng.normal(0.0, 30.0, n),
            "radial_velocity_error": np.full(n, 3.0),
            "distance": distance,
            "distance_lo": distance - sd,
            "distance_hi": distance + sd,
            "phot_g_mean_mag": g,
            "phot_g_mean_mag_error": np.full(n, 0.003),
            "phot_bp_mean_mag": g + 0.35 * bp_rp + a_bp - a_g,
            "phot_bp_mean_mag_error": np.full(n, 0.005),
            "phot_rp_mean_mag": g - 0.65 * bp_rp + a_rp - a_g,
            "phot_rp_mean_mag_error": np.full(n, 0.005),
            "teff": teff,
            "teff_error": np.full(n, 40.0),
            "logg": logg,
            "logg_error": np.full(n, 0.06),
            "feh": feh,
            "feh_error": np.full(n, 0.04),
            "alpha_fe": rng.normal(0.06, 0.03, n),
            "alpha_fe_error": np.full(n, 0.03),
            "snr_g": rng.uniform(40.0, 200.0, n),
            "snr_r": rng.uniform(60.0, 250.0, n),
            "snr_i": rng.uniform(60.0, 250.0, n),
            "a_v": a_v,
            "abs_g": abs_g,
            "abs_g_error": 5 / np.log(10) * sd / distance,
            "bp_rp": bp_rp,
            "bp_rp_error": np.full(n, 0.007),
        }
        catalog = xr.Dataset({name: ("star", value) for name, value in values.items()})
        for name, variable in catalog.variables.items():
            base = str(name).removesuffix("_error")
            variable.attrs = {"units": _UNITS[base], "long_name": base.replace("_", " ")}
        catalog["distance"].attrs["source"] = "made up"
        catalog["flag"] = ("star", np.zeros(n, dtype=np.int32), {"units": "", "long_name": "flag"})
        keys = rng.integers(0, np.iinfo(np.uint64).max, n, dtype=np.uint64, endpoint=True)
        catalog["star_key"] = ("star", keys, {"units": "", "long_name": "star key"})
        return catalog.assign_coords(
            source_id=("star", np.arange(1, n + 1, dtype=np.int64) * 10_000_000_000)
        )

    return build
