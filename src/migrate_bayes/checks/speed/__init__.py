"""Timings and errors of the stages beside independent codes, in one run, as plain dictionaries.

`harness` measures and prints; each other module is one command of ``migrate-bayes benchmark``, and
benchmarks/README.md describes its result key by key.
"""
