"""Selections of stars: by name, after Vickers, Shen & Li (2021, "the paper"), and by expression.

`select` takes a name, an expression (``"thin & high-quality"``), a list or a table of limits, and
returns a boolean mask. A `Selection` composes with ``&``, ``|`` and ``~`` and has a description.
`SELECTIONS` lists the names; `expressions` parses the expressions of recipes.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "conditions": ["SELECTIONS", "Selection", "compare", "dividing_line", "limits"],
        "expressions": ["select"],
    },
)
