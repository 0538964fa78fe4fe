"""The figures of the validation of ages, as its own report left them for others to embed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path

from migrate_bayes.core.errors import ProductError
from migrate_bayes.report.section import Image

#: Name of the file, beside the validation's page.
FILE = "figures.json"
_FORMAT = "migrate-bayes figures 1"


def images_file(images: Iterable[tuple[str, Image]], made_with: Mapping[str, str]) -> str:
    """Return the text of the file.

    `images` are pairs of the number of the paper's figure and its counterpart, `made_with` says
    what the ages were made with, and when.
    """
    content = {
        "format": _FORMAT,
        "made_with": dict(made_with),
        "figures": [{"paper": number, **asdict(p)} for number, p in images],
    }
    return json.dumps(content, ensure_ascii=False)


def load_validation(folder: str | Path) -> dict[str, list[Image]]:
    """Read the figures beside a validation's page, by the paper's number; empty without a file.

    Raises
    ------
    ProductError
        If the file is damaged.
    """
    path = Path(folder) / FILE
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != _FORMAT:
            raise ProductError(f"{path} has format {content['format']!r}, expected {_FORMAT!r}")
        made = "; ".join(f"{key} {value}" for key, value in content["made_with"].items())
        found: dict[str, list[Image]] = {}
        for entry in content["figures"]:
            number = entry.pop("paper")
            p = Image(**entry)
            note = f"{p.caption} From the validation of ages ({made})."
            found.setdefault(number, []).append(replace(p, caption=note))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ProductError(
            f"{path} is damaged ({type(error).__name__}: {error}): run "
            "`migrate-bayes validate ages --overwrite` again"
        ) from None
    return found
