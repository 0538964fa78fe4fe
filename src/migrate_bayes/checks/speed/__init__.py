"""Timings and errors of stages beside independent codes; docs/benchmarks.md describes each."""
