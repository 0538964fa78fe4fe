"""Timings and errors of the stages beside independent codes, in one run, as plain dictionaries.

`harness` measures and prints; each other module is one benchmark.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "ages": ["benchmark_ages"],
        "fit": ["benchmark_fit"],
        "orbits": ["benchmark_orbits"],
    },
)
