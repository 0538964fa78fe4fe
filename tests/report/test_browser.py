"""The page in a browser: nothing complains, nothing is cut off, nothing is fetched, it prints."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# How far anything inside the body stands out to the right of the window, in CSS pixels, what it is,
# and which tables or texts scroll sideways or are clipped inside a box of their own.
_OVERFLOW = """(() => {
  const width = document.documentElement.clientWidth;
  const out = [];
  for (const e of document.body.querySelectorAll('*')) {
    const style = getComputedStyle(e);
    if (e.closest('pre') || e.matches('input') || style.display === 'none') continue;
    const box = e.getBoundingClientRect();
    if (box.width && box.right > width + 1) out.push([e.tagName, e.className, box.right]);
    if (e.scrollWidth > e.clientWidth + 1 && style.overflowX !== 'visible')
      out.push([e.tagName, e.className, e.scrollWidth, 'scrolls']);
  }
  return out;
})()"""

# Texts that stand out from what is behind them by less than WCAG's 4.5 to 1.
_FAINT = """(() => {
  const colour = (e, what) => getComputedStyle(e)[what].match(/[0-9.]+/g).map(Number);
  const light = c => [0.2126, 0.7152, 0.0722].reduce((sum, w, i) => {
    const v = c[i] / 255;
    return sum + w * (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  }, 0);
  const faint = [];
  for (const e of document.body.querySelectorAll('*')) {
    if (![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())) continue;
    let behind = e;
    while (colour(behind, 'backgroundColor')[3] === 0) behind = behind.parentElement;
    const [a, b] = [light(colour(e, 'color')), light(colour(behind, 'backgroundColor'))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) faint.push([e.tagName, e.className, contrast]);
  }
  return faint;
})()"""


def _browser() -> Any:
    """The module beside this one; tests are not a package."""
    import importlib.util

    path = Path(__file__).with_name("browser.py")
    spec = importlib.util.spec_from_file_location("report_browser", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    module = _browser()
    program = module.find_browser()
    if program is None:
        if os.environ.get("MIGRATE_BAYES_BROWSER") == "required":
            pytest.fail("MIGRATE_BAYES_BROWSER=required, and no Chromium is on the PATH")
        pytest.skip("no Chromium on the PATH: install Debian's `chromium` to run this test")
    with module.Browser(program, tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.mark.parametrize("width", [1280, 400])
def test_nothing_complains_and_nothing_is_cut_off(browser: Any, page: Path, width: int) -> None:
    browser.complaints.clear()
    browser.requests.clear()
    browser.open(page, width=width)
    assert browser.evaluate("innerWidth") == width
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    browser.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert browser.evaluate(_OVERFLOW) == []
    assert browser.complaints == []
    outside = [url for url in browser.requests if not url.startswith(("file:", "data:image/webp"))]
    assert outside == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read(browser: Any, page: Path, scheme: str) -> None:
    preferred = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.call("Emulation.setEmulatedMedia", features=preferred)
    browser.open(page, width=1280)
    paper = "getComputedStyle(document.body).backgroundColor"
    assert (browser.evaluate(paper) == "rgb(255, 255, 255)") == (scheme == "light")
    # What a fit that may not be believed shows as well.
    browser.evaluate(
        "document.querySelector('header').innerHTML += '<div class=withheld><p>no</p>"
        "<p class=fail>no</p></div><p class=unknown>no</p>'"
    )
    assert browser.evaluate(_FAINT) == []
    browser.call("Emulation.setEmulatedMedia", features=[])


def test_what_the_test_looks_for_it_finds(browser: Any, tmp_path: Path) -> None:
    bad = tmp_path / "bad.html"
    bad.write_text(
        "<body style='background: #fff'><div style='width: 2000px'>wide</div>"
        "<div style='width: 50px; overflow: hidden'>averyveryverylongword</div>"
        "<p style='background: #fff; color: #888'>faint</p>"
        "<script>console.error('no'); nothing.at.all</script></body>"
    )
    browser.complaints.clear()
    browser.open(bad, width=400)
    assert len(browser.evaluate(_OVERFLOW)) == 2
    assert len(browser.complaints) == 2
    assert [found[0] for found in browser.evaluate(_FAINT)] == ["P"]


def test_every_image_is_decoded_and_every_link_leads_somewhere(browser: Any, page: Path) -> None:
    browser.open(page, width=1280)
    widths = browser.evaluate("[...document.images].map(i => i.complete ? i.naturalWidth : 0)")
    assert len(widths) >= 12
    assert min(widths) > 600
    assert browser.evaluate("[...document.images].every(i => i.alt.length > 5)")
    lost = "[...document.links].filter(a => !document.querySelector(a.getAttribute('href'))).length"
    assert browser.evaluate(lost) == 0


def test_a_click_enlarges_a_figure_and_another_puts_it_back(browser: Any, page: Path) -> None:
    browser.open(page, width=1280)
    size = "(() => {const b = document.querySelectorAll('figure img')[{k}].getBoundingClientRect();"
    size += " return [b.left, b.top, b.width, b.height]})()"
    browser.evaluate("document.querySelectorAll('figure')[3].scrollIntoView()")
    before = browser.evaluate(size.replace("{k}", "3"))

    def click(x: float, y: float) -> None:
        for kind in ("mousePressed", "mouseReleased"):
            browser.call(
                "Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1
            )

    click(before[0] + 50, before[1] + 50)
    large = browser.evaluate(size.replace("{k}", "3"))
    assert large[:2] == [0, 0]
    assert large[2] > 1.4 * before[2]
    click(600, 400)
    assert browser.evaluate(size.replace("{k}", "3")) == pytest.approx(before)


def test_it_prints_whole(browser: Any, page: Path) -> None:
    browser.open(page, width=1280)
    printed = browser.pdf()
    assert printed.startswith(b"%PDF")
    assert printed.rstrip().endswith(b"%%EOF")
    pages = len(re.findall(rb"/Type\s*/Page\b", printed))
    assert 8 <= pages <= 40
