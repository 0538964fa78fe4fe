"""Join the stages to StarPosteriors, replace one of them, and validate a dataset."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import xarray as xr

from migrate_bayes.catalog.reader import as_catalog
from migrate_bayes.core.errors import ProductError
from migrate_bayes.core.flags import FLAG_MEANING, StarFlag

# Flags and variables of the age stage: another isochrone family replaces them.
_AGE_FLAGS = (
    StarFlag.MISSING_PARAMETERS | StarFlag.OFF_GRID | StarFlag.POOR_FIT | StarFlag.EDGE_YOUNG
    | StarFlag.EDGE_OLD | StarFlag.POOR_AGE | StarFlag.MISSING_AGE | StarFlag.BAD_ERROR
)  # fmt: skip
AGE_VARIABLES = (
    "log_age_likelihood", "feh_mean", "feh_sd", "abs_g_slope", "abs_g_curvature", "alpha_rate",
    "log_interim_prior", "age_ml", "age_median", "age_lo", "age_hi", "age_error", "chi2_min",
    "feh_error_used", "alpha_fe_error_used",
)  # fmt: skip


def assemble_stars(
    catalog: xr.Dataset,
    ages: xr.Dataset | None = None,
    orbits: xr.Dataset | None = None,
    *,
    attrs: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Merge a catalogue with its ages and orbits; flags are joined, those of ages are the stage's.

    Parameters
    ----------
    catalog, ages, orbits : xarray.Dataset
        The same stars, joined by their keys. If `ages` is given, the catalogue's own ages become
        `external_age`, `external_age_lo` and `external_age_hi`.
    attrs : mapping, optional
        Provenance, added to the attributes of the stages.

    Returns
    -------
    xarray.Dataset
        StarPosteriors.

    Raises
    ------
    ProductError
        If the stages are of other stars, or hold different values of one variable.

    Examples
    --------
    >>> import xarray as xr
    >>> from migrate_bayes import assemble_stars
    >>> one = {"source_id": ("star", [7])}
    >>> catalog = xr.Dataset({"feh": ("star", [0.1]), "flag": ("star", [1])}, coords=one)
    >>> orbits = xr.Dataset({"r_present": ("star", [8.2]), "flag": ("star", [2])}, coords=one)
    >>> stars = assemble_stars(catalog, orbits=orbits)
    >>> sorted(stars.data_vars), stars["flag"].values
    (['feh', 'flag', 'r_present'], array([3], dtype=int32))
    """
    if not isinstance(catalog, xr.Dataset) or "flag" not in catalog:
        catalog = as_catalog(catalog)
    flag = catalog["flag"].values.astype(np.int32)
    if ages is not None:
        # Whether a star can have an age, the stage knows that made it: external ages need no T_eff.
        flag &= ~np.int32(_AGE_FLAGS)
    # `age` is the axis of the age likelihood here; a catalogue's own ages are renamed.
    own = {name: f"external_{name}" for name in ("age", "age_lo", "age_hi") if name in catalog}
    variables = {
        (own.get(str(name), name) if ages is not None else name): variable
        for name, variable in catalog.variables.items()
        if name != "flag"
    }
    coords = {str(name) for name in catalog.coords}
    merged = dict(catalog.attrs)
    for what, stage in {"ages": ages, "orbits": orbits}.items():
        if stage is None:
            continue
        stage = in_order_of(catalog, stage, f"the catalogue and the {what}")
        flag |= stage["flag"].values.astype(np.int32)
        for name, variable in stage.variables.items():
            if name in ("flag", "source_id"):
                continue
            if name in variables and not variables[name].equals(variable):
                raise ProductError(f"{what} and the stages before have different '{name}'")
            variables[name] = variable
        coords |= {str(name) for name in stage.coords} - {"flag", "source_id"}
        merged.update(stage.attrs)
    # The bits as the CF conventions describe them.
    variables["flag"] = xr.Variable("star", flag, {
        "long_name": "why a star is or is not used",
        "units": "",
        "flag_masks": np.array([int(f) for f in StarFlag], dtype=np.int32),
        "flag_meanings": " ".join(str(f.name).lower() for f in StarFlag),
        "comment": "; ".join(f"{int(f)}: {text}" for f, text in FLAG_MEANING.items()),
    })  # fmt: skip
    stars = xr.Dataset(variables, attrs={**merged, **(attrs or {})})
    return stars.set_coords([name for name in coords if name in stars])


