"""Galpy potentials by name, and tables of them, built once and kept on disk.

A potential has two tables, because they cost differently: the *rotation* table (1-D, ln R against
ln of the angular momentum of the circular orbit) that guiding radii need, and the *potential* table
(2-D, a C² tensor-product cubic B-spline of Φ in R/(R + a), |z|/(|z| + b)) that orbits need. Forces
are the gradient of that one spline, so they are conservative. All in galpy's natural units, so that
every solar frame shares them.

A file is keyed by everything that shapes it: the potential (its name, or for one of the user's the
values it gives), our version and galpy's, the resolution. It opens with the SHA-256 of the rest, is
written beside its place and renamed, so that two processes may build it at once, and is built anew
if the two do not match.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import io
import os
import re
import warnings
from collections.abc import Callable
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from migrate_bayes.core.errors import OrbitError, ProductError, suggest
from migrate_bayes.core.io import atomic_output
from migrate_bayes.core.places import expand
from migrate_bayes.core.provenance import content_hash
from migrate_bayes.orbits.kernel.spline import PotentialTable

Floats = NDArray[np.float64]
Evaluate = Callable[[Floats, Floats], Floats]

POTENTIALS: dict[str, tuple[float, float]] = {
    "MWPotential2014": (8.0, 220.0),
    "Irrgang13I": (8.4, 242.0),
    "McMillan17": (8.21, 233.1),
}
"""Name to native (ro kpc, vo km/s). Bovy 2015; Irrgang et al. 2013, model I; McMillan 2017."""

TABLE_VERSION = 2
_IMPORT = ast.Import, ast.ImportFrom

# Rotation table: ln R from R = 1e-3 to 100 ro.
LN_R_RANGE, N_ROTATION = (np.log(1e-3), np.log(1e2)), 4096
# Potential table: scale lengths of the compactified coordinates (ro), nodes, and the last node.
# The scales put 4 pc × 4 pc cells at the centre, 100 pc × 5 pc at the Sun and in the plane.
A_SCALE, B_SCALE, N_U, N_W, OUTERMOST = 0.25, 0.15, 512, 256, 60.0


class Curve(NamedTuple):
    """A function on a uniform grid from `x0` by `step`: its `values` and `slopes` at the nodes."""

    x0: float
    step: float
    values: Floats
    slopes: Floats


class RotationTable(NamedTuple):
    """Circular orbits, natural units: ln R against ln L, and ln v_c against ln R."""

    radius: Curve
    speed: Curve


def check_name(name: str) -> str:
    """Refuse what is none of `POTENTIALS`, ``module:attribute`` or ``file.py:attribute``."""
    if name in POTENTIALS or ":" in name:
        return name
    raise OrbitError(
        f"unknown potential '{name}': {suggest(name, POTENTIALS)}, "
        "or a galpy potential's place, 'module:attribute' or 'path/to/file.py:attribute'"
    )


def check_potential(name: str) -> None:
    """Raise the `OrbitError` of a potential that is nowhere, without building it (seconds)."""
    module, _, attribute = check_name(name).rpartition(":")
    if not module:
        return
    path = expand(module)
    try:
        if path.suffix == ".py":
            tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
            words = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
            words |= {a.asname or a.name for n in ast.walk(tree) if isinstance(n, _IMPORT)
                      for a in n.names}  # fmt: skip
            known = attribute in words or "*" in words
        else:
            found = importlib.import_module(module)
            # A module that makes its potentials when they are asked for need not list them.
            known = attribute in dir(found) or hasattr(found, "__getattr__")
    except Exception as error:  # whatever a user's file may raise
        raise OrbitError(f"cannot import the potential '{name}': {error}") from error
    if not known:
        raise OrbitError(f"cannot import the potential '{name}': no '{attribute}' in {module}")


def _module(name: str) -> ModuleType:
    """Import a module by name, or a file by its path."""
    if not name.endswith(".py"):
        return importlib.import_module(name)
    path = expand(name).resolve()
    if not path.is_file():
        raise ImportError(f"there is no file {path}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@lru_cache(maxsize=16)
def load_potential(name: str) -> Any:
    """Import the axisymmetric galpy potential of that name (seconds, for McMillan17)."""
    module_name, _, attribute = check_name(name).rpartition(":")
    if not module_name:
        module_name = "galpy.potential.mwpotentials"
    # galpy's own warnings: deprecations, and a masked division in its SCF set-up.
    with warnings.catch_warnings(action="ignore"):
        try:
            potential = getattr(_module(module_name), attribute)
        except Exception as error:  # whatever a user's file may raise
            raise OrbitError(f"cannot import the potential '{name}': {error}") from error
    parts = parts_of(potential)
    if not all(hasattr(part, "_Rforce") for part in parts):
        raise OrbitError(f"'{name}' is no galpy potential, nor a list of them, in three dimensions")
    if any(getattr(part, "isNonAxi", False) for part in parts):
        raise OrbitError(f"potential '{name}' is not axisymmetric: guiding radii need symmetry")
    return potential


def parts_of(potential: Any) -> list[Any]:
    """Return the parts that a galpy potential is the sum of."""
    return list(potential) if isinstance(potential, list | tuple) else [potential]


def cache_directory() -> Path:
    """Return the folder of tables: ``$MIGRATE_BAYES_CACHE``, or else the user's cache folder."""
    if wanted := os.environ.get("MIGRATE_BAYES_CACHE"):
        return expand(wanted)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "migrate-bayes"


