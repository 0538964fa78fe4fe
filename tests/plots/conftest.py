"""The made-up run of the report's tests, for figures too."""

import runpy
from pathlib import Path

_MADE_UP = runpy.run_path(str(Path(__file__).parents[1] / "report" / "conftest.py"))
globals().update({n: _MADE_UP[n] for n in ("baseline", "fit", "make_fit", "stars", "truth")})
