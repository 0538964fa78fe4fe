r"""ln S([Fe/H], today's radius, age) from counts of injected stars, with its error.

The stars of one disc in a cell of age A and radius R are divided among cells of [Fe/H] F by a
multinomial law,

.. math::

   p(F \mid A, R) \propto g(F \mid A)\, S, \qquad \ln S = \ln e(F) + h(A, F) + r(A, R, F)

g is the injected law of [Fe/H], e the part of it that has an isochrone. How many stars there are in
all depends on age and radius alone, which no fit needs. h and r are tensor products of cubic
B-splines, r with few functions of age. Those of radius stand where stars are many: near the Sun a
survey changes within half a kpc from faint stars to bright ones. Second differences of coefficients
are penalised, those of h by other than those of r. How much, how many functions there are, and
whether r is there at all, is chosen by Akaike's criterion, the deviance and twice the effective
number of parameters.

**[α/Fe].** S is taken not to depend on [α/Fe] at given [Fe/H] and age. Were ln S to have a slope κ
in it, the injected residual δ of [α/Fe], a normal law of the scatter t, would pass as
:math:`N(κ t^2, t^2)`: the deviance falls by what a linear fit of δ explains. The attributes have
Akaike's criterion of a κ for all, and of one that changes with radius, beside the ones above.

**Error.** A limited number of injections leaves ln S an error of covariance Σ (of the
coefficients). What it does to the gradient at given age is to first order the slope in R of

.. math:: \operatorname{Cov}_{N(F; m(R), s^2)\,S}(F, δ \ln S)

a linear form a of the coefficients for each age, and for some laws N that a disc might have. The
directions of ln S that the fit carries are the eigenvectors of :math:`A Σ A^T`, as Σ maps them
back: with independent standard normal amplitudes they have the error that the gradients have.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.interpolate import BSpline
from scipy.linalg import block_diag, cho_factor, cho_solve

from migrate_bayes.core.errors import FitError
from migrate_bayes.inject.injections import ALPHA_SD
from migrate_bayes.population.likelihood.selected import REFERENCE, level_of

Floats = NDArray[np.float64]

NEVER = -40.0
"""ln S of what is never taken."""
# Functions of age and [Fe/H] in h, and of age and radius in r, which has those of [Fe/H] that h
# has. The finer of r are tried, in ten times the time, if more than `_MANY` stars have passed.
_SIZES, _RADIAL_SIZES, _MANY = ((7, 12), (18, 20)), ((3, 6), (6, 12)), 300_000
_PENALTIES = (1.0, 10.0, 100.0, 1000.0)
_SHARE_SIZES, _SHARE_PENALTIES = ((9, 9), (18, 9)), (0.1, 1.0, 10.0, 100.0)
_SMALL = 1e-4  # penalty of any coefficient, so that all have a value
# Laws by which the error of a gradient is judged: sd of [Fe/H], at steps (dex) from the injected
# mean, and its slope (dex/kpc); mean and sd of the radius.
_SD, _STEPS, _SLOPES = REFERENCE[0][2], (-0.25, 0.0, 0.25), {"thin": -0.05, "thick": 0.0}
_RADIUS, _WIDTH = 8.3, 1.6
_FEWEST = 1000
_KEPT = 0.99  # share of the variance of the gradients that the directions have to have


@dataclass(frozen=True)
class _Term:
    """A tensor product of splines in age, radius and [Fe/H]; None is a constant along that axis."""

    age: BSpline | None
    radius: BSpline | None
    feh: BSpline | None

    def at(self, *axes: Floats) -> list[Floats]:
        """Return the functions of each axis, shapes (n_ages, p), (n_radii, q), (n_feh, s).

        Those of age are splines in ln(age): the limit in T_eff takes the young, and changes fast.
        """
        splines, axes = (self.age, self.radius, self.feh), (np.log(axes[0]), *axes[1:])
        return [
            np.ones((len(x), 1)) if b is None else b(x) for b, x in zip(splines, axes, strict=True)
        ]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Numbers of functions of the axes."""
        return tuple(1 if b is None else b.c.shape[1] for b in (self.age, self.radius, self.feh))

    @property
    def rough(self) -> Floats:
        """Sum the squares of second differences of the coefficients along each axis."""
        total = np.zeros((int(np.prod(self.sizes)),) * 2)
        for axis, size in enumerate(self.sizes):
            if size == 1:
                continue
            d = np.diff(np.eye(size), 2, axis=0)
            factors = [d.T @ d if k == axis else np.eye(n) for k, n in enumerate(self.sizes)]
            total += np.kron(np.kron(factors[0], factors[1]), factors[2])
        return total


