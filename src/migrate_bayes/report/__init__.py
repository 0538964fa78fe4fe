"""Figures, tables and the HTML page of a run, and its headline on the terminal.

`write_report` writes the page, `headline` gives the numbers at its top, `print_headline` and
`print_baseline` put them on the terminal.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "headline": ["Estimate", "HeadlineRow", "headline", "print_baseline", "print_headline"],
        "page": ["write_report"],
    },
)
