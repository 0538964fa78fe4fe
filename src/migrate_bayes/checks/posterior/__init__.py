"""Simulated surveys that test whether a posterior is right, and the bias of simpler methods.

On posterior draws of one's own, as plain arrays: `rank_statistics`, `rank_test`, `UniformRanks`,
`coverage`, and `bias_statistics` of estimates with error bars. On surveys simulated by a recipe:
`calibrate` (simulation-based calibration of the population model) and `measure_bias` (orthogonal
distance regression in bins of age, beside the fit). Both runs keep each survey's result as a line
of a `Ledger`: a run that was stopped goes on.
"""

import lazy_loader

_PUBLIC = {
    "bias": ["Bias", "bias_statistics", "measure_bias"],
    "calibration": ["Calibration", "calibrate"],
    "page": ["bias_figure", "coverage_figure", "rank_figure", "recovery_figure"],
    "ranks": ["Coverage", "UniformRanks", "coverage", "rank_statistics", "rank_test", "thinned"],
    "recipe": ["BiasRecipe", "CalibrateRecipe"],
}
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs=_PUBLIC)