def _with_ends(age: Floats) -> Floats:
    """Return the middles of cells of age and both ends of all: a fit has nodes there."""
    return np.concatenate([[1.5 * age[0] - 0.5 * age[1]], age, [1.5 * age[-1] - 0.5 * age[-2]]])


def _spline(x: Floats, n: int, degree: int = 3, crowd: Floats | None = None) -> BSpline:
    """Return `n` functions over the range of x, with knots at quantiles of a weight, or even."""
    inner = np.linspace(x[0], x[-1], n - degree + 1)
    if crowd is not None:
        below = np.concatenate([[0.0], np.cumsum(0.5 * (crowd[1:] + crowd[:-1]) * np.diff(x))])
        inner = np.interp(np.linspace(0.0, below[-1], len(inner)), below, x)
        inner[[0, -1]] = x[[0, -1]]
    knots = np.concatenate([[x[0]] * degree, inner, [x[-1]] * degree])
    return BSpline(knots, np.eye(n), degree, extrapolate=True)


def _sum(terms: list[_Term], coefficients: Floats, *axes: Floats) -> Floats:
    """Return the sum of terms, shape (n_ages, n_radii, n_feh, ...); coefficients (n, ...)."""
    total: Any = 0.0
    ends = np.cumsum([int(np.prod(term.sizes)) for term in terms])[:-1]
    for term, part in zip(terms, np.split(coefficients, ends), strict=True):
        c = part.reshape(*term.sizes, *part.shape[1:])
        total = total + np.einsum("ap,rq,fs,pqs...->arf...", *term.at(*axes), c, optimize=True)
    return total


def _weighted(terms: list[_Term], weight: Floats, total: Floats | None, *axes: Floats) -> Floats:
    """Return Xᵀ W X of the sum of terms, W of weights w (n_ages, n_radii, n_feh).

    W is diag(w), less w wᵀ / `total` of each age and radius if their totals (n_ages, n_radii) are
    given. X has as many rows as w has cells, but it is a product over the axes, and so is the sum
    (Currie, Durban & Eilers 2006, JRSS B 68, 259).
    """
    bases = [term.at(*axes) for term in terms]
    blocks = []
    for mine in bases:
        row = []
        for other in bases:
            both = [np.einsum("xp,xq->xpq", b, c) for b, c in zip(mine, other, strict=True)]
            out = np.einsum("arf,fuv->aruv", weight, both[2])
            if total is not None:
                one, two = (weight @ basis[2] for basis in (mine, other))
                out -= np.einsum("aru,arv->aruv", one / np.maximum(total, 1.0)[..., None], two)
            out = np.einsum("aruv,rst->austv", out, both[1])
            out = np.einsum("austv,apq->psuqtv", out, both[0])
            row.append(out.reshape(int(np.prod(out.shape[:3])), -1))
        blocks.append(row)
    return np.block(blocks)


@dataclass(frozen=True)
class _Regression:
    """Coefficients of one disc, the inverse of their curvature, and what the fit cost."""

    terms: list[_Term]
    coefficients: Floats
    covariance: Floats
    deviance: float
    parameters: float
    penalties: tuple[float, ...]

    @property
    def aic(self) -> float:
        """Akaike's criterion."""
        return self.deviance + 2.0 * self.parameters

    def log_s(self, age: Floats, cells: xr.Dataset) -> Floats:
        """Return ln S at ages, in the other cells of a disc, shape (n_ages, n_radii, n_feh)."""
        return _sum(self.terms, self.coefficients, age, *_axes(cells)[1:]) + _log_on_grid(cells)


