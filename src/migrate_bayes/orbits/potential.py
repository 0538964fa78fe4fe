"""Galactic potentials by name, and the units each is used in.

A galpy potential is dimensionless in natural units: lengths in `ro`, velocities in `vo`. So one
table serves every solar frame. ``scaling="rescaled"`` takes (ro, vo) from the frame's (R₀, V₀), as
galpy does for ``Orbit(..., ro=R0, vo=V0)`` and as Vickers, Shen & Li (2021) did;
``scaling="native"`` keeps the values the potential was published with. galpy's normalisation is
kept, so v_c(ro) = vo holds to 0.05%, as in the published models.

Beside the names in `POTENTIALS`, any axisymmetric galpy potential will do: ``module:attribute``,
such as ``galpy.potential.mwpotentials:Cautun20``, or ``path/to/file.py:attribute``.
"""

from __future__ import annotations

__all__ = ["POTENTIALS", "SCALINGS", "load_potential", "natural_units", "potential_key"]

import importlib
import importlib.util
import warnings
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from migrate_bayes.core.errors import OrbitError, suggest
from migrate_bayes.orbits.frame import SolarFrame

POTENTIALS: dict[str, tuple[float, float]] = {
    "MWPotential2014": (8.0, 220.0),
    "Irrgang13I": (8.4, 242.0),
    "McMillan17": (8.21, 233.1),
}
"""Name to native (ro kpc, vo km/s). Bovy 2015; Irrgang et al. 2013, model I; McMillan 2017."""

SCALINGS = ("rescaled", "native")


def potential_key(name: str) -> str:
    """Check a potential's name: one of `POTENTIALS`, ``module:attribute`` or ``file.py:attribute``.

    Raises
    ------
    OrbitError
        Where it is neither.
    """
    if name in POTENTIALS or ":" in name:
        return name
    raise OrbitError(
        f"unknown potential '{name}': {suggest(name, POTENTIALS)}, "
        "or a galpy potential's place, 'module:attribute' or 'path/to/file.py:attribute'"
    )


def _module(name: str) -> ModuleType:
    """Import a module by name, or a file by its path."""
    if not name.endswith(".py"):
        return importlib.import_module(name)
    path = Path(name).expanduser().resolve()
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
    """Import the galpy potential of that name (seconds, for McMillan17).

    Raises
    ------
    OrbitError
        Where it cannot be imported, or is not axisymmetric.
    """
    module_name, _, attribute = potential_key(name).rpartition(":")
    if not module_name:
        module_name = "galpy.potential.mwpotentials"
    with warnings.catch_warnings():
        # galpy's own: deprecations, and a masked division in its SCF set-up.
        warnings.simplefilter("ignore")
        try:
            potential = getattr(_module(module_name), attribute)
        except Exception as error:  # whatever a user's file may raise
            raise OrbitError(f"cannot import the potential '{name}': {error}") from error
    parts = potential if isinstance(potential, list | tuple) else [potential]
    if not all(hasattr(part, "_Rforce") for part in parts):
        raise OrbitError(f"'{name}' is no galpy potential, nor a list of them, in three dimensions")
    if any(getattr(part, "isNonAxi", False) for part in parts):
        raise OrbitError(f"potential '{name}' is not axisymmetric: guiding radii need symmetry")
    return potential


def natural_units(name: str, frame: SolarFrame, scaling: str) -> tuple[float, float]:
    """Return (ro kpc, vo km/s): what one natural unit of length and velocity stands for.

    Raises
    ------
    OrbitError
        Where the name or the scaling is unknown, or a potential has no native units.
    """
    potential_key(name)
    if scaling not in SCALINGS:
        raise OrbitError(f"unknown scaling '{scaling}': {suggest(scaling, SCALINGS)}")
    if scaling == "rescaled":
        return frame.r0, frame.v0
    if name in POTENTIALS:
        return POTENTIALS[name]
    potential = load_potential(name)
    first = potential[0] if isinstance(potential, list | tuple) else potential
    ro, vo = getattr(first, "_ro", None), getattr(first, "_vo", None)
    if ro is None or vo is None:
        raise OrbitError(f"potential '{name}' has no units of its own: use scaling 'rescaled'")
    return float(ro), float(vo)
