"""Unified Content Descriptors of the catalogue's columns (IVOA UCD1+, version 1.5 words)."""

from __future__ import annotations

__all__ = ["ucd_of"]

_GALACTIC = "pos.galactocentric"

_WORDS = {
    "source_id": "meta.id;meta.main",
    "flag": "meta.code.qual",
    "ra": "pos.eq.ra;meta.main",
    "dec": "pos.eq.dec;meta.main",
    "parallax": "pos.parallax",
    "pmra": "pos.pm;pos.eq.ra",
    "pmdec": "pos.pm;pos.eq.dec",
    "radial_velocity": "spect.dopplerVeloc.opt",
    "distance": "pos.distance",
    "distance_mean": "pos.distance;stat.mean",
    "phot_g_mean_mag": "phot.mag;em.opt",
    "phot_bp_mean_mag": "phot.mag;em.opt.B",
    "phot_rp_mean_mag": "phot.mag;em.opt.R",
    "abs_g": "phys.magAbs;em.opt",
    "bp_rp": "phot.color;em.opt.B;em.opt.R",
    "bp_rp_observed": "phot.color;em.opt.B;em.opt.R",
    "teff": "phys.temperature.effective",
    "logg": "phys.gravity",
    "feh": "phys.abund.Fe",
    "alpha_fe": "phys.abund",
    "a_v": "phys.absorption;em.opt.V",
    "a_g": "phys.absorption;em.opt",
    "ebv": "phot.color.excess",
    "age": "time.age",
    "age_ml": "time.age",
    "age_median": "time.age;stat.median",
    "age_population": "time.age;stat.mean",
    "external_age": "time.age",
    "age_error": "stat.error;time.age;arith.ratio",
    "chi2_min": "stat.fit.chi2",
    "x": f"pos.cartesian.x;{_GALACTIC}",
    "y": f"pos.cartesian.y;{_GALACTIC}",
    "z": f"pos.cartesian.z;{_GALACTIC}",
    "v_r": f"phys.veloc;{_GALACTIC}",
    "v_phi": f"phys.veloc;{_GALACTIC}",
    "v_z": f"phys.veloc;{_GALACTIC}",
    "r_present": f"pos.distance;{_GALACTIC}",
    "rg_mean": f"pos.distance;{_GALACTIC};stat.mean",
    "rg_nominal": f"pos.distance;{_GALACTIC}",
    "rg": f"pos.distance;{_GALACTIC}",
    "ln_zmax_mean": f"pos.distance;{_GALACTIC};stat.mean",
    "ln_zmax": f"pos.distance;{_GALACTIC}",
    "zmax": f"pos.distance;{_GALACTIC};stat.max",
    "r_peri": f"pos.distance;{_GALACTIC};stat.min",
    "r_apo": f"pos.distance;{_GALACTIC};stat.max",
    "eccentricity": "src.orbital.eccentricity",
    "p_thin": "stat.probability;src.class",
}
_PRIMARY = {"pos.eq.ra;meta.main": "pos.eq.ra", "pos.eq.dec;meta.main": "pos.eq.dec"}


def ucd_of(name: str) -> str:
    """Return the UCD of a column of StarPosteriors; ``""`` for one that has none.

    Errors and bounds are their quantity's, with the statistic in front (``stat.error``) or behind
    (``stat.min``, ``stat.max``).
    """
    if name in _WORDS:
        return _WORDS[name]
    if name.startswith("cov_"):
        return "stat.covariance"
    if name.endswith("_corr"):
        return "stat.correlation"
    if name.startswith("snr"):
        return "stat.snr"
    if name.startswith("ref_"):
        return ""
    for suffix in ("_error", "_sd"):
        if name.endswith(suffix):
            base = ucd_of(name.removesuffix(suffix))
            return f"stat.error;{_PRIMARY.get(base, base)}" if base else "stat.error"
    for suffix, word in (("_lo", "stat.min"), ("_hi", "stat.max")):
        if name.endswith(suffix):
            base = ucd_of(name.removesuffix(suffix))
            return f"{base};{word}" if base else ""
    return ""
