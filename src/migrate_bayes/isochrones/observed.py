r"""What is observed of each star, with which errors: columns as the kernel takes them.

*Correlated errors.* A catalogue may have ``teff_logg_corr``, ``teff_feh_corr`` and
``logg_feh_corr``: correlations of the errors of T_eff, log g and [Fe/H], 0 where missing. Floors
and systematics are errors of their own, independent of all others: they are added to variances, and
leave covariances as they are. What the kernel makes of it stands in `kernel.likelihood`; it takes
[Fe/H] at given metallicity as linear in [α/Fe] over its error, which costs up to 2e-3 in ln L at
0.02 dex and 5e-3 at 0.08. In

.. math:: p(F, T, g \mid \tau, f) = N(F; f, s_F^2)
   \int d\mu\, \xi(\mu)\, N(T, g;\, m(\mu; \tau, f) + B (F - f),\, \Sigma_{Tg|F})

the errors of age and of [Fe/H] *f* are no product, whatever the correlations are: the second factor
knows f. The ages product has its integral over f, and mean and variance of f, at every age
(`feh_mean`, `feh_sd`), in which the observed [Fe/H] and its error are contained: a hierarchical fit
takes the three for the law of the data at given age and [Fe/H], normal in f, and must not use
[Fe/H] and `feh_error` again. So correlations reach it as they are. What they do to [α/Fe] at an age
beyond its share in the metallicity (`alpha_rate`) is neglected.

*Seismology.* Where a star has ``logg_seismic``, or ``nu_max`` (µHz) and T_eff, its log g is that,

.. math:: \log g = 4.438 + \log_{10}(\nu_{\max} / 3090\,\mathrm{\mu Hz})
   + \tfrac12 \log_{10}(T_\mathrm{eff} / 5772\,\mathrm{K})

(Kjeldsen & Bedding 1995, A&A 293, 87), with its own error, to which no floor of spectroscopic
gravities is added. The error of T_eff is in the second: both are correlated, and are taken so.

*Outliers.* See `Outliers`: one observable at most is wrong, with an error of its own that is broad.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, fields

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from migrate_bayes.catalog.columns import SPECTRAL
from migrate_bayes.catalog.measured import LEAST_ERROR
from migrate_bayes.core.errors import CatalogError, CatalogWarning, suggest
from migrate_bayes.core.flags import StarFlag, add_flag, are_skipped
from migrate_bayes.isochrones.age_options import AgeOptions
from migrate_bayes.isochrones.grid import WorkingGrid, salaris_rate
from migrate_bayes.isochrones.kernel.likelihood import Stars
from migrate_bayes.isochrones.states import Seen, in_clump_region, is_giant, near_zams

#: What an age can be estimated from.
OBSERVABLES = ("teff", "logg", "feh", "alpha_fe", "abs_g", "bp_rp")
_KERNEL = ("teff", "logg", "abs_g", "bp_rp")  # the order of the grid's columns
_PHOTOMETRIC = ("abs_g", "bp_rp")
_WINDOW = 10.0  # errors: a star further than this from the grid's [Fe/H] or [α/Fe] is off it
SEISMIC = ("logg_seismic", "nu_max")  # log g of a star is of the first that it has
_PAIRS = ((0, 1), (0, 2), (1, 2))  # of them, whose columns are named so
#: Least eigenvalue of a correlation matrix: of a smaller one an error is known to 3% of itself.
_LEAST_EIGENVALUE = 1e-3
_SOLAR_LOGG, _SOLAR_NU_MAX, _SOLAR_TEFF = 4.438, 3090.0, 5772.0  # dex, µHz, K
Pair = tuple[NDArray, NDArray]  # values and errors


@dataclass(frozen=True)
class Observed:
    """Stars as arrays."""

    values: NDArray[np.float64]  # (star, 4): T_eff, log g, M_G, BP−RP
    inverse_error: NDArray[np.float64]  # of them; 0 for one that is missing
    feh: NDArray[np.float64]  # (star, 2): observed value and error
    alpha: NDArray[np.float64]  # (star, 2): likewise of [α/Fe]; (0, 0) if missing
    shear: NDArray[np.float64]  # (star, 4): of correlated errors, see `kernel.likelihood.Stars`
    bound_inverse: NDArray[np.float64]  # (star, 4): likewise
    log_constant: NDArray[np.float64]  # (star,): normalisation of the observables' Gaussians
    n_observed: NDArray[np.int64]  # (star,): how many observables each star has
    flag: NDArray[np.int32]  # reasons found so far
    giant: NDArray[np.bool_]  # (star,)
    gravity: NDArray[np.float64]  # (star,): log g, or what M_G says of it in a giant
    clump: NDArray[np.bool_]  # (star,): giant in the region of the red clump
    unevolved: NDArray[np.bool_]  # (star,): hot, near the zero-age main sequence

    def stars(self, rows: NDArray[np.int64], single: bool) -> Stars:
        """Return some of the stars for the kernel, observables in `single` precision or double."""
        kind = np.float32 if single else np.float64
        values, inverse, bound = (
            x[rows].astype(kind) for x in (self.values, self.inverse_error, self.bound_inverse)
        )
        return Stars(values, inverse, self.feh[rows], self.alpha[rows], self.shear[rows], bound)

    @property
    def alpha_rate(self) -> NDArray[np.float64]:
        """ρ of `isochrones.ages`, (star,); 0 without an error of [α/Fe]."""
        with np.errstate(divide="ignore", invalid="ignore"):
            rate = salaris_rate(self.alpha[:, 0]) * (self.alpha[:, 1] / self.feh[:, 1]) ** 2
        return np.where(np.isfinite(rate), rate, 0.0)

    def with_rows_of(self, other: Observed, rows: NDArray[np.bool_]) -> Observed:
        """Return these stars with the given rows of another's arrays."""
        arrays = {}
        for field in fields(self):
            mine, theirs = getattr(self, field.name), getattr(other, field.name)
            arrays[field.name] = np.where(rows[(...,) + (None,) * (mine.ndim - 1)], theirs, mine)
        return Observed(**arrays)


