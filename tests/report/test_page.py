"""The page: self-contained, escaped, whole or absent, and right about what it could not show."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from migrate_bayes.core.errors import ProductError
from migrate_bayes.report import RunProducts, headline, write_report
from migrate_bayes.report.page import FIGURES, curve_table

# What the made-up run has nothing for: no place either.
NO_PLACE = ("published", "replicated", "expected", "migration")
VOID = {"meta", "img", "input", "br", "link"}


class Page(HTMLParser):
    """Balance of tags, text by section, and everything that points elsewhere."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.cells: list[str] = []
        self.headings: list[str] = []
        self.scripts = 0
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.links += [v for k, v in attrs if k in ("src", "href", "action") and v]
        if tag == "img":
            self.images.append(values)
        self.scripts += tag == "script"
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("td", "th"):
            self.cells.append(data.strip())
        if self.open and self.open[-1] in ("h1", "h2"):
            self.headings.append(data)


@pytest.fixture(scope="module")
def text(page: Path) -> str:
    assert page.name == "index.html"
    return page.read_text()


def test_page_is_well_formed_and_has_every_section(text: str) -> None:
    page = Page(text)
    assert page.open == []
    assert page.headings[1:] == [
        "Metallicity gradients", "Gradient and age", "The paper, figure by figure", "Stars",
        "Flags", "Check & co", "Wide", "Methods", "Diagnostics", "What was run",
    ]  # fmt: skip


def test_user_text_is_escaped(text: str) -> None:
    assert Page(text).scripts == 0
    assert "demo &lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "a note with &lt;i&gt;tags&lt;/i&gt;" in text
    assert "&lt;b&gt;&amp;amp;" in text
    assert "a &lt; b" in text


def test_page_needs_nothing_beside_it(text: str) -> None:
    page = Page(text)
    assert all(link.startswith(("data:image/webp;base64,", "#")) for link in page.links)
    assert "@import" not in text
    assert not re.search(r"url\(", text)
    targets = {link[1:] for link in page.links if link.startswith("#")}
    assert all(f'id="{target}"' in text for target in targets)


def test_every_figure_has_its_place_and_a_picture_or_a_reason(text: str) -> None:
    for place in FIGURES:
        if place.key in NO_PLACE:
            continue
        assert text.count(f'id="{place.key}"') == 1, place.key
    # Neighbours of one reason share its words.
    said = re.findall(
        r'<div class="absent">\n(.*?)<p><strong>Not drawn.</strong> (.*?)</p>', text, re.DOTALL
    )
    assert len(said) == 4
    absent = {
        title: why for titles, why in said for title in re.findall(r"<h3 .*?>(.*?)</h3>", titles)
    }
    assert set(absent) == {
        "1 · Cluster ages against [Fe/H]", "2 · M67", "3 · Another age catalogue",
        "4 · Asteroseismic ages", "7 · The thick disc", "12 · R0 and V0",
        "13 · High-quality sample",
    }  # fmt: skip
    assert "migrate-bayes validate ages" in absent["2 · M67"]
    assert all(reason.endswith(".") for reason in absent.values())


def test_images_are_webp_with_words_and_the_page_is_light(text: str) -> None:
    images = Page(text).images
    assert len(images) == len(FIGURES) - len(NO_PLACE) - 7
    for image in images:
        assert image["alt"]
        data = base64.b64decode(str(image["src"]).split(",", 1)[1])
        assert data[:4] == b"RIFF"
        assert data[8:12] == b"WEBP"
    assert len(text) < 5_000_000


def test_parameters_have_units_where_the_fit_has(text: str) -> None:
    cells = Page(text).cells
    at = cells.index("parameter")
    assert cells[at : at + 3] == ["parameter", "unit", "mean"]


def test_page_and_terminal_say_the_same(
    text: str, fit: xr.DataTree, baseline: xr.Dataset, truth: dict[str, float]
) -> None:
    cells = Page(text).cells
    _, header, rows = headline(fit, baseline, truth).table()
    assert cells[: len(header)] == header
    start = len(header)
    for row in rows:
        filled = [c for c in row if c]
        assert cells[start : start + len(filled)] == filled
        start += len(filled)


