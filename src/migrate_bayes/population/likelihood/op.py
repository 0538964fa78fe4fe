r"""The seam between PyMC and the stars: θ goes in, Σ ln L and its gradient come out.

Above the seam everything is ordinary PyMC code on a small array θ[component, age, parameter]; below
it stands a `Likelihood`: one pass of the compiled kernel over the packed stars, by threads of this
process (`StarLikelihood`) or by dask workers (`likelihood.distributed`).

The Fisher information of the stars is that of each star's own score, in one pass. With the gradient
of star *i* in θ carried on to the parameters x of a model, which θ is a function of,

.. math::

   s_i = J^T \nabla_θ \ln L_i, \qquad J = ∂θ/∂x, \qquad I = \sum_i w_i\, s_i s_i^T

whose expectation under the model is that of -∂² Σ ln L / ∂x² (the information identity). J is
sparse, since a number of θ depends on a few knots, and comes in compressed rows; a block's scores
stay in the cache until their products are added up.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numba
import numpy as np
import pytensor.tensor as pt
from numpy.typing import NDArray
from pytensor.gradient import DisconnectedType
from pytensor.graph.basic import Apply
from pytensor.graph.op import Op
from pytensor.link.numba.dispatch import basic as numba_basic
from pytensor.link.numba.dispatch import numba_funcify

from migrate_bayes.core.parallel import BLOCKS_PER_TASK, map_blocks
from migrate_bayes.population.likelihood.kernel import (
    BLOCK,
    FAST,
    LOG_2PI,
    N_STAR_ROWS,
    NEGLIGIBLE,
    add_bends,
    at_node,
    empty_bends,
    law_of,
    log_likelihood_blocks,
    log_share_of_outliers,
    of_star,
    one_star,
    probabilities,
    slopes,
    star_rows,
)
from migrate_bayes.population.likelihood.layout import PackedStars, thinned
from migrate_bayes.population.likelihood.theta import (
    N_DISCS,
    THETA,
    column_of_bend,
    column_of_class,
    n_bends,
    n_columns,
    switches,
    width_of_laws,
)

Floats = NDArray[np.float64]

_NO_ROW = np.empty(0)
_NO_CUBE = np.empty((0, 0, 0))


def in_order(parts: Sequence[tuple]) -> tuple:
    """Sum each number or array of the parts, left to right.

    Since Python 3.12 `sum` compensates rounding and would differ in the last bit.
    """
    totals = [np.zeros(np.shape(value)) for value in parts[0]]
    for part in parts:
        for total, value in zip(totals, part, strict=True):
            total += value
    return tuple(float(total) if total.ndim == 0 else total for total in totals)


class Likelihood(Protocol):
    """The sum over stars, as samplers and results see it: a function of θ.

    θ has shape (n_components, n_ages, n_theta), last axis as `likelihood.theta.THETA`, then ln P,
    μ and σ² of each further class of today's radius; n_theta is 14 for one class.
    """

    n_stars: int
    workers: int | None  # threads of one evaluation

    @property
    def evaluations(self) -> int:
        """Passes over the stars so far."""

    def value(self, theta: Floats) -> float:
        """Return Σ ln L."""

    def value_and_gradient(self, theta: Floats) -> tuple[float, Floats]:
        """Return Σ ln L and its gradient in θ."""

    def score_outer(self, theta: Floats, jacobian: Floats) -> tuple[float, Floats, Floats]:
        """Return Σ ln L, its gradient in x, (n,), and the Fisher information Σ s sᵀ, (n, n).

        `jacobian` is ∂θ/∂x, shape (n_components, n_ages, n_theta, n), for x the parameters of the
        model above θ; s is a star's score in x.
        """

    def per_star(self, theta: Floats, reduce: Floats | None = None) -> tuple[Floats, Floats]:
        """Return each star's ln L, (n_stars,), and expectations, (n_quantities, n_stars).

        The expectations are of functions f(c, k), `reduce` of shape (n_quantities, n_components,
        n_ages), over P(c, k | star). Stars are in the order in which they were packed.
        """

    def subset(self, n_stars: int) -> Likelihood:
        """Return the likelihood of about `n_stars` of the stars, spread over all ages."""


class WrappedLikelihood:
    """What wrappers of a `Likelihood` leave to the one below."""

    def __init__(self, likelihood: Likelihood) -> None:
        self.likelihood, self.n_stars = likelihood, likelihood.n_stars

    @property
    def workers(self) -> int | None:
        """Threads of one evaluation."""
        return self.likelihood.workers

    @workers.setter
    def workers(self, workers: int | None) -> None:
        self.likelihood.workers = workers


class SparseJacobian(NamedTuple):
    """∂θ/∂x: row r (a number of θ) has entries ``begin[r]:begin[r + 1]`` of x `column`, `slope`."""

    begin: np.ndarray
    column: np.ndarray
    slope: np.ndarray


@numba.njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def score_outer_blocks(  # type: ignore[no-untyped-def]
    blocks, theta, n_bent, skewed, jacobian, start, stop, score_sum, outer
):
    """Add up ln L, the scores s and their outer products s sᵀ over a range of blocks.

    Σ weight · s, shape (n,), is added to `score_sum`, and Σ weight · s sᵀ, shape (n, n), to the
    upper triangle of `outer`. Returns Σ weight · ln L, as `log_likelihood_blocks`. `jacobian` is a
    `SparseJacobian`.
    """
    rows, offset, first_node, n_nodes, radius_class, per_node = blocks
    begin, column, slope = jacobian
    n_ages, n_theta = theta.shape[1:]
    n_comp = min(theta.shape[0], N_DISCS)
    outliers = theta.shape[0] > N_DISCS
    n = len(score_sum)
    # ∂ ln(share of outliers) / ∂x
    of_share = np.zeros(n)
    log_share = log_share_of_outliers(theta) if outliers else 0.0
    if outliers:
        for k in range(n_ages):
            row = (N_DISCS * n_ages + k) * n_theta
            for e in range(begin[row], begin[row + 1]):
                of_share[column[e]] += slope[e] * math.exp(theta[N_DISCS, k, 0] - log_share)
    widest = 1
    for j in range(start, stop):
        widest = max(widest, n_nodes[j])
    B = BLOCK
    table = rows.reshape((-1, B))
    probability = np.empty((n_comp * widest + 1, B))
    root = np.empty((n_comp * widest + 1, B))
    top = np.empty(B)
    total = np.empty(B)
    bend = None if n_bent is None else empty_bends(n_bent)
    width = width_of_laws(theta, n_bent)
    g = np.zeros((len(THETA), B))
    s = np.empty((n, B))
    ws = np.empty(B)
    total_ll = 0.0
    for j in range(start, stop):
        base = offset[j] // B
        span = n_nodes[j]
        k0 = first_node[j]
        at = column_of_class(width, radius_class[j])
        probabilities(
            table, per_node, base, k0, span, at, theta, log_share, bend, skewed, probability, root,
            top, total,
        )  # fmt: skip
        weight = table[base]
        star = star_rows(table, base)
        for i in range(B):
            total_ll += weight[i] * (top[i] + math.log(total[i]) - 2.0 * LOG_2PI)
            total[i] = 1.0 / total[i]
        s[:] = 0.0
        for c in range(n_comp):
            for kk in range(span):
                p = probability[c * span + kk]
                share = 0.0
                for i in range(B):
                    share += p[i] * total[i]
                if share < NEGLIGIBLE:
                    continue
                th = theta[c, k0 + kk]
                law = law_of(th, at)
                node = base + N_STAR_ROWS + per_node * kk
                here = at_node(star, table, node, per_node)
                F, eF = table[node + 1], table[node + 2]
                if bend is not None:
                    add_bends(theta[c, k0 + kk], bend)
                for i in range(B):
                    w = p[i] * total[i]
                    d1, d2, d3, d4, d5, d6, d7, d8, d9, d10, d11, d12 = slopes(
                        one_star(here, i), F[i], eF[i], of_star(law, bend, i), skewed, th[11],
                        th[12],
                    )  # fmt: skip
                    g[0, i] = w
                    g[1, i] = w * d1
                    g[2, i] = w * d2
                    g[3, i] = w * d3
                    g[4, i] = w * d4
                    g[5, i] = w * d5
                    g[6, i] = w * d6
                    g[7, i] = w * d7
                    g[8, i] = w * d8
                    g[9, i] = w * d9
                    g[10, i] = w * d10
                    g[11, i] = w * d11
                    g[12, i] = w * d12
                row = (c * n_ages + k0 + kk) * n_theta
                for q in range(len(THETA)):
                    slopes_of_q = g[q]
                    entry = row + (q if q > 2 else at + q)
                    for e in range(begin[entry], begin[entry + 1]):
                        score, factor = s[column[e]], slope[e]
                        for i in range(B):
                            score[i] += factor * slopes_of_q[i]
                if bend is not None:
                    for q in range(n_bent):
                        entry = row + column_of_bend(n_theta, n_bent, q)
                        for e in range(begin[entry], begin[entry + 1]):
                            score, factor = s[column[e]], slope[e]
                            for i in range(B):
                                score[i] += factor * (
                                    g[3, i] * bend.value[q, i] + g[4, i] * bend.slope[q, i]
                                )
        if outliers:
            p = probability[n_comp * span]
            for x in range(n):
                if of_share[x] != 0.0:
                    score, factor = s[x], of_share[x]
                    for i in range(B):
                        score[i] += factor * p[i] * total[i]
        for u in range(n):
            one = s[u]
            sum_u = 0.0
            for i in range(B):
                ws[i] = weight[i] * one[i]
                sum_u += ws[i]
            score_sum[u] += sum_u
            for v in range(u, n):
                other = s[v]
                dot = 0.0
                for i in range(B):
                    dot += ws[i] * other[i]
                outer[u, v] += dot
    return total_ll


class StarLikelihood:
    """The `Likelihood` of packed stars, summed by `workers` threads of this process."""

    def __init__(self, stars: PackedStars, *, workers: int | None = None) -> None:
        self.stars, self.n_stars = stars, stars.n_stars
        self.workers = workers
        self.evaluations = 0

    def subset(self, n_stars: int) -> StarLikelihood:
        """Return the likelihood of about `n_stars` of the stars; see `Likelihood.subset`."""
        return StarLikelihood(thinned(self.stars, n_stars), workers=self.workers)

    def _sum[T](self, task: Callable[[int, int], T]) -> list[T]:
        return map_blocks(task, self.stars.n_blocks, BLOCKS_PER_TASK, workers=self.workers)

    def value(self, theta: Floats) -> float:
        """Return Σ ln L: the same bits as `value_and_gradient`, in half its time."""
        return self._evaluated(theta, (0, 0, 0))[0]

    def value_and_gradient(self, theta: Floats) -> tuple[float, Floats]:
        """Return Σ ln L and its gradient; see `Likelihood.value_and_gradient`."""
        return self._evaluated(theta, theta.shape)

    def _checked(self, theta: Floats) -> Floats:
        """Return θ as the kernel reads it: it does not look beyond the ends of an array."""
        theta = np.ascontiguousarray(theta, dtype=np.float64)
        bent = n_bends(theta)
        needed = n_columns(1 + int(self.stars.blocks.radius_class.max(initial=0)), bent)
        if n_columns(1, bent) != theta.shape[2] < needed:
            has = f"θ has {theta.shape[2]} columns"
            raise ValueError(f"{has}, and the classes of these stars need {needed}")
        return theta

    def _evaluated(self, theta: Floats, shape: tuple[int, ...]) -> tuple[float, Floats]:
        theta = self._checked(theta)
        self.evaluations += 1

        def task(start: int, stop: int) -> tuple[float, Floats]:
            blocks, gradient = self.stars.blocks, np.zeros(shape)
            value = log_likelihood_blocks(
                blocks, theta, *switches(theta), start, stop, _NO_ROW, _NO_CUBE, gradient
            )
            return value, gradient

        return in_order(self._sum(task))

    def score_outer(self, theta: Floats, jacobian: Floats) -> tuple[float, Floats, Floats]:
        """Return Σ ln L, gradient and Fisher information in x; see `Likelihood.score_outer`."""
        theta = self._checked(theta)
        rows = np.asarray(jacobian, dtype=np.float64).reshape(theta.size, -1)
        n = rows.shape[1]
        row, column = np.nonzero(rows)
        begin = np.searchsorted(row, np.arange(theta.size + 1))
        sparse = SparseJacobian(begin, column, rows[row, column])
        self.evaluations += 1

        def task(start: int, stop: int) -> tuple[float, NDArray, NDArray]:
            score, outer = np.zeros(n), np.zeros((n, n))
            blocks = self.stars.blocks
            value = score_outer_blocks(
                blocks, theta, *switches(theta), sparse, start, stop, score, outer
            )
            return value, score, outer

        value, gradient, information = in_order(self._sum(task))
        return value, gradient, np.triu(information) + np.triu(information, 1).T

    def per_star(self, theta: Floats, reduce: Floats | None = None) -> tuple[Floats, Floats]:
        """Return each star's ln L and expectations; see `Likelihood.per_star`."""
        theta = self._checked(theta)
        packed = self.stars
        cells = theta.shape[0] * theta.shape[1]
        wanted = np.zeros((0, cells)) if reduce is None else reduce.reshape(-1, cells)
        log_like = np.empty(packed.n_stars)
        expectation = np.empty((len(wanted), packed.n_stars))

        def task(start: int, stop: int) -> None:
            n = (stop - start) * BLOCK
            piece = np.empty(n)
            cube = np.zeros((*theta.shape[:2], n)) if len(wanted) else _NO_CUBE
            log_likelihood_blocks(
                packed.blocks, theta, *switches(theta), start, stop, piece, cube, _NO_CUBE
            )
            star = packed.star[start * BLOCK : stop * BLOCK]
            real = star >= 0
            log_like[star[real]] = piece[real]
            if len(wanted):
                expectation[:, star[real]] = (wanted @ cube.reshape(-1, n))[:, real]

        self._sum(task)
        return log_like, expectation


