r"""Simulated surveys that say whether a posterior is right, and what simpler ways get wrong.

* `run.calibrate`: draw every parameter from the prior, simulate a survey from the model itself, fit
  it, and ask where among the posterior's draws the truth lies. If prior, simulator, likelihood and
  sampler agree, its rank is uniform for every parameter, and an interval of probability p holds the
  truth in a share p of surveys (Cook, Gelman & Rubin 2006, JCGS 15, 675; Talts et al. 2018,
  arXiv:1804.06788). An error in any of the four shows.
* `bias.measure_bias`: what orthogonal distance regression in bins of age makes of surveys of known
  gradients, as errors, scatter, the thick disc and cuts come in one by one, beside the fit.

Both keep each survey's result as one line of a `ledger.Ledger`, so that a run that was stopped goes
on. Nothing is loaded here: the command line imports this room's `commands`.
"""
