"""Are the ages right? Comparisons with the Sun, clusters, seismology and other families.

`validate_ages` runs everything that a recipe asks for; `migrate-bayes validate ages` prints it and
writes the page. The loaders in `samples` give stars of known age in one form; `spread`, `coverage`
and `pit` work on any arrays; `aims` holds the bounds that the ages are judged by. Names load when
first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "calibration": ["calibrate", "coverage_table", "draw_prior_stars"],
        "recipe": ["ValidateAges", "load_validate_ages"],
        "statistics": ["Spread", "coverage", "pit", "spread"],
        "validation": ["AgeValidation", "validate_ages"],
    },
)
