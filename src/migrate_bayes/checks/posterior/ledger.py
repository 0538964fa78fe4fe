"""Results of many surveys, one line each, in a file that only grows.

The first line says what the surveys are of (kind and hash of the recipe); every other is one
survey's result as JSON, written whole and flushed to disk before the next. A line that was cut
short when a run was killed is taken off when the next one begins, and that survey is done again.
Numbers are written with all their digits, so that a result read is the result written.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

from migrate_bayes.core.errors import ProductError
from migrate_bayes.core.io import atomic_output
from migrate_bayes.core.provenance import provenance

__all__ = ["Ledger"]


class Ledger:
    """A product that is appended to.

    Parameters
    ----------
    path : path-like
    kind : str
        What its lines are.
    recipe_hash : str
        Of what decides a survey's numbers.
    seed : int
    overwrite : bool
        Begin anew where there is one already.

    Raises
    ------
    ProductError
        Where there is another recipe's ledger, or a file that is none.
    """

    def __init__(
        self, path: str | Path, *, kind: str, recipe_hash: str, seed: int, overwrite: bool = False
    ) -> None:
        self.path = Path(path)
        self.results: list[dict[str, Any]] = []
        if overwrite or not self.path.exists():
            header = {"kind": kind, **provenance(seed=seed, recipe_hash=recipe_hash)}
            with atomic_output(self.path, overwrite=overwrite) as out:
                out.write_text(json.dumps(header) + "\n", encoding="utf-8")
            return
        text = self.path.read_bytes()
        whole = text[: text.rfind(b"\n") + 1]
        try:
            header, *lines = [json.loads(line) for line in whole.splitlines()]
            found = (header["kind"], header["recipe_hash"])
        except (ValueError, KeyError, TypeError) as error:
            raise ProductError(
                f"{self.path} cannot be gone on with ({error}): use --overwrite to begin anew"
            ) from None
        if found != (kind, recipe_hash):
            raise ProductError(
                f"{self.path} holds surveys of another recipe: use --overwrite to replace them, "
                "or another name"
            )
        if len(whole) < len(text):
            os.truncate(self.path, len(whole))
        self.results = lines

    def append(self, result: dict[str, Any]) -> None:
        """Add one result: on disk when this returns."""
        with self.path.open("ab") as out:
            out.write(json.dumps(result, allow_nan=True).encode() + b"\n")
            out.flush()
            os.fsync(out.fileno())
        self.results.append(result)

    def sorted(self, key: Callable[[dict[str, Any]], Any]) -> list[dict[str, Any]]:
        """Return the results in the order of `key`, whatever the order they came in."""
        return sorted(self.results, key=key)

    def done(self, key: Callable[[dict[str, Any]], Hashable]) -> set[Hashable]:
        """Return the keys of the results there are."""
        return {key(result) for result in self.results}
