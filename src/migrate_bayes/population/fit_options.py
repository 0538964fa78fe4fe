"""Options of the hierarchical fit and of its sampler."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from migrate_bayes.core.options import Options


class FitOptions(Options):
    """What the hierarchical fit is of: a recipe's ``[model]``.

    Parameters
    ----------
    spec : str or dict
        A model's name, file or content; see `load_model_spec`.
    potential : str
        Potential of the guiding radii and Z_max.
    selection : str
        The stars; see `select`.
    radius : {"rg", "r_present"}
        Regress on the guiding radius or on today's radius.
    forms : tuple of str
        Gradient forms that `compare-models` ranks; also the profiles ``"broken"`` and ``"spline"``.

    Examples
    --------
    >>> from migrate_bayes.population import FitOptions
    >>> FitOptions(radius="r_present").potential
    'MWPotential2014'
    """

    spec: str | dict[str, Any] = "thin-thick"
    potential: str = "MWPotential2014"
    selection: str = "all"
    radius: Literal["rg", "r_present"] = "rg"
    forms: tuple[str, ...] = ("constant", "linear", "linear+deviations")


class SamplerOptions(Options):
    """How the posterior is sampled: a recipe's ``[sampler]``.

    Parameters
    ----------
    method : {"auto", "nuts", "surrogate"}
        NUTS on the stars, or on a surrogate for them; ``"auto"`` takes the surrogate from 10,000
        stars. If the surrogate's importance weights cannot be trusted (k̂ > 0.7), NUTS is run
        instead, with a warning.
    draws : int
        Draws kept of each chain. The surrogate keeps fewer if there are very many stars: some
        2·10⁸ divided by their number in all, but at least 1,600; and no fewer than 100 in all.
    tune : int
        Tuning draws of each chain; 200 are enough in coordinates whitened at the mode.
    chains : int
        Independent chains; R-hat needs two or more.
    target_accept : float
        Acceptance probability that NUTS tunes its step to.
    patience : int
        Sample again, with chains twice as long and as many draws kept of them, while R-hat is 1.01
        or more, up to this many times the first length. If the weights of a surrogate leave too few
        draws for R-hat, as many again are drawn and weighted, up to this many times as many in all.
        With 1 the first chains stand.
    starts : int
        Climbs to the posterior's maximum, from different points; a second maximum is reported.
    scheduler : str
        Where to sum over the stars: ``"threads"``, ``"local:N"`` for N processes, or the address of
        a dask scheduler. The numbers are the same. A run's ``[run] scheduler`` stands in for
        ``"threads"``.

    Examples
    --------
    >>> from migrate_bayes import SamplerOptions
    >>> SamplerOptions.of(SamplerOptions(chains=2), {"draws": 500}).chains
    2
    """

    method: Literal["auto", "nuts", "surrogate"] = "auto"
    draws: int = Field(default=1000, gt=0, le=10**6)
    tune: int = Field(default=200, gt=0, le=10**6)
    chains: int = Field(default=4, gt=0, le=1000)
    target_accept: float = Field(default=0.85, gt=0, lt=1)
    patience: int = Field(default=4, gt=0, le=1000)
    starts: int = Field(default=4, gt=0, le=1000)
    scheduler: str = "threads"

    @property
    def lengths(self) -> list[int]:
        """Lengths of chains, one after another, in the first's: 1, 2, 4 ... and `patience`."""
        most = self.patience
        return sorted({1 << k for k in range(most.bit_length())} | {most})
