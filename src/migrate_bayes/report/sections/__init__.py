"""The report's figures with their captions; `migrate_bayes.report.page` lists them."""
