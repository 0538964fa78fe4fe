"""Write the pages of ``docs/reference/generated`` from the code that they describe."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import textwrap
from collections.abc import Iterable, Iterator
from itertools import takewhile
from pathlib import Path
from typing import Any, get_args

import typer
from numpydoc.docscrape import ClassDoc
from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer
from typer.testing import CliRunner

import migrate_bayes as mb
from migrate_bayes.catalog.columns import COLUMNS, REQUIRED
from migrate_bayes.cli import app as command_line
from migrate_bayes.core.flags import FATAL_AGE, FATAL_ORBIT, StarFlag
from migrate_bayes.core.options import Options
from migrate_bayes.core.places import RECIPES, packaged


def heading(text: str, line: str = "-") -> str:
    return f"\n{text}\n{line * len(text)}\n\n"


def table(head: Iterable[str], rows: Iterable[Iterable[str]], widths: str = "auto") -> str:
    lines = [".. list-table::", "   :header-rows: 1", f"   :widths: {widths}", ""]
    for row in (head, *rows):
        for column, cell in enumerate(row):
            said = " ".join(cell.replace("|", r"\|").split())
            lines.append(f"   {' ' if column else '*'} - {said}")
    return "\n".join(lines) + "\n\n"


def code(text: object) -> str:
    return f"``{text}``" if str(text) else ""


# The interface ---------------------------------------------------------------------------------


def data_docs(room: str) -> dict[str, str]:
    """Return the documentation of a room's constants, which stands in their modules."""
    found: dict[str, str] = {}
    package = importlib.import_module(room)
    for module in pkgutil.walk_packages(package.__path__, f"{room}."):
        docs = ModuleAnalyzer.for_module(module.name).find_attr_docs()
        found |= {name: " ".join(lines) for (scope, name), lines in docs.items() if not scope}
    return found


def api(room: str, without: set[str]) -> str:
    """One room's public names; those of the package itself stand on its own page alone."""
    module = importlib.import_module(room)
    parts = [heading(room, "="), f".. automodule:: {room}\n\n.. currentmodule:: {room}\n\n"]
    constants = data_docs(room) if room != "migrate_bayes" else {}
    for name in sorted(set(module.__all__) - without, key=str.lower):
        thing = getattr(module, name)
        if inspect.isclass(thing):
            fields = set(getattr(thing, "model_fields", ())) | set(getattr(thing, "_fields", ()))
            fields |= set(getattr(thing, "__dataclass_fields__", ()))
            hidden = ", ".join(sorted(fields))
            parts.append(f".. autoclass:: {name}\n   :members:\n")
            parts.append(f"   :exclude-members: {hidden}\n\n" if hidden else "\n")
        elif inspect.isroutine(thing):
            parts.append(f".. autofunction:: {name}\n\n")
        elif not inspect.ismodule(thing) and name != "__version__":
            parts.append(f".. py:data:: {name}\n\n   {constants.get(name, '')}\n\n")
    return "".join(parts)


# The recipe ------------------------------------------------------------------------------------


def options_within(annotation: Any) -> list[type[Options]]:
    """Return the tables of options that a type may hold."""
    if inspect.isclass(annotation) and issubclass(annotation, Options):
        return [annotation]
    return [found for part in get_args(annotation) for found in options_within(part)]


