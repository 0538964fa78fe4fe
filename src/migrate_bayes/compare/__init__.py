"""Across potentials, solar parameters, isochrone families, selections: what a choice is worth.

The same stars, with the same random draws, are fitted under several choices. A comparison is one
DataTree: each variant's gradients and churning strength, paired differences between variants with
their probability, and how much of the whole uncertainty each choice makes. What *paired* means is
written in `migrate_bayes.compare.influence`; `migrate_bayes.run.compare_recipes` fits what is
missing and compares.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "compare_options": ["CompareOptions", "IsmHistory", "VariantOptions"],
        "decomposition": ["decompose"],
    },
)
