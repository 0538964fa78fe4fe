"""The report's figures with their captions; `migrate_bayes.report.registry` lists them."""
