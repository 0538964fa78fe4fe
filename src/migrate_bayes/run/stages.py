"""The stages of a run, from a catalogue to the report.

No more than a chunk of the catalogue and a part of the product is in memory, however many stars
there are, and no number depends on the size of the chunks.

A stage keeps what was made before from the same (`run.made_from`): finished products, and finished
parts of stars. It refuses what was made from something else, unless it may overwrite it.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from functools import cached_property, wraps
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.core.errors import CatalogError, FitError, ProductError, RecipeError
from migrate_bayes.core.flags import CUT, FLAG_MEANING, count_flags
from migrate_bayes.core.io import (
    MADE_FROM,
    is_current,
    lock_folder,
    read_netcdf,
    recorded,
    refuse_existing,
    write_netcdf,
)
from migrate_bayes.core.journal import Journal
from migrate_bayes.core.options import is_none
from migrate_bayes.core.parallel import one_blas_thread, open_scheduler, peak_memory_gb
from migrate_bayes.core.places import expand
from migrate_bayes.core.progress import progress, record_progress, say
from migrate_bayes.core.provenance import content_hash, file_sha256, provenance
from migrate_bayes.core.table import Estimate, Table
from migrate_bayes.run import made_from
from migrate_bayes.run.made_from import MadeFrom
from migrate_bayes.run.partitions import FEWEST, LostWorkersError, PartMaker, make_parts
from migrate_bayes.run.recipe import Recipe, resolve_data_path
from migrate_bayes.stars import PART_SIZE, StarWriter, open_run_stars, validate
from migrate_bayes.stars.parts import (
    Part,
    damaged_parts,
    partial_folder,
    shard_name,
    stars_digest,
)

if TYPE_CHECKING:
    import pandas as pd

    from migrate_bayes.catalog.catalog_options import CatalogOptions
    from migrate_bayes.catalog.reading import CatalogStream
    from migrate_bayes.inject.injections import Survey
    from migrate_bayes.inject.shares import Shares
    from migrate_bayes.population.data import PopulationData
    from migrate_bayes.population.fit_options import SamplerOptions
    from migrate_bayes.population.results.diagnostics import Verdict
    from migrate_bayes.report.headline_table import Headline
    from migrate_bayes.report.published import Published
    from migrate_bayes.run.before import Stage


class RunFolder:
    """Where products (``folder / name``), page (`report`) and `catalog` of a recipe are."""

    def __init__(
        self,
        recipe: Recipe,
        products: str | Path = "runs",
        reports: str | Path = "reports",
        *,
        catalog: str | Path | None = None,
        shard: str = "",
        say: Callable[[str], None] = say,
    ) -> None:
        self.recipe, self.shard, self.say = recipe, shard, say
        self.path = expand(products) / recipe.name
        self.report = expand(reports) / recipe.name
        if catalog is not None:
            self.catalog = expand(catalog)
        elif recipe.data.source == "mock":
            self.catalog = self / "catalogue.parquet"
        else:
            self.catalog = resolve_data_path(recipe.data.path)
        self._held: ExitStack | None = None
        self._clients: dict[str, Any] = {}
        self._hashed: tuple[tuple[Any, ...], str] | None = None

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def __repr__(self) -> str:
        found = self.path.iterdir() if self.path.is_dir() else ()
        there = sorted(p.name for p in found if not p.name.startswith("."))
        return f"RunFolder({self.path}: {', '.join(there) or 'empty'})"

    @property
    def baselines(self) -> tuple[Path, Path]:
        """Products of the baseline: of the thin-disc selection, and of the thick."""
        return self / "baseline.nc", self / "baseline-thick.nc"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes out while the body writes products; may be nested."""
        if self._held is not None:
            yield
            return
        with ExitStack() as self._held:
            self._held.callback(setattr, self, "_held", None)
            self._held.callback(self._clients.clear)
            self._held.enter_context(lock_folder(self.path, self.shard))
            record = f"progress-{self.shard}.json" if self.shard else "progress.json"
            self._held.enter_context(record_progress(self / record))
            yield

    def client(self, scheduler: str) -> Any:
        """Return the client of a scheduler, one until the folder is let go; None of threads."""
        if scheduler != "threads" and scheduler not in self._clients:
            assert self._held is not None
            self._clients[scheduler] = self._held.enter_context(open_scheduler(scheduler))
        return self._clients.get(scheduler)

    def checksum(self) -> str:
        """Return the SHA-256 of the catalogue, "" without one; it is read again if it changed.

        Of a folder, it is a hash of the names and checksums of its files.
        """
        if self.catalog.is_dir():
            files = sorted(path for path in self.catalog.rglob("*") if path.is_file())
        else:
            files = [self.catalog] if self.catalog.is_file() else []
        if not files:
            return ""
        stats = [(str(path), path.stat()) for path in files]
        state = tuple((name, s.st_ino, s.st_size, s.st_mtime_ns) for name, s in stats)
        if self._hashed is None or self._hashed[0] != state:
            sums = {str(path.relative_to(self.catalog)): file_sha256(path) for path in files}
            self._hashed = state, sums.get(".") or content_hash(sums)
        return self._hashed[1]

    @cached_property
    def provenance(self) -> dict[str, str]:
        """Attributes that every product of the run carries."""
        inputs = {self.catalog.name: found} if (found := self.checksum()) else {}
        return provenance(seed=self.recipe.seed, recipe_hash=self.recipe.hash, inputs=inputs)

    @contextmanager
    def stage(self, name: str) -> Iterator[Callable[[str], None]]:
        """Time a stage; print what it says of itself, its seconds, and the peak memory by then."""
        texts: list[str] = []
        began = time.perf_counter()
        yield texts.append
        seconds = time.perf_counter() - began
        self.say(f"{name:<10} {'; '.join(texts):<58} {seconds:7.1f} s  {peak_memory_gb():5.2f} GB")


