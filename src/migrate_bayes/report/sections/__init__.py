"""Plates: what stands in each figure's place on the page.

A plate is a function from a run's `ReportData` to a `Picture`, a str that says why there is none,
or None, which leaves the place out. `migrate_bayes.report.registry` lists them in their order.
"""
