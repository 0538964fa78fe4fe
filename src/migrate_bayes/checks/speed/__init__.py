"""Timings and errors of the stages, side by side with independent codes, in one run.

`harness` measures; each of the other modules is one benchmark and gives a plain dictionary;
`commands` puts them on the command line. Nothing is loaded before it is used.
"""
