"""Options of a stage: given whole, by entry, or both; what is wrong is named with its neighbour."""

from __future__ import annotations

from typing import Literal

import pytest
from pydantic import ValidationError

from migrate_bayes.core.errors import RecipeError, suggest
from migrate_bayes.core.options import Options


class Inner(Options):
    draws: int = 10


class Outer(Options):
    method: Literal["fast", "exact"] = "fast"
    inner: Inner = Inner()
    extra: Inner | None = None
    radius: float = 5.0


def test_defaults_options_and_settings():
    assert Outer.of() == Outer()
    mine = Outer(radius=2.0, method="exact")
    assert Outer.of(mine) is mine
    assert Outer.of(mine, {}) is mine
    assert Outer.of(mine, {"radius": 3.0}) == Outer(radius=3.0, method="exact")
    assert Outer.of(None, {"inner": {"draws": 3}}).inner.draws == 3
    # What was set stays set, so that a recipe's dump tells it from a default.
    assert Outer.of(mine, {"radius": 3.0}).model_fields_set == {"radius", "method"}


def test_options_do_not_change():
    with pytest.raises(ValidationError, match="frozen"):
        Outer().radius = 1.0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"raduis": 1.0}, r"unknown entry 'raduis'; did you mean 'radius'\? Valid: extra, inner"),
        ({"inner": {"draw": 1}}, r"unknown entry 'inner\.draw'; did you mean 'draws'\?"),
        ({"extra": {"draw": 1}}, r"unknown entry 'extra\.draw'; did you mean 'draws'\?"),
        ({"method": "slow"}, "'method': .*'fast' or 'exact'$"),
        ({"method": "Exat"}, r"'method': .*'fast' or 'exact'; did you mean 'exact'\?$"),
        ({"method": 3}, "'method': .*'fast' or 'exact'$"),
        ({"inner": {"draws": "many"}}, r"'inner\.draws': .*integer"),
        ({"radius": "x", "raduis": 1.0}, "'radius': .*; unknown entry 'raduis'"),
    ],
)
def test_a_wrong_entry_is_named_with_the_nearest(settings, message):
    with pytest.raises(RecipeError, match=message):
        Outer.of(None, settings)
    with pytest.raises(ValueError, match=message):
        Outer.of(Outer(radius=1.0), settings)


def test_suggestions():
    assert suggest("Thn", ["thin", "thick"]) == "did you mean 'thin'? Valid: thick, thin"
    assert suggest("zzz", ["thin"]) == "Valid: thin"
