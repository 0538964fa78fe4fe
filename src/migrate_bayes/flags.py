"""Flags of stars, for scripts: what each bit of the column ``flag`` means, and how many have it."""

from migrate_bayes.core.flags import StarFlag, count_flags

__all__ = ["StarFlag", "count_flags"]
