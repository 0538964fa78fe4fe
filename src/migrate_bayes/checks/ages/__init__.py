"""Are the ages right? Comparisons with the Sun, clusters, seismology and other families.

`validate_ages` runs everything that a recipe asks for; `migrate-bayes validate ages` prints it and
writes the page. The loaders in `samples` give stars of known age in one form; `spread`, `coverage`
and `pit` work on any arrays; `aims` holds the bounds that the ages are judged by.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "recipe": ["ValidateAges"],
        "statistics": ["coverage", "pit", "spread"],
        "validation": ["validate_ages"],
    },
)
