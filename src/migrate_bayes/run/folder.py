"""The folder of one run: paths of its products, their provenance, and the clock of the stages."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from migrate_bayes.core.parallel import peak_memory_gb
from migrate_bayes.core.provenance import file_sha256, provenance
from migrate_bayes.run.recipe import Recipe, resolve_data_path


class RunFolder:
    """Where the products of a recipe are; ``folder / name`` is the path of one of them.

    `path` holds the products and `report` the page; `catalog` is the input, or the mock's.
    """

    def __init__(
        self,
        recipe: Recipe,
        products: str | Path = "runs",
        reports: str | Path = "reports",
        *,
        catalog: str | Path | None = None,
        say: Callable[[str], None] = print,
    ) -> None:
        self.recipe, self.say = recipe, say
        self.path = Path(products) / recipe.name
        self.report = Path(reports) / recipe.name
        if catalog is not None:
            self.catalog = Path(catalog)
        elif recipe.data.source == "mock":
            self.catalog = self / "catalogue.parquet"
        else:
            self.catalog = resolve_data_path(recipe.data.path)

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def __repr__(self) -> str:
        there = sorted(p.name for p in self.path.iterdir()) if self.path.is_dir() else []
        return f"RunFolder({self.path}: {', '.join(there) or 'empty'})"

    @property
    def baselines(self) -> tuple[Path, Path]:
        """Products of the baseline: of the thin-disc selection, and of the thick."""
        return self / "baseline.nc", self / "baseline-thick.nc"

    @cached_property
    def provenance(self) -> dict[str, str]:
        """Attributes that every product of the run carries."""
        path = self.catalog
        inputs = {path.name: file_sha256(path)} if path.is_file() else {}
        return provenance(seed=self.recipe.seed, recipe_hash=self.recipe.hash, inputs=inputs)

    @contextmanager
    def stage(self, name: str) -> Iterator[Callable[[str], None]]:
        """Time a stage; what it says of itself is printed with its seconds and peak memory."""
        texts: list[str] = []
        began = time.perf_counter()
        yield texts.append
        seconds = time.perf_counter() - began
        self.say(f"{name:<10} {'; '.join(texts):<58} {seconds:7.1f} s  {peak_memory_gb():5.2f} GB")
