"""Do the ages hold against what is known otherwise? The Sun, clusters, seismology, other families.

`validate_ages` runs everything a recipe asks for; `migrate-bayes validate ages` prints it and
writes the page. Each file holds one comparison, as plain functions from stars to numbers; where the
third-party stars of one are absent it says so and the others run. Names load when first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "calibration": ["coverage_table", "draw_prior_stars"],
        "harps": ["load_harps"],
        "kepler": ["load_kepler"],
        "m67": ["load_m67"],
        "options": ["AgeOptions"],
        "recipe": ["ValidateAges", "load_validate_ages"],
        "run": ["AgeValidation", "validate_ages"],
    },
)
