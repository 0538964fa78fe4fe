import importlib.metadata
import subprocess
import sys

import pytest

import migrate_bayes as mb


@pytest.mark.parametrize("name", [n for n in mb.__all__ if n != "__version__"])
def test_public_names_resolve_and_are_documented(name):
    assert len(getattr(mb, name).__doc__) > 20


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
