"""Units and names of a fit's variables and coordinates, put on by `label`."""

from __future__ import annotations

import xarray as xr

_DEX_KPC, _DEX_KPC_GYR = "dex / kpc", "dex / (kpc Gyr)"

#: Units of the posterior's variables and coordinates; a name that is not here is a pure number
#: (natural logarithms among them: of dex, kpc or kpc, as `LONG_NAMES` says).
UNITS = {
    "gradient_young": _DEX_KPC,
    "gradient_reference": _DEX_KPC,
    "gradient_thick": _DEX_KPC,
    "gradient_thick_rate": _DEX_KPC_GYR,
    "gradient_knots": _DEX_KPC,
    "gradient": _DEX_KPC,
    "flattening_rate": _DEX_KPC_GYR,
    "sigma_G": _DEX_KPC,
    "gradient_deviation": _DEX_KPC,
    "birth_gradient": _DEX_KPC,
    "birth_gradient_rate": _DEX_KPC_GYR,
    "birth_radius_spread": "kpc",
    "sigma_rm8": "kpc",
    "metallicity_thin": "dex",
    "metallicity_thick": "dex",
    "metallicity": "dex",
    "scatter": "dex",
    "radius_thin": "kpc",
    "radius_thick": "kpc",
    "alpha_thin": "dex",
    "alpha_thick": "dex",
    "age": "Gyr",
    "gradient_knot": "Gyr",
}

_QUANTITIES = {
    "metallicity": "mean [Fe/H] at 8 kpc",
    "log_scatter": "ln of the intrinsic scatter of [Fe/H] at given radius (dex)",
    "radius": "mean radius",
    "log_radius_scatter": "ln of the spread of radii (kpc)",
    "ln_zmax": "mean of ln(Z_max / kpc)",
    "log_zmax_scatter": "ln of the spread of ln Z_max",
    "alpha": "[alpha/Fe] at [Fe/H] = 0",
    "alpha_slope": "slope of [alpha/Fe] against [Fe/H]",
    "log_alpha_scatter": "ln of the intrinsic scatter of [alpha/Fe] (dex)",
    "age_weight": "ln of the age density, up to a constant",
}

#: What each variable is, in words.
LONG_NAMES = {
    "gradient_young": "thin-disc metallicity gradient at the young age",
    "gradient_reference": "thin-disc metallicity gradient at the reference age",
    "gradient_thick": "thick-disc metallicity gradient",
    "gradient_thick_rate": "change of the thick-disc gradient with age",
    "gradient_knots": "thin-disc metallicity gradient at the knots",
    "gradient": "metallicity gradient",
    "flattening_rate": "change of the thin-disc gradient with age",
    "sigma_G": "spread of the gradient's deviations from a line",
    "gradient_deviation": "deviation of the thin-disc gradient from its line",
    "deviation_G": "deviations of the gradient as they are sampled",
    "birth_gradient": "gradient of the gas today",
    "birth_gradient_rate": "change of the gradient of the gas with lookback time",
    "birth_radius_spread": "spread of birth radii",
    "log_birth_scatter": "ln of the scatter of [Fe/H] of the gas at given radius (dex)",
    "sigma_rm8": "diffusion of guiding radii in 8 Gyr",
    "metallicity": "mean [Fe/H] at 8 kpc",
    "scatter": "intrinsic scatter of [Fe/H] at given radius",
    "thick_fraction": "share of thick-disc stars among disc stars",
    "outlier_fraction": "share of outliers",
    "age": "age",
    "gradient_knot": "age of a knot of the gradient",
} | {
    f"{quantity}_{disc}": f"{words}, {disc} disc"
    for quantity, words in _QUANTITIES.items()
    for disc in ("thin", "thick")
}


def label(draws: xr.Dataset) -> xr.Dataset:
    """Put `units` and, where known, `long_name` on every variable and coordinate, in place.

    A coordinate ``…_knot`` holds the ages (Gyr) of the knots of the function it is named after.
    """
    for name, variable in draws.variables.items():
        text = str(name)
        if variable.dtype.kind in "OUS" or text in ("chain", "draw", "sample"):
            continue
        knot = text.endswith("_knot")
        draws[name].attrs.setdefault("units", UNITS.get(text, "Gyr" if knot else ""))
        if text in LONG_NAMES:
            draws[name].attrs.setdefault("long_name", LONG_NAMES[text])
        elif knot:
            draws[name].attrs.setdefault("long_name", f"age of a knot of {text[:-5]}")
    return draws
