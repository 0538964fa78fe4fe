"""Measure and draw the mock survey that docs/mock.md describes: ``python docs/make_mock.py``.

From the root of the project. Makes 100,000 stars of runs/migration.toml, timed by processor time,
and the figures of docs/images/; then ages and orbits of 5,000, for what passes the cuts (some
minutes; ``--quick`` leaves that out). Prints what the page quotes.
"""

from __future__ import annotations

import itertools
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from migrate_bayes.core.flags import StarFlag
from migrate_bayes.mock import simulate_to_parquet
from migrate_bayes.mock.discs import birth_gradient, expected_gradient
from migrate_bayes.mock.footprint import galactic
from migrate_bayes.plots.style import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    VERMILION,
    in_style,
    new_figure,
)
from migrate_bayes.run import Run
from migrate_bayes.run.recipe import Recipe, load_recipe
from migrate_bayes.selection import SELECTIONS, dividing_line, select

IMAGES = Path("docs/images")
Columns = dict[str, np.ndarray]


def sized(stars: int) -> Recipe:
    """Return the recipe with another number of stars."""
    recipe = load_recipe("runs/migration.toml")
    return recipe.model_copy(
        update={"simulate": recipe.simulate.model_copy(update={"stars": stars})}
    )


def make(stars: int) -> Columns:
    """Simulate, timed after a warm-up; return the catalogue's columns."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mock.parquet"
        for n in (500, stars):
            recipe = sized(n)
            began = time.process_time()
            rows = simulate_to_parquet(
                path, recipe.simulate, seed=recipe.seed, orbits=recipe.orbits, overwrite=True
            )
            seconds = time.process_time() - began
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
        size = path.stat().st_size
        print(f"{stars:,} stars, {rows:,} rows: {seconds:.1f} s of processor time, {peak:.2f} GB,")
        print(f"  {size / rows:.0f} bytes a row. 4,000,000 stars: {seconds * 4e6 / stars:.0f} s of")
        print(f"  processor time, {seconds * 2e6 / stars / 60:.1f} min on two cores, "
              f"{size * 4e6 / stars / 1e9:.1f} GB")  # fmt: skip
        table = pq.read_table(path)
    columns = {name: table[name].to_numpy() for name in table.column_names}
    columns["l"], columns["b"] = galactic(columns["ra"], columns["dec"])
    return columns


def tell(c: Columns) -> None:
    """Print the numbers of the page."""
    good = (c["snr_g"] > 50) & (c["snr_r"] > 50) & (c["snr_i"] > 50)
    anticentre = (np.abs(c["l"] - 180) < 30) & (np.abs(c["b"]) < 30)
    print(f"towards the anticentre {anticentre.mean():.3f}; S/N > 50 {good.mean():.3f}; "
          f"log g < 3 {np.mean(c['logg'] < 3):.3f}")  # fmt: skip
    names = ("teff_error", "logg_error", "feh_error", "alpha_fe_error", "radial_velocity_error")
    for label, mask in (("S/N > 50", good), ("below", ~good)):
        print(
            f"  median errors, {label}: "
            + ", ".join(f"{n.removesuffix('_error')} {np.median(c[n][mask]):.3g}" for n in names)
        )
    share = [np.mean(c["ref_true_component"] == k) for k in range(4)]
    print("  thin, thick, young alpha-rich, outlier: " + ", ".join(f"{s:.4f}" for s in share))
    for name in (
        "ref_true_distance",
        "ref_true_a_v",
        "ref_true_age",
        "ref_true_rg",
        "parallax_error",
    ):
        print(f"  {name}: " + ", ".join(f"{q:.3g}" for q in np.percentile(c[name], [5, 50, 95])))


def survivors(stars: int) -> None:
    """Ages and orbits, to count what the paper's cuts leave."""
    with tempfile.TemporaryDirectory() as folder:
        run = Run(sized(stars), products=folder, reports=folder)
        run.make_stars()
        made = run.stars.load()
        first = (made["flag"].values & int(StarFlag.DUPLICATE)) == 0
        usable = select(made, "all").values
        print(f"{first.sum():,} stars, of which usable {usable.sum() / first.sum():.3f}; "
              f"of 4,000,000: {4e6 * usable.sum() / first.sum():,.0f}")  # fmt: skip
        error = made["age_error"].values[made["snr_g"].values > 50]
        print(f"  age error < 25% of those of S/N > 50: {np.mean(error < 0.25):.3f}")
        for name in SELECTIONS:
            print(f"  {name}: {select(made, name).values.sum() / usable.sum():.3f}")


