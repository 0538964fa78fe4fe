r"""Orthogonal distance regression (ODR) of [Fe/H] on radius in bins of age.

Vickers, Shen & Li (2021) bin the stars by maximum-likelihood age, fit each bin with
[Fe/H] = a + b (R − 8 kpc), errors on both axes, and draw a line through b(age). For a straight
line ODR minimises over (a, b), with the stars' true radii profiled out,

.. math:: χ² = \sum_i (y_i - a - b x_i)² / (σ_{y,i}² + s² + b² σ_{x,i}²)

with s = 0 in the paper (regression ``odr``). Discs have intrinsic scatter; without it the radius
errors are too large relative to the [Fe/H] errors, and the slope is too steep. ``odr+scatter``
finds s such that χ²/(n − 2) = 1 (Tremaine et al. 2002, ApJ 574, 740). Maximising the likelihood of
(a, b, s) instead would shrink the slope, through the logarithm of the b-dependent variance; the
moment condition is free of that and needs no Gaussian scatter.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "baseline_options": ["BaselineOptions"],
        "bins": [
            "ALPHA_SLICES", "HIGH_QUALITY", "METHODS", "ZMAX_SLICES", "fit_baseline", "fit_samples",
            "why_absent",
        ],
        "line": ["LineFit", "fit_line"],
    },
)  # fmt: skip
