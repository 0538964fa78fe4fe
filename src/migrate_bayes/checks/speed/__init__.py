"""Timings and errors of stages beside independent codes; benchmarks/README.md describes each."""