def replace_ages(stars: xr.Dataset, ages: xr.Dataset) -> xr.Dataset:
    """Replace all variables that depend on the isochrones.

    Parameters
    ----------
    stars, ages : xarray.Dataset
        StarPosteriors, and the age stage of the same stars on another isochrone source.

    Returns
    -------
    xarray.Dataset
        `stars` with the age variables, the age axis and the age flags of `ages`.

    Raises
    ------
    ProductError
        If these are not the same stars.

    Examples
    --------
    >>> from migrate_bayes.mock import simulated_stars
    >>> from migrate_bayes.stars import replace_ages
    >>> stars = simulated_stars(5, seed=1)
    >>> replace_ages(stars, stars.isel(age=slice(10))).sizes["age"]
    10
    """
    ages = in_order_of(stars, ages)
    rest = stars.drop_vars([*AGE_VARIABLES, "age"], errors="ignore")
    mine = ages[[n for n in AGE_VARIABLES if n in ages]]
    mine = mine.drop_vars([c for c in mine.coords if c != "age"])
    flag = (stars["flag"] & ~int(_AGE_FLAGS)) | (ages["flag"] & int(_AGE_FLAGS))
    return rest.assign(mine.data_vars).assign(flag=flag.assign_attrs(stars["flag"].attrs))


def replace_orbits(stars: xr.Dataset, orbits: xr.Dataset) -> xr.Dataset:
    """Replace all variables that depend on the potential or on the solar frame.

    Parameters
    ----------
    stars, orbits : xarray.Dataset
        StarPosteriors, and the orbit stage (with its catalogue) of the same stars.

    Returns
    -------
    xarray.Dataset
        `orbits` with the age variables, the age axis and the age flags of `stars`.

    Raises
    ------
    ProductError
        If these are not the same stars.

    Examples
    --------
    >>> from migrate_bayes.mock import simulated_stars
    >>> from migrate_bayes.stars import replace_orbits
    >>> stars = simulated_stars(5, seed=1)
    >>> other = stars.assign_coords(potential=["McMillan17"])
    >>> replace_orbits(stars, other)["potential"].values.tolist()
    ['McMillan17']
    """
    orbits = in_order_of(stars, orbits)
    kept = stars[[n for n in stars.data_vars if n in AGE_VARIABLES]]
    kept = kept.drop_vars([c for c in kept.coords if c not in ("age", "source_id")])
    flag = (stars["flag"] & int(_AGE_FLAGS)) | orbits["flag"]
    return orbits.merge(kept, join="exact", compat="override").assign(flag=flag)


