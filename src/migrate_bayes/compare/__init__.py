"""Across potentials, solar parameters, isochrone families, selections: what a choice is worth.

The same stars, with the same random draws, are fitted under several choices. `compare_recipes` runs
what is missing and gives one DataTree: each variant's gradients and churning strength, paired
differences between variants with their probability, and how much of the whole uncertainty each
choice makes. What *paired* means is written in `migrate_bayes.compare.influence`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "decomposition": ["Share", "decompose"],
        "product": ["build_comparison", "comparison_summary"],
        "stages": ["FittedVariant", "VariantStages"],
        "variants": ["ComparedVariant", "list_variants"],
    },
)
