"""What is written beside the code for others to build from: conda-forge's recipe and the paper."""

import re
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
# What conda-forge calls the part of a package that is needed, without its plots or GUIs.
CONDA_NAMES = {
    "astropy": "astropy-base", "dask": "dask-core", "matplotlib": "matplotlib-base",
    "pymc": "pymc-base",
}  # fmt: skip


def test_the_recipe_of_conda_forge_has_the_dependencies_of_pyproject():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    recipe = yaml.safe_load((ROOT / "packaging/recipe.yaml").read_text())
    needed = set()
    for dependency in project["dependencies"]:
        name, least = dependency.split(">=")
        needed.add(f"{CONDA_NAMES.get(name, name)} >={least}")
    python, *others = recipe["requirements"]["run"]
    assert set(others) == needed
    context = recipe["context"]
    assert python == "python >=${{ python_min }}"
    assert project["requires-python"] == f">={context['python_min']}"
    assert project["version"] == context["version"]
    scripts = [f"{name} = {where}" for name, where in project["scripts"].items()]
    assert recipe["build"]["python"]["entry_points"] == scripts


def test_the_paper_cites_what_its_bibliography_has():
    text = (ROOT / "docs/paper/paper.md").read_text()
    _, head, body = text.split("---\n", 2)
    header = yaml.safe_load(head)
    assert {"title", "tags", "authors", "affiliations", "date", "bibliography"} <= set(header)
    known = {one["index"] for one in header["affiliations"]}
    assert {author["affiliation"] for author in header["authors"]} <= known
    bibliography = (ROOT / "docs/paper" / header["bibliography"]).read_text()
    entries = re.findall(r"^@\w+\{(\w+),", bibliography, re.MULTILINE)
    assert len(entries) == len(set(entries))
    assert set(re.findall(r"@(\w+)", body)) == set(entries)
    for section in ("Summary", "Statement of need", "State of the field", "References"):
        assert f"\n# {section}\n" in text
