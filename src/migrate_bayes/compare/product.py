"""Product of a comparison: one DataTree with a labelled dimension `variant`.

Its groups are `estimates` (variant, quantity), `differences` (quantity, variant, other), `variance`
(quantity, source), `draws` (quantity, variant, draw; paired across variants), `curve` (variant,
component, age) and `baseline` (variant, regression). A variant's factors are coordinates along
`variant`. A choice that the numbers are marginalised over has the group `marginal/CHOICE`
(quantity; weights on variant; draws of the mixture, joint in the quantities of one fit). Of
`estimates`, `doubt` (variant) says why a variant's fit may not be believed, and is ""
if it may; such a variant is left out of `variance` and of marginals.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from functools import reduce
from types import MappingProxyType
from typing import Any

import numpy as np
import xarray as xr

from migrate_bayes.compare.decomposition import WITHIN, Share, decompose
from migrate_bayes.compare.influence import correlation, paired_covariance, paired_draws
from migrate_bayes.compare.variants import FACTORS, FittedVariant, members
from migrate_bayes.core.errors import FitError
from migrate_bayes.core.table import plain
from migrate_bayes.mock.truth import as_truth
from migrate_bayes.plots.compared import doubts, marginals
from migrate_bayes.population.results.diagnostics import judge
from migrate_bayes.population.results.marginal import (
    PERCENTILES,
    Weights,
    moments,
    named_weights,
    numbers,
    percentiles,
    pick,
    stack,
)

_PAIRED_DRAWS = 4000
_TIE = 1e-3
_LEAST_IN_COMMON = 0.5  # of a variant's stars, for stacking
_BASELINE = {
    "flattening_rate": ("baseline", "trend"),
    "gradient_young": ("baseline", "slope_at_1gyr"),
    "gradient_thick": ("baseline_thick", "mean_slope"),
}


def build_comparison(
    fitted: Sequence[FittedVariant],
    *,
    truth: Mapping[str, float] | None,
    attrs: Mapping[str, Any],
    seed: int,
    marginal: Mapping[Any, Weights] = MappingProxyType({}),
) -> xr.DataTree:
    """Build the product from fits of the same stars; the first is the reference.

    All have the same quantities. `truth` is a mock's, by quantity; `attrs` are of the root;
    `marginal` has the weights of each choice that is marginalised over.
    """
    posteriors = [f.tree["posterior"].to_dataset() for f in fitted]
    influences = [f.tree["influence"].to_dataset() for f in fitted]
    names = influences[0]["quantity"].values.astype(str).tolist()
    units = [str(posteriors[0][n].attrs.get("units", "")) for n in names]
    of_variant: dict[str, Any] = {"variant": [f.variant.label for f in fitted]}
    for name in FACTORS:
        unit = {"r0": {"units": "kpc"}, "v0": {"units": "km/s"}}.get(name, {})
        of_variant[name] = ("variant", [f.factors[name] for f in fitted], unit)
    coords = {**of_variant, "quantity": names, "unit": ("quantity", units)}
    psi = [i["influence"].sel(quantity=names).transpose("star", "quantity") for i in influences]
    covariance = paired_covariance(
        [i["source_id"].values for i in influences], [p.values.astype(np.float64) for p in psi]
    )
    rho = correlation(covariance)
    # Of each variant (quantity, draw): chains that had to be longer have more draws.
    own = [np.array([p[n].values for n in names]) for p in posteriors]
    together = np.stack(
        [
            paired_draws([of[q] for of in own], rho[q], draws=_PAIRED_DRAWS, seed=seed + q)
            for q in range(len(names))
        ]
    )
    mean, sd = np.array([of.mean(axis=-1) for of in own]), np.array([of.std(axis=-1) for of in own])
    both = ("variant", "quantity")
    estimates = xr.Dataset(
        {
            "mean": (both, mean),
            "sd": (both, sd),
            "sandwich_sd": (both, np.sqrt(np.diagonal(covariance, axis1=1, axis2=2)).T),
            **{
                n: (both, [np.percentile(of, p, axis=-1) for of in own])
                for n, p in PERCENTILES.items()
            },
            "n_stars": ("variant", [int(f.tree.attrs["n_stars"]) for f in fitted]),
            "doubt": ("variant", [judge(f.tree).sentence for f in fitted]),
        },
        coords=coords,
    )
    if truth:
        estimates["truth"] = ("quantity", [truth.get(n, np.nan) for n in names])
        estimates["bias"] = estimates["mean"] - estimates["truth"]
    estimates["sandwich_sd"].attrs["long_name"] = "sd over samples of stars, by the scores"
    curves = [f.tree["curve"].to_dataset() for f in fitted]
    curve = xr.concat(curves, dim="variant", join="inner").assign_coords(of_variant)
    tree = xr.DataTree.from_dict(
        {
            "estimates": estimates,
            "differences": _differences(together, sd, rho, coords),
            "variance": _variance(mean, sd, rho, estimates),
            "draws": xr.Dataset({"value": (("quantity", "variant", "draw"), together)}, coords),
            "curve": _with_truth(curve, truth),
        }
    )
    for over, weights in marginal.items():
        if (mixed := _marginal(fitted, own, estimates, over, weights)) is not None:
            tree[f"marginal/{over}"] = xr.DataTree(mixed)
    if any("baseline" in f.tree.children for f in fitted):
        tree["baseline"] = xr.DataTree(_baselines(fitted, of_variant))
    tree.attrs.update(attrs)
    tree.attrs["reference"] = fitted[0].variant.label
    tree.attrs["method"] = str(fitted[0].tree.attrs["method"])
    return tree


def _marginal(
    fitted: Sequence[FittedVariant],
    own: Sequence[np.ndarray],
    estimates: xr.Dataset,
    over: str,
    weights: Weights,
) -> xr.Dataset | None:
    """Mix the variants of one choice; None with fewer than two that may be believed, or no weight.

    `own` are draws of each variant's posterior, shape (quantity, draw).
    """
    levels = members([f.variant for f in fitted], over)
    believed = estimates["doubt"].values == ""
    kept = {level: k for level, k in levels.items() if believed[k]}
    stated = weights if isinstance(weights, str) else {n: weights.get(n, 0.0) for n in kept}
    if len(kept) < 2 or not (isinstance(stated, str) or any(stated.values())):
        return None
    stars = [fitted[k].tree["influence"].to_dataset() for k in kept.values()]
    shared = reduce(np.intersect1d, [one["source_id"].values for one in stars])
    if weights == "stacking":
        w = _stacked(stars, shared, [*kept])
    else:
        w = named_weights([*kept], stated)
    labels = estimates["variant"].values[[*kept.values()]].astype(str).tolist()
    mine = [own[k] for k in kept.values()]
    rows = [moments(of, w) | percentiles(of, w) for of in map(list, zip(*mine, strict=True))]
    chosen = pick([*kept], [of.shape[-1] for of in mine], w, _PAIRED_DRAWS)
    draws = np.concatenate([of[:, some] for of, some in zip(mine, chosen, strict=True)], axis=1)
    made = {name: ("quantity", [row[name] for row in rows]) for name in rows[0]}
    mixed = xr.Dataset(
        {
            **made,
            "weight": ("variant", w),
            "value": (("quantity", "draw"), draws),
        },
        {
            **{n: ("quantity", estimates[n].values) for n in ("quantity", "unit")},
            "variant": labels,
            "level": ("variant", [*kept]),
            "member": ("draw", np.repeat(labels, [len(c) for c in chosen])),
        },
        {
            "weights": weights if isinstance(weights, str) else "stated",
            "n_effective": float(1.0 / np.sum(w**2)),
            "n_stars_in_common": len(shared),
        },
    )
    return mixed.assign(truth=estimates["truth"]) if "truth" in estimates else mixed


def _stacked(stars: Sequence[xr.Dataset], shared: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Return stacking weights by the stars that all variants have."""
    columns = []
    for one, name in zip(stars, names, strict=True):
        if len(shared) < _LEAST_IN_COMMON * one.sizes["star"]:
            raise FitError(
                f"stacking compares predictions of the same stars, and of those of '{name}', "
                f"{one.sizes['star']:,}, {len(shared):,} can be used with every choice"
            )
        ids = one["source_id"].values
        order = np.argsort(ids, kind="stable")
        columns.append(one["log_predictive"].values[order[np.searchsorted(ids[order], shared)]])
    return stack(np.stack(columns, axis=1).astype(np.float64))


