"""What every stage of a run shares: its recipe, its folders, and one line when it ends."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from migrate_bayes.core.errors import ProductError
from migrate_bayes.core.provenance import file_sha256, provenance
from migrate_bayes.run.recipe import Recipe, resolve_data_path

__all__ = ["RunBase"]


class RunBase:
    """The products of one recipe; see `migrate_bayes.run.Run`."""

    def __init__(
        self,
        recipe: Recipe,
        *,
        recipe_text: str = "",
        products: str | Path = "runs",
        reports: str | Path = "reports",
        overwrite: bool = False,
        say: Callable[[str], None] = print,
    ) -> None:
        self.recipe = recipe
        self.recipe_text = recipe_text
        self.folder = Path(products) / recipe.name
        self.report_folder = Path(reports) / recipe.name
        self.overwrite = overwrite
        self.say = say
        self.timings: list[tuple[str, float, float]] = []
        self.notes: list[str] = []
        #: Another run's mock catalogue, of which this run takes the stars.
        self.shared_catalog: Path | None = None

    @contextmanager
    def _stage(self, name: str) -> Iterator[dict[str, str]]:
        done: dict[str, str] = {}
        began = time.perf_counter()
        yield done
        seconds = time.perf_counter() - began
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
        self.timings.append((name, seconds, peak))
        text = done.get("text", "")
        self.say(f"{name:<10} {text:<58} {seconds:7.1f} s  {peak:5.2f} GB")

    def _refuse_existing(self, *paths: Path) -> None:
        """Fail before the work, not after it."""
        for path in paths:
            if path.exists() and not self.overwrite:
                raise ProductError(f"{path} exists already: use --overwrite to replace it")

    @property
    def catalog_path(self) -> Path:
        """The input catalogue; a mock's is made by `simulate`."""
        if self.shared_catalog is not None:
            return self.shared_catalog
        if self.recipe.data.source == "mock":
            return self.folder / "catalogue.parquet"
        return resolve_data_path(self.recipe.data.path)

    @cached_property
    def _provenance(self) -> dict[str, str]:
        path = self.catalog_path
        inputs = {path.name: file_sha256(path)} if path.is_file() else {}
        return provenance(seed=self.recipe.seed, recipe_hash=self.recipe.hash, inputs=inputs)
