"""The same stars fitted by `astrolachesis`: nested sampling on the Dartmouth grid, one at a time.

It is driven through its public classes with everything it would look up given (``offline=True``):
T_eff, log g, [Fe/H], a G magnitude at ten parsecs whose uncertain distance is the error of M_G, no
extinction, no extra jitter, ages flat from 1 to 15 Gyr. It has no [α/Fe], so [Fe/H] is the one of
equal total metallicity. This is the one place where its code is run.
"""

from __future__ import annotations

import contextlib
import io
import math
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from migrate_bayes.isochrones import load_source, salaris

__all__ = ["fit_with_lachesis"]

_FLOOR = 0.02  # mag, as `estimate_ages` adds to M_G
_LIVE, _DLOGZ = 500, 0.01  # its own defaults


class _Peer:
    """One star, set up; calling it samples."""

    def __init__(self, star: Mapping[str, tuple[float, float]]) -> None:
        from lachesis import Fitter, Star

        shift = load_source("dartmouth").solar_feh_initial
        alpha, alpha_error = star.get("alpha_fe", (0.0, 0.0))
        slope = float(salaris(alpha + 0.01) - salaris(alpha - 0.01)) / 0.02
        g, g_error = star["abs_g"]
        # At 10 pc the apparent magnitude is the absolute one: σ(d) = d ln(10)/5 σ(M_G).
        subject = Star(
            "mock", 0.0, 0.0, offline=True, verbose=False, Av=0.0,
            magnitudes={"Gaia_G": (g, _FLOOR)}, dist=10.0, dist_e=2.0 * math.log(10.0) * g_error,
            logg=star["logg"][0], logg_e=star["logg"][1],
            feh=star["feh"][0] + shift + float(salaris(alpha)),
            feh_e=math.hypot(star["feh"][1], slope * alpha_error),
        )  # fmt: skip
        subject.teff, subject.teff_e = star["teff"]
        fitter = Fitter()
        fitter.star, fitter.grids, fitter.bma, fitter.verbose = subject, ["dartmouth"], False, False
        fitter.fit_jitter = False
        fitter.age_range = (9.0, 10.1761)
        fitter.prior_setup = {"log_age": "uniform", "Av": ("fixed", 0.0)}
        fitter.setup = ["dynesty", _LIVE, _DLOGZ, "multi", "rwalk", 1, False]
        fitter.initialize()
        self._fitter = fitter

    def __call__(self) -> dict[str, Any]:
        result: dict[str, Any] = self._fitter.fit()
        return result


def fit_with_lachesis(star: Mapping[str, tuple[float, float]]) -> Any:
    """Set one star up, grid loaded and priors parsed, so that only its sampling is left to time.

    Parameters
    ----------
    star : mapping
        ``teff`` K, ``logg``, ``feh``, ``alpha_fe`` dex, ``abs_g`` mag: value and error.

    Returns
    -------
    callable
        Samples the posterior, in silence, and returns its 16, 50 and 84 percentiles of age, Gyr.
    """
    with _silence():
        peer = _Peer(star)

    def run() -> list[float]:
        with _silence():
            result = peer()
        log_age = result["samples"][:, list(result["param_names"]).index("log_age")]
        return [float(v) for v in np.percentile(10.0 ** (log_age - 9.0), [16, 50, 84])]

    return run


@contextlib.contextmanager
def _silence() -> Any:
    """Keep progress bars and warnings of another package off the terminal."""
    sink = io.StringIO()
    with (
        contextlib.redirect_stdout(sink),
        contextlib.redirect_stderr(sink),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield
