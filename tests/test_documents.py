"""README and site: what they tell people to type is something that the package takes."""

import ast
import inspect
import re
import shlex
import tomllib
from pathlib import Path

import click
import pytest
import typer

import migrate_bayes as mb
from migrate_bayes.cli import app
from migrate_bayes.core.places import RECIPES, packaged
from migrate_bayes.run import Recipe

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [page for page in PAGES if "_build" not in page.parts]
KINDS = {"{code-cell}": "python"}


def blocks(kind):
    """Give every block of code of a kind, by page and line."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for found in re.finditer(r"^```(\S+)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            if KINDS.get(found[1], found[1]) == kind:
                line = text[: found.start()].count("\n") + 1
                yield pytest.param(found[2], id=f"{page.relative_to(ROOT)}:{line}")


@pytest.mark.parametrize("block", [*blocks("sh")])
def test_commands_and_their_options_exist(block):
    lines = [shlex.split(line, comments=True) for line in block.replace("\\\n", " ").splitlines()]
    for words in lines:
        if "migrate-bayes" not in words[:2]:  # a variable may stand before it
            continue
        command, rest = typer.main.get_command(app), words[words.index("migrate-bayes") + 1 :]
        while isinstance(command, click.Group):
            name = rest.pop(0)
            assert name in command.commands, words
            command = command.commands[name]
        command.make_context(command.name, [w for w in rest if w != "&&"])


def test_recipes_of_the_package_are_run_by_name():
    """An installed package has no folder `runs`."""
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    typed = re.findall("migrate-bayes [a-z][^`\n#]*", text)
    assert len(typed) > 50
    names = "|".join(packaged(RECIPES))
    assert [line for line in typed if re.search(rf"runs/({names})\.toml", line)] == []


@pytest.mark.parametrize("block", [*blocks("toml")])
def test_recipes_are_valid(block):
    content = tomllib.loads(block)
    if "service" in content:  # a table to fetch
        return
    content.setdefault("name", "mine")
    data = content.setdefault("data", {"source": "mock"})
    if "columns" in data:
        data.setdefault("path", "stars.fits")
    if "completeness" in content and content["completeness"].get("shares"):
        content["completeness"].setdefault("source", "inject")
    Recipe.model_validate(content)


@pytest.mark.parametrize("block", [*blocks("python")])
def test_names_and_arguments_exist(block):
    for node in ast.walk(ast.parse(re.sub(r"^:\w+:.*$", "", block, flags=re.MULTILINE))):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("mb", "mb.plots"):
            assert hasattr(eval(ast.unparse(node.value), {"mb": mb}), node.attr), node.attr
        if isinstance(node, ast.Call) and re.fullmatch(r"mb(\.\w+)+", ast.unparse(node.func)):
            taken = inspect.signature(eval(ast.unparse(node.func), {"mb": mb})).parameters
            if not any(p.kind is p.VAR_KEYWORD for p in taken.values()):
                assert {k.arg for k in node.keywords} <= set(taken), ast.unparse(node)
