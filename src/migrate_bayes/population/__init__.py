"""The hierarchical model of gradient(age) with thin and thick discs."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "data": ["PopulationData", "population_data"],
        "likelihood.distributed": ["likelihood_on"],
        "model.build": ["build_model"],
        "model.specification": ["ModelSpec", "load_model_spec"],
        "results.loo": ["compare_elpd", "leave_one_out"],
        "results.membership": ["membership", "write_membership"],
        "results.predictive": ["posterior_predictive", "prior_predictive"],
        "sampling.posterior": ["sample"],
    },
)
