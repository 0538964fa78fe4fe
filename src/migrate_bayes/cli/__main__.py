"""``python -m migrate_bayes.cli``, as before the command line had a folder."""

from __future__ import annotations

from migrate_bayes.cli.app import main

main()
