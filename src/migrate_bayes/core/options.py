"""Options of a stage: a frozen model; a function takes one, or its entries by name, or both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from migrate_bayes.core.errors import RecipeError, describe_validation


class Options(BaseModel):
    """Base of every stage's options: frozen, and no entry that it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def of(cls, options: Self | None = None, settings: Mapping[str, Any] | None = None) -> Self:
        """Return `options` (else the defaults) with `settings` set anew; `RecipeError` if wrong."""
        if options is not None and not settings:
            return options
        given = (
            {} if options is None else {n: getattr(options, n) for n in options.model_fields_set}
        )
        try:
            return cls.model_validate({**given, **(settings or {})})
        except ValidationError as error:
            raise RecipeError(describe_validation(error, cls)) from None
