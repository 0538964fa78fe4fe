"""The command line: `main` is the entry point of ``migrate-bayes``."""

from migrate_bayes.cli.app import app, main

__all__ = ["app", "main"]
