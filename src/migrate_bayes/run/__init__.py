"""A run: the stages of a recipe in order, each reading and writing products in ``runs/<name>/``.

`Run` has one method per stage, and `Run.all` calls them in turn. Stars pass through ages and orbits
in chunks; a stage prints one line when it ends: what it did, how long it took, how much memory the
process had needed by then.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "run": ["Run", "gradient_table", "sampler_line"],
    },
)
