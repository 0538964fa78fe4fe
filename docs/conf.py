"""The site: ``make docs``."""

import sys
from pathlib import Path

import migrate_bayes as mb

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "docs" / "_ext"))

project = "migrate-bayes"
author = copyright = "The migrate-bayes developers"
version = release = mb.__version__

extensions = [
    "myst_nb", "numpydoc", "reference_pages", "sphinx.ext.autodoc", "sphinx.ext.mathjax",
    "sphinx_copybutton", "sphinx_design",
]  # fmt: skip
exclude_patterns = ["_build", "paper", "**/*.py"]
default_role = "py:obj"
nitpicky = False  # docstrings put parameters and commands in backticks too

# Links within the site and to its headings are checked as it is built; others have no network here.
myst_enable_extensions = ["colon_fence", "dollarmath", "deflist"]
myst_heading_anchors = 4
nb_execution_mode = "cache"
nb_execution_raise_on_error = True
nb_execution_timeout = -1  # a busy machine takes its time
nb_merge_streams = True
nb_execution_excludepatterns = ["tutorials/choices.md"]  # minutes

autodoc_typehints = "none"
autodoc_preserve_defaults = True
numpydoc_show_class_members = False

html_theme = "pydata_sphinx_theme"
html_title = "migrate-bayes"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_sidebars = {"index": [], "which-tool": [], "gallery": [], "citing": [], "changelog": []}
html_theme_options = {
    "show_prev_next": False,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_context = {"default_mode": "auto"}
html_show_sourcelink = False
