"""``python -m migrate_bayes``."""

from __future__ import annotations

from migrate_bayes.cli import main

main()