class PopulationLogLikelihood(Op):
    """PyTensor Op: θ → (Σ ln L, ∂ Σ ln L / ∂θ). Differentiable once, through its second output."""

    __props__ = ()

    def __init__(self, likelihood: Likelihood) -> None:
        self.likelihood = likelihood

    # Two Ops over different stars are different, whatever their (empty) properties say.
    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def make_node(self, theta: Any) -> Apply:
        """Build the node: a float64 cube in, a scalar and a cube out."""
        theta = pt.as_tensor_variable(theta).astype("float64")
        return Apply(self, [theta], [pt.dscalar(), pt.dtensor3()])

    def perform(self, node: Apply, inputs: list[Any], outputs: list[list[Any]]) -> None:
        """Evaluate both outputs at once."""
        value, gradient = self.likelihood.value_and_gradient(inputs[0])
        outputs[0][0] = np.asarray(value)
        outputs[1][0] = gradient

    def pullback(self, inputs: list[Any], outputs: list[Any], cotangents: list[Any]) -> list[Any]:
        """Back-propagate: the gradient is an output already."""
        of_value, of_gradient = cotangents
        if not isinstance(of_gradient.type, DisconnectedType):
            raise NotImplementedError("second derivatives of the population likelihood")
        return [of_value * outputs[1]]


@numba_funcify.register(PopulationLogLikelihood)
def _numba_population_log_likelihood(op: PopulationLogLikelihood, **kwargs: Any) -> Any:
    """Let compiled graphs call the Op: the kernel is compiled already and releases the GIL."""
    evaluate = op.likelihood.value_and_gradient

    @numba_basic.numba_njit
    def population_log_likelihood(theta):  # type: ignore[no-untyped-def]
        with numba.objmode(value="float64", gradient="float64[:, :, ::1]"):
            value, gradient = evaluate(theta)
        return np.asarray(value), gradient

    return population_log_likelihood