def _regress(
    n: Floats, offset: Floats, terms: list[_Term], penalties: tuple[float, ...], *axes: Floats,
    divided: bool = False,
) -> _Regression:  # fmt: skip
    """Maximise the likelihood of counts n, with a penalty of each term, by Newton steps.

    Counts are Poisson, or those of each age and radius are `divided` among [Fe/H].
    """
    sizes = [int(np.prod(term.sizes)) for term in terms]
    rough = block_diag(*(k * term.rough for k, term in zip(penalties, terms, strict=True)))
    rough += _SMALL * np.eye(sum(sizes))
    inside = np.isfinite(offset)
    offset = np.where(inside, offset, 0.0)
    total = n.sum(axis=2) if divided else None
    bases = [term.at(*axes) for term in terms]

    def onto(values: Floats) -> Floats:
        parts = [np.einsum("arf,ap,rq,fs->pqs", values, *b, optimize=True).ravel() for b in bases]
        return np.concatenate(parts)

    def centred(values: Floats, mean: Floats) -> Floats:
        """Take from values what those of an age and radius have in common, if they are divided."""
        if total is None:
            return values
        return values - ((mean * values).sum(axis=2) / np.maximum(total, 1.0))[..., None]

    eta = np.log(np.maximum(n, 0.1)) - offset  # a start: the counts themselves
    last = np.inf
    for _ in range(100):
        log_mean = eta + offset
        if total is not None:
            log_mean -= log_mean.max(axis=2, keepdims=True, where=inside, initial=-np.inf)
        mean = np.where(inside, np.exp(np.clip(log_mean, -60.0, 25.0)), 0.0)
        if total is not None:
            mean *= (total / np.maximum(mean.sum(axis=2), 1e-300))[..., None]
        eta = centred(eta, mean)
        curvature = _weighted(terms, mean, total, *axes)
        factor = cho_factor(curvature + rough)
        coefficients = cho_solve(factor, onto(np.where(inside, mean * eta + n - mean, 0.0)))
        # Where nothing has passed the likelihood has no end: steps of ln S are limited.
        step = centred(_sum(terms, coefficients, *axes) - eta, mean)
        eta = eta + np.clip(step, -5.0, 5.0)
        ratio = np.log(np.where(n > 0, n, 1.0) / np.where(n > 0, mean, 1.0))
        deviance = 2.0 * float((n * ratio - (n - mean)).sum())
        if abs(last - deviance) < 1e-6 * max(deviance, 1.0):
            break
        last = deviance
    covariance = cho_solve(factor, np.eye(len(coefficients)))
    used = float((covariance * curvature).sum())
    return _Regression(terms, coefficients, covariance, deviance, used, penalties)


def _fits(counts: xr.Dataset, disc: str) -> tuple[_Regression, _Regression]:
    """Fit one disc without and with r, by the functions and penalties of the least criterion.

    The functions and the penalty of h are chosen without r.
    """
    cells = counts.sel(component=disc)
    age, today, fe = axes = _axes(cells)
    n = cells["passed"].transpose("age", "r_present", "feh").values.astype(np.float64)
    offset = _log_injected(cells)[:, None] + _log_on_grid(cells)
    # Where an age and radius have no star at all there is nothing to divide among [Fe/H].
    offset = np.where((n.sum(axis=2) > 0)[..., None], offset, -np.inf)
    n = np.where(np.isfinite(offset), n, 0.0)
    log_age, crowd = np.log(_with_ends(age)), np.sqrt(n.sum(axis=(0, 2)))

    def best(terms: list[list[_Term]], *chosen: float) -> _Regression:
        tried = [
            _regress(n, offset, some, (*chosen, penalty), *axes, divided=True)
            for some in terms
            for penalty in _PENALTIES
        ]
        return min(tried, key=lambda fit: fit.aic)

    h = best([[_Term(_spline(log_age, ages), None, _spline(fe, fehs))] for ages, fehs in _SIZES])
    (of_age,) = h.terms
    with_r = [
        _Term(_spline(log_age, ages, 2), _spline(today, radii, crowd=crowd), of_age.feh)
        for ages, radii in _RADIAL_SIZES[: 2 if n.sum() > _MANY else 1]
    ]
    return h, best([[of_age, r] for r in with_r], *h.penalties)


def _log_shares(counts: xr.Dataset) -> Floats:
    """Return ln of the share of each age that is taken at places, (2, n_ages, n_moduli)."""
    lent = np.flatnonzero(counts["tried"].sum(("component", "age")).values > 0)
    near = slice(lent[0], lent[-1] + 1)
    age, modulus, one = counts["age"].values, counts["modulus"].values, np.zeros(1)
    every = _with_ends(age)
    terms = [
        _Term(_spline(np.log(every), ages), _spline(modulus[near], moduli), None)
        for ages, moduli in _SHARE_SIZES
    ]
    out = np.empty((2, len(every), len(modulus)))
    for c in range(2):
        tried, taken, squared = (
            counts[name].transpose("component", "age", "modulus").values[c][:, near, None]
            for name in ("tried", "taken", "taken_squared")
        )
        # A sum of unequal shares scatters as so many stars.
        scale = taken.sum() / squared.sum()
        with np.errstate(divide="ignore"):
            offset = np.log(tried * scale)
        fits = [
            _regress(taken * scale, offset, [term], (weight,), age, modulus[near], one)
            for term in terms
            for weight in _SHARE_PENALTIES
        ]
        best = min(fits, key=lambda fit: fit.aic)
        inside = np.clip(modulus, *modulus[near][[0, -1]])
        out[c] = _sum(best.terms, best.coefficients, every, inside, one)[..., 0]
    return out - out.mean(axis=(0, 1))


