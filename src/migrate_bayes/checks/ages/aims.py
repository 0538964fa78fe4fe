"""What the ages aim at: the one place for the bounds that the page, docs and tests judge by."""

from __future__ import annotations

from typing import NamedTuple


class Aim(NamedTuple):
    """The least and greatest value that a measured number may have."""

    low: float
    high: float

    def met(self, value: float) -> bool:
        """Return whether a value is within the aim."""
        return self.low <= value <= self.high


#: Gyr, since the Sun formed (Bahcall et al. 1995): its 68% interval must hold this.
SOLAR_AGE = 4.57
#: Gyr, M67 in the literature (e.g. Bellini et al. 2010; Barnes et al. 2016; Dungee et al. 2022).
M67_LITERATURE = (3.6, 4.2)

#: Gyr, median age of M67's turn-off stars and subgiants.
M67_AGE = Aim(3.6, 4.6)
#: Gyr, median of age − asteroseismic age of Kepler dwarfs, by the recipe's choices.
KEPLER_OFFSET = Aim(-0.3, 0.3)
#: The same on any family: MIST and BaSTI are older than the seismic models by up to 0.5 Gyr.
KEPLER_OFFSET_OF_ANY_FAMILY = Aim(-0.6, 0.6)
#: Robust scatter of (age − asteroseismic age) / asteroseismic age.
KEPLER_SCATTER = Aim(0.0, 0.17)

#: Fraction of central 68 and 95% credible intervals that hold the true age, of all stars.
COVERAGE68, COVERAGE95 = Aim(0.66, 0.70), Aim(0.94, 0.96)
#: The same in each region of the Kiel diagram.
REGION_COVERAGE68, REGION_COVERAGE95 = Aim(0.65, 0.71), Aim(0.935, 0.965)

#: Gyr: what Vickers, Shen & Li (2021) report of their ages.
PAPER_DARTMOUTH_MINUS_PARSEC, PAPER_M67 = 1.8, 7.0
