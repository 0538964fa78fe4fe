"""The sweep along a block of isochrones that is `ready` at a star's lattice points.

`layout.Layout.ready` holds each block at four metallicities a cell, for every node of [α/Fe]: eight
lattice points of a star are then one vector, and all that is left is the sum over [α/Fe] nodes with
the star's weights at each point. Which of the block's segments count is found first, and only these
are added (`segments.add_segment`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from migrate_bayes.isochrones.kernel.grid_layout import BLOCK, POINTS, READY
from migrate_bayes.isochrones.kernel.segments import NEVER, add_segment
from migrate_bayes.isochrones.kernel.simd import (
    WIDTH,
    any_below,
    broadcast,
    load,
    smaller,
    splat,
    store,
    where_negative,
)

__all__ = ["FOR_SWEEP", "sweep_ready", "sweep_ready_4", "sweep_ready_5"]

_F = np.float32
FOR_SWEEP = (2 + 5 * POINTS) * WIDTH  # floats of scratch


@njit(inline="always")
def _mix(ready, at, w, m0, m1, m2, born):  # type: ignore[no-untyped-def]
    """Add a node of [α/Fe] to T_eff, log g, M_G and the number born, with weights by lane."""
    return (
        m0 + w * load(ready, at),
        m1 + w * load(ready, at + WIDTH),
        m2 + w * load(ready, at + 2 * WIDTH),
        born + w * load(ready, at + 3 * WIDTH),
    )


def _sweeper(count: int) -> Any:
    """Compile the sweep for a number of [α/Fe] nodes; 0: for any number."""

    @njit(cache=True, nogil=True, error_model="numpy")
    def sweep(  # type: ignore[no-untyped-def]
        ready, start, per_alpha, n_alpha, weights, weights_at, per_weight, obs, inv, prior,
        reference, limit, work, out,
    ):  # fmt: skip
        """Integrate the likelihood along a block that is ready at eight lattice points.

        Parameters
        ----------
        ready : numpy.ndarray
            The layout's, flat; the block at the first [α/Fe] node begins at `start`, that at the
            next node `per_alpha` further.
        n_alpha : int
            How many nodes, where it was not compiled for a number of them.
        weights, weights_at, per_weight : numpy.ndarray, int, int
            Their weights, by lane: those of the next node are `per_weight` further.
        obs, inv : numpy.ndarray, shape (4,)
            Observables and inverse errors.
        prior : Lanes
            χ² under the prior.
        reference, limit : float32
            See `sweep`.
        work, out : numpy.ndarray, int
            Where to put the integral, and `WIDTH` further the least χ², by lane; what follows,
            `FOR_SWEEP` in all, is scratch.

        Returns
        -------
        bool
            Whether any segment counts. If not, nothing is put anywhere.
        """
        zero, quarter = splat(_F(0.0)), splat(_F(0.25))
        ceiling, compared = splat(limit), splat(reference)
        q0, q1, q2 = broadcast(inv, 0), broadcast(inv, 1), broadcast(inv, 2)
        x0, x1, x2 = broadcast(obs, 0) * q0, broadcast(obs, 1) * q1, broadcast(obs, 2) * q2
        w0 = load(weights, weights_at)
        w1 = w2 = w3 = w4 = zero
        if count >= 4:
            w1 = load(weights, weights_at + per_weight)
            w2 = load(weights, weights_at + 2 * per_weight)
            w3 = load(weights, weights_at + 3 * per_weight)
        if count >= 5:
            w4 = load(weights, weights_at + 4 * per_weight)
        for p in range(POINTS):
            at = start + p * READY * WIDTH
            m0, m1 = w0 * load(ready, at), w0 * load(ready, at + WIDTH)
            m2, born = w0 * load(ready, at + 2 * WIDTH), w0 * load(ready, at + 3 * WIDTH)
            if count == 0:
                for k in range(1, n_alpha):
                    w = load(weights, weights_at + k * per_weight)
                    m0, m1, m2, born = _mix(ready, at + k * per_alpha, w, m0, m1, m2, born)
            if count >= 4:
                m0, m1, m2, born = _mix(ready, at + per_alpha, w1, m0, m1, m2, born)
                m0, m1, m2, born = _mix(ready, at + 2 * per_alpha, w2, m0, m1, m2, born)
                m0, m1, m2, born = _mix(ready, at + 3 * per_alpha, w3, m0, m1, m2, born)
            if count >= 5:
                m0, m1, m2, born = _mix(ready, at + 4 * per_alpha, w4, m0, m1, m2, born)
            r0, r1, r2 = x0 - m0 * q0, x1 - m1 * q1, x2 - m2 * q2
            to = out + (2 + 5 * p) * WIDTH
            store(work, to, r0)
            store(work, to + WIDTH, r1)
            store(work, to + 2 * WIDTH, r2)
            store(work, to + 3 * WIDTH, prior + r0 * r0 + r1 * r1 + r2 * r2)
            store(work, to + 4 * WIDTH, born)
        # Which segments count is known before any is added: the processor guesses that badly.
        wanted = 0
        for p in range(BLOCK):
            to = out + (2 + 5 * p) * WIDTH
            r0 = load(work, to + 5 * WIDTH) - load(work, to)
            r1 = load(work, to + 6 * WIDTH) - load(work, to + WIDTH)
            r2 = load(work, to + 7 * WIDTH) - load(work, to + 2 * WIDTH)
            a = r0 * r0 + r1 * r1 + r2 * r2
            c0, c1 = load(work, to + 3 * WIDTH), load(work, to + 8 * WIDTH)
            bound = smaller(c0, c1) - quarter * a
            bound = where_negative(zero - load(work, to + 4 * WIDTH), bound, splat(NEVER))
            wanted |= int(any_below(bound, ceiling)) << p
        if wanted == 0:
            return False
        integral, least, e0, known = zero, splat(NEVER), zero, False
        for p in range(BLOCK):
            if wanted >> p & 1 == 0:
                known = False
                continue
            to = out + (2 + 5 * p) * WIDTH
            s0, s1, s2 = load(work, to), load(work, to + WIDTH), load(work, to + 2 * WIDTH)
            r0 = load(work, to + 5 * WIDTH) - s0
            r1 = load(work, to + 6 * WIDTH) - s1
            r2 = load(work, to + 7 * WIDTH) - s2
            e0, known, integral, least = add_segment(
                r0 * r0 + r1 * r1 + r2 * r2, load(work, to + 3 * WIDTH), load(work, to + 8 * WIDTH),
                s0 * r0 + s1 * r1 + s2 * r2, e0, known, load(work, to + 4 * WIDTH), ceiling,
                compared, integral, least,
            )  # fmt: skip
        store(work, out, integral)
        store(work, out + WIDTH, least)
        return True

    return sweep


#: Of blocks that are ready: four nodes of [α/Fe], five, and any number.
sweep_ready_4, sweep_ready_5, sweep_ready = (_sweeper(n) for n in (4, 5, 0))
