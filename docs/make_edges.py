"""What the isochrones' end in [Fe/H] does to a migration mock: ``python docs/make_edges.py``.

Prints the table of docs/mock.md: d[Fe/H]/dR_g and the scatter of thin-disc stars at 8 kpc, of the
laws in closed form and of the stars that are made of them, which have R_b > 0 and an isochrone; by
quadrature over the birth radii of stars of one age and R_g.
"""

from __future__ import annotations

import argparse

import numpy as np
from scipy.stats import norm

from migrate_bayes.core.table import Table
from migrate_bayes.isochrones import build_grid
from migrate_bayes.mock.discs import expected_gradient, expected_scatter, gas_metallicity
from migrate_bayes.mock.mock_options import MigrationOptions

AGES = (1.0, 2.5, 4.5, 6.5, 9.0, 12.0)  # Gyr
HEAD = ["gas [Fe/H]", "age, Gyr", "left out", "gradient, law", "made", "scatter, law", "made"]


def moments(
    law: MigrationOptions, age: float, rg: float, highest: float
) -> tuple[float, float, float]:
    """Share of stars of an age (Gyr) and R_g (kpc) that is made, their mean [Fe/H] and its sd."""
    birth = law.birth_radius_now - law.growth * age
    spread, moved = law.birth_radius_spread**2, law.sigma_rm8**2 * age / 8.0
    middle = birth + spread / (spread + moved) * (rg - birth)
    x = np.linspace(-7.0, 7.0, 8001)
    radius = middle + np.sqrt(spread * moved / (spread + moved)) * x
    weight = norm.pdf(x) * (radius > 0)
    gas, s = gas_metallicity(law, radius, age), law.ism_scatter
    # Moments of a normal distribution that ends at `highest`.
    end = (highest - gas) / s
    whole, last = norm.cdf(end), s * norm.pdf(end)
    made = (weight * whole).sum()
    mean = (weight * (gas * whole - last)).sum() / made
    square = (weight * ((gas**2 + s**2) * whole - (highest + gas) * last)).sum() / made
    return made / norm.pdf(x).sum(), mean, np.sqrt(square - mean**2)


def main() -> None:
    """Print the table for the default gas and for others."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gas", type=float, nargs="+", default=[-0.2, 0.0], help="dex, at 8 kpc")
    highest = float(np.max(build_grid("dartmouth").feh_limits(0.0)[1]))
    print(f"isochrones to [Fe/H] = {highest:.2f}")
    rows = []
    for now in parser.parse_args().gas:
        law = MigrationOptions(ism_now=now)
        for age in AGES:
            low, here, high = (moments(law, age, rg, highest) for rg in (7.5, 8.0, 8.5))
            rows.append([
                f"{now:g}", f"{age:g}", f"{1 - here[0]:.2%}",
                f"{expected_gradient(law, age):.4f}", f"{high[1] - low[1]:.4f}",
                f"{expected_scatter(law, age):.3f}", f"{here[2]:.3f}",
            ])  # fmt: skip
    Table("A mock's laws and its stars, at 8 kpc", HEAD, rows).print()


if __name__ == "__main__":
    main()
