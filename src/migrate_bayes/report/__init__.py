"""Figures, tables and the HTML page of a run, and its headline on the terminal.

`write_report` writes the page of `RunProducts`; `headline` gives the numbers at its top, which
print themselves; `print_baseline` prints a baseline bin by bin.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "headline_table": ["Headline", "HeadlineRow", "headline", "print_baseline"],
        "page": ["write_report"],
        "products": ["RunProducts"],
    },
)
