"""Methods section of a run, with references, written from the recipe."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from migrate_bayes.isochrones.age_options import EXCLUDE
from migrate_bayes.selection.expressions import parse_selection

_CATALOGUES = {
    "corogee": "anders2017a anders2017b",
    "harps-gto": "delgadomena2017 anders2018",
    "lamost-ddpayne-gaia-bj": "cui2012 xiang2019 gaia2021 bailerjones2021",
    "lamost-gaia": "cui2012 gaia2021",
    "gaia": "gaia2021 bailerjones2021",
    "apokasc2": "pinsonneault2018",
    "gcs": "casagrande2011 vanleeuwen2007 gaia2021 hinkel2014",
    "hypatia": "hinkel2014 vanleeuwen2007 gaia2021",
}
_GRIDS = {
    "dartmouth": "dotter2008", "dartmouth-native": "dotter2008", "mist": "dotter2016 choi2016",
    "parsec": "bressan2012", "basti": "hidalgo2018", "yapsi": "spada2017",
}  # fmt: skip
_PRIORS = {
    "flat": "flat in age",
    "log-flat": "flat in log age",
    "disc": "normal in age, 4 ± 3.5 Gyr",
}
_POTENTIALS = {
    "MWPotential2014": "bovy2015", "Irrgang13I": "irrgang2013", "McMillan17": "mcmillan2017",
    "Cautun20": "cautun2020",
}  # fmt: skip
_FRAMES = {
    "vickers2021": "vickers2021 schonrich2017",
    "bland-hawthorn2016": "blandhawthorn2016",
    "gravity2019": "gravity2019",
}
_FORMS = {
    "constant": "the same at all ages",
    "linear": "a straight line in age",
    "linear+deviations": "a straight line in age with partially pooled deviations at knots",
    "free": "independent values at knots of age",
    "diffusion": "a birth gradient flattened by radial diffusion",
}


class Source(NamedTuple):
    """A work as it is named in a sentence, and in full."""

    short: str
    full: str


@cache
def sources() -> dict[str, Source]:
    """Return all works by their BibTeX keys."""
    text = files("migrate_bayes.report").joinpath("references.bib").read_text(encoding="utf-8")
    return {
        key: _source(dict(re.findall(r"(\w+) = \{((?:[^{}]|\{[^{}]*\})*)\}", entry)))
        for key, entry in re.findall(r"^@\w+\{(\w+),(.*?\})\}$", text, re.DOTALL | re.MULTILINE)
    }


def _source(entry: dict[str, str]) -> Source:
    """Word an entry as astronomical journals do."""
    names = [name.strip("{}") for name in entry["author"].split(" and ")]
    families = [name.partition(",")[0] for name in names]
    year = entry["year"]
    if families[0].endswith("Collaboration"):
        short = families[0]
    elif len(names) < 3 and names[-1] != "others":
        short = " & ".join(families)
    else:
        short = f"{families[0]} et al."
    if names[-1] == "others":
        authors = ", ".join([*names[:-1], "et al."])
    else:
        authors = ", & ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)
    where = [entry[f].replace(r"\&", "&") for f in ("journal", "volume", "pages") if f in entry]
    where = where or [f"arXiv:{entry['eprint']}"]
    return Source(f"{short} {year}", f"{authors} {year}, {', '.join(where)}")


class Methods:
    """Paragraphs, and the works they cite in the order of first mention."""

    def __init__(self) -> None:
        self.paragraphs: list[str] = []
        self._cited: dict[str, None] = {}

    @property
    def references(self) -> list[str]:
        """The works cited, in full, by author."""
        return sorted((sources()[key].full for key in self._cited), key=str.casefold)

    def cite(self, keys: str) -> str:
        """Name works in brackets, ``(Bovy 2015; McMillan 2017)``, and keep them for the list."""
        names = []
        for key in keys.split():
            self._cited[key] = None
            names.append(sources()[key].short)
        return f"({'; '.join(names)})"

    def add(self, *sentences: str) -> None:
        """Add a paragraph of the sentences that are not empty."""
        self.paragraphs.append(" ".join(s for s in sentences if s))


def methods(
    recipe: Mapping[str, Any],
    stars: Mapping[str, Any],
    fit: Mapping[str, Any],
    n_stars: int,
    lacks: Collection[str] = (),
) -> Methods:
    """Write how a run was made, from ``Recipe.model_dump()`` and the products' attributes.

    What the catalogue `lacks`, of ``alpha_fe``, ``snr`` and ``snr_*``, is not said to have been
    used.
    """
    m = Methods()
    _data(m, recipe, stars, n_stars, lacks)
    _ages(m, recipe, stars, lacks)
    if recipe["until"] == "fit":
        _orbits(m, recipe, stars)
        _baseline(m, recipe)
    if fit:
        _fit(m, recipe, fit, lacks)
    m.add(
        f"The analysis follows and extends that of Vickers, Shen & Li {m.cite('vickers2021')}.",
        "Unless another is named, an interval is the central 68% of a posterior, or 1σ.",
        f"Computed with numpy, scipy, numba, xarray, astropy and matplotlib "
        f"{m.cite('harris2020 virtanen2020 lam2015 hoyer2017 astropy2022 hunter2007')}.",
    )
    return m


def _data(
    m: Methods, recipe: Mapping[str, Any], stars: Mapping[str, Any], n: int, lacks: Collection[str]
) -> None:
    data = recipe["data"]
    if data["source"] == "mock":
        s = recipe["simulate"]
        first = (
            f"The survey is simulated: {n:,} observations of a thin disc with gradient "
            f"{s['gradient_young']:g} dex/kpc at 1 Gyr, flattening by {s['flattening_rate']:g} "
            f"dex/kpc/Gyr, and a thick disc with {s['gradient_thick']:g} dex/kpc."
        )
    else:
        keys = _CATALOGUES.get(str(data["columns"]), "")
        first = f"The catalogue has {n:,} stars{' ' + m.cite(keys) if keys else ''}."
    repeats = data["duplicate_radius"]
    cuts = []
    bands = [band for band in "gri" if f"snr_{band}" not in lacks]
    if not bands and "snr" not in lacks:
        bands = ["the whole spectrum"]
    if data["min_snr"] and bands:
        each = f"each of {', '.join(bands[:-1])} and {bands[-1]}" if bands[1:] else bands[0]
        cuts.append(f"a signal-to-noise ratio above {data['min_snr']:g} in {each}")
    if data["max_age_error"] is not None:
        cuts.append(f"an age error below {data['max_age_error']:.0%}")
    extinction = str(stars.get("extinction", "") or data["extinction"])
    if "Fitzpatrick" in str(stars.get("extinction", "")):
        extinction += f" {m.cite('fitzpatrick2019')}"
    elif recipe["isochrones"]["source"] == "external":
        extinction = ""
    zero_point = str(stars.get("parallax_zero_point", ""))
    m.add(
        first,
        f'Of observations within {repeats:g}" the one of highest signal-to-noise ratio is kept.'
        if repeats
        else "Repeat observations are kept.",
        f"Stars are used that have {' and '.join(cuts)}." if cuts else "",
        f"Parallax zero point: {zero_point}." if zero_point else "",
        f"Extinction: {extinction}." if extinction else "",
    )


def _ages(
    m: Methods, recipe: Mapping[str, Any], stars: Mapping[str, Any], lacks: Collection[str]
) -> None:
    i = recipe["isochrones"]
    if i["source"] == "external":
        m.add("Ages and their errors are the catalogue's own.")
        return
    source = str(i["source"]).partition(":")[0]
    names = {
        "teff": "T_eff", "logg": "log g", "feh": "[Fe/H]", "alpha_fe": "[α/Fe]", "abs_g": "M_G",
        "bp_rp": "BP−RP",
    }  # fmt: skip
    observables = ", ".join(names.get(o, o) for o in i["observables"] if o not in lacks)
    grid = _GRIDS.get(source, "")
    way = (
        "isochrone by isochrone on the grid of the paper"
        if i["method"] == "paper"
        else "with integrals in closed form along the isochrones and a fine lattice in composition"
    )
    m.add(
        f"Ages are of {source} isochrones{' ' + m.cite(grid) if grid else ''}: the likelihood of "
        f"{observables} is integrated over mass, weighted by the initial mass function "
        f"{m.cite('kroupa2001')}, [Fe/H] and [α/Fe], {way} {m.cite('jorgensen2005')}.",
        "Where the models are scaled to the Sun, [α/Fe] enters through the total metallicity "
        f"{m.cite('salaris1993')}."
        if "Salaris" in str(stars.get("alpha_treatment", ""))
        else "",
        f"[Fe/H] is read on the '{stars['feh_scale']}' scale." if "feh_scale" in stars else "",
        f"The prior is {_PRIORS[i['age_prior']]}.",
        f"{i['photometric_floor']:g} mag are added in quadrature to photometric errors."
        if {"abs_g", "bp_rp"} & set(i["observables"])
        else "",
        _giants(m, i["giants"]),
        f"The errors of giants have a floor of {stars['giant_systematics']} (T_eff, log g, [Fe/H])."
        if "giant_systematics" in stars
        else "",
        *(f"{said} ({stars[name]})." for name, said in _ERROR_MODELS.items() if name in stars),
        f"A star whose least χ² has a chance below {i['poor_fit']:g} is not used."
        if i.get("poor_fit") and i["method"] == "fine"
        else "",
    )


_ERROR_MODELS = {
    "inflation": "The catalogue's errors are multiplied by factors",
    "outliers": "One observable of a star may be wrong, with a broad error of its own",
    "binaries": "A star may be an unresolved pair of any mass ratio",
}


def _giants(m: Methods, family: str | None) -> str:
    if family is None:
        return ""
    if family == EXCLUDE:
        return "Giants are left out."
    family = family.partition(":")[0]
    cited = f" {m.cite(_GRIDS[family])}" if family in _GRIDS else ""
    return f"Giants have ages of {family} isochrones{cited}."


def _orbits(m: Methods, recipe: Mapping[str, Any], stars: Mapping[str, Any]) -> None:
    o = recipe["orbits"]
    frame = stars.get("solar_frame")
    frame = json.loads(frame) if isinstance(frame, str) else frame
    where = ""
    if isinstance(frame, Mapping):
        keys = _FRAMES.get(str(frame.get("name", "")), "")
        where = (
            f"The Sun is {frame['r0']:g} kpc from the centre, the circular speed there "
            f"{frame['v0']:g} km/s, the Sun's own motion (U, V, W) = ({frame['u']:g}, "
            f"{frame['v']:g}, {frame['w']:g}) km/s{' ' + m.cite(keys) if keys else ''}."
        )
    known = [(p.rpartition(":")[2], p) for p in o["potentials"]]
    keys = " ".join(_POTENTIALS[p] for p, _ in known if p in _POTENTIALS)
    scaled = "scaled to this frame" if o["scaling"] == "rescaled" else "each in its own units"
    span = stars.get("span_gyr")
    m.add(
        where,
        f"Phase space is the mean and standard deviation over {o['draws']} draws of each star from "
        "its errors and their correlations.",
        f"Guiding radii and Z_max are in {', '.join(p for p, _ in known)}, {scaled} "
        f"{m.cite(keys) if keys else ''}".strip() + ".",
        f"Z_max is of orbits integrated over {float(span):g} Gyr in tabulated forces; its spread: "
        f"{str(stars['ln_zmax_moments']).replace('Staeckel', 'Stäckel')}."
        if span is not None and "ln_zmax_moments" in stars
        else "",
    )  # fmt: skip


def _baseline(m: Methods, recipe: Mapping[str, Any]) -> None:
    b = recipe["baseline"]
    if b is None:
        return
    low, high = b["age_range"]
    m.add(
        f"The baseline bins stars by maximum-likelihood age, {b['bin_width']:g} Gyr wide from "
        f"{low:g} to {high:g} Gyr, and fits [Fe/H] against radius in bins of {b['min_stars']} "
        f"stars or more by orthogonal distance regression {m.cite('boggs1990 zwolak2007')}: as the "
        "paper did, and with an intrinsic scatter such that the reduced χ² is 1 "
        f"{m.cite('tremaine2002')}.",
        f"Its samples are '{b['selection']}'"
        + (f" and '{b['thick_selection']}'." if b["thick_selection"] else "."),
    )


def _taken(recipe: Mapping[str, Any]) -> str:
    """Say how the survey took its stars."""
    c = recipe["completeness"]
    how = "that a table states"
    if c["source"] == "inject":
        whose = "the mock survey's limits"
        if c["survey"] == "catalogue":
            whose = "limits, places, depth and errors lent by the catalogue's own stars"
        if c.get("shares"):
            tables = ", ".join(f"'{Path(one['path']).name}'" for one in c["shares"])
            whose += f" times the shares that {tables} give by place, magnitude or colour"
        how = f"found by {c['injections']:,} stars injected into {whose}, with their ages and cuts"
    return (
        "The likelihood is normalised for how the survey takes stars by [Fe/H] at given age and "
        f"radius, {how}."
    )


def _fit(
    m: Methods, recipe: Mapping[str, Any], fit: Mapping[str, Any], lacks: Collection[str]
) -> None:
    try:
        spec = json.loads(str(fit.get("model", "{}")))
    except ValueError:
        spec = {}
    model, sampler = recipe["model"], recipe["sampler"]
    form = str(spec.get("form", ""))
    knots = spec.get("gradient_knots") if form in ("linear+deviations", "free") else None
    at = f" ({', '.join(f'{k:g}' for k in knots)} Gyr)" if knots else ""
    radius = "present" if model["radius"] == "r_present" else "guiding"
    completeness = recipe.get("completeness", {}).get("source", "none")
    share = json.loads(str(fit.get("completeness_share", "{}")))
    told = "[Fe/H], Z_max" if "alpha_fe" in lacks else "[Fe/H], [α/Fe], Z_max"
    if completeness != "none" and "alpha_fe" not in lacks:
        # See `population_data`.
        told = "[Fe/H], [α/Fe] (Z_max where it is missing)"
    replaced, up_to = "", ""
    if fit.get("method") == "surrogate":
        replaced = (
            " on a quadratic surrogate for the stars' likelihood, and draws are weighted to the "
            "likelihood itself"
        )
        up_to, judged = "up to ", f"tail of the weights {m.cite('vehtari2024')}"
    else:
        judged = f"energy {m.cite('betancourt2016')}"
    m.add(
        f"The hierarchical model is of the stars of selection '{model['selection']}' "
        f"({parse_selection(model['selection']).description}) and of their {radius} radii in "
        f"{model['potential']}. Each star belongs to the thin or the thick disc "
        f"with a probability that {told}, radius and age decide; its age is summed over the nodes "
        "of its likelihood, with the [Fe/H] that goes with each, and everything else is integrated "
        "with the star's own errors.",
        f"The thin disc's gradient is {_FORMS[form]}{at}." if form in _FORMS else "",
        f"The form is that of radial diffusion {m.cite('frankel2018')}."
        if form == "diffusion"
        else "",
        "Birth radii of stars follow from it, their [Fe/H] and their age, for a mean birth radius "
        f"that is stated: {born[0]:g} kpc today, changing by {born[1]:g} kpc per Gyr of age."
        if form == "diffusion" and (born := spec.get("birth_radius"))
        else "",
        _taken(recipe)
        if completeness != "none"
        else "At given age and radius, stars of all [Fe/H] are taken to be observed alike.",
        "Its error, of a limited number of injections, is in the fit, where it makes "
        f"{max(share.values()):.0%} of the variance of a headline number at most."
        if share
        else "",
        f"The posterior is sampled by NUTS {m.cite('hoffman2014')} with PyMC and nutpie "
        f"{m.cite('abrilpla2023')}{replaced}: {sampler['chains']} chains of {up_to}"
        f"{sampler['draws']} draws after {sampler['tune']} of tuning, judged by rank-normalised "
        f"R-hat, effective sample sizes {m.cite('vehtari2021')} and the {judged} as ArviZ has them "
        f"{m.cite('kumar2019')}.",
    )