_ONE_OF = ("teff", "bp_rp"), ("logg", "abs_g")  # and [Fe/H]: without these no star has an age


def observe(
    catalog: xr.Dataset, grid: WorkingGrid, options: AgeOptions, *, wrong: str = ""
) -> Observed:
    """Collect the observables of every star; a `CatalogError` if one is unknown or feh is absent.

    Those that the catalogue lacks are left out. Errors are those of the catalogue times
    `inflation`. Added to them in quadrature are `photometric_floor` to M_G and BP−RP, the
    `Systematics` of giants and of other stars to the others, and to an observable that is `wrong`
    its width of `Outliers`.
    """
    observables = options.observables
    for name in observables:
        if name not in OBSERVABLES:
            raise CatalogError(f"unknown observable '{name}': {suggest(name, OBSERVABLES)}")
    if "feh" not in observables or "feh" not in catalog:
        raise CatalogError("isochrone ages need [Fe/H]: column 'feh' is absent or not asked for")
    asked = [name for name in OBSERVABLES if name in observables and name in catalog]
    seismic = [n for n in SEISMIC if n in catalog] if "logg" in observables else []
    heard = {*asked, *(["logg"] if seismic else [])}
    if needs := [" or ".join(two) for two in _ONE_OF if not heard & set(two)]:
        raise CatalogError(
            f"isochrone ages need {', '.join(needs)}: no such column is there and asked for"
        )
    if lacking := [name for name in [*asked, *seismic] if f"{name}_error" not in catalog]:
        errors = ", ".join(f"{name}_error = {{ constant = ... }}" for name in lacking)
        raise CatalogError(
            f"the catalogue has no error of {', '.join(lacking)}, which ages need: map a column, "
            f"or give a number in the column map: {errors}"
        )
    if "abs_g" in set(observables) - set(asked) and {"phot_g_mean_mag", "distance"} <= set(catalog):
        warnings.warn(
            "the catalogue has G and distances but no absolute magnitudes: ages are from the "
            "spectrum alone; correct_extinction(catalog) makes abs_g",
            CatalogWarning,
            stacklevel=4,
        )
    n = catalog.sizes["star"]
    flag, bad = np.zeros(n, dtype=np.int32), np.zeros(n, dtype=bool)

    def read(name: str, there: bool, factor: float = 1.0) -> Pair:
        """Return value and error of a column, NaN where it is missing."""
        value, error = np.full((2, n), np.nan)
        if there:
            value = catalog[name].values.astype(np.float64)
            error = catalog[f"{name}_error"].values.astype(np.float64)
        value = np.where(np.isfinite(value), value, np.nan)
        unknown = np.isfinite(value) & ~((error > LEAST_ERROR) & np.isfinite(error))
        np.logical_or(bad, unknown, out=bad)
        return value, error * factor

    pairs = {n: read(n, n in asked, getattr(options.inflation, n)) for n in OBSERVABLES}
    covariance, impossible = _covariance(catalog, pairs)
    bad |= impossible
    covariance[bad] = 0.0
    by_sound, by_teff = np.zeros(n, dtype=bool), np.zeros(n)
    for name in seismic:
        _hear(name, read(name, True), pairs, covariance, by_sound, by_teff)
    if options.method == "paper" and covariance.any():
        warnings.warn(
            "method 'paper' takes errors as independent: their correlations are not used",
            CatalogWarning,
            stacklevel=4,
        )
        covariance[:] = 0.0
    seen = Seen(**{name: np.stack(pair, axis=1) for name, pair in pairs.items()})
    giant, stated = is_giant(seen), pairs["teff"][1]
    for name in ("teff", "logg", "feh"):
        floors = (getattr(of, name) for of in (options.giant_floor, options.systematics))
        floor = np.where(giant, *floors)
        if name == "logg":
            floor = np.where(by_sound, 0.0, floor)
        value, error = pairs[name]
        # An error that is not one stays so.
        pairs[name] = value, np.where(error > 0, np.hypot(error, floor), error)
    if wrong:
        value, error = pairs[wrong]
        pairs[wrong] = value, np.hypot(error, getattr(options.outliers, wrong))
    if (scaled := by_teff > 0).any():
        more = np.where(scaled, pairs["teff"][1] ** 2 - stated**2, 0.0)
        value, error = pairs["logg"]
        pairs["logg"] = value, np.where(scaled, np.hypot(error, by_teff * np.sqrt(more)), error)
        covariance[:, 0] += by_teff * more

    three = np.stack([pairs[name][1] for name in SPECTRAL])
    given, shear, bound = conditional(three, covariance)
    values, inverse, constant = np.zeros((n, 4)), np.zeros((n, 4)), np.zeros(n)
    bound_inverse = np.zeros((n, 4))
    for k, name in enumerate(_KERNEL):
        value, error = pairs[name]
        least = error
        if k < 2:
            error, least = given[k], bound[k]
        if name in _PHOTOMETRIC:
            error = least = np.hypot(error, options.photometric_floor)
        used = np.isfinite(value) & (error > 0) & np.isfinite(error)
        values[used, k] = value[used]
        inverse[used, k], bound_inverse[used, k] = 1.0 / error[used], 1.0 / least[used]
        constant[used] -= np.log(error[used]) + 0.5 * np.log(2 * np.pi)
    has = np.stack([np.isfinite(pairs[name][0]) for name in _KERNEL], axis=1)
    feh, feh_error = pairs["feh"]
    missing = ~((has[:, 0] | has[:, 3]) & (has[:, 1] | has[:, 2]) & np.isfinite(feh))
    add_flag(flag, missing, StarFlag.MISSING_PARAMETERS)
    add_flag(flag, bad & ~missing, StarFlag.BAD_ERROR)
    add_flag(flag, are_skipped(catalog), StarFlag.SKIPPED)
    if "abs_g" in observables:
        add_flag(flag, ~has[:, 2], StarFlag.MISSING_PHOTOMETRY)

    with_alpha = np.isfinite(pairs["alpha_fe"][0])
    alpha = np.stack([np.where(with_alpha, p, 0.0) for p in pairs["alpha_fe"]], axis=1)
    good = flag & np.int32(StarFlag.MISSING_PARAMETERS | StarFlag.BAD_ERROR) == 0
    low, high = (grid.alpha[0], grid.alpha[-1]) if len(grid.alpha) > 1 else (-0.2, 0.8)
    inside = np.clip(np.where(good, alpha[:, 0], 0.0), low, high)
    with np.errstate(invalid="ignore", divide="ignore"):
        least, most = grid.feh_limits(inside)
        beyond = np.maximum(least - feh, feh - most) / feh_error
        # Without an error [α/Fe] is 0, which may be a hair outside.
        beyond_alpha = np.abs(alpha[:, 0] - inside) / np.maximum(alpha[:, 1], 1e-9)
        off = good & ~((beyond_alpha <= _WINDOW) & (beyond <= _WINDOW))
    add_flag(flag, off, StarFlag.OFF_GRID)
    return Observed(
        values, inverse, np.stack([feh, feh_error], axis=1), alpha, shear, bound_inverse, constant,
        has.sum(axis=1) + 1 + with_alpha, flag, giant, seen.gravity[:, 0],
        in_clump_region(seen),
        near_zams(seen) & ~by_sound,
    )  # fmt: skip