def _axes(cells: xr.Dataset) -> list[Floats]:
    """Return age, today's radius and [Fe/H] of the cells."""
    return [cells[name].values for name in ("age", "r_present", "feh")]


def _log_on_grid(cells: xr.Dataset) -> Floats:
    """Return ln of the part of a disc's injected stars that has an isochrone, shape (n_feh,)."""
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(cells["on_grid"].values))


def _log_injected(cells: xr.Dataset) -> Floats:
    """Return ln of a disc's injected law of [Fe/H], shape (n_ages, n_feh)."""
    return np.asarray(cells["log_injected"].transpose("age", "feh").values)


def by_alpha(cells: xr.Dataset, disc: str, aic: float) -> dict[str, float]:
    """Return what a slope of ln S in [α/Fe] is, and what it does to the criterion."""
    if "alpha_sum" not in cells:
        return {}
    n = cells["passed"].sum(("age", "feh")).values.astype(np.float64)
    total, x = cells["alpha_sum"].values, cells["r_present"].values
    basis = np.stack([np.ones_like(x), x - (n @ x) / n.sum()])
    curvature, slope = (n * basis**2).sum(axis=1), basis @ total  # the two are orthogonal
    gain = slope**2 / curvature
    return {
        f"alpha_slope_{disc}": slope[0] / curvature[0] / ALPHA_SD,
        f"alpha_slope_error_{disc}": curvature[0] ** -0.5 / ALPHA_SD,
        f"aic_{disc}_alpha": aic - gain[0] + 2.0,
        f"aic_{disc}_alpha_radius": aic - gain.sum() + 4.0,
    }


def _directions(fit: _Regression, counts: xr.Dataset, disc: str) -> Floats:
    """Return columns of coefficients of h and r: directions of ln S, most important first."""
    near = np.abs(counts["r_present"].values - _RADIUS) < 2.5 * _WIDTH
    cells = counts.sel(component=disc).isel(r_present=near)
    age, some, feh = _axes(cells)
    by_radius = np.exp(-0.5 * ((some - _RADIUS) / _WIDTH) ** 2)
    x = some - (by_radius @ some) / by_radius.sum()
    law, log_s = np.exp(_log_injected(cells)), fit.log_s(age, cells)
    centre = ((law @ feh) / law.sum(axis=1))[:, None] + _SLOPES[disc] * (some - _RADIUS)
    bases = [term.at(age, some, feh) for term in fit.terms]
    forms = []
    for step in _STEPS:
        normal = -0.5 * ((feh - centre[..., None] - step) / _SD) ** 2 + log_s
        w = np.exp(normal - normal.max(axis=2, keepdims=True))
        w /= w.sum(axis=2, keepdims=True)
        form = w * (feh - (w @ feh)[..., None]) * (by_radius * x / (by_radius @ x**2))[:, None]
        parts = [np.einsum("arf,ap,rq,fs->apqs", form, *b, optimize=True) for b in bases]
        forms.append(np.concatenate([part.reshape(len(age), -1) for part in parts], axis=1))
    A = np.concatenate(forms)
    values, vectors = np.linalg.eigh(A @ fit.covariance @ A.T)
    order = np.argsort(values)[::-1]
    share = np.cumsum(values[order]) / values.sum()
    kept = order[: int(np.searchsorted(share, _KEPT)) + 1]
    return fit.covariance @ A.T @ vectors[:, kept] / np.sqrt(values[kept])