def _alone[**P, T](method: Callable[Concatenate[Run, P], T]) -> Callable[Concatenate[Run, P], T]:
    """Let a stage write in its folder while no other process does, in threads of ours alone."""

    @wraps(method)
    def held(run: Run, *args: P.args, **settings: P.kwargs) -> T:
        with run.folder.held(), one_blas_thread():
            return method(run, *args, **settings)

    return held


class Run:
    """The stages of one recipe, and their products.

    Parameters
    ----------
    recipe : Recipe
        What to do.
    recipe_text : str
        The file's text, shown in the report.
    products, reports : path-like
        Folders under which ``<name>/`` is made.
    catalog : path-like, optional
        Catalogue in place of the recipe's own: another run's mock.
    overwrite : bool
        Replace products that were made from something else; those that were not are kept.
    verify : bool
        Compare the parts of stars that are there with their checksums.
    retry_failed : bool
        Make parts of stars again that failed before.
    shard : tuple of int, optional
        ``(i, n)``: of the stars, make the parts i, i + n, i + 2n, … and end; a run without it
        gathers them.
    say : callable
        Takes lines for the user.

    Attributes
    ----------
    folder : RunFolder
        Paths of the products, provenance and the stage clock.
    notes : list of str
        What the report says of this run.
    verdict : Verdict or None
        Of `migrate_bayes.population.judge` on the fit, once it is made or reported.
    headline : Headline or None
        Numbers at the top of the report, once it is made.

    Examples
    --------
    >>> from migrate_bayes import Recipe, Run
    >>> Run(Recipe(name="sketch", data={"source": "mock"}))
    Run('sketch', mock stars, products in runs/sketch)
    """

    def __init__(
        self,
        recipe: Recipe,
        *,
        recipe_text: str = "",
        products: str | Path = "runs",
        reports: str | Path = "reports",
        catalog: str | Path | None = None,
        overwrite: bool = False,
        verify: bool = True,
        retry_failed: bool = False,
        shard: tuple[int, int] | None = None,
        say: Callable[[str], None] = say,
    ) -> None:
        if shard is not None and not 0 <= shard[0] < shard[1]:
            raise RecipeError(
                f"shard {shard[0]} of {shard[1]}: shards are numbered from 0 to n - 1"
            )
        self.recipe, self.recipe_text, self.shard = recipe, recipe_text, shard
        self.folder = RunFolder(
            recipe, products, reports, catalog=catalog, shard=shard_name(shard), say=say
        )
        self.overwrite, self.verify, self.retry_failed = overwrite, verify, retry_failed
        self.say = say
        # Its own mock, not another run's.
        self._simulates = recipe.data.source == "mock" and catalog is None
        self._given = catalog
        self._verified: set[str] = set()
        self._digest_of_another: str | None = None
        self.notes: list[str] = []
        self.verdict: Verdict | None = None
        self.headline: Headline | None = None

    def __repr__(self) -> str:
        stars = "mock stars" if self.recipe.data.source == "mock" else str(self.folder.catalog)
        return f"Run('{self.recipe.name}', {stars}, products in {self.folder.path})"

    def on_data(self, data: CatalogOptions) -> Run:
        """Return a run with another ``[data]`` of the same catalogue, in the same folder."""
        recipe = self.recipe.model_copy(update={"data": data})
        products, reports = self.folder.path.parent, self.folder.report.parent
        other = Run(
            recipe, products=products, reports=reports, catalog=self._given,
            verify=self.verify, say=self.say,
        )  # fmt: skip
        # One lock, and one client, for both.
        other.folder._held, other.folder._clients = self.folder._held, self.folder._clients
        return other

    def _kept(self, name: str, path: Path, made: MadeFrom) -> bool:
        """Say, to the user too, whether a product is there and is the one to be made."""
        kept = is_current(path, made, overwrite=self.overwrite)
        if kept:
            self.say(f"{name:<10} kept: {path}")
        return kept

    def check(self, *stages: Stage, outputs: Iterable[Path] = ()) -> None:
        """Raise whatever is wrong with the recipe, its catalogue or its outputs; see `check_run`.

        It takes a second or two, and reads no star. `all` and each stage call it first.
        """
        from migrate_bayes.run.before import check_run

        for note in check_run(
            self.recipe, catalog=self.folder.catalog, outputs=outputs, stages=stages
        ):
            if note not in self.notes:
                self.say(note)
                self.notes.append(note)

    def _write(self, product: xr.Dataset | xr.DataTree, path: Path, made: MadeFrom) -> None:
        product.attrs.update(self.folder.provenance, **{MADE_FROM: json.dumps(made)})
        write_netcdf(product, path, overwrite=True)

    # Stars

    @_alone
    def simulate(self) -> Path:
        """Make the mock survey's catalogue, its truth beside it."""
        from migrate_bayes.mock import simulate_to_parquet

        path, r = self.folder.catalog, self.recipe
        self.check(outputs=[path])
        made = made_from.of_catalogue(r)
        if self._kept("simulate", path, made):
            return path
        with self.folder.stage("simulate") as done:
            rows = simulate_to_parquet(
                path, r.simulate, seed=r.seed, isochrones=r.isochrones, orbits=r.orbits,
                chunk_size=r.chunk_size, overwrite=True, record={MADE_FROM: json.dumps(made)},
            )  # fmt: skip
            done(f"{rows:,} stars → {path}")
        return path

    def _want_catalogue(self) -> None:
        """Make the mock that is not there; one of fewer or more stars will do."""
        if not self._simulates:
            return
        path, made = self.folder.catalog, made_from.of_catalogue(self.recipe)
        if "stars" in (found := (recorded(path) or {}).get("simulate", {})):
            made["simulate"]["stars"] = found["stars"]
        if not is_current(path, made, overwrite=self.overwrite):
            if self.shard is not None:
                raise ProductError(f"{path} is not there: use `migrate-bayes simulate` first")
            self.simulate()

    @cached_property
    def catalog(self) -> CatalogStream:
        """The checked catalogue, read in chunks, with flags set and extinction corrected."""
        from migrate_bayes.catalog import open_catalog

        data, ages = self.recipe.data, self.recipe.isochrones
        self._want_catalogue()
        photometric = ages.source != "external" and {"abs_g", "bp_rp"} & set(ages.observables)
        with self.folder.stage("catalogue") as done:
            extinction = data.extinction if photometric else None
            catalog = open_catalog(self.folder.catalog, data, extinction=extinction)
            whole = " (its format is read whole)" if catalog.whole else ""
            done(f"{catalog.n_stars:,} stars in {self.folder.catalog.name}{whole}")
        return catalog

    def _stars_made_from(
        self, name: str, *, ages: bool, orbits: bool, family: str | None = None
    ) -> MadeFrom:
        """Return what decides a product of stars; without a catalogue, the one it was made from."""
        catalogue = self.folder.checksum()
        if not catalogue:
            catalogue = (recorded(self.folder / name) or {}).get("catalogue", "")
        return made_from.of_stars(self.recipe, catalogue, ages=ages, orbits=orbits, family=family)

    @_alone
    def _stream(
        self,
        name: str,
        *,
        ages: bool = False,
        orbits: bool = False,
        family: str | None = None,
        overwrite: bool | None = None,
    ) -> Path:
        """Pass the catalogue through one or both stages into a StarPosteriors folder."""
        path = self.folder / name
        overwrite = self.overwrite if overwrite is None else overwrite
        wanted: dict[Stage, bool] = {"ages": ages, "orbits": orbits}
        self.check(*(stage for stage, asked in wanted.items() if asked), outputs=[path])
        self._want_catalogue()
        made = self._stars_made_from(name, ages=ages, orbits=orbits, family=family)
        if self._stars_kept(name, made, overwrite):
            return path
        catalog = self.catalog  # checked (and reported) before the stage's own clock starts
        with (
            self.folder.stage(name) as done,
            StarWriter(
                path, overwrite=overwrite, part_size=PART_SIZE, made_from=made,
                verify=self.verify, shard=self.shard,
            ) as out,
            progress(out.room(catalog.n_stars), name, done=out.n_stars) as advance,
        ):  # fmt: skip
            if self.retry_failed:
                out.failed.clear()
            left = out.lacking(catalog.n_stars)
            if n := len(out.parts):
                self.say(f"{name:<10} goes on: {n} of {n + len(left)} parts are there")
            folder, attrs = out.folder.absolute(), self.folder.provenance
            maker = PartMaker(self.recipe, folder, ages, orbits, family, attrs)
            size, failure = self.recipe.chunk_size, None
            while left:
                lost = []
                for number, part in self._parts_of(maker, made["catalogue"], left, size, advance):
                    if isinstance(part, LostWorkersError) and size // 4 >= FEWEST:
                        lost.append(number)
                    elif isinstance(part, Exception):
                        failure = part
                        out.fail(number, part)
                        self.say(f"{name:<10} part {number} failed: {type(part).__name__}: {part}")
                    else:
                        out.add(number, part)
                left, size = lost, size // 4
                if lost:
                    self.say(
                        f"{name:<10} workers were lost with parts {lost}, as if for memory: tried "
                        f"again, {size:,} stars at a time"
                    )
            if failure is not None and out.lacking(catalog.n_stars):
                raise failure  # it was in reading the catalogue, which ended there
            what = " and ".join(["ages"] * ages + ["orbits"] * orbits)
            done(f"{what} of {out.n_stars:,} stars → {path if self.shard is None else folder}")
        if self.shard is None:
            self._verified.add(name)
        self.__dict__.pop("stars", None)
        return path

    def _parts_of(
        self,
        maker: PartMaker,
        catalogue: str,
        wanted: list[int],
        size: int,
        advance: Callable[[int], None],
    ) -> Iterator[tuple[int, Part | Exception]]:
        """Make some parts of a catalogue, by its checksum, reading `size` rows at a time."""

        def rows(group: Iterable[tuple[int, xr.Dataset]]) -> Iterator[xr.Dataset]:
            for _, chunk in group:
                yield chunk
                if client is None:
                    advance(chunk.sizes["star"])
            same()

        def same() -> None:
            if self.folder.checksum() != catalogue:
                raise CatalogError(f"{self.folder.catalog} has changed since it was opened")

        client = self.folder.client(self.recipe.run.scheduler)
        parts: Iterator[tuple[int, Iterable[xr.Dataset]]]
        if client is not None and self.catalog.seekable:
            # Workers read the rows of their parts themselves.
            parts = ((k, self.catalog.part(k, PART_SIZE, size)) for k in wanted)
        else:
            chunks = self.catalog.parts(PART_SIZE, set(wanted), size)
            parts = ((k, rows(group)) for k, group in itertools.groupby(chunks, itemgetter(0)))
            if client is not None:
                parts = ((k, [*chunks]) for k, chunks in parts)
        for number, part in make_parts(maker, parts, client):
            if client is not None and isinstance(part, Part):
                same()
                advance(part.stars)
            yield number, part

    def _stars_kept(self, name: str, made: MadeFrom, overwrite: bool) -> bool:
        """Say whether a product of stars is there, the one to be made, and whole."""
        path = self.folder / name
        if not is_current(path, made, overwrite=overwrite):
            is_current(partial_folder(path), made, overwrite=overwrite)  # or an error, at once
            return False
        if self.verify and name not in self._verified:
            try:
                damaged = damaged_parts(path)
            except ProductError:
                if not overwrite:
                    raise
                return False
            for part in damaged:
                self.say(f"{part} is missing or damaged: it is made again")
            if damaged:
                return False
            self._verified.add(name)
        self.say(f"{name:<10} kept: {path}")
        return True

    def ages(
        self, *, family: str | None = None, name: str = "ages", overwrite: bool | None = None
    ) -> Path:
        """Compute age posteriors alone, on the recipe's isochrones or those of a `family`."""
        return self._stream(name, ages=True, family=family, overwrite=overwrite)

    def orbits(self, *, overwrite: bool | None = None) -> Path:
        """Compute phase space and orbits alone; `overwrite` in place of the run's."""
        return self._stream("orbits", orbits=True, overwrite=overwrite)

    def make_stars(self, *, name: str = "stars", overwrite: bool | None = None) -> Path:
        """Compute ages and orbits together, as one product; ages alone if the run ends there."""
        whole = self.recipe.until == "fit"
        return self._stream(name, ages=True, orbits=whole, overwrite=overwrite)

    @cached_property
    def stars(self) -> xr.Dataset:
        """StarPosteriors of this run, on disk: a variable is read when it is used.

        Those that another recipe made are refused; those of `write_stars` are of no recipe.
        """
        whole = self.recipe.until == "fit"
        products = {"stars": (True, whole)}
        if not (self.folder / "stars").exists():
            products = {"ages": (True, False), "orbits": (False, True)}
        for name, (ages, orbits) in products.items():
            if recorded(self.folder / name):
                made = self._stars_made_from(name, ages=ages, orbits=orbits)
                how = f"use `migrate-bayes {'run' if name == 'stars' else name} --overwrite` first"
                is_current(self.folder / name, made, advice=how)
        verify = self.verify and not self._verified >= products.keys()
        stars = open_run_stars(self.folder.path, verify=verify)
        self._verified |= products.keys()
        return validate(stars, orbits=whole)

    def take_stars(self, stars: xr.Dataset, digest: str) -> None:
        """Take the stars of another run, with a digest of them, in place of its own."""
        self.__dict__["stars"], self._digest_of_another = stars, digest

    @property
    def _digest(self) -> str:
        if self._digest_of_another is not None:
            return self._digest_of_another
        return stars_digest(self.folder.path)

    def mask(self, selection: str) -> xr.DataArray:
        """Select stars of this run, in the potential of its model."""
        from migrate_bayes.selection import select

        return select(self.stars, selection, potential=self.recipe.model.potential)

    # How the survey took them

    @_alone
    def inject(self) -> Path:
        """Inject stars into the survey of the recipe; write ln S as ``completeness.nc``."""
        from migrate_bayes.inject import count_injections, fit_completeness
        from migrate_bayes.inject.injections import judge_shares, mock_survey
        from migrate_bayes.inject.share_files import read_shares
        from migrate_bayes.selection.conditions import columns_of
        from migrate_bayes.selection.expressions import parse_selection

        r, path = self.recipe, self.folder / "completeness.nc"
        c = r.completeness
        self.check(outputs=[path])
        made = self._completeness_made_from()
        if self._kept("inject", path, made):
            return path
        with self.folder.stage("inject") as done:
            survey: Survey
            shares = read_shares(c.shares)
            if c.survey == "mock":
                survey = mock_survey(
                    r.simulate, r.seed, r.isochrones, r.orbits, c.thick_share, shares,
                    with_zmax="ln_zmax_mean" in columns_of(parse_selection(r.model.selection)),
                )  # fmt: skip
            else:
                survey = self._catalogue_survey(shares)
            judged, doubts = judge_shares(survey)
            for note in (*map(_of_share, judged), *doubts):
                self.say(f"inject     {note}")
            begun = self.folder / "completeness.partial"
            with Journal(begun, content_hash(made)) as journal:
                if len(journal):
                    self.say(f"inject     goes on: {len(journal):,} chunks of stars are there")
                counts = count_injections(survey, self._usable, c.injections, journal=journal)
            table = fit_completeness(counts, directions=c.directions)
            table = table.assign(counts.rename(age="cell_age"))
            sums = made.get("shares", [])
            judged = [one | {"sha256": of} for one, of in zip(judged, sums, strict=True)]
            table.attrs |= {"shares": json.dumps(judged), "doubts": json.dumps(doubts)}
            self._write(table, path, made)
            begun.unlink()
            for disc in ("thin", "thick"):
                self.say(f"inject     {_of_terms(table.attrs, disc)}")
            n = counts.attrs["usable"]
            done(f"{n:,} of {c.injections:,} injected stars usable → {path}")
        return path

    def _catalogue_survey(self, shares: Shares) -> Survey:
        from migrate_bayes.inject.catalogue_survey import CatalogueSurvey
        from migrate_bayes.isochrones import build_grid

        r, c, stars = self.recipe, self.recipe.completeness, self.stars
        if "potential" in stars.dims:
            stars = stars.sel(potential=r.model.potential)
        return CatalogueSurvey(
            stars, self.mask(r.model.selection).values, build_grid(r.isochrones.source),
            seed=r.seed, shares=shares, thick_share=c.thick_share,
        )  # fmt: skip

    def _usable(self, catalog: xr.Dataset) -> NDArray[np.bool_]:
        """Return which injected stars the recipe's own cuts take."""
        from migrate_bayes.catalog import correct_extinction, quality_cuts
        from migrate_bayes.selection import select

        data, model = self.recipe.data, self.recipe.model
        catalog = quality_cuts(catalog, min_snr=data.min_snr)
        if data.extinction is not None and "phot_g_mean_mag" in catalog:
            catalog = correct_extinction(catalog, source=data.extinction)
        # A star that is cut already needs no age: of the paper's survey these are two in three.
        taken = catalog["flag"].values & np.int32(CUT) == 0
        left = np.flatnonzero(taken)
        if not len(left):
            return taken
        maker = PartMaker(self.recipe, self.folder.path, ages=True, orbits=False)
        pieces = maker.made_of(catalog.isel(star=left))
        chosen = (select(stars, model.selection, potential=model.potential) for stars in pieces)
        taken[left] = np.concatenate([of_piece.values for of_piece in chosen])
        return taken

    def _completeness_made_from(self, digest: str | None = None) -> MadeFrom:
        used = self.recipe.completeness.survey == "catalogue"
        stars = (self._digest if digest is None else digest) if used else ""
        return made_from.of_completeness(self.recipe, stars)

    def completeness(self, source: str) -> xr.Dataset | None:
        """Return ln S of a source, as ``[completeness]`` names it, made if it is not there."""
        if is_none(source):
            return None
        path = self.inject() if source == "inject" else expand(source)
        table = read_netcdf(path).to_dataset()
        doubts = json.loads(table.attrs.get("doubts", "[]"))
        self.notes += [doubt for doubt in doubts if doubt not in self.notes]
        return table

    def completeness_digest(self, source: str, digest: str | None = None) -> str | None:
        """Return what decides ln S of a source, with stars of this digest."""
        if is_none(source):
            return None
        if source == "inject":
            return content_hash(self._completeness_made_from(digest))
        return file_sha256(expand(source))

    # Fits

    @_alone
    def baseline(self) -> tuple[xr.Dataset | None, xr.Dataset | None]:
        """Fit ODR in age bins to the thin-disc selection and to the thick."""
        thin, thick = self.folder.baselines
        b = self.recipe.baseline
        if b is None:
            return None, None
        return self._baseline(b.selection, thin), self._baseline(b.thick_selection, thick)

    def _baseline(self, selection: str | None, path: Path) -> xr.Dataset | None:
        from migrate_bayes.baseline import fit_baseline

        if selection is None:
            return None
        stars, b, m = self.stars, self.recipe.baseline, self.recipe.model
        made = self._of_stars()[path]
        if self._kept("baseline", path, made):
            return read_netcdf(path).to_dataset()
        where = {"potential": m.potential, "selection": selection, "radius": m.radius}
        try:
            with self.folder.stage("baseline") as done:
                fit = fit_baseline(stars, b, **where)
                self._write(fit, path, made)
                n = int(fit["n_stars"].sum())
                done(f"ODR in age bins, {n:,} stars of '{selection}' → {path}")
        except (FitError, CatalogError) as error:
            # A sample too small for age bins, or without the [α/Fe] that the selection asks for, is
            # worth a note, not the end of the run. An older fit must not get into the report.
            path.unlink(missing_ok=True)
            self.notes.append(f"No ODR baseline of '{selection}': {error}")
            self.say(self.notes[-1])
            return None
        return fit

    @_alone
    def samples(self) -> xr.DataTree | None:
        """Fit the baseline of slices, of a stricter sample, another radius, other potentials."""
        from migrate_bayes.baseline import fit_samples

        b, m, path = self.recipe.baseline, self.recipe.model, self.folder / "baseline-variants.nc"
        if b is None:
            return None
        stars = self.stars
        made = self._of_stars()[path]
        if self._kept("slices", path, made):
            return read_netcdf(path)
        with self.folder.stage("slices") as done:
            tree = fit_samples(stars, b, potential=m.potential, radius=m.radius)
            self._write(tree, path, made)
            there = sum("absent" not in node.attrs for node in tree.children.values())
            done(f"{there} of {len(tree.children)} slices and variants → {path}")
        return tree

    def _fitted_stars(self) -> tuple[PopulationData, xr.DataArray]:
        from migrate_bayes.population import population_data

        m = self.recipe.model
        mask = self.mask(m.selection)
        data = population_data(
            self.stars, potential=m.potential, mask=mask, radius=m.radius,
            with_completeness=not is_none(self.recipe.completeness.source),
        )  # fmt: skip
        return data, mask

    def _sampler(self, scheduler: str | None = None) -> SamplerOptions:
        """Return the options of sampling; sums are made where parts are, if not told otherwise."""
        given = self.recipe.sampler.scheduler
        if scheduler is None:
            scheduler = self.recipe.run.scheduler if given == "threads" else given
        return self.recipe.sampler.model_copy(update={"scheduler": scheduler})

    @_alone
    def fit(self) -> xr.DataTree:
        """Fit the hierarchical model."""
        from migrate_bayes.population import (
            PopulationModel,
            judge,
            likelihood_on,
            load_model_spec,
        )
        from migrate_bayes.population.likelihood.remembered import RememberedLikelihood

        m, seed = self.recipe.model, self.recipe.seed
        path, of_stars = self.folder / "fit.nc", self.folder / "membership"
        self.check(outputs=[path, of_stars])
        spec = load_model_spec(m.spec)
        stars = self.stars
        made = self._of_stars()[path]
        if of_stars.exists() and self._kept("fit", path, made):
            tree = read_netcdf(path)
            self.verdict = judge(tree)
            return tree
        is_current(path, made, overwrite=self.overwrite)
        completeness = self.completeness(self.recipe.completeness.source)
        with self.folder.stage("fit") as done:
            data, mask = self._fitted_stars()
            attrs = {
                "potential": m.potential, "selection": m.selection, "radius": m.radius,
                "model": spec.model_dump_json(), "left_out": json.dumps(data.left_out),
                "selected": int(mask.sum()), "catalogued": stars.sizes["star"],
            }  # fmt: skip
            model = PopulationModel(data, spec, completeness=completeness)
            here, passes = self._sampler("threads"), self.folder / "fit.partial"
            client = self.folder.client(self._sampler().scheduler)
            with (
                likelihood_on(data.stars, client or "threads") as likelihood,
                Journal(passes, content_hash(made)) as journal,
            ):
                if len(journal):
                    self.say(
                        f"fit        goes on: {len(journal):,} passes over the stars are there"
                    )
                kept = model.selected(RememberedLikelihood(likelihood, journal), data.stars)
                density = model.density.over(kept)
                tree = model.sample(here, seed=seed, attrs=attrs, density=density)
            tree["membership"] = model.write_membership(
                of_stars, tree, seed=seed, overwrite=True, attrs=self.folder.provenance
            )
            tree["predictive_check"] = model.predictive(tree, seed=seed)
            if "prior" in tree.children:
                tree["prior_predictive"] = model.prior_predictive(tree, seed=seed)
            if completeness is not None:
                tree.attrs |= _of_completeness(tree, completeness)
            self.verdict = judge(tree)
            tree.attrs.update(self.verdict.attrs)
            self._write(tree, path, made)
            passes.unlink()
            done(f"{data.n_stars:,} stars × {data.stars.mean_nodes:.1f} age nodes → {path}")
        return tree

    @_alone
    def compare_models(self, forms: tuple[str, ...] = ()) -> pd.DataFrame:
        """Fit forms of the gradient, by default the recipe's; rank them by leave-one-out.

        The table is from `migrate_bayes.compare_elpd`, with the main parameters of each form.
        """
        from migrate_bayes.population import load_model_spec
        from migrate_bayes.population.compare_forms import compare_forms

        r, path = self.recipe, self.folder / "models.nc"
        refuse_existing(path, overwrite=self.overwrite)
        completeness = self.completeness(r.completeness.source)
        with self.folder.stage("models") as done:
            data, _ = self._fitted_stars()
            spec, forms = load_model_spec(r.model.spec), forms or r.model.forms
            table, tree = compare_forms(
                data, spec, forms, seed=r.seed, sampler=self._sampler(), completeness=completeness
            )
            digest = self._digest
            made = made_from.of_fit(
                r, digest, spec, self.completeness_digest(r.completeness.source, digest)
            )
            made |= {"forms": list(forms)}
            self._write(tree, path, made)
            done(f"{len(table)} forms, {data.n_stars:,} stars → {path}")
        return table

    # What is shown

    @cached_property
    def published(self) -> Published:
        """The stars held against published values; empty without ``[reference]``."""
        from migrate_bayes.report.published import against_published

        r, o, label = self.recipe, self.recipe.orbits, self.recipe.model.potential
        return against_published(
            self.stars, r.reference, potential=label, scaling=o.scaling, frame=o.frame
        )

    def report(self) -> Path:
        """Write the HTML page of the products that exist; return its path."""
        from migrate_bayes.report import RunProducts, write_report

        r, shown, folder = self.recipe, self.recipe.report, self.folder
        whole, stars = r.until == "fit", self.stars
        if whole and not (folder / "fit.nc").exists():
            raise ProductError(f"no fit.nc in {folder.path}: run that stage first")
        there = self._of_stars() if whole else {}
        for path, made in there.items():
            command = "fit" if path.name == "fit.nc" else "baseline"
            how = f"use `migrate-bayes {command} --overwrite` first"
            is_current(path, made, advice=how)
        fit = read_netcdf(folder / "fit.nc") if whole else None
        baselines: list[xr.Dataset | None] = [None, None]
        variants = None
        if whole and (b := r.baseline) is not None:
            for k, selection in enumerate((b.selection, b.thick_selection)):
                lacks = f"No ODR baseline of '{selection}'"
                if (path := folder.baselines[k]).exists():
                    baselines[k] = read_netcdf(path).to_dataset()
                elif selection and not any(lacks in n for n in self.notes):
                    self.notes.append(f"{lacks} was made.")
            if (path := folder / "baseline-variants.nc").exists():
                variants = read_netcdf(path)
        comparisons = []
        for path in map(Path, shown.comparisons):
            if path.exists():
                comparisons.append(read_netcdf(path))
                there[path] = {}
            else:
                # A comparison may read this run's own stars, and so come after it.
                self.notes.append(
                    f"The comparison {path} is not there yet: make it, and this report again."
                )
        published = self.published
        validation = folder.report.parent / shown.validation if shown.validation else None
        if validation is not None:
            there |= {path: {} for path in sorted(validation.glob("*.json"))}
        checksums = {str(path): file_sha256(path) for path in there if path.exists()}
        made = made_from.of_report(r, self._digest, self.recipe_text, checksums)
        record = folder.provenance | {MADE_FROM: json.dumps(made)}
        kept = self._kept("report", folder.report, made)
        with folder.stage("report") if not kept else nullcontext(print) as done:
            products = RunProducts(
                r.name, stars, fit, baseline=baselines[0], thick_baseline=baselines[1],
                variants=variants, comparisons=comparisons,
                selection_mask=self.mask(r.model.selection), truth=r.truth(),
                published=published, recipe=r.model_dump(mode="json"),
                recipe_text=self.recipe_text, provenance=record, validation=validation,
                notes=[r.description, *self.notes] if r.description else self.notes,
            )  # fmt: skip
            self.verdict = products.verdict
            page = folder.report / "index.html"
            if not kept:
                write_report(products, folder.report, overwrite=True)
                done(f"{page.stat().st_size / 1024**2:.1f} MB")
        self.headline = products.headline
        return page

    def _of_stars(self, digest: str | None = None) -> dict[Path, MadeFrom]:
        """Return the products of the fits with what decides them; `digest` is the stars'."""
        from migrate_bayes.population import load_model_spec

        r, folder = self.recipe, self.folder
        digest = self._digest if digest is None else digest
        spec = load_model_spec(r.model.spec)
        taken = self.completeness_digest(r.completeness.source, digest)
        made = {folder / "fit.nc": made_from.of_fit(r, digest, spec, taken)}
        if (b := r.baseline) is not None:
            made[folder / "baseline-variants.nc"] = made_from.of_baseline(r, digest)
            selections = zip(folder.baselines, (b.selection, b.thick_selection), strict=True)
            made |= {p: made_from.of_baseline(r, digest, s) for p, s in selections if s}
        return made

    @_alone
    def all(self) -> Path:
        """Run every stage, print what was found, and return the path of the report.

        A shard ends with its stars.
        """
        selection = self.recipe.model.selection
        outputs = [self.folder / "stars", self.folder / "fit.nc", self.folder.report]
        self.check("ages", "orbits", "fit", outputs=outputs)
        if self.shard is not None:
            return self.make_stars()
        for path, made in (self._of_stars("") if self.recipe.until == "fit" else {}).items():
            # What is stale for another reason than its stars is refused before any work.
            there = recorded(path) or {}
            made["stars"] = there.get("stars")
            if "completeness" in made and self.recipe.completeness.survey == "catalogue":
                made["completeness"] = there.get("completeness")
            is_current(path, made, overwrite=self.overwrite)
        if self._simulates:
            self.simulate()
        self.make_stars()
        flags = count_flags(self.stars["flag"])
        title = (
            f"Stars: {self.stars.sizes['star']:,} in the catalogue, "
            f"{int(self.mask(selection).sum()):,} in selection '{selection}'; flagged:"
        )
        rows = [[f"{n:,}", FLAG_MEANING[reason]] for reason, n in flags.items()]
        Table(title, ["stars", "reason"], rows).print(self.say)
        for note in self.published.notes:
            self.say(note)
        for table in self.published.tables:
            table.print(self.say)
        if self.recipe.until == "ages":
            return self.report()
        self.baseline()
        self.samples()
        fit = self.fit()
        if self.verdict is not None and self.verdict.believed:
            gradient_table(fit["posterior"].to_dataset()).print(self.say)
        page = self.report()
        assert self.headline is not None
        numbers = self.headline
        numbers.print()
        mark = {True: "pass", False: "FAIL", None: "not known"}
        checks = [c for c in numbers.verdict.checks if c.limit != "–"]
        found = [f"{c.name} {c.value} [{c.limit}] {mark[c.passed]}" for c in checks]
        self.say(f"The fit {numbers.verdict.outcome}: {'; '.join(found)}")
        return page