def _with_truth(curve: xr.Dataset, truth: Mapping[str, float] | None) -> xr.Dataset:
    """Add the true gradient(age) of each disc, NaN for one that is not known."""
    known = [as_truth(truth).gradient(str(c), curve["age"]) for c in curve["component"].values]
    if all(v is None for v in known):
        return curve
    lacking = np.full(curve.sizes["age"], np.nan)
    rows = np.stack([lacking if v is None else v for v in known])
    return curve.assign(truth=(("component", "age"), rows))


def _differences(
    together: np.ndarray, sd: np.ndarray, rho: np.ndarray, coords: dict[str, Any]
) -> xr.Dataset:
    """Every pair, `variant` minus `other`."""
    gap = together[:, :, None, :] - together[:, None, :, :]
    low, high = np.percentile(gap, [2.5, 97.5], axis=-1)
    variance = sd.T**2
    # Half of the ties: a variant and itself, or its like. Maxima are found to 1e-4 of an error.
    tie = _TIE * np.sqrt(np.minimum(variance[:, :, None], variance[:, None, :]))[..., None]
    above = (gap > tie).mean(axis=-1) + 0.5 * (np.abs(gap) <= tie).mean(axis=-1)
    columns = {
        "mean": gap.mean(axis=-1),
        "sd": gap.std(axis=-1),
        "unpaired_sd": np.sqrt(variance[:, :, None] + variance[:, None, :]),
        "lo95": low,
        "hi95": high,
        "probability_greater": above,
        "correlation": rho,
    }
    dims = ("quantity", "variant", "other")
    made = {name: (dims, values) for name, values in columns.items()}
    return xr.Dataset(made, {**coords, "other": coords["variant"]})