def in_order_of(
    stars: xr.Dataset, other: xr.Dataset, whose: str = "the two products"
) -> xr.Dataset:
    """Return `other` with its stars in the order of `stars`; `ProductError` if they are not those.

    Stars are told apart by ``star_key``, or ``source_id`` if one of the two has no keys. Repeat
    observations share a key: they are in the order of their rows, and all that both products say of
    them must be the same.
    """
    n, key = stars.sizes["star"], "star_key"
    if not (key in stars.variables and key in other.variables):
        key = "source_id"
    if key not in stars.variables or key not in other.variables:
        if n == other.sizes["star"]:
            return other  # nothing to tell them apart by
        raise ProductError(f"{whose} are not of the same stars: {n} and {other.sizes['star']}")
    mine, theirs = stars[key].values, other[key].values
    if np.array_equal(mine, theirs):
        return other
    by_mine, by_theirs = (np.argsort(keys, kind="stable") for keys in (mine, theirs))
    if not np.array_equal(mine[by_mine], theirs[by_theirs]):
        common = len(np.intersect1d(mine, theirs))
        raise ProductError(
            f"{whose} are not of the same stars: {n} and {other.sizes['star']}, {common} in common"
        )
    place = np.empty(n, dtype=np.int64)
    place[by_mine] = by_theirs
    other = other.isel(star=place)
    again = mine[by_mine][1:] == mine[by_mine][:-1]
    rows = np.unique(np.concatenate([by_mine[1:][again], by_mine[:-1][again]]))
    for name in stars.variables.keys() & other.variables.keys() - {"flag"}:
        a, b = stars.variables[name], other.variables[name]
        if a.dims == b.dims == ("star",) and not a[rows].equals(b[rows]):
            raise ProductError(
                f"{whose} are in different orders, and repeat observations cannot be told apart: "
                f"'{name}' differs"
            )
    return other


def validate(stars: xr.Dataset, *, ages: bool = True, orbits: bool = True) -> xr.Dataset:
    """Check that a dataset is StarPosteriors.

    Parameters
    ----------
    stars : xarray.Dataset
        Dataset to check.
    ages, orbits : bool
        Whether it must hold the age stage and the orbit stage.

    Returns
    -------
    xarray.Dataset
        `stars`, unchanged.

    Raises
    ------
    ProductError
        Naming every variable that is missing or has other dims.

    Examples
    --------
    >>> import xarray as xr
    >>> from migrate_bayes.stars import validate
    >>> validate(xr.Dataset({"flag": ("star", [0])}), ages=False)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    migrate_bayes.core.errors.ProductError: no StarPosteriors: 'source_id' is missing; ...
    """
    wanted: dict[str, tuple[str, ...]] = {"source_id": ("star",), "flag": ("star",)}
    if ages:
        wanted |= {"log_age_likelihood": ("star", "age"), "log_interim_prior": ("age",)}
    if orbits:
        wanted |= dict.fromkeys(("rg_mean", "rg_sd"), ("star", "potential"))
    wrong = []
    for name, dims in wanted.items():
        if name not in stars.variables:
            wrong.append(f"'{name}' is missing")
        elif stars[name].dims != dims:
            wrong.append(f"'{name}' has dims {stars[name].dims}, not {dims}")
    if wrong:
        raise ProductError(f"no StarPosteriors: {'; '.join(wrong)}")
    return stars


def concat_stars(parts: Iterable[xr.Dataset]) -> xr.Dataset:
    """Join StarPosteriors of different stars, which must share age nodes and potentials.

    Parameters
    ----------
    parts : iterable of xarray.Dataset
        StarPosteriors.

    Returns
    -------
    xarray.Dataset
        All stars; a variable of some parts only is filled with NaN.

    Raises
    ------
    ProductError
        If there is nothing to join, or the grids differ.

    Examples
    --------
    >>> from migrate_bayes import concat_stars
    >>> from migrate_bayes.mock import simulated_stars
    >>> concat_stars([simulated_stars(5, seed=1), simulated_stars(3, seed=2)]).sizes["star"]
    8
    """
    parts = list(parts)
    if not parts:
        raise ProductError("no StarPosteriors to join")
    for name in ("age", "potential"):
        first, *others = (np.asarray(part.coords.get(name, [])) for part in parts)
        if not all(np.array_equal(first, other) for other in others):
            raise ProductError(f"the parts have different `{name}` coordinates")
    # Columns of one part only are filled; xarray warns that it will change how it says so.
    with warnings.catch_warnings(action="ignore", category=FutureWarning):
        return xr.concat(
            parts, dim="star", data_vars="minimal", coords="minimal", compat="override",
            combine_attrs="override", join="outer",
        )  # fmt: skip