def ticks(ax: Any, where: np.ndarray) -> None:
    """Label a logarithmic axis in plain numbers."""
    ax.set_xticks(where, [f"{v:.3g}" for v in where])
    ax.set_xticks([], minor=True)


@in_style
def sky(c: Columns) -> Any:
    """Sky map and the galaxy from above and from the side."""
    made = new_figure(10.5, 6.2)
    axes = made.subplot_mosaic("AA\nBC", height_ratios=[1.0, 1.25])
    count, x, y = np.histogram2d(
        (c["l"] + 180) % 360 - 180, c["b"], [180, 90], [[-180, 180], [-90, 90]]
    )
    area = 4.0 * np.cos(np.radians(0.5 * (y[1:] + y[:-1])))
    mesh = axes["A"].pcolormesh(
        x, y, np.where(count > 0, count / area, np.nan).T, cmap="viridis", norm="log"
    )
    made.colorbar(mesh, ax=axes["A"], label="stars / deg²")
    axes["A"].set(xlabel="Galactic longitude (deg; the anticentre is at both ends)",
                  ylabel="latitude (deg)", xlim=(180, -180))  # fmt: skip
    d, lon, b = c["ref_true_distance"], np.radians(c["l"]), np.radians(c["b"])
    X, Y, Z = -8.27 + d * np.cos(lon) * np.cos(b), d * np.sin(lon) * np.cos(b), d * np.sin(b)
    for name, (u, v), window, labels in (
        ("B", (X, Y), [[-16, -2], [-7, 7]], ("X (kpc)", "Y (kpc)")),
        ("C", (np.hypot(X, Y), Z), [[3, 16], [-5, 5]], ("R (kpc)", "Z (kpc)")),
    ):
        mesh = axes[name].hist2d(u, v, bins=110, range=window, cmap="cividis", norm="log")[3]
        axes[name].set(xlabel=labels[0], ylabel=labels[1])
        made.colorbar(mesh, ax=axes[name], label="stars")
    axes["B"].plot(-8.27, 0, "o", mfc="none", mec=VERMILION)
    axes["B"].set_aspect("equal")
    return made


@in_style
def stars_figure(c: Columns) -> Any:
    """Chemistry, age-metallicity, Kiel diagram, gradient(age)."""
    made = new_figure(10.5, 8.0)
    axes = made.subplots(2, 2)
    good = c["snr_g"] > 50
    ax = axes[0, 0]
    h = ax.hist2d(c["feh"][good], c["alpha_fe"][good], bins=120, range=[[-1.6, 0.6], [-0.15, 0.45]],
                  cmap="cividis", norm="log")[3]  # fmt: skip
    x = np.linspace(-1.6, 0.6, 200)
    for shift, style in ((0.0, "--"), (0.1, ":"), (-0.1, ":")):
        ax.plot(x, dividing_line(x) + shift, style, color=VERMILION)
    ax.set(xlabel="[Fe/H] observed, S/N > 50", ylabel="[α/Fe] observed")
    made.colorbar(h, ax=ax, label="stars")
    ax = axes[0, 1]
    h = ax.hist2d(c["ref_true_age"], c["ref_true_feh"], bins=120, range=[[0.8, 13.2], [-1.4, 0.5]],
                  cmap="cividis", norm="log")[3]  # fmt: skip
    ax.set(xlabel="true age (Gyr)", ylabel="true [Fe/H]")
    made.colorbar(h, ax=ax, label="stars")
    ax = axes[1, 0]
    h = ax.hist2d(c["teff"], c["logg"], bins=140, range=[[4000, 8700], [0.8, 5.0]],
                  cmap="cividis", norm="log")[3]  # fmt: skip
    ax.set(xlabel="T$_{\\rm eff}$ (K)", ylabel="log g", xlim=(8700, 4000), ylim=(5.0, 0.8))
    made.colorbar(h, ax=ax, label="stars")
    ax = axes[1, 1]
    law = sized(1).simulate.migration
    thin = c["ref_true_component"] == 0
    age, rg, feh = (c[f"ref_true_{n}"][thin] for n in ("age", "rg", "feh"))
    edges = np.arange(1.0, 12.1, 1.0)
    for low, high in itertools.pairwise(edges):
        here = (age >= low) & (age < high)
        fit, cov = np.polyfit(rg[here], feh[here], 1, cov=True)
        ax.errorbar(age[here].mean(), fit[0], np.sqrt(cov[0, 0]), fmt="o", ms=4, color=BLUE,
                    label="drawn stars, true values" if low == 1 else None)  # fmt: skip
    t = np.linspace(0, 12.5, 100)
    ax.plot(t, expected_gradient(law, t), color=BLUE, label="closed form")
    ax.plot(t, birth_gradient(law, t), "--", color=GREY, label="the gas, at birth")
    ax.plot(t, -0.075 + 0.003 * (t - 1), ":", color=VERMILION, label="Vickers, Shen & Li (2021)")
    ax.set(xlabel="age (Gyr)", ylabel="d[Fe/H]/dR$_g$ (dex/kpc)")
    ax.legend()
    return made