def _variance(
    mean: np.ndarray, sd: np.ndarray, rho: np.ndarray, estimates: xr.Dataset
) -> xr.Dataset:
    """Shares of every quantity's variance; `corrected` of the noise in `sd` and `fraction`.

    Of the variants whose fits may be believed; NaN without any.
    """
    kept = np.flatnonzero(estimates["doubt"].values == "")
    mean, sd, rho = mean[kept], sd[kept], rho[:, kept][:, :, kept]
    factors = {name: estimates[name].values[kept].tolist() for name in FACTORS}
    # NaN is unlike itself: a product without solar parameters has one level of none.
    factors = {k: ["" if v != v else v for v in levels] for k, levels in factors.items()}
    rows = [
        decompose(m, s, correlated * np.outer(s, s), factors)
        if len(kept)
        else [Share(WITHIN, np.nan, np.nan)]
        for m, s, correlated in zip(mean.T, sd.T, rho, strict=True)
    ]
    total, noise, corrected = (
        np.array([[getattr(share, name) for share in row] for row in rows])
        for name in ("variance", "noise", "corrected")
    )
    columns = {
        "variance": total,
        "noise": noise,
        "sd": np.sqrt(corrected),
        "fraction": corrected / corrected.sum(axis=1, keepdims=True),
    }
    return xr.Dataset(
        {name: (("quantity", "source"), values) for name, values in columns.items()},
        {"quantity": estimates["quantity"].values, "source": [s.source for s in rows[0]]},
    )


def _baselines(fitted: Sequence[FittedVariant], coords: dict[str, Any]) -> xr.Dataset:
    """ODR's counterparts of the quantities, NaN where a sample gave none."""
    methods = ["odr", "odr+scatter"]
    made: dict[str, Any] = {}
    for name, (group, variable) in _BASELINE.items():
        for suffix in ("", "_error"):
            values = np.full((len(fitted), len(methods)), np.nan)
            for v, f in enumerate(fitted):
                if group in f.tree.children:
                    rows = f.tree[group].to_dataset()[variable + suffix]
                    values[v] = rows.sel(regression=methods).values
            made[name + suffix] = (("variant", "regression"), values)
    return xr.Dataset(made, coords={**coords, "regression": methods})


