"""From a catalogue to StarPosteriors: the stages that stars pass through in chunks.

No more than a chunk of the catalogue and a part of the product is in memory, however many stars
there are, and no number depends on the size of the chunks.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import xarray as xr

from migrate_bayes.core.progress import progress
from migrate_bayes.run.base import RunBase
from migrate_bayes.stars import StarWriter, assemble_stars, open_run_stars, validate

if TYPE_CHECKING:
    from migrate_bayes.catalog import CatalogStream

__all__ = ["StarStages"]


class StarStages(RunBase):
    """The stages that make stars; see `migrate_bayes.run.Run`."""

    def simulate(self) -> Path:
        """Make the mock survey's catalogue, its truth beside it."""
        from migrate_bayes.mock import simulate_to_parquet

        self._refuse_existing(self.catalog_path)
        with self._stage("simulate") as done:
            r = self.recipe
            rows = simulate_to_parquet(
                self.catalog_path,
                r.simulate,
                seed=r.seed,
                isochrones=r.isochrones,
                orbits=r.orbits,
                chunk_size=r.chunk_size,
                overwrite=self.overwrite,
            )
            done["text"] = f"{rows:,} stars → {self.catalog_path}"
        return self.catalog_path

    @cached_property
    def catalog(self) -> CatalogStream:
        """The catalogue, checked; read in chunks, with flags set and extinction corrected."""
        from migrate_bayes.catalog import open_catalog

        data = self.recipe.data
        if data.source == "mock" and not self.catalog_path.exists():
            self.simulate()
        with self._stage("catalogue") as done:
            catalog = open_catalog(
                self.catalog_path,
                columns=data.columns,
                duplicate_radius=data.duplicate_radius,
                min_snr=data.min_snr,
                extinction=data.extinction if self._needs_photometry else None,
            )
            whole = " (its format is read whole)" if catalog.whole else ""
            done["text"] = f"{catalog.n_stars:,} stars in {self.catalog_path.name}{whole}"
        return catalog

    @property
    def _needs_photometry(self) -> bool:
        i = self.recipe.isochrones
        return i.source != "external" and not {"abs_g", "bp_rp"}.isdisjoint(i.observables)

    def _ages_of(self, chunk: xr.Dataset, family: str | None = None) -> xr.Dataset:
        from migrate_bayes.catalog import flag_age_error
        from migrate_bayes.isochrones import estimate_ages, external_ages

        i = self.recipe.isochrones
        if family is not None:
            i = i.model_copy(update={"source": family})
        if i.source == "external":
            ages = external_ages(chunk)
        else:
            ages = estimate_ages(
                chunk,
                source=i.source,
                method=i.method,
                observables=i.observables,
                photometric_floor=i.photometric_floor,
                age_prior=i.age_prior,
                feh_scale=i.feh_scale,
                ages=i.ages,
            )
        limit = self.recipe.data.max_age_error
        return ages if limit is None else flag_age_error(ages, max_age_error=limit)

    def _orbits_of(self, chunk: xr.Dataset) -> xr.Dataset:
        from migrate_bayes.orbits import compute_orbits

        o = self.recipe.orbits
        return compute_orbits(
            chunk,
            frame=o.frame,
            potentials=o.potentials,
            scaling=o.scaling,
            draws=o.draws,
            zmax_draws=o.zmax_draws,
            sweep=None if o.sweep is None else o.sweep.model_dump(exclude_none=True),
            zmax=True if o.zmax_potentials is None else list(o.zmax_potentials),
            seed=self.recipe.seed,
        )

    def _write(self, name: str, **stages: Callable[[xr.Dataset], xr.Dataset]) -> Path:
        """Stream the catalogue through one or both stages into a StarPosteriors folder."""
        path = self.folder / name
        self._refuse_existing(path)
        catalog = self.catalog  # checked (and reported) before the stage's own clock starts
        with (
            self._stage(name) as done,
            StarWriter(path, overwrite=self.overwrite) as out,
            progress(catalog.n_stars, name) as advance,
        ):
            for chunk in catalog.chunks(self.recipe.chunk_size):
                made = {key: stage(chunk) for key, stage in stages.items()}
                out.append(assemble_stars(chunk, **made, attrs=self._provenance))
                advance(chunk.sizes["star"])
            done["text"] = f"{' and '.join(stages)} of {catalog.n_stars:,} stars → {path}"
        return path

    def ages(self) -> Path:
        """Age posteriors alone."""
        return self._write("ages", ages=self._ages_of)

    def ages_of_family(self, family: str, name: str) -> Path:
        """Age posteriors on another isochrone source, into ``<name>/``."""
        return self._write(name, ages=lambda chunk: self._ages_of(chunk, family))

    def orbits(self) -> Path:
        """Phase space and orbits alone."""
        return self._write("orbits", orbits=self._orbits_of)

    def make_stars(self) -> Path:
        """Ages and orbits, together in one product."""
        return self._write("stars", ages=self._ages_of, orbits=self._orbits_of)

    @cached_property
    def stars(self) -> xr.Dataset:
        """StarPosteriors of this run, on disk: a variable is read where it is used."""
        return validate(open_run_stars(self.folder))
