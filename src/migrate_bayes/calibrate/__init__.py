r"""Is the posterior what it says it is, and what do simpler ways get wrong?

Two questions that only simulated surveys answer:

* `calibrate`: draw every parameter from the prior, simulate a survey from the model itself, fit it,
  and ask where among the posterior's draws the truth lies. If prior, simulator, likelihood and
  sampler agree, its rank is uniform for every parameter, and an interval of probability p holds the
  truth in a share p of surveys (Cook, Gelman & Rubin 2006, JCGS 15, 675; Talts et al. 2018,
  arXiv:1804.06788). Any error in any of the four shows.
* `measure_bias`: what orthogonal distance regression in bins of age makes of surveys with known
  gradients, as errors, scatter, the thick disc and cuts come in one by one, beside the fit.

Both write each survey's result as one line of a `Ledger`, so that a run that was stopped goes on.
"""

from __future__ import annotations


from migrate_bayes.calibrate.ledger import Ledger
from migrate_bayes.calibrate.ranks import Calibration, coverage, ecdf_band, rank_test
from migrate_bayes.calibrate.recipe import BiasRecipe, CalibrateRecipe, load_bias, load_calibrate
from migrate_bayes.calibrate.refit import Refit
from migrate_bayes.calibrate.run import calibrate

__all__ = [
    "BiasRecipe",
    "CalibrateRecipe",
    "Calibration",
    "Ledger",
    "Refit",
    "calibrate",
    "coverage",
    "ecdf_band",
    "load_bias",
    "load_calibrate",

    "rank_test",
]
