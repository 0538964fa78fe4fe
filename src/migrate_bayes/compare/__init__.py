"""Paired comparison of potentials, solar parameters, isochrone families and selections.

The same stars, with the same random draws, are fitted under several choices.
`migrate_bayes.run.compare_recipes` fits and compares them; `migrate_bayes.compare.influence` says
what *paired* means.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "compare_options": ["CompareOptions", "DataChoice", "IsmHistory", "VariantOptions"],
        "decomposition": ["decompose"],
    },
)
