"""Which columns the catalogue has, and what each is: name, type, unit, UCD, description."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import xarray as xr

from migrate_bayes.core.errors import ProductError
from migrate_bayes.export.ucd import ucd_of

__all__ = ["OutputColumn", "catalogue_columns"]

# Left out: a hash of the identifier, which is of use to this package alone.
_INTERNAL = ("star_key",)
_MEANING = {
    "age": "age of the catalogue",
    "age_population": "age given the star and the fitted population: mean",
    "age_population_sd": "age given the star and the fitted population: standard deviation",
    "p_thin": "probability of the thin disc, given the star and the fitted population",
    "p_thin_sd": "standard deviation of p_thin over the posterior of the population",
}


@dataclass(frozen=True)
class OutputColumn:
    """A column of the catalogue.

    Attributes
    ----------
    name : str
        In the file.
    variable : str
        Of StarPosteriors, or of the fit's membership.
    potential : int or None
        Place along `potential`, where the variable depends on it.
    dtype : numpy.dtype
    unit, ucd, description : str
        ``unit`` is an astropy unit string, ``""`` for a pure number.
    """

    name: str
    variable: str
    potential: int | None
    dtype: np.dtype
    unit: str
    ucd: str
    description: str


def _column(
    name: str, variable: str, source: xr.DataArray, potential: tuple[int, str] | None = None
) -> OutputColumn:
    attrs = source.attrs
    text = str(attrs.get("long_name", "")) or _MEANING.get(variable, "")
    if not text:
        text = variable.replace("_", " ")
    if potential is not None:
        text += f"; in {potential[1]}"
    place = None if potential is None else potential[0]
    unit = str(attrs.get("units", ""))
    return OutputColumn(name, variable, place, source.dtype, unit, ucd_of(variable), text)


def catalogue_columns(
    stars: xr.Dataset, membership: xr.Dataset | None = None
) -> list[OutputColumn]:
    """List the columns of a run's catalogue.

    Parameters
    ----------
    stars : xarray.Dataset
        StarPosteriors. Every number per star is a column; a number per star and potential is one
        for each potential, named ``rg_mean_McMillan17``. What is on the age grid stays in the run.
    membership : xarray.Dataset, optional
        A fit's group of that name: `p_thin`, `age_population` and their sds. NaN for the stars
        that were not fitted.

    Raises
    ------
    ProductError
        Where two potentials' names come out alike.
    """
    found = [_column("source_id", "source_id", stars["source_id"])]
    labels = [str(p) for p in stars["potential"].values] if "potential" in stars.dims else []
    endings = [re.sub(r"[^A-Za-z0-9]+", "_", label).strip("_") for label in labels]
    if len(set(endings)) != len(endings):
        raise ProductError(f"potentials have names too alike for columns: {', '.join(labels)}")
    for key, variable in stars.data_vars.items():
        name = str(key)
        if name in _INTERNAL or variable.dtype.kind not in "biufUSO":
            continue
        if variable.dims == ("star",):
            found.append(_column(name, name, variable))
        elif variable.dims == ("star", "potential"):
            found += [
                _column(f"{name}_{ending}", name, variable, (p, labels[p]))
                for p, ending in enumerate(endings)
            ]
    if membership is not None:
        found += [_column(str(n), str(n), v) for n, v in membership.data_vars.items()]
    return found
