"""Units and names of a fit's variables and coordinates, put on by `label`."""

from __future__ import annotations

import xarray as xr

_DEX_KPC, _DEX_KPC_GYR = "dex / kpc", "dex / (kpc Gyr)"

# Unit and words of each variable and coordinate, both "" if there is none: natural logarithms (of
# dex, kpc or kpc, as the words say) are pure numbers.
_VARIABLES = {
    "gradient_young": (_DEX_KPC, "thin-disc metallicity gradient at the young age"),
    "gradient_reference": (_DEX_KPC, "thin-disc metallicity gradient at the reference age"),
    "gradient_thick": (_DEX_KPC, "thick-disc metallicity gradient"),
    "gradient_thick_rate": (_DEX_KPC_GYR, "change of the thick-disc gradient with age"),
    "gradient_knots": (_DEX_KPC, "thin-disc metallicity gradient at the knots"),
    "gradient": (_DEX_KPC, "metallicity gradient"),
    "flattening_rate": (_DEX_KPC_GYR, "change of the thin-disc gradient with age"),
    "sigma_G": (_DEX_KPC, "spread of the gradient's deviations from a line"),
    "gradient_deviation": (_DEX_KPC, "deviation of the thin-disc gradient from its line"),
    "deviation_G": ("", "deviations of the gradient as they are sampled"),
    "birth_gradient": (_DEX_KPC, "gradient of the gas today"),
    "birth_gradient_rate": (_DEX_KPC_GYR, "change of the gradient of the gas with lookback time"),
    "birth_radius_spread": ("kpc", "spread of birth radii"),
    "log_birth_scatter": ("", "ln of the scatter of [Fe/H] of the gas at given radius (dex)"),
    "sigma_rm8": ("kpc", "diffusion of guiding radii in 8 Gyr"),
    "metallicity": ("dex", "mean [Fe/H] at 8 kpc"),
    "scatter": ("dex", "intrinsic scatter of [Fe/H] at given radius"),
    "thick_fraction": ("", "share of thick-disc stars among disc stars"),
    "outlier_fraction": ("", "share of outliers"),
    "age": ("Gyr", "age"),
    "gradient_knot": ("Gyr", "age of a knot of the gradient"),
}

# Those of which each disc has one.
_OF_DISC = {
    "metallicity": ("dex", "mean [Fe/H] at 8 kpc"),
    "log_scatter": ("", "ln of the intrinsic scatter of [Fe/H] at given radius (dex)"),
    "radius": ("kpc", "mean radius"),
    "log_radius_scatter": ("", "ln of the spread of radii (kpc)"),
    "ln_zmax": ("", "mean of ln(Z_max / kpc)"),
    "log_zmax_scatter": ("", "ln of the spread of ln Z_max"),
    "alpha": ("dex", "[alpha/Fe] at [Fe/H] = 0"),
    "alpha_slope": ("", "slope of [alpha/Fe] against [Fe/H]"),
    "log_alpha_scatter": ("", "ln of the intrinsic scatter of [alpha/Fe] (dex)"),
    "age_weight": ("", "ln of the age density, up to a constant"),
}

_ALL = _VARIABLES | {
    f"{quantity}_{disc}": (unit, f"{words}, {disc} disc")
    for quantity, (unit, words) in _OF_DISC.items()
    for disc in ("thin", "thick")
}

#: Units of the posterior's variables and coordinates; a name that is not here is a pure number.
UNITS = {name: unit for name, (unit, _) in _ALL.items() if unit}


def label(draws: xr.Dataset) -> xr.Dataset:
    """Put `units` and, if known, `long_name` on every variable and coordinate, in place.

    A coordinate ``…_knot`` holds the ages (Gyr) of the knots of the function it is named after.
    """
    for name, variable in draws.variables.items():
        text = str(name)
        if variable.dtype.kind in "OUS" or text in ("chain", "draw", "sample"):
            continue
        default = ("Gyr", f"age of a knot of {text[:-5]}") if text.endswith("_knot") else ("", "")
        unit, words = _ALL.get(text, default)
        draws[name].attrs.setdefault("units", unit)
        if words:
            draws[name].attrs.setdefault("long_name", words)
    return draws