def test_flags_versions_and_checksums_are_listed(text: str, stars: xr.Dataset) -> None:
    cells = Page(text).cells
    at = cells.index("LOW_SNR")
    meaning = "S/N below the cut in some band"
    assert cells[at : at + 5] == ["LOW_SNR", meaning, "30", "1.0%", "not usable"]
    assert cells[cells.index("EDGE_OLD") + 4] == "informs"
    assert "f" * 64 in cells
    assert "numpy" in cells
    assert "abc123" in cells
    assert "2,960 of 3,000" in text


def test_verdict_of_a_failing_fit_stands_at_the_top(
    tmp_path: Path, stars: xr.Dataset, make_fit: object
) -> None:
    tree = make_fit(stars)  # type: ignore[operator]
    stats = tree["sample_stats"].to_dataset()
    stats["diverging"][0, :9] = True
    tree["sample_stats"] = stats
    path = write_report(RunProducts("r", stars, tree), tmp_path / "r")
    text = path.read_text()
    assert "✗ The fit fails 1 of 8 checks (divergences): read" in text
    assert text.index("✗ The fit fails") < text.index("<h2>Gradient and age")


def test_a_page_of_a_fit_that_may_not_be_believed_states_no_number_of_it(
    tmp_path: Path, stars: xr.Dataset, bad_fit: xr.DataTree, baseline: xr.Dataset, fit: xr.DataTree
) -> None:
    path = write_report(RunProducts("r", stars, bad_fit, baseline), tmp_path / "r")
    text = path.read_text()
    page = Page(text)
    assert page.open == []
    top = text.index("This fit may not be believed")
    assert text.index("</header>") < top < text.index("<nav")
    assert '<span role="img" aria-label="Warning">' in text
    cause = text[top : text.index("</ul>", top)]
    assert "R-hat" in cause
    assert "limit &lt; 1.05. Next: chains disagree" in cause
    good = headline(fit, baseline)
    numbers = {str(r.hierarchical) for r in good} | {
        row[1] for row in curve_table(fit).rows
    }  # fmt: skip
    assert not [number for number in numbers if number in text]
    assert "Hierarchical gradient(age)" not in text
    at = page.cells.index("parameter")
    assert page.cells[at : at + 5] == ["parameter", "unit", "R-hat", "bulk ESS", "tail ESS"]
    # Figures of the fit stay, and say what they are.
    captions = dict(
        re.findall(r'<figure id="(.*?)".*?<figcaption>(.*?)</figcaption>', text, re.DOTALL)
    )
    marked = {key for key, caption in captions.items() if caption.startswith("✗ No result")}
    assert {"result", "radial", "figure-6", "membership", "prior"} <= marked
    assert not {"figure-5", "kiel", "ranks", "energy"} & marked


def test_either_fit_or_baseline_may_be_missing(
    tmp_path: Path, stars: xr.Dataset, fit: xr.DataTree, baseline: xr.Dataset
) -> None:
    only = write_report(RunProducts("a", stars, None, baseline), tmp_path / "a")
    page = Page(only.read_text())
    assert "Diagnostics" not in page.headings
    assert "Gradient and age" in page.headings
    bare = xr.Dataset({"feh": ("star", [0.1, np.nan]), "flag": ("star", np.array([0, 1], "i4"))})
    neither = write_report(RunProducts("b", bare), tmp_path / "b")
    page = Page(neither.read_text())
    assert page.headings == ["b", "Flags", "What was run"]
    assert page.open == []
    plain = xr.DataTree.from_dict({"posterior": fit["posterior"].to_dataset()[["gradient_young"]]})
    sparse = write_report(RunProducts("c", bare, plain), tmp_path / "c")
    assert "divergences could not be judged" in sparse.read_text()


def test_a_report_is_replaced_only_when_asked(tmp_path: Path, stars: xr.Dataset) -> None:
    def write(**options: bool) -> Path:
        flags = stars[["flag"]]  # of which there is no figure
        return write_report(RunProducts("r", flags), tmp_path / "r", **options)

    write()
    with pytest.raises(ProductError, match="exists already"):
        write()
    (tmp_path / "r" / "old.txt").write_text("old")
    assert write(overwrite=True).exists()
    assert not (tmp_path / "r" / "old.txt").exists()


def test_a_mask_of_other_stars_is_refused_and_leaves_nothing(
    tmp_path: Path, stars: xr.Dataset
) -> None:
    products = RunProducts("r", stars, selection_mask=np.ones(3, dtype=bool))
    with pytest.raises(ProductError, match="the selection has 3 stars, the product 3,000"):
        write_report(products, tmp_path / "r")
    assert list(tmp_path.iterdir()) == []
