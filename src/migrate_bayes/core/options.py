"""Options of a stage: a frozen model; a function takes one, or its entries by name, or both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self, get_args

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from migrate_bayes.core.errors import RecipeError, describe_validation


def is_none(value: object) -> bool:
    """Tell TOML's stand-in for null, which it lacks: the word ``"none"``."""
    return isinstance(value, str) and value.strip().lower() == "none"


class Options(BaseModel):
    """Base of every stage's options: frozen, and no entry that it does not know.

    An entry that may be None takes ``"none"`` for it, but for those to which the word itself means
    something (`_OWN_NONE`).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    _OWN_NONE: ClassVar[frozenset[str]] = frozenset()

    @model_validator(mode="before")
    @classmethod
    def _none_is_null(cls, content: Any) -> Any:
        if not isinstance(content, Mapping):
            return content
        null = {
            name for name, value in content.items()
            if is_none(value) and name in cls.model_fields and name not in cls._OWN_NONE
            and type(None) in get_args(cls.model_fields[name].annotation)
        }  # fmt: skip
        return {name: None if name in null else value for name, value in content.items()}

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
