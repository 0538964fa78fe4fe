"""The comparison itself: one DataTree with a labelled dimension `variant`.

Groups `estimates` (variant, quantity), `differences` (quantity, variant, other), `variance`
(quantity, source), `draws` (quantity, variant, draw; paired across variants), `curve` (variant,
component, age) and `baseline` (variant, method). A variant's factors are coordinates beside
`variant` wherever that stands.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from migrate_bayes.compare.decomposition import Share, decompose
from migrate_bayes.compare.influence import paired_covariance
from migrate_bayes.compare.pairing import correlation, paired_draws
from migrate_bayes.compare.stages import FittedVariant
from migrate_bayes.compare.variants import FACTORS
from migrate_bayes.mock.truth import as_truth

__all__ = ["build_comparison", "comparison_summary"]

_PAIRED_DRAWS = 4000
_TIE = 1e-3
_PERCENTILES = {"lo95": 2.5, "lo68": 16.0, "median": 50.0, "hi68": 84.0, "hi95": 97.5}
_BASELINE = {
    "flattening_rate": ("baseline", "trend"),
    "gradient_young": ("baseline", "slope_at_1gyr"),
    "gradient_thick": ("baseline_thick", "mean_slope"),
}


def build_comparison(
    fitted: Sequence[FittedVariant],
    *,
    truth: Mapping[str, float] | None = None,
    attrs: Mapping[str, Any] | None = None,
    draws: int = _PAIRED_DRAWS,
    seed: int = 0,
) -> xr.DataTree:
    """Put fits of the same stars side by side.

    Parameters
    ----------
    fitted : sequence of FittedVariant
        The first is the reference. All must have the same quantities.
    truth : mapping, optional
        A mock's, by quantity.
    attrs : mapping, optional
        Provenance for the root.
    draws : int
        Paired draws.
    seed : int

    Returns
    -------
    xarray.DataTree
    """
    names = [str(q) for q in fitted[0].tree["influence"].to_dataset()["quantity"].values]
    posteriors = [f.tree["posterior"].to_dataset() for f in fitted]
    units = [str(posteriors[0][n].attrs.get("units", "")) for n in names]
    coords = _variant_coords(fitted)
    influences = [f.tree["influence"].to_dataset() for f in fitted]
    psi = [i["influence"].sel(quantity=names).transpose("star", "quantity") for i in influences]
    covariance = paired_covariance(
        [i["source_id"].values for i in influences], [p.values.astype(np.float64) for p in psi]
    )
    rho = correlation(covariance)
    together = np.stack(
        [
            paired_draws([p[n].values for p in posteriors], rho[q], draws=draws, seed=seed + q)
            for q, n in enumerate(names)
        ]
    )
    marginal = np.array([[p[n].values for n in names] for p in posteriors])
    mean, sd = marginal.mean(axis=-1), marginal.std(axis=-1)
    of_quantity = {"quantity": names, "unit": ("quantity", units)}
    both = ("variant", "quantity")
    estimates = xr.Dataset(
        {
            "mean": (both, mean),
            "sd": (both, sd),
            "sandwich_sd": (both, np.sqrt(np.diagonal(covariance, axis1=1, axis2=2)).T),
            **{n: (both, np.percentile(marginal, p, axis=-1)) for n, p in _PERCENTILES.items()},
            "n_stars": ("variant", [int(f.tree.attrs["n_stars"]) for f in fitted]),
        },
        coords={**coords, **of_quantity},
    )  # fmt: skip
    if truth:
        estimates["truth"] = ("quantity", [truth.get(n, np.nan) for n in names])
        estimates["bias"] = estimates["mean"] - estimates["truth"]
    estimates["sandwich_sd"].attrs["long_name"] = "sd over samples of stars, by the scores"
    variance = _variance(names, mean, sd, rho, estimates)
    tree = xr.DataTree.from_dict(
        {
            "estimates": estimates,
            "differences": _differences(together, sd, rho, coords, of_quantity),
            "variance": variance,
            "draws": xr.Dataset(
                {"value": (("quantity", "variant", "draw"), together)}, {**coords, **of_quantity}
            ),
            "curve": xr.concat(
                [f.tree["curve"].to_dataset() for f in fitted], dim="variant", join="inner"
            ).assign_coords(coords),
        }
    )
    curve = tree["curve"].to_dataset()
    known = {
        str(c): as_truth(truth).gradient(str(c), curve["age"]) for c in curve["component"].values
    }
    if any(v is not None for v in known.values()):
        lacking = np.full(curve.sizes["age"], np.nan)
        rows = [lacking if v is None else v for v in known.values()]
        tree["curve"] = xr.DataTree(curve.assign(truth=(("component", "age"), np.stack(rows))))
    baseline = _baselines(fitted, coords)
    if baseline is not None:
        tree["baseline"] = xr.DataTree(baseline)
    tree.attrs.update(attrs or {})
    tree.attrs["reference"] = fitted[0].variant.label
    tree.attrs["method"] = str(fitted[0].tree.attrs["method"])
    return tree


def _variant_coords(fitted: Sequence[FittedVariant]) -> dict[str, Any]:
    coords: dict[str, Any] = {"variant": [f.variant.label for f in fitted]}
    units = {"r0": "kpc", "v0": "km/s"}
    for name in FACTORS:
        levels = [f.factors[name] for f in fitted]
        coords[name] = ("variant", levels, {"units": units[name]} if name in units else {})
    return coords


def _differences(
    together: np.ndarray, sd: np.ndarray, rho: np.ndarray, coords: dict, of_quantity: dict
) -> xr.Dataset:
    """Every pair, `variant` minus `other`."""
    gap = together[:, :, None, :] - together[:, None, :, :]
    low, high = np.percentile(gap, [2.5, 97.5], axis=-1)
    variance = sd.T**2
    dims = ("quantity", "variant", "other")
    # Half of the ties: a variant and itself, or its like. Maxima are found to 1e-4 of an error.
    tie = _TIE * np.sqrt(np.minimum(variance[:, :, None], variance[:, None, :]))[..., None]
    above = (gap > tie).mean(axis=-1) + 0.5 * (np.abs(gap) <= tie).mean(axis=-1)
    return xr.Dataset(
        {
            "mean": (dims, gap.mean(axis=-1)),
            "sd": (dims, gap.std(axis=-1)),
            "unpaired_sd": (dims, np.sqrt(variance[:, :, None] + variance[:, None, :])),
            "lo95": (dims, low),
            "hi95": (dims, high),
            "probability_greater": (dims, above),
            "correlation": (dims, rho),
        },
        coords={**coords, **of_quantity, "other": coords["variant"]},
    )


def _variance(
    names: list[str], mean: np.ndarray, sd: np.ndarray, rho: np.ndarray, estimates: xr.Dataset
) -> xr.Dataset:
    factors = {name: estimates[name].values.tolist() for name in FACTORS}
    # NaN is unlike itself: a product without solar parameters has one level of none.
    factors = {k: ["" if v != v else v for v in levels] for k, levels in factors.items()}
    rows: list[list[Share]] = []
    for q in range(len(names)):
        covariance = rho[q] * np.outer(sd[:, q], sd[:, q])
        rows.append(decompose(mean[:, q], sd[:, q], covariance, factors))
    dims = ("quantity", "source")
    total = np.array([[s.variance for s in row] for row in rows])
    corrected = np.array([[s.corrected for s in row] for row in rows])
    return xr.Dataset(
        {
            "variance": (dims, total),
            "noise": (dims, np.array([[s.noise for s in row] for row in rows])),
            "sd": (dims, np.sqrt(corrected)),
            "fraction": (dims, corrected / corrected.sum(axis=1, keepdims=True)),
        },
        coords={"quantity": names, "source": [s.source for s in rows[0]]},
    )


def _baselines(fitted: Sequence[FittedVariant], coords: dict) -> xr.Dataset | None:
    """ODR's counterparts of the quantities, NaN where a sample gave none."""
    if not any("baseline" in f.tree.children for f in fitted):
        return None
    methods = ["odr", "odr+scatter"]
    made: dict[str, Any] = {}
    for name, (group, variable) in _BASELINE.items():
        for suffix in ("", "_error"):
            values = np.full((len(fitted), len(methods)), np.nan)
            for v, f in enumerate(fitted):
                if group in f.tree.children:
                    rows = f.tree[group].to_dataset()[variable + suffix]
                    values[v] = rows.sel({"method": methods}).values
            made[name + suffix] = (("variant", "method"), values)
    return xr.Dataset(made, coords={**coords, "method": methods})


