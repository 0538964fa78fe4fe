"""All the ages a validation needs, in the order that builds each isochrone grid once.

A grid takes a second or more to build and hundreds of megabytes to keep, so that the comparisons,
which want the same stars under many choices, are not let to build grids as they come.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from migrate_bayes.checks.ages.families import setups
from migrate_bayes.checks.ages.headline import AgeBook, by_family, choices
from migrate_bayes.checks.ages.options import AgeOptions
from migrate_bayes.core.progress import progress

__all__ = ["SUN_WAYS", "fill", "paper_options", "plan"]

#: Method and scale of [Fe/H] under which the Sun is aged.
SUN_WAYS = tuple((m, s) for m in ("fine", "paper") for s in ("surface", "initial"))

Task = tuple[AgeOptions, str]


def paper_options(base: AgeOptions, native: str | None) -> AgeOptions:
    """Return the paper's choices: native Dartmouth where there is one, its method, its labels."""
    return base.but(source=native or base.source, method="paper", feh_scale="initial")


def plan(
    base: AgeOptions,
    sources: Sequence[str],
    native: str | None,
    *,
    known: Iterable[str],
    compared: Iterable[str],
) -> list[Task]:
    """List choices and samples.

    Parameters
    ----------
    base : AgeOptions
        The recipe's choices.
    sources : sequence of str
        Families.
    native : str, optional
        A source with its own [α/Fe] axis.
    known : iterable of str
        Samples that every choice is judged by.
    compared : iterable of str
        Samples on which families are compared.
    """
    known, compared = list(known), list(compared)
    tasks = [
        (base.but(source=s, method=m, feh_scale=f), "Sun") for s in sources for m, f in SUN_WAYS
    ]
    rows = choices(base, native) + by_family(base, sources)
    tasks += [(o, name) for _, o in rows for name in ("Sun", *known)]
    tasks += [(o, name) for o in (base, paper_options(base, native)) for name in known]
    tasks += [(base.but(source=s), name) for s in sources for name in compared]
    if {"dartmouth", "parsec"} <= set(sources):
        tasks += [(o, n) for s in setups(base) for o in (s.one, s.base) for n in compared]
    return list(dict.fromkeys(tasks))


def fill(book: AgeBook, tasks: Iterable[Task]) -> None:
    """Estimate ages, grid by grid, under a progress bar."""

    def grid(task: Task) -> tuple[str, bool, str, str]:
        o = task[0]
        return (o.source, o.salaris, o.method, o.feh_scale)

    there = [t for t in tasks if t[1] in book.catalogs]
    stars = sum(book.catalogs[name].sizes["star"] for _, name in there)
    with progress(stars, "ages") as advance:
        for o, name in sorted(there, key=grid):
            book.ages(o, name)
            advance(book.catalogs[name].sizes["star"])
