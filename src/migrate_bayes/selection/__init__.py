"""Which stars: named selections of StarPosteriors, after Vickers, Shen & Li (2021, "the paper").

`select` is what a user wants: it takes a name, an expression (``"thin & high-quality"``), a list or
a table of limits, and gives a boolean mask. A `Selection` composes with ``&``, ``|`` and ``~`` and
describes itself. `SELECTIONS` has the names, `expressions` what recipes may write.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "conditions": ["SELECTIONS", "Selection", "compare", "dividing_line", "limits"],
        "expressions": ["select"],
    },
)