def _values(name: str) -> str:
    """Identify a user's potential by its values: its file may change under the same name."""
    R, z = np.array([0.02, 0.3, 1.0, 1.1, 2.5, 9.0]), np.array([0.01, 0.1, 0.0, 0.5, 0.02, 4.0])
    values = [function(R, z) for function in _interpreted(name)]
    return np.stack(values, axis=1).tobytes().hex()


def _path(name: str, kind: str) -> Path:
    settings = {
        "potential": name if name in POTENTIALS else _values(name), "kind": kind,
        "version": TABLE_VERSION, "galpy": version("galpy"),
        "resolution": [N_ROTATION, *LN_R_RANGE] if kind == "rotation"
        else [A_SCALE, B_SCALE, N_U, N_W, OUTERMOST],
    }  # fmt: skip
    readable = re.sub(r"[^A-Za-z0-9]+", "-", name)[-60:].strip("-")
    return cache_directory() / f"{readable}-{kind}-{content_hash(settings)}.table"


def table_key(name: str) -> list[str]:
    """Identify a potential's tables: by its values, galpy's version, ours and the resolution."""
    return [_path(name, kind).stem.rpartition("-")[2] for kind in ("rotation", "potential")]


def _read(path: Path) -> dict[str, Floats] | None:
    """Read a table; None if there is none, it is not the one that was written, or not ours.

    The checksum tells damage; of other users, that they may not write the table or its folder.
    """
    try:
        for owned in (path.parent, path):
            found = owned.stat()
            if found.st_uid not in (os.getuid(), 0) or found.st_mode & 0o002:
                return None
        content = path.read_bytes()
    except OSError:
        return None
    digest, body = content[:64], content[64:]
    if hashlib.sha256(body).hexdigest().encode() != digest:
        return None
    with np.load(io.BytesIO(body), allow_pickle=False) as stored:
        return {key: stored[key] for key in stored.files}


def _cached(name: str, kind: str, build: Callable[[str], dict[str, Floats]]) -> dict[str, Floats]:
    """Read a table, or build and keep it; a cache that cannot be written is left out."""
    path = _path(name, kind)
    if (stored := _read(path)) is not None:
        return stored
    arrays = build(name)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    body = buffer.getvalue()
    try:
        with atomic_output(path, overwrite=True) as partial:
            partial.write_bytes(hashlib.sha256(body).hexdigest().encode() + body)
    except (ProductError, OSError) as error:
        warnings.warn(f"table of {name} not kept: {error}", stacklevel=3)
    return arrays


def _interpreted(name: str) -> tuple[Evaluate, Evaluate]:
    """Return Φ(R, z) and F_R(R, z) on arrays by galpy's Python code."""
    potential = load_potential(name)
    galpy = importlib.import_module("galpy.potential")

    def on_arrays(function: Callable[..., float]) -> Evaluate:
        def evaluate(R: Floats, z: Floats) -> Floats:
            with warnings.catch_warnings(action="ignore"):
                pairs = zip(R.ravel(), z.ravel(), strict=True)
                values = [float(function(potential, r, h, use_physical=False)) for r, h in pairs]
            return np.array(values).reshape(R.shape)

        return evaluate

    return on_arrays(galpy.evaluatePotentials), on_arrays(galpy.evaluateRforces)


def _evaluators(name: str) -> tuple[Evaluate, Evaluate]:
    """Return Φ(R, z) and F_R(R, z) on arrays: by galpy's compiled code if it agrees."""
    potential, interpreted = load_potential(name), _interpreted(name)
    if not all(getattr(part, "hasC", False) for part in parts_of(potential)):
        return interpreted
    galpy = importlib.import_module("galpy.potential.interpRZPotential")

    def on_arrays(function: Callable[..., tuple[Floats, int]]) -> Evaluate:
        return lambda R, z: function(potential, R.ravel(), z.ravel())[0].reshape(R.shape)

    compiled = on_arrays(galpy.eval_potential_c), on_arrays(galpy.eval_force_c)
    # Trust the compiled code only if it gives what the interpreted code gives.
    R, z = np.array([0.05, 0.4, 1.0, 2.5, 8.0]), np.array([0.3, 0.0, 0.02, 0.7, 5.0])
    try:
        pairs = zip(compiled, interpreted, strict=True)
        same = all(np.allclose(f(R, z), g(R, z), rtol=1e-10, atol=0) for f, g in pairs)
    except Exception:  # galpy built without its extension
        same = False
    return compiled if same else interpreted


