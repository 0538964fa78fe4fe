"""How a survey took its stars: completeness by injection.

Stars of every age, radius and [Fe/H] are put before the survey's limits and the recipe's own cuts
(`injections`), and ln S([Fe/H], R_g, age) is fitted to the counts of those that pass
(`regression`). The likelihood divides by what S takes (`population.likelihood.selected`).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "completeness_options": ["CompletenessOptions"],
        "injections": ["InjectedMetallicity", "count_injections"],
        "regression": ["fit_completeness"],
    },
)