def _covariance(catalog: xr.Dataset, pairs: dict[str, Pair]) -> tuple[NDArray, NDArray]:
    """Return covariances (star, 3) of `_PAIRS`, 0 where not known, and which are impossible."""
    n = catalog.sizes["star"]
    rho, product = np.zeros((2, 3, n))
    for k, (i, j) in enumerate(_PAIRS):
        first, second = SPECTRAL[i], SPECTRAL[j]
        if (name := f"{first}_{second}_corr") in catalog:
            known = np.isfinite(pairs[first]).all(axis=0) & np.isfinite(pairs[second]).all(axis=0)
            own = np.nan_to_num(catalog[name].values.astype(np.float64))
            rho[k] = np.where(known, np.clip(own, -2.0, 2.0), 0.0)
            product[k] = np.where(known, pairs[first][1] * pairs[second][1], 0.0)
    some = np.flatnonzero((rho != 0.0).any(axis=0))
    impossible = np.zeros(n, dtype=bool)
    least = np.linalg.eigvalsh(correlation_matrix(*rho[:, some]))[:, 0]
    impossible[some] = least < _LEAST_EIGENVALUE
    covariance = (rho * product).T
    covariance[impossible] = 0.0
    return covariance, impossible


def _hear(
    name: str,
    heard: Pair,
    pairs: dict[str, Pair],
    covariance: NDArray,
    done: NDArray[np.bool_],
    by_teff: NDArray,
) -> None:
    """Put log g of seismology into `pairs` and `covariance`, of the stars that are not `done`.

    Those are then, and have the change of log g with T_eff in `by_teff`, dex/K.
    """
    value, error = heard
    there = ~done & np.isfinite(value)
    if name == "nu_max":
        teff, teff_error = pairs["teff"]
        there &= np.isfinite(teff) & np.isfinite(teff_error) & (value > 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            error = error / (value * math.log(10.0))
            by_teff[there] = 0.5 / (teff[there] * math.log(10.0))
            value = (
                _SOLAR_LOGG + np.log10(value / _SOLAR_NU_MAX) + 0.5 * np.log10(teff / _SOLAR_TEFF)
            )
            error = np.hypot(error, by_teff * teff_error)
            covariance[there, 0] = (by_teff * teff_error**2)[there]
            covariance[there, 2] = (by_teff * covariance[:, 1])[there]
    else:
        covariance[there, 0] = covariance[there, 2] = 0.0
    logg, logg_error = pairs["logg"]
    pairs["logg"] = np.where(there, value, logg), np.where(there, error, logg_error)
    done |= there


def correlation_matrix(
    teff_logg: ArrayLike, teff_feh: ArrayLike, logg_feh: ArrayLike
) -> NDArray[np.float64]:
    """Return the matrices (..., 3, 3) of correlations of errors of T_eff, log g and [Fe/H]."""
    rho = np.broadcast_arrays(*(np.asarray(r, float) for r in (teff_logg, teff_feh, logg_feh)))
    matrix = np.zeros((*rho[0].shape, 3, 3)) + np.eye(3)
    for (i, j), r in zip(_PAIRS, rho, strict=True):
        matrix[..., i, j] = matrix[..., j, i] = r
    return matrix


def conditional(errors: NDArray, covariance: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Turn errors of T_eff, log g and [Fe/H] (3, star) and covariances into what the kernel takes.

    Return the errors (2, star) of T_eff given [Fe/H] and of log g given both; `shear` of
    `kernel.likelihood.Stars`; and the errors (2, star) of T_eff and log g that bounds are taken
    with. `covariance` (star, 3) is that of `_PAIRS`. Independent errors stay what they are.
    """
    given, shear = errors[:2].copy(), np.zeros((errors.shape[1], 4))
    bound = given.copy()
    shear[:, 3] = 1.0
    some = np.flatnonzero((covariance != 0.0).any(axis=1))
    if not len(some):
        return given, shear, bound
    tg, tf, gf = covariance[some].T
    # A covariance is of stars that have both errors; the third may be missing.
    errors = np.nan_to_num(errors[:, some], posinf=0.0)
    st, sg, sf = np.where(errors > 0, errors, 1.0)
    by_teff, by_logg = tf / sf**2, gf / sf**2
    left_t = st**2 - by_teff * tf
    shared = tg - by_teff * gf
    gamma = shared / left_t
    left_g = sg**2 - by_logg * gf - gamma * shared
    matrix = correlation_matrix(tg / (st * sg), tf / (st * sf), gf / (sg * sf))
    greatest = np.linalg.eigvalsh(matrix)[:, -1]
    for k, (own, left) in enumerate(((st, left_t), (sg, left_g))):
        there = errors[k] > 0
        given[k, some[there]] = np.sqrt(left)[there]
        bound[k, some[there]] = (own * np.sqrt(greatest))[there]
    shear[some] = np.stack([by_teff, by_logg, gamma, 1.0 / greatest], axis=1)
    return given, shear, bound


def possibilities(
    catalog: xr.Dataset, grid: WorkingGrid, options: AgeOptions
) -> list[tuple[float, Observed]]:
    """Return what may be true of a star's observables, each with ln of its probability.

    The first is that none is wrong, with all flags; a star that is off the grid by only some of
    them is not `OFF_GRID`.
    """
    first = observe(catalog, grid, options)
    asked = [name for name in options.observables if name in catalog or name == "logg"]
    wrong, share = options.outliers.among(asked), options.outliers.share
    if not wrong:
        return [(0.0, first)]
    others = [observe(catalog, grid, options, wrong=name) for name in wrong]
    for other in others:
        first.flag[:] &= other.flag
    return [
        (math.log1p(-share * len(wrong)), first),
        *((math.log(share), other) for other in others),
    ]
