"""The hierarchical model of gradient(age) with thin and thick discs."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "data": ["population_data"],
        "fit_options": ["FitOptions", "SamplerOptions"],
        "likelihood.distributed": ["likelihood_on"],
        "population_model": ["PopulationModel"],
        "model.specification": ["ModelSpec", "load_model_spec"],
        "results.diagnostics": ["diagnose", "judge", "summary"],
        "results.loo": ["compare_elpd", "leave_one_out"],
        "results.marginal": ["marginalise", "stacking_weights"],
    },
)
