"""The selections of Vickers, Shen & Li (2021, "the paper"), by name."""

from __future__ import annotations

import numpy as np

from migrate_bayes.selection.conditions import Selection, compare, limits, line_excess, usable

_THIN = line_excess(-np.inf, 0.0, "[α/Fe] < 0.15 and [α/Fe] < −0.2 [Fe/H] + 0.1")
_THICK = (~_THIN).described("[α/Fe] > 0.15 or [α/Fe] > −0.2 [Fe/H] + 0.1")

_SNR = (
    compare("snr_g", ">", 50.0) & compare("snr_r", ">", 50.0) & compare("snr_i", ">", 50.0)
).described("S/N > 50 in g, r and i")
_AGE = compare("age_error", "<", 0.25)

#: Selections by name. All but `all` itself are taken of the usable stars (`all`).
#:
#: * ``all``: age and orbit known, no repeat observation, within the S/N and age-error cuts of the
#:   run's own ``[data]``.
#: * ``thin``, ``thick``: the paper's pure discs (its figures 6 and 7); ``…-chemical``: by chemistry
#:   alone. A star on the dividing line is thick.
#: * ``zmax-…``: four slices. The limits of the paper's stand only in its figure 9; ours keep its
#:   two stated limits, 0.25 and 2 kpc, and divide the space between at 1 kpc.
#: * ``alpha-…``: four slices by the lines of its figure 5, the dividing line and ±0.1 about it.
#: * ``toomre-…``: by the speed relative to the local standard of rest, below 50 km/s and 70 to 180
#:   (usual limits: Nissen 2004; Bensby, Feltzing & Oey 2014, A&A 562, A71; the paper, which tried
#:   this and left it, gives none); ``…-local``: relative to the circular speed at the star's R.
#: * ``quality``: the cuts of its section 2.2 (``snr-50``, ``age-error-25``), which `all` has
#:   already where the recipe's ``[data]`` asks for them; ``high-quality``: of its section 4.1.4;
#:   ``parallax-10``: a parallax known to 10%.
SELECTIONS: dict[str, Selection] = {
    "all": usable(),
    "thin-chemical": _THIN,
    "thin": _THIN & limits("zmax", upper=0.25),
    "thick-chemical": _THICK,
    "thick": _THICK & compare("zmax", ">", 2.0),
    "zmax-below-0.25": limits("zmax", upper=0.25),
    "zmax-0.25-to-1": limits("zmax", 0.25, 1.0),
    "zmax-1-to-2": limits("zmax", 1.0, 2.0),
    "zmax-above-2": limits("zmax", 2.0),
    "alpha-lowest": line_excess(-np.inf, -0.1, "[α/Fe] more than 0.1 below the dividing line"),
    "alpha-low": line_excess(-0.1, 0.0, "[α/Fe] 0 to 0.1 below the dividing line"),
    "alpha-high": line_excess(0.0, 0.1, "[α/Fe] 0 to 0.1 above the dividing line"),
    "alpha-highest": line_excess(0.1, np.inf, "[α/Fe] more than 0.1 above the dividing line"),
    "toomre-thin": compare("toomre_speed", "<", 50.0),
    "toomre-thick": limits("toomre_speed", 70.0, 180.0),
    "toomre-thin-local": compare("toomre_speed_local", "<", 50.0),
    "toomre-thick-local": limits("toomre_speed_local", 70.0, 180.0),
    "snr-50": _SNR,
    "age-error-25": _AGE,
    "quality": _SNR & _AGE,
    "parallax-10": compare("parallax_over_error", ">", 10.0),
    "high-quality": compare("age_error", "<=", 0.10)
    & (compare("teff", ">", 5750.0) | (compare("logg", "<", 4.0) & compare("teff", ">", 5250.0))),
}