def fit_completeness(counts: xr.Dataset, *, directions: int = 12) -> xr.Dataset:
    """Fit ln S to counts of injected stars.

    Parameters
    ----------
    counts : xarray.Dataset
        Of `count_injections`.
    directions : int
        Most directions of error of each disc.

    Returns
    -------
    xarray.Dataset
        ``ln_s`` on (component, age, r_present, feh), whose mean over the [Fe/H] of discs is 0 at
        each age and radius of a disc, since numbers are not fitted, of the cells of `counts` and of
        both ends of their ages; ``ln_s_error`` with the dimension `direction` before these: changes
        of ln S by one standard deviation each, independent of each other; if stars were tried at
        places, ``ln_share`` on (component, age, modulus), the share of those of an age that is
        taken.
        Attributes ``aic_…`` compare ln S of age and [Fe/H] alone with that of radius too, for each
        disc; the terms are those of the less. Two more are of these terms and a slope in [α/Fe],
        ``alpha_slope_…`` per dex, which is not in ``ln_s``.

    Raises
    ------
    FitError
        If too few stars have passed.

    Examples
    --------
    All [Fe/H] alike, of 250,000 stars:

    >>> import numpy as np
    >>> from migrate_bayes.inject import InjectedMetallicity, fit_completeness
    >>> from migrate_bayes.inject.injections import Cells
    >>> cells = Cells((1.0, 13.5))
    >>> age, radius, feh = (cells.coords[name] for name in ("age", "r_present", "feh"))
    >>> law = InjectedMetallicity().log_density(age, feh)
    >>> mean = np.exp(law)[:, :, None] * np.ones((len(radius), 1))
    >>> passed = np.random.default_rng(1).poisson(250_000 * mean / mean.sum())
    >>> counts = xr.Dataset(coords=cells.coords)
    >>> counts["passed"] = ("component", "age", "r_present", "feh"), passed
    >>> counts["log_injected"] = ("component", "age", "feh"), law
    >>> counts["on_grid"] = ("component", "feh"), np.ones((2, len(feh)))
    >>> ln_s = fit_completeness(counts)["ln_s"].sel(component="thin", r_present=8.25)
    >>> bool(ln_s.sel(feh=slice(-0.5, 0.3)).std() < 0.1)
    True
    """
    passed = counts["passed"].sum(("age", "r_present", "feh"))
    for disc in counts["component"].values:
        if (few := int(passed.sel(component=disc))) < _FEWEST:
            raise FitError(
                f"only {few} injected stars of the {disc} disc pass the cuts, fewer than "
                f"{_FEWEST}: set `injections` of [completeness] higher"
            )
    age, radius, feh = _axes(counts)
    nearest = np.concatenate([[0], np.arange(len(age)), [len(age) - 1]])
    age = _with_ends(age)
    shape = 2, len(age), len(radius), len(feh)
    log_s, errors, attrs = np.empty(shape), list[Floats](), dict[str, float]()
    for c, disc in enumerate(("thin", "thick")):
        fits = _fits(counts, disc)
        attrs |= {f"aic_{disc}_age": fits[0].aic, f"aic_{disc}_age_radius": fits[1].aic}
        fit = min(fits, key=lambda fit: fit.aic)
        cells = counts.sel(component=disc)
        attrs |= by_alpha(cells, disc, fit.aic)
        log_s[c] = fit.log_s(age, cells)
        share = _log_injected(cells)[nearest, None] + log_s[c]
        share = np.exp(share - share.max(axis=-1, keepdims=True))
        share /= share.sum(axis=-1, keepdims=True)
        for column in _directions(fit, counts, disc).T[:directions]:
            change = np.zeros(shape)
            change[c] = _sum(fit.terms, column, age, radius, feh)
            # At each age and radius 0 for the stars that pass: else μ and σ would move with it.
            change[c] -= (share * change[c]).sum(axis=-1, keepdims=True)
            change[c, ..., cells["on_grid"].values == 0.0] = 0.0
            errors.append(change)
        attrs[f"parameters_{disc}"] = fit.parameters
    log_s = np.maximum(log_s - level_of(log_s, age, feh), NEVER)
    every = np.stack(errors) if errors else np.empty((0, *shape))
    dims = ("component", "age", "r_present", "feh")
    out = xr.Dataset(
        {"ln_s": (dims, log_s), "ln_s_error": (("direction", *dims), every)},
        coords={
            "component": ["thin", "thick"],
            "age": ("age", age, {"units": "Gyr"}), "feh": ("feh", feh, {"units": "dex"}),
            "r_present": ("r_present", radius, {"units": "kpc"}),
        },
        attrs=attrs | dict(counts.attrs),
    )  # fmt: skip
    if "tried" in counts:
        out["ln_share"] = ("component", "age", "modulus"), _log_shares(counts)
        out["ln_share"].attrs = {"units": "", "long_name": "ln of the share taken at a place"}
    out["ln_s"].attrs = {
        "units": "",
        "long_name": "ln of the share taken, 0 at the [Fe/H] of discs",
    }
    out["ln_s_error"].attrs = {"units": "", "long_name": "error of ln S by independent directions"}
    return out
