"""Across potentials, solar parameters, isochrone families, selections: what a choice is worth.

The same stars, with the same random draws, are fitted under several choices. `compare_recipes` runs
what is missing and gives one DataTree: each variant's gradients and churning strength, paired
differences between variants with their probability, and how much of the whole uncertainty each
choice makes. What *paired* means is written in `migrate_bayes.compare.influence`.
"""

from __future__ import annotations

from migrate_bayes.cli.compare import compare_recipes
from migrate_bayes.compare.decomposition import Share, decompose
from migrate_bayes.compare.product import build_comparison, comparison_summary
from migrate_bayes.compare.stages import FittedVariant, VariantStages
from migrate_bayes.compare.variants import ComparedVariant, list_variants

__all__ = [
    "ComparedVariant",
    "FittedVariant",
    "Share",
    "VariantStages",
    "build_comparison",
    "compare_recipes",
    "comparison_summary",
    "decompose",
    "list_variants",
]