def _of_marginal(mixed: xr.Dataset, truth: Mapping[str, float]) -> dict[str, Any]:
    """Give a marginal as plain numbers."""
    weight = dict(zip(mixed["variant"].values.tolist(), mixed["weight"].values, strict=True))
    found: dict[str, Any] = dict(mixed.attrs) | {"weight": weight}
    for q in mixed["quantity"].values.astype(str).tolist():
        found[q] = numbers(mixed, q)
        if q in truth:
            found[q]["truth_inside_95"] = found[q]["lo95"] <= truth[q] <= found[q]["hi95"]
    return found


def comparison_summary(tree: xr.DataTree) -> dict[str, Any]:
    """Give the comparison as plain numbers, None for what is not finite: what ``--json`` prints.

    `marginal` has the numbers over all levels of a choice, with the sd `within` and `between` them.
    Of a variant whose fit may not be believed, `believed` is false, `causes` says why, and its
    numbers and differences are None.
    """
    doubted = doubts(tree)
    e, d, v = (tree[name].to_dataset() for name in ("estimates", "differences", "variance"))
    labels, quantities = (e[name].values.astype(str).tolist() for name in ("variant", "quantity"))
    truth = e["truth"].values if "truth" in e else np.full(len(quantities), np.nan)
    known = {q: t for q, t in zip(quantities, truth, strict=True) if np.isfinite(t)}

    def numbers(cell: xr.Dataset, *names: str, shown: bool = True) -> dict[str, Any]:
        return {name: cell[name].item() if shown else None for name in names}

    def shares(of: xr.Dataset) -> dict[str, Any]:
        names = of["source"].values
        return {str(s): numbers(of.sel(source=s), "sd", "fraction", "noise") for s in names}

    variants = []
    for label in labels:
        row = e.sel(variant=label)
        shown = label not in doubted
        item: dict[str, Any] = {"variant": label, "stars": int(row["n_stars"]), "believed": shown}
        item |= {} if shown else {"causes": doubted[label]}
        item |= {
            k: x
            for k, x in numbers(row, *(f for f in FACTORS if f in row.coords)).items()
            if x == x
        }
        for q in quantities:
            cell = row.sel(quantity=q)
            item[q] = numbers(cell, "mean", "sd", "lo95", "hi95", shown=shown)
            if q in known and shown:
                inside = bool(item[q]["lo95"] <= known[q] <= item[q]["hi95"])
                item[q] |= numbers(cell, "bias") | {"truth_inside_95": inside}
        if "baseline" in tree.children:
            b = tree["baseline"].to_dataset().sel(variant=label)
            item["baseline"] = {
                str(m): numbers(b.sel(regression=m), *map(str, b.data_vars))
                for m in b["regression"].values
            }
        variants.append(item)
    pairs = []
    # The later minus the earlier: the reference, which is first, is subtracted.
    for earlier, later in itertools.combinations(labels, 2):
        for q in quantities:
            cell = d.sel(quantity=q, variant=later, other=earlier)
            names = ("sd", "lo95", "hi95", "unpaired_sd", "correlation", "probability_greater")
            pair = {"quantity": q, "variant": later, "minus": earlier}
            shown = doubted.keys().isdisjoint((earlier, later))
            found = numbers(cell, "mean", *names, shown=shown)
            pairs.append(pair | {"difference": found.pop("mean")} | found)
    summary: dict[str, Any] = {
        "reference": str(tree.attrs["reference"]),
        "believed": str(tree.attrs["reference"]) not in doubted,
        "method": str(tree.attrs["method"]),
        "units": dict(zip(quantities, e["unit"].values.astype(str).tolist(), strict=True)),
        "variants": variants,
        "differences": pairs,
        "variance": {q: shares(v.sel(quantity=q)) for q in quantities},
        "marginal": {over: _of_marginal(one, known) for over, one in marginals(tree).items()},
    }
    if "truth" in e:
        summary["truth"] = known
    if "histories" in tree.attrs:
        summary["histories"] = json.loads(str(tree.attrs["histories"]))
    return plain(summary)