def recipe_section(
    model: type[Options], name: str = "", lines: str = "-~^", told: dict[type, str] | None = None
) -> Iterator[str]:
    """Give a table of a section's entries, then the sections within it, each kind once."""
    told = {} if told is None else told
    said = {p.name: p for p in ClassDoc(model)["Parameters"]}
    said = {name.strip(): p for names, p in said.items() for name in names.split(",")}
    rows, within = [], []
    for entry, field in model.model_fields.items():
        if found := options_within(field.annotation):
            within += [(entry, found[0], "[[" if "tuple" in str(field.annotation) else "[")]
            continue
        default = field.get_default(call_default_factory=True)
        given = "required" if field.is_required() else code(_toml(default))
        about = said.get(entry)
        rows.append((
            code(entry), about.type.removesuffix(", optional") if about else "", given,
            " ".join(about.desc) if about else "",
        ))  # fmt: skip
    yield table(("entry", "type", "default", "meaning"), rows, "20 20 20 40")
    for entry, inner, bracket in within:
        path = f"{name}.{entry}" if name else entry
        yield heading(f"{bracket}{path}{bracket.replace('[', ']')}", lines[0])
        if inner in told:
            yield f"As ``[{told[inner]}]``.\n\n"
            continue
        told[inner] = path
        yield inspect.getdoc(inner).splitlines()[0] + "\n\n"
        yield from recipe_section(inner, path, lines[1:], told)


def recipes() -> str:
    """Tabulate the recipes of the package by name, with the comment at the top of each."""
    rows = []
    for name, path in packaged(RECIPES).items():
        lines = path.read_text(encoding="utf-8").splitlines()
        said = " ".join(line.strip("# ") for line in takewhile(lambda x: x[:1] == "#", lines))
        rows.append((code(name), said.replace("`", "``")))
    return table(("recipe", "what it is"), rows, "25 75")


def _toml(value: Any) -> str:
    if value is None:
        return '"none"'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_toml, value))}]"
    return f'"{value}"' if isinstance(value, str) else str(value)


# The command line ------------------------------------------------------------------------------


def command_pages(command: Any, *path: str) -> Iterator[str]:
    """Show the help of a command, then of those below it."""
    shown = CliRunner().invoke(command_line, [*path, "--help"], prog_name="migrate-bayes")
    if path:
        yield heading(" ".join(("migrate-bayes", *path)), "-~"[len(path) - 1])
    yield f".. code-block:: text\n\n{textwrap.indent(shown.output.strip(), '   ')}\n\n"
    for name, inner in sorted(getattr(command, "commands", {}).items()):
        yield from command_pages(inner, *path, name)


# ------------------------------------------------------------------------------------------------


def columns() -> str:
    """The canonical columns of a catalogue."""
    needed = {name: stage for stage, names in REQUIRED.items() for name in names}
    rows = [
        (code(c.name), c.unit, c.long_name, needed.get(c.name, "").replace("_", " "))
        for c in COLUMNS.values()
    ]
    return table(("column", "unit", "meaning", "required for"), rows, "25 10 45 20")


def flags() -> str:
    """The bits of a star's ``flag``."""
    rows = []
    for flag in StarFlag:
        costs = [word for mask, word in ((FATAL_AGE, "age"), (FATAL_ORBIT, "orbit")) if flag & mask]
        rows.append((str(flag.bit_length() - 1), code(flag.name), flag.meaning, ", ".join(costs)))
    return table(("bit", "name", "meaning", "without"), rows, "8 30 47 15")


def write(app: Sphinx) -> None:
    """Write every page; one that has not changed keeps its time."""
    folder = Path(app.srcdir) / "reference" / "generated"
    folder.mkdir(exist_ok=True)
    rooms = [
        f"migrate_bayes.{room.name}" for room in pkgutil.iter_modules(mb.__path__)
        if room.ispkg and room.name not in ("core", "cli", "checks")
    ]  # fmt: skip
    pages = {"migrate_bayes": api("migrate_bayes", set())}
    pages |= {room: api(room, set(mb.__all__)) for room in rooms}
    pages["recipes"] = recipes()
    pages["recipe"] = "".join(recipe_section(mb.Recipe))
    pages["command-line"] = "".join(command_pages(typer.main.get_command(command_line)))
    pages |= {"columns": columns(), "flags": flags()}
    for name, text in pages.items():
        path = folder / (f"{name}.rst" if name in ("migrate_bayes", *rooms) else f"{name}.txt")
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect to Sphinx."""
    app.connect("builder-inited", write, priority=100)
    return {"parallel_read_safe": True}