@in_style
def errors(c: Columns) -> Any:
    """S/N, errors and distances."""
    made = new_figure(10.5, 6.6)
    axes = made.subplots(2, 3)
    ax = axes[0, 0]
    for band, color in (("g", GREEN), ("r", VERMILION), ("i", GREY)):
        ax.hist(np.log10(c[f"snr_{band}"]), bins=80, histtype="step", color=color, label=band)
    ax.axvline(np.log10(50), color="k", ls=":")
    ax.set(xlabel="log S/N", ylabel="spectra")
    ax.legend()
    good = c["snr_g"] > 50
    for ax, name, unit, quoted in (
        (axes[0, 1], "teff", "K", 22.6),
        (axes[0, 2], "feh", "dex", 0.03),
    ):
        values = c[f"{name}_error"]
        bins = np.geomspace(values.min(), values.max(), 70)
        ax.hist(values, bins=bins, histtype="step", color=GREY, label="all")
        ax.hist(values[good], bins=bins, color=BLUE, alpha=0.6, label="S/N > 50")
        ax.axvline(quoted, color=VERMILION, label="the paper's")
        ax.set(xscale="log", xlabel=f"error of {name} ({unit})")
        ticks(ax, quoted * np.array([1.0, 2.0, 4.0]))
        ax.legend()
    ax = axes[1, 0]
    h = ax.hist2d(
        c["phot_g_mean_mag"], np.log10(c["parallax_error"]), bins=100, cmap="cividis", norm="log"
    )[3]
    ax.set(xlabel="G (mag)", ylabel="log parallax error (mas)")
    made.colorbar(h, ax=ax)
    ax = axes[1, 1]
    true = c["ref_true_distance"]
    edges = np.geomspace(0.15, 8, 18)
    middle = np.sqrt(edges[1:] * edges[:-1])
    ratio = c["distance"] / true
    q = np.array([np.percentile(ratio[(true >= a) & (true < b)], [16, 50, 84])
                  for a, b in itertools.pairwise(edges)])  # fmt: skip
    ax.fill_between(middle, q[:, 0], q[:, 2], color=BLUE, alpha=0.25)
    ax.plot(middle, q[:, 1], color=BLUE)
    up, down = c["distance_hi"] / c["distance"] - 1, 1 - c["distance_lo"] / c["distance"]
    for side, color, label in ((1 + up, ORANGE, "84th"), (1 - down, GREEN, "16th")):
        m = [np.median(side[(true >= a) & (true < b)])
             for a, b in itertools.pairwise(edges)]  # fmt: skip
        ax.plot(middle, m, "--", color=color, label=f"stated, {label} percentile")
    ax.axhline(1, color="k", lw=0.6)
    ax.set(xscale="log", xlabel="true distance (kpc)", ylabel="estimated / true", ylim=(0.5, 1.6))
    ticks(ax, np.array([0.2, 0.5, 1.0, 2.0, 5.0]))
    ax.legend()
    ax = axes[1, 2]
    ax.hist(c["phot_g_mean_mag"], bins=80, color=BLUE, alpha=0.6)
    ax.set(xlabel="G (mag)", ylabel="stars")
    return made


def main() -> None:
    """Make, measure, draw."""
    c = make(100_000)
    tell(c)
    for name, draw in (("sky", sky), ("stars", stars_figure), ("errors", errors)):
        draw(c).savefig(IMAGES / f"mock-{name}.png", dpi=110)
    if "--quick" not in sys.argv:
        survivors(5_000)


if __name__ == "__main__":
    main()