def _of_share(judged: dict[str, Any]) -> str:
    """Say what a table of shares does to stars within the survey's limits."""
    outside = ", ".join(f"{axis} {part:.1%}" for axis, part in judged["outside"].items())
    return f"{judged['table']}: {judged['taken']:.1%} taken; outside of it in {outside}"


def _of_terms(attrs: Mapping[str, Any], disc: str) -> str:
    """Say which terms Akaike's criterion asks for in ln S of a disc."""
    of_age, with_radius = attrs[f"aic_{disc}_age"], attrs[f"aic_{disc}_age_radius"]
    chosen, slope = min(of_age, with_radius), attrs[f"alpha_slope_{disc}"]
    alphas = (attrs[f"aic_{disc}_alpha{term}"] - chosen for term in ("", "_radius"))
    by_alpha, by_both = (f"{change:+.1f}" for change in alphas)
    return (
        f"AIC of ln S, {disc} disc: {with_radius - of_age:+.1f} with radius, then {by_alpha} with "
        f"[α/Fe] ({slope:+.2f} ± {attrs[f'alpha_slope_error_{disc}']:.2f} per dex), {by_both} with "
        "[α/Fe] by radius"
    )


def _of_completeness(fit: xr.DataTree, table: xr.Dataset) -> dict[str, str]:
    """Return attributes of a fit: how S was made, and its error's share of the main variances."""
    from migrate_bayes.population.results.diagnostics import HEADLINE

    posterior, stats = fit["posterior"].to_dataset(), fit["sample_stats"].to_dataset()
    names = [name for name in HEADLINE if name in posterior]
    share = dict.fromkeys(names, 0.0)
    if "completeness_error" in stats:
        errors = stats["completeness_error"].stack(sample=("chain", "draw"))
        z = errors.transpose("sample", ...).values
        z = z - z.mean(axis=0)
        for name in names:
            y = posterior[name].values.ravel() - float(posterior[name].mean())
            by_z = z @ np.linalg.lstsq(z, y)[0]
            share[name] = float((by_z @ by_z) / (y @ y))
    made = {
        k: v
        for k, v in table.attrs.items()
        if k in ("observed", "usable") or str(k).startswith(("aic", "alpha"))
    }
    return {
        "completeness": json.dumps(made, default=float),
        "completeness_share": json.dumps(share),
    }


def gradient_table(
    posterior: xr.Dataset, ages: tuple[float, ...] = (1.0, 2.0, 3.0, 4.5, 6.0, 8.0, 10.0, 12.0)
) -> Table:
    """Tabulate mean and sd of `gradient` (chain, draw, component, age) at a few ages (Gyr)."""
    curve = posterior["gradient"].stack(sample=("chain", "draw")).sel(component=["thin", "thick"])
    rows = []
    for age in ages:
        if curve.age[0] <= age <= curve.age[-1]:
            draws = curve.interp(age=age).transpose("component", "sample").values
            estimates = [Estimate.symmetric(d.mean(), d.std()) for d in draws]
            rows.append([f"{age:g}", *(e.text(digits=4, sign=True) for e in estimates)])
    header = ["age (Gyr)", "thin disc", "thick disc"]
    return Table("Hierarchical gradient(age), dex/kpc", header, rows)