def _build_rotation(name: str) -> dict[str, Floats]:
    from scipy.interpolate import CubicSpline

    _, force = _evaluators(name)
    x = np.linspace(*LN_R_RANGE, N_ROTATION)
    R = np.exp(x)
    squared = -R * force(R, np.zeros_like(R))
    if not np.all(np.isfinite(squared) & (squared > 0)):
        raise OrbitError(f"potential '{name}' has no circular orbits at some radius")
    ln_v = 0.5 * np.log(squared)
    ln_l = x + ln_v
    if np.any(np.diff(ln_l) <= 0):
        raise OrbitError(f"potential '{name}': R·v_c(R) falls somewhere: no unique guiding radius")
    forward = CubicSpline(x, ln_l)
    ln_l_grid = np.linspace(ln_l[0], ln_l[-1], N_ROTATION)
    ln_r = np.interp(ln_l_grid, ln_l, x)
    for _ in range(8):
        ln_r = np.clip(ln_r - (forward(ln_r) - ln_l_grid) / forward(ln_r, 1), x[0], x[-1])
    radius = {"ln_l": ln_l_grid, "ln_r": ln_r, "slope": 1.0 / forward(ln_r, 1)}
    return radius | {"x": x, "ln_v": ln_v, "v_slope": forward(x, 1) - 1.0}


def bspline_coefficients(values: Floats, *, even: bool) -> Floats:
    """Interpolate the rows of `values` by uniform cubic B-splines: two more coefficients a row.

    Solves c[i-1] + 4 c[i] + c[i+1] = 6 f[i] with the end slopes of a five-point difference; with
    `even`, the first slope is zero (a function of |z| at the plane).
    """
    from scipy.linalg import solve_banded

    n = values.shape[-1]
    weights = np.array([-25.0, 48.0, -36.0, 16.0, -3.0]) / 12.0
    first = np.zeros(values.shape[:-1]) if even else values[..., :5] @ weights
    last = -(values[..., :-6:-1] @ weights)
    right = np.concatenate([2 * first[..., None], 6 * values, 2 * last[..., None]], axis=-1)
    # Rows: -c[-1] + c[1] = 2 f'(0) h ; ... ; -c[n-2] + c[n] = 2 f'(n-1) h: two bands either side.
    bands = np.zeros((5, n + 2))
    bands[2, 1:-1], bands[1, 2:], bands[3, :-2] = 4.0, 1.0, 1.0
    bands[2, 0], bands[1, 1], bands[0, 2] = -1.0, 0.0, 1.0
    bands[2, -1], bands[3, -2], bands[4, -3] = 1.0, 0.0, -1.0
    flat = right.reshape(-1, n + 2)
    return np.ascontiguousarray(solve_banded((2, 2), bands, flat.T).T).reshape(right.shape)


def _build_potential(name: str) -> dict[str, Floats]:
    phi, _ = _evaluators(name)
    u = np.linspace(0.0, OUTERMOST / (OUTERMOST + A_SCALE), N_U)
    w = np.linspace(0.0, OUTERMOST / (OUTERMOST + B_SCALE), N_W)
    # Not quite the axis: some potentials have no value at R = 0.
    R = np.maximum(A_SCALE * u / (1.0 - u), 1e-4)
    z = B_SCALE * w / (1.0 - w)
    values = phi(*np.meshgrid(R, z, indexing="ij"))
    if not np.all(np.isfinite(values)):
        raise OrbitError(f"potential '{name}' is not finite everywhere: no orbits in it")
    along_w = bspline_coefficients(values, even=True)
    coefficients = bspline_coefficients(along_w.T, even=False).T
    at_infinity = float(phi(np.array([1e8]), np.array([0.0]))[0])
    shape = [A_SCALE, B_SCALE, 1 / u[1], 1 / w[1], OUTERMOST, OUTERMOST, at_infinity]
    return {"coefficients": np.ascontiguousarray(coefficients), "shape": np.array(shape)}


@lru_cache(maxsize=32)
def _rotation_table(name: str, _directory: Path) -> RotationTable:
    t = _cached(name, "rotation", _build_rotation)

    def curve(x: Floats, values: str, slopes: str) -> Curve:
        return Curve(float(x[0]), float(x[1] - x[0]), t[values], t[slopes])

    return RotationTable(curve(t["ln_l"], "ln_r", "slope"), curve(t["x"], "ln_v", "v_slope"))


@lru_cache(maxsize=32)
def _potential_table(name: str, _directory: Path) -> PotentialTable:
    return PotentialTable(**_cached(name, "potential", _build_potential))


def rotation_table(name: str) -> RotationTable:
    """Return the table of circular orbits of a potential, from memory, disk or galpy."""
    return _rotation_table(check_name(name), cache_directory())


def potential_table(name: str) -> PotentialTable:
    """Return the spline of a potential, from memory, disk or galpy."""
    return _potential_table(check_name(name), cache_directory())
