"""Errors that a user can cause and correct.

Every one is a `MigrateBayesError`: the command line prints its message and exits with code 2,
without a traceback. Errors about an argument are `ValueError` too. Any other exception is a defect
of this package.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError


class MigrateBayesError(Exception):
    """Base of every error whose message tells the user what to do.

    Attributes
    ----------
    status : int
        Exit status of the command line.

    Examples
    --------
    >>> from migrate_bayes import MigrateBayesError
    >>> from migrate_bayes.isochrones import load_source
    >>> try:
    ...     load_source("mixt")
    ... except MigrateBayesError as error:
    ...     print(type(error).__name__)
    IsochroneError
    """

    status = 2


class CatalogWarning(UserWarning):
    """A catalogue can be read, but something in it is doubtful."""


class CatalogError(MigrateBayesError, ValueError):
    """An input catalogue cannot be read or holds something impossible."""


class UnitError(MigrateBayesError, ValueError):
    """An argument is no number, or a quantity of another dimension than is asked for."""


class RecipeError(MigrateBayesError, ValueError):
    """A run recipe or a model specification is not valid."""


class IsochroneError(MigrateBayesError, ValueError):
    """An isochrone source is unknown, absent or malformed."""


class DataAbsentError(MigrateBayesError):
    """Third-party data are absent; the parts that need them are skipped, with a message."""


class OrbitError(MigrateBayesError, ValueError):
    """A potential or a solar frame is unknown or impossible."""


class ProductError(MigrateBayesError, ValueError):
    """A product cannot be read, written or combined."""


class PartsFailedError(ProductError):
    """Parts of a product could not be made; the others are there."""

    status = 3


class SchedulerError(MigrateBayesError, RuntimeError):
    """A dask scheduler or its workers cannot be reached, or were lost."""


class FitError(MigrateBayesError, ValueError):
    """A fit cannot be done with the stars or the settings given."""


#: Names in a message: of more, the nearest.
_MOST = 30


def suggest(name: str, valid: Iterable[str]) -> str:
    """Word the end of a message about an unknown name: ``did you mean 'x'? Valid: a, b, c``.

    Of very many names, the nearest are given, and how many there are.
    """
    options = sorted(str(v) for v in valid)
    if len(options) <= _MOST:
        return f"{_question(name, options)} Valid: {', '.join(options)}".lstrip()
    near = difflib.get_close_matches(name, options, n=6, cutoff=0.4) or options[:6]
    return f"{_question(name, options)} Nearest of {len(options)}: {', '.join(near)}".lstrip()


def nearest(names: Iterable[str], options: Iterable[str], *, most: int = 3) -> list[str]:
    """Return the options that may mean the same as one of some names, the nearest first.

    An option has a name as one of its words (``ra`` in ``ra_gaia``), or, if it has four letters or
    more, within it; or both differ by a slip in many letters. ``r`` is not ``ra``.
    """
    wanted = [name.lower() for name in names]
    like = {str(o): max((_likeness(n, str(o).lower()) for n in wanted), default=0) for o in options}
    return [o for o in sorted(like, key=lambda o: -like[o])[:most] if like[o]]


def _likeness(name: str, option: str) -> float:
    a, b = ("".join(re.findall(r"[^\W_]", text)) for text in (name, option))
    ratio = difflib.SequenceMatcher(None, a, b).ratio()
    within = (len(a) > 3 and a in b) or name in re.findall(r"[^\W_]+", option)
    if within and ratio > 0.3:
        return ratio + 0.25
    return ratio if a == b or (ratio >= 0.85 and len(a) > 5) else 0.0


def _question(name: str, options: Iterable[str]) -> str:
    """``did you mean 'x'?``, or nothing if no option is near."""
    lowered = {o.lower(): o for o in options}
    near = difflib.get_close_matches(name.lower(), list(lowered), n=1, cutoff=0.6)
    return f"did you mean '{lowered[near[0]]}'?" if near else ""


def describe_validation(error: ValidationError, model: type[BaseModel]) -> str:
    """Word pydantic's findings in one clause each, with the nearest valid name."""
    clauses = []
    for item in error.errors():
        place = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            names = _fields_at(model, item["loc"][:-1])
            hint = suggest(str(item["loc"][-1]), names) if names else "no such entry"
            clauses.append(f"unknown entry '{place}'; {hint}")
        else:
            message = item["msg"].removeprefix("Value error, ")
            if item["type"] == "literal_error":
                choices = re.findall("'([^']*)'", item["ctx"]["expected"])
                if question := _question(str(item["input"]), choices):
                    message += f"; {question}"
            clauses.append(f"'{place}': {message}" if place else message)
    return "; ".join(clauses)


def _fields_at(model: type[BaseModel], location: tuple[Any, ...]) -> list[str]:
    """Names of the entries of a nested section."""
    from pydantic import BaseModel

    for part in location:
        info = model.model_fields.get(str(part))
        options = [info.annotation, *getattr(info.annotation, "__args__", ())] if info else []
        nested = [o for o in options if isinstance(o, type) and issubclass(o, BaseModel)]
        if not nested:
            return []
        model = nested[0]
    return list(model.model_fields)
