"""A run: the stages of a recipe in order, each reading and writing products in ``runs/<name>/``.

`Run` has one method per stage, and `Run.all` calls them in turn. A stage prints one line when it
ends. `compare_recipes` fits the same stars under several choices.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "comparison": ["compare_recipes"],
        "partitions": ["partition_function"],
        "recipe": ["Recipe", "load_recipe"],
        "stages": ["Run"],
    },
)
