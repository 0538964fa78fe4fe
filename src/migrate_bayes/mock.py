"""A forward-simulated LAMOST × Gaia survey with known truth.

`simulate` draws stars from the population model's own physics (disc, age, guiding radius, [Fe/H],
[α/Fe], Z_max), puts each on an orbit and into the sky, gives it a mass on an isochrone of its age
and composition, and observes it with errors like those of LAMOST DR5, DD-Payne, Gaia eDR3 and
Bailer-Jones. The truth stands beside the measurements in columns `ref_true_…`.

What is drawn, with age τ in Gyr and x = R_g - 8 kpc:

* thin disc: τ from a gamma law, truncated to the isochrones' range;
  [Fe/H] ~ N(-0.02 - 0.01 τ + [G_1 + r (τ - 1)] x, 0.12 + 0.006 τ), with G_1 and r the recipe's
  ``gradient_young`` and ``flattening_rate``; [α/Fe] ~ N(0.03 - 0.10 [Fe/H], 0.025);
  ln Z_max ~ N(-1.5 + 0.08 τ, 0.6), at fixed R: the orbit's own, which is kept as the truth,
  reaches higher as it moves in R;
* thick disc: τ ~ N(10, 1.5); [Fe/H] ~ N(-0.5 + G_thick x, 0.22); [α/Fe] ~ N(0.20 - 0.10 [Fe/H],
  0.035); ln Z_max ~ N(0.3, 0.5).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.config import IsochroneSection, OrbitSection, SimulateSection
from migrate_bayes.provenance import provenance

__all__ = ["simulate"]

Columns = dict[str, NDArray[Any]]

# The survey reaches G = 16.8 with S/N enough for abundances; LAMOST's errors at S/N > 50 are those
# quoted by the paper, and grow as 1/(S/N) below.
_FAINT_LIMIT = 16.8
_TEFF_RANGE = (4200.0, 7500.0)
_LOGG_RANGE = (1.0, 5.0)
_ERRORS = {"teff": 22.6, "logg": 0.05, "feh": 0.03, "alpha_fe": 0.02}
_REPEATS = 0.02  # share of stars observed a second time, at lower S/N


def _truncated(draw: Any, low: float, high: float, n: int) -> NDArray[np.float64]:
    """Draw n values, those outside the bounds drawn again."""
    values = draw(n)
    while (bad := (values < low) | (values > high)).any():
        values[bad] = draw(int(bad.sum()))
    return values


def _population(truth: SimulateSection, n: int, ages: tuple[float, float], rng: Any) -> Columns:
    """Draw what the population model speaks of."""
    low, high = ages
    thick = rng.random(n) < truth.thick_fraction
    age = np.where(
        thick,
        _truncated(lambda m: rng.normal(10.0, 1.5, m), max(low, 5.0), high, n),
        _truncated(lambda m: rng.gamma(2.2, 2.2, m), low, high, n),
    )
    # Kept within reach of the survey; 3σ on either side, so hardly a truncation.
    radius = np.where(
        thick,
        _truncated(lambda m: rng.normal(7.4, 1.3, m), 3.4, 11.4, n),
        _truncated(lambda m: rng.normal(8.7, 1.3, m), 4.7, 12.7, n),
    )
    x = radius - 8.0
    slope = truth.gradient_young + truth.flattening_rate * (age - 1.0)
    noise = rng.normal(size=(3, n))
    feh = np.where(
        thick,
        -0.5 + truth.gradient_thick * x + 0.22 * noise[0],
        -0.02 - 0.01 * age + slope * x + (0.12 + 0.006 * age) * noise[0],
    )
    feh = np.clip(feh, -1.9, 0.48)  # the isochrones' range
    alpha = np.where(thick, 0.20, 0.03) - 0.10 * feh + np.where(thick, 0.035, 0.025) * noise[1]
    ln_zmax = np.where(thick, 0.3 + 0.5 * noise[2], -1.5 + 0.08 * age + 0.6 * noise[2])
    return {
        "thick": thick,
        "age": age,
        "rg": radius,
        "feh": feh,
        "alpha_fe": alpha,
        "zmax": np.exp(np.minimum(ln_zmax, np.log(6.0))),
    }


def _orbit(star: Columns, orbits: OrbitSection, rng: Any) -> Columns:
    """Place each star on its orbit: L_z exact, radial motion epicyclic, vertical by energy."""
    from migrate_bayes.orbits import circular_velocity, get_frame, vertical_speed

    n = len(star["rg"])
    frame, scaling = get_frame(orbits.frame), orbits.scaling
    potential = orbits.potentials[0]
    rg, zmax = star["rg"], star["zmax"]
    v_circ = circular_velocity(rg, potential, frame=frame, scaling=scaling)
    # Radial dispersion grows with age (e.g. Mackereth et al. 2019); epicycle frequency of a flat
    # rotation curve.
    sigma_r = np.where(star["thick"], 55.0, 18.0 + 2.2 * star["age"])
    kappa = np.sqrt(2.0) * v_circ / rg
    amplitude = np.minimum(sigma_r / kappa * np.sqrt(-2 * np.log1p(-rng.random(n))), 0.35 * rg)
    phase = rng.uniform(0, 2 * np.pi, n)
    R = rg - amplitude * np.cos(phase)
    chi = rng.uniform(0, 2 * np.pi, n)
    z = zmax * np.sin(chi)
    v_z = np.sign(np.cos(chi)) * vertical_speed(R, z, zmax, potential, frame=frame, scaling=scaling)
    return {
        "R": R,
        "phi": rng.normal(0.0, 0.10, n),
        "z": z,
        "v_r": amplitude * kappa * np.sin(phase),
        "v_phi": rg * v_circ / R,
        "v_z": v_z,
    }


def _sky(place: Columns, orbits: OrbitSection) -> Columns:
    """See the stars from the Sun, which stands on the negative x axis."""
    from migrate_bayes.orbits import from_cylindrical, get_frame, phase_space_to_observed

    x, y = -place["R"] * np.cos(place["phi"]), place["R"] * np.sin(place["phi"])
    vx, vy = from_cylindrical(x, y, place["v_r"], place["v_phi"])
    names = ("ra", "dec", "distance", "pmra", "pmdec", "rv")
    seen = phase_space_to_observed(
        x, y, place["z"], vx, vy, place["v_z"], frame=get_frame(orbits.frame)
    )
    return dict(zip(names, seen, strict=True))


def _observe(true: Columns, rng: Any) -> Columns:
    """Measure: LAMOST-like spectra, Gaia-like astrometry and photometry."""
    n = len(true["teff"])
    seen: Columns = {}
    snr_g = 110.0 * np.exp(0.5 * rng.normal(size=n)) * 10 ** (-0.06 * (true["g"] - 14.0))
    seen["snr_g"] = np.clip(snr_g, 10.0, 900.0)
    seen["snr_r"], seen["snr_i"] = 1.35 * seen["snr_g"], 1.25 * seen["snr_g"]
    worse = np.maximum(50.0 / seen["snr_g"], 1.0)
    for name, error in _ERRORS.items():
        seen[f"{name}_error"] = error * worse
        seen[name] = true[name] + seen[f"{name}_error"] * rng.normal(size=n)
    seen["radial_velocity_error"] = 3.0 * worse
    seen["radial_velocity"] = true["rv"] + seen["radial_velocity_error"] * rng.normal(size=n)

    # Gaia eDR3: astrometric errors flat to G = 15, then growing (Lindegren et al. 2021).
    faint = 10 ** (0.2 * np.maximum(true["g"] - 15.0, 0.0))
    for name, error in {"parallax": 0.02, "pmra": 0.02, "pmdec": 0.018}.items():
        seen[f"{name}_error"] = error * faint
    rho = rng.uniform(-0.35, 0.35, n)
    e1, e2 = rng.normal(size=(2, n))
    seen["pmra_pmdec_corr"] = rho
    seen["pmra"] = true["pmra"] + seen["pmra_error"] * e1
    seen["pmdec"] = true["pmdec"] + seen["pmdec_error"] * (rho * e1 + np.sqrt(1 - rho**2) * e2)
    seen["parallax"] = 1.0 / true["distance"] + seen["parallax_error"] * rng.normal(size=n)
    seen["ra"], seen["dec"] = true["ra"], true["dec"]
    seen["ra_error"] = seen["dec_error"] = 0.015 * faint

    # A Bailer-Jones-like distance: log-normal about the truth, upper error the larger.
    spread = np.minimum(seen["parallax_error"] * true["distance"], 0.25)
    seen["distance"] = true["distance"] * np.exp(spread * rng.normal(size=n))
    seen["distance_lo"] = seen["distance"] * np.exp(-spread)
    seen["distance_hi"] = seen["distance"] * np.exp(spread)

    seen["a_v"] = true["a_v"] * np.clip(1.0 + 0.05 * rng.normal(size=n), 0.5, 1.5)
    seen["a_v_error"] = 0.05 * true["a_v"] + 0.005
    for band, error in {"g": 0.003, "bp": 0.005, "rp": 0.004}.items():
        name = f"phot_{band}_mean_mag"
        seen[f"{name}_error"] = np.full(n, error)
        seen[name] = true[band] + error * rng.normal(size=n)
    return seen


def simulate(
    truth: SimulateSection | None = None,
    *,
    seed: int = 0,
    isochrones: IsochroneSection | None = None,
    orbits: OrbitSection | None = None,
) -> xr.Dataset:
    """Simulate a survey.

    Parameters
    ----------
    truth : SimulateSection, optional
        Number of stars and true gradients.
    seed : int
    isochrones : IsochroneSection, optional
        Whose `source` the stars are drawn from.
    orbits : OrbitSection, optional
        Frame, scaling and (its first) potential in which the orbits are made.

    Returns
    -------
    xarray.Dataset
        A catalogue of canonical columns, with `ref_true_…` columns for the truth.
    """
    from migrate_bayes.catalog.gaia_extinction import extinction_ratio
    from migrate_bayes.isochrones import draw_stars, load_source
    from migrate_bayes.orbits import orbit_extrema

    truth = truth or SimulateSection()
    isochrones = isochrones or IsochroneSection()
    orbits = orbits or OrbitSection()
    rng = np.random.default_rng([seed, 0x10C4])
    source = load_source(isochrones.source if isochrones.source != "external" else "dartmouth")
    age_range = (max(float(source.ages[0]), 1.0), min(float(source.ages[-1]), 13.5))

    kept: list[Columns] = []
    have = 0
    while have < truth.stars:
        n = int(1.15 * (truth.stars - have)) + 100
        star = _population(truth, n, age_range, rng)
        place = _orbit(star, orbits, rng)
        sky = _sky(place, orbits)
        # A smooth dust disc: 0.7 mag/kpc in the plane, scale height 150 pc, as seen from the Sun.
        z = np.abs(place["z"]) + 1e-6
        column = 0.15 * (1.0 - np.exp(-z / 0.15)) / z
        a_v = np.minimum(0.7 * sky["distance"] * column, 4.0)
        modulus = 5.0 * np.log10(sky["distance"]) + 10.0
        drawn = draw_stars(
            source,
            star["age"],
            star["feh"],
            star["alpha_fe"],
            rng.random(n),
            teff_range=_TEFF_RANGE,
            logg_range=_LOGG_RANGE,
            abs_g_max=_FAINT_LIMIT - modulus - 0.85 * a_v,
        )
        ok = drawn.pop("ok")
        a_g, a_bp, a_rp = (
            a_v * extinction_ratio(band, a_v, bp_rp=drawn["bp_rp"]) for band in ("G", "BP", "RP")
        )
        # G lies between BP and RP: M_BP and M_RP from the colour by G - RP ≈ 0.59 (BP - RP), the
        # mean relation of the isochrones; only BP - RP enters anything below.
        g_rp = 0.59 * drawn["bp_rp"]
        star |= {
            **drawn,
            **sky,
            **place,
            "a_v": a_v,
            "g": drawn["abs_g"] + modulus + a_g,
            "bp": drawn["abs_g"] - g_rp + drawn["bp_rp"] + modulus + a_bp,
            "rp": drawn["abs_g"] - g_rp + modulus + a_rp,
        }
        kept.append({name: values[ok] for name, values in star.items()})
        have += int(ok.sum())
    true = {name: np.concatenate([part[name] for part in kept])[: truth.stars] for name in kept[0]}
    true["zmax"] = orbit_extrema(
        true["R"], true["v_r"], true["v_phi"], true["z"], true["v_z"], orbits.potentials[0],
        frame=orbits.frame, scaling=orbits.scaling,
    ).zmax  # fmt: skip
    seen = _observe(true, rng)
    source_id = np.arange(1, truth.stars + 1, dtype=np.int64)
    again = np.flatnonzero(rng.random(truth.stars) < _REPEATS)
    return _catalog(seen, true, source_id, again, rng, seed)


def _catalog(
    seen: Columns, true: Columns, source_id: NDArray[np.int64], again: NDArray, rng: Any, seed: int
) -> xr.Dataset:
    """Name, describe and append the repeat observations."""
    from migrate_bayes.catalog.columns import attributes

    answers = {
        "age": ("Gyr", "true age"),
        "rg": ("kpc", "true guiding radius"),
        "feh": ("dex", "true [Fe/H]"),
        "alpha_fe": ("dex", "true [alpha/Fe]"),
        "zmax": ("kpc", "true Z_max"),
        "thick": ("", "1 for the thick disc"),
        "mass": ("solMass", "true initial mass"),
    }
    rows = np.concatenate([np.arange(len(source_id)), again])
    repeat = np.arange(len(rows)) >= len(source_id)
    catalog = xr.Dataset(coords={"source_id": ("star", source_id[rows])})
    for name, values in seen.items():
        column = values[rows].astype(np.float64)
        if name.startswith("snr_"):
            column[repeat] *= 0.6
        elif name in _ERRORS:
            # The second spectrum has its own noise.
            extra = seen[f"{name}_error"][rows][repeat]
            column[repeat] = true[name][again] + 1.5 * extra * rng.normal(size=len(again))
        elif name.removesuffix("_error") in _ERRORS:
            column[repeat] *= 1.5
        catalog[name] = ("star", column, attributes(name))
    for name, (unit, long_name) in answers.items():
        values = true[name][rows].astype(np.float64)
        catalog[f"ref_true_{name}"] = ("star", values, {"units": unit, "long_name": long_name})
    catalog.attrs.update(provenance(seed=seed))
    catalog.attrs["source"] = "migrate-bayes mock survey"
    return catalog
