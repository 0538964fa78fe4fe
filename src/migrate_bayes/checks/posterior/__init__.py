"""Simulated surveys that test whether a posterior is right, and the bias of simpler methods.

`rank_statistics`, `rank_test`, `UniformRanks` and `coverage` take posterior draws as plain arrays,
and `bias_statistics` takes estimates with their errors. `calibrate` (simulation-based calibration
of the population model) and `measure_bias` (orthogonal distance regression in bins of age, beside
the fit) simulate the surveys of a recipe. Both write each survey's result to a `Ledger`, so that a
run that was stopped can be continued.
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
