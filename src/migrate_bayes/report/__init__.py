"""The HTML page of a run, with its figures and tables, and the `headline` at its top."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "headline_table": ["headline"],
        "page": ["write_report"],
        "products": ["RunProducts"],
    },
)
