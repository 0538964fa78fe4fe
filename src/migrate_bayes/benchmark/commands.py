"""``migrate-bayes benchmark ...``: one command a benchmark; each loads what it needs when it runs.

A new one takes ``--json`` and whatever sets its size, gets a dictionary from its own module, and
gives it to `harness.emit`.
"""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["app"]

app = typer.Typer(help="Time a stage and check it against independent codes.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")]
Seed = Annotated[int, typer.Option("--seed", help="Of the mock stars.")]


@app.callback()
def _benchmark() -> None:
    """Keep the name of a benchmark a sub-command, even while there is only one."""