def comparison_summary(tree: xr.DataTree) -> dict[str, Any]:
    """Give the comparison as plain numbers: what ``--json`` prints."""
    e = tree["estimates"].to_dataset()
    d = tree["differences"].to_dataset()
    reference = str(tree.attrs["reference"])
    labels = [str(v) for v in e["variant"].values]

    def number(value: Any) -> float | None:
        return float(value) if np.isfinite(value) else None

    variants = []
    for label in labels:
        row = e.sel(variant=label)
        item: dict[str, Any] = {"variant": label, "stars": int(row["n_stars"])}
        item |= {name: row[name].item() for name in FACTORS if row[name].item() == row[name].item()}
        for q in e["quantity"].values:
            cell = row.sel(quantity=q)
            item[str(q)] = {k: number(cell[k]) for k in ("mean", "sd", "lo95", "hi95")}
            if "truth" in e and np.isfinite(cell["truth"]):
                inside = float(cell["lo95"]) <= float(cell["truth"]) <= float(cell["hi95"])
                item[str(q)] |= {"bias": number(cell["bias"]), "truth_inside_95": bool(inside)}
        if "baseline" in tree.children:
            b = tree["baseline"].to_dataset().sel(variant=label)
            item["baseline"] = {
                str(m): {str(n): number(b[n].sel({"method": m})) for n in b.data_vars}
                for m in b["method"].values
            }
        variants.append(item)
    pairs = []
    for i, earlier in enumerate(labels):
        for later in labels[i + 1 :]:
            for q in e["quantity"].values:
                # So that a reference, which is first, is subtracted.
                cell = d.sel(quantity=q, variant=later, other=earlier)
                pairs.append(
                    {
                        "quantity": str(q), "variant": later, "minus": earlier,
                        "difference": number(cell["mean"]), "sd": number(cell["sd"]),
                        "lo95": number(cell["lo95"]), "hi95": number(cell["hi95"]),
                        "unpaired_sd": number(cell["unpaired_sd"]),
                        "correlation": number(cell["correlation"]),
                        "probability_greater": number(cell["probability_greater"]),
                    }
                )  # fmt: skip
    v = tree["variance"].to_dataset()

    def sources(cell: xr.Dataset) -> dict[str, float | None]:
        return {name: number(cell[name]) for name in ("sd", "fraction", "noise")}

    summary: dict[str, Any] = {
        "reference": reference,
        "method": str(tree.attrs["method"]),
        "units": dict(zip(map(str, e["quantity"].values), map(str, e["unit"].values), strict=True)),
        "variants": variants,
        "differences": pairs,
        "variance": {
            str(q): {str(s): sources(v.sel(quantity=q, source=s)) for s in v["source"].values}
            for q in v["quantity"].values
        },
    }  # fmt: skip
    if "truth" in e:
        summary["truth"] = {
            str(q): number(e["truth"].sel(quantity=q))
            for q in e["quantity"].values
            if np.isfinite(e["truth"].sel(quantity=q))
        }
    if "histories" in tree.attrs:
        summary["histories"] = json.loads(str(tree.attrs["histories"]))
    return summary
