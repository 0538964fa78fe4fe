"""The public names: light to import, documented in numpydoc, each with an example that runs."""

import importlib
import importlib.metadata
import inspect
import pkgutil
import subprocess
import sys

import pytest
from numpydoc.validate import validate

import migrate_bayes as mb

ROOMS = ["migrate_bayes"] + [
    f"migrate_bayes.{room.name}"
    for room in pkgutil.iter_modules(mb.__path__)
    if room.ispkg and room.name not in ("core", "cli")
]
PUBLIC = sorted(
    f"{room}.{name}"
    for room in ROOMS
    for name in getattr(importlib.import_module(room), "__all__", [])
    if name != "__version__"
)

#: numpydoc's checks that a public docstring need not pass.
NOT_ASKED = {
    "GL01",  # the summary stands on the line of the opening quotes
    "ES01", "SA01",  # an extended summary and *See Also* are there where they help
    "PR06",  # types are in numpydoc's own words
    "RT02",  # a Returns section may name its values
    "PR08", "RT04",  # a description may begin with its unit: kpc, dex
}  # fmt: skip


def resolve(path):
    room, _, name = path.rpartition(".")
    return getattr(importlib.import_module(room), name)


def is_documentable(thing):
    return inspect.isclass(thing) or inspect.isfunction(thing)


@pytest.mark.parametrize("path", PUBLIC)
def test_public_names_are_documented_in_numpydoc(path):
    thing = resolve(path)
    if not is_documentable(thing):
        return
    home = f"{thing.__module__}.{thing.__qualname__}"
    found = [f"{code} {text}" for code, text in validate(home)["errors"] if code not in NOT_ASKED]
    assert not found, home


def test_unknown_name():
    with pytest.raises(AttributeError, match="attribute estimate_age"):
        _ = mb.estimate_age


def test_import_is_light():
    code = (
        "import sys, migrate_bayes\n"
        "heavy = {'numpy', 'pymc', 'galpy', 'astropy', 'numba', 'xarray'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_version_is_the_packages():
    assert mb.__version__ == importlib.metadata.version("migrate-bayes")
