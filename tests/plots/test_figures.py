"""Figures: what is drawn is what the data say."""

from __future__ import annotations

import base64
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr

from migrate_bayes import plots
from migrate_bayes.core.flags import StarFlag
from migrate_bayes.mock.discs import expected_gradient
from migrate_bayes.plots import Curve, star_columns
from migrate_bayes.plots.columns import thin_probability
from migrate_bayes.plots.compared import comparison_curves
from migrate_bayes.plots.planes import in_cells
from migrate_bayes.plots.style import image_base64, paper_style
from migrate_bayes.run.recipe import Recipe
from migrate_bayes.stars import open_stars, write_stars

_UNUSABLE = int(StarFlag.LOW_SNR | StarFlag.POOR_AGE)


def made_up(**columns: np.ndarray) -> xr.Dataset:
    """Columns of stars as `star_columns` gives them."""
    return xr.Dataset({name: ("star", np.asarray(values)) for name, values in columns.items()})


def lines(ax: object) -> dict[str, np.ndarray]:
    return {line.get_label(): line.get_xydata() for line in ax.get_lines()}  # type: ignore[attr-defined]


def test_gradient_figure_draws_medians_points_and_truth(
    fit: xr.DataTree, baseline: xr.Dataset, truth: dict[str, float]
) -> None:
    ax = plots.gradient(fit, baseline, truth=truth)
    drawn = lines(ax)
    curve = fit["posterior"].to_dataset()["gradient"].sel(component="thin")
    expected = curve.median(("chain", "draw"))
    np.testing.assert_allclose(drawn["hierarchical, thin disc"][:, 0], curve["age"])
    np.testing.assert_allclose(drawn["hierarchical, thin disc"][:, 1], expected)
    x, y = drawn["truth"].T
    np.testing.assert_allclose(y, -0.075 + 0.003 * (x - 1.0))
    points = {c.get_label(): c for c in ax.containers}
    assert set(points) == {"ODR", "ODR + scatter"}
    at = points["ODR + scatter"].lines[0].get_xydata()
    np.testing.assert_allclose(at[:, 0], baseline["age_bin"])
    np.testing.assert_allclose(at[:, 1], baseline["slope"].sel(regression="odr+scatter"))
    low, high = ax.get_ylim()
    assert low < at[:, 1].min()
    assert high > 0.02
    assert "R_" in ax.get_ylabel()


def test_gradient_figure_with_either_alone(fit: xr.DataTree, baseline: xr.Dataset) -> None:
    assert not plots.gradient(fit).containers
    empty = baseline.copy()
    empty["slope"] = empty["slope"] * np.nan
    assert not plots.gradient(None, empty).containers
    baseline = baseline.assign_attrs(radius="r_present")
    assert "R_" not in plots.gradient(None, baseline).get_ylabel()


@pytest.mark.parametrize("n", [200, 6000])
def test_chemistry_figure_has_the_papers_lines(n: int) -> None:
    rng = np.random.default_rng(0)
    feh, alpha, p = rng.uniform(-1, 0.5, n), rng.uniform(-0.1, 0.4, n), rng.random(n)
    feh[0] = np.nan
    stars = made_up(feh=feh, alpha_fe=alpha, p_thin=p, age=10 * p)
    ax = plots.chemistry(stars, "p_thin")
    dashed = next(line for line in ax.get_lines() if line.get_linestyle() == "--")
    x, y = dashed.get_data()
    for at, value in ((-0.5, 0.15), (-0.25, 0.15), (0.25, 0.05)):
        assert np.interp(at, x, y) == pytest.approx(value, abs=2e-3)
    colours = np.ma.filled(ax.collections[0].get_array().astype(float), np.nan)
    assert np.nanmin(colours) >= 0
    assert np.nanmax(colours) <= 1
    if n < 1000:
        assert len(colours) == n - 1


@pytest.mark.parametrize("n", [200, 6000])
def test_kiel_figure_runs_as_astronomers_read_it(n: int) -> None:
    rng = np.random.default_rng(1)
    teff, logg, age = rng.uniform(4500, 7000, n), rng.uniform(1, 5, n), rng.uniform(0, 13, n)
    ax = plots.kiel(made_up(teff=teff, logg=logg, age=age))
    assert ax.get_xlim()[0] > ax.get_xlim()[1]
    assert ax.get_ylim()[0] > ax.get_ylim()[1]


@pytest.mark.parametrize("n", [400, 60_000])
def test_radial_figure_has_a_panel_per_bin(n: int, fit: xr.DataTree, baseline: xr.Dataset) -> None:
    rng = np.random.default_rng(2)
    age = rng.uniform(0, 14, n)
    edges = np.append(baseline["age_lo"].values, baseline["age_hi"].values[-1])
    stars = made_up(radius=rng.normal(8, 1, n), feh=rng.normal(0, 0.2, n), age=age)
    made = plots.metallicity_radius(stars, baseline, fit=fit)
    assert len(made.axes) == 9
    counts = [int(ax.texts[0].get_text().split("N = ")[1].replace(",", "")) for ax in made.axes]
    assert counts == np.histogram(age, edges)[0].tolist()
    x, y = lines(made.axes[0])["ODR + scatter"].T
    row = baseline.sel(regression="odr+scatter").isel(age_bin=0)
    assert np.diff(y)[0] / np.diff(x)[0] == pytest.approx(float(row["slope"]))
    x, y = lines(made.axes[0])["hierarchical, thin disc"].T
    assert (y[-1] - y[0]) / (x[-1] - x[0]) == pytest.approx(-0.073, abs=0.004)


def test_radial_figure_of_a_bin_without_stars() -> None:
    made = plots.metallicity_radius(made_up(radius=[8.0], feh=[0.0], age=[5.0]))
    assert sum("N = 1" in ax.texts[0].get_text() for ax in made.axes if ax.texts) == 1


def test_ranks_stay_near_uniform_for_alike_chains_only(
    fit: xr.DataTree, make_fit: object, stars: xr.Dataset
) -> None:
    def farthest(tree: xr.DataTree) -> list[float]:
        chains = plots.ranks(tree).axes[0].get_lines()
        return [float(np.abs(line.get_ydata()).max()) for line in chains]

    alike = farthest(fit)
    assert len(alike) == 4
    assert max(alike) < 0.1
    apart = make_fit(stars)  # type: ignore[operator]
    posterior = apart["posterior"].to_dataset()
    posterior["gradient_young"][0] += 1.0
    apart["posterior"] = posterior
    # Every draw of the first chain ranks above all others: its ECDF is 0 up to 3/4.
    assert farthest(apart)[0] == pytest.approx(0.75, abs=0.02)
    assert "p=0.00" in plots.ranks(apart).axes[0].texts[0].get_text()


def test_figures_that_cannot_be_are_none(fit: xr.DataTree) -> None:
    assert plots.energy(xr.DataTree()) is None
    assert plots.ranks(xr.DataTree()) is None
    posterior = {"posterior": fit["posterior"].to_dataset()}
    assert plots.prior_posterior(xr.DataTree.from_dict(posterior)) is None
    assert [ax.get_title() for ax in plots.prior_posterior(fit).axes] == [
        "gradient at 1 Gyr [dex/kpc]", "flattening rate [dex/kpc/Gyr]", "thick gradient [dex/kpc]",
    ]  # fmt: skip
    assert plots.energy(fit) is not None
    few = fit.isel(draw=slice(0, 3))
    assert plots.ranks(few) is None
    assert plots.ranks(fit.isel(draw=slice(0, 6))) is not None


def test_image_is_the_same_for_the_same_data_and_pyplot_lets_go(fit: xr.DataTree) -> None:
    import matplotlib.pyplot as plt

    for draw in (plots.energy, plots.ranks, plots.prior_posterior, plots.gradient):
        first, second = (image_base64(draw(fit), dpi=60) for _ in range(2))
        assert first == second
        assert base64.b64decode(first)[:4] == b"RIFF"
    assert plt.get_fignums() == []


def test_axes_that_are_given_are_drawn_on_and_a_notebook_shows_those_that_are_made(
    fit: xr.DataTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    import builtins

    import matplotlib.pyplot as plt
    from matplotlib.figure import Figure

    ax = Figure().add_subplot()
    assert plots.gradient(fit, ax=ax) is ax
    assert ax.get_lines()
    assert plt.get_fignums() == []
    monkeypatch.setattr(builtins, "__IPYTHON__", True, raising=False)
    shown = plots.gradient(fit)
    assert plt.get_fignums() == [shown.figure.number]
    plt.close(shown.figure)


def test_membership_is_matched_by_identifier(fit: xr.DataTree, stars: xr.Dataset) -> None:
    p = thin_probability(stars, fit)
    assert p is not None
    group = fit["membership"].to_dataset()
    fitted = dict(zip(group["source_id"].values, group["p_thin"].values, strict=True))
    expected = [fitted.get(i, np.nan) for i in stars["source_id"].values]
    np.testing.assert_array_equal(p, expected)
    assert 0 < np.isnan(p).sum() < len(p)
    # The fit holds its stars in another order: position would have been wrong.
    assert group["source_id"].values[0] != stars["source_id"].values[0]


def test_repeats_of_a_star_were_not_fitted(fit: xr.DataTree, stars: xr.Dataset) -> None:
    repeat = stars.isel(star=[0]).copy(deep=True)
    repeat["flag"][:] = int(StarFlag.DUPLICATE)
    both = xr.concat(
        [stars, repeat],
        dim="star",
        join="outer",
        compat="equals",
        coords="minimal",
        data_vars="minimal",
    )
    p = thin_probability(both, fit)
    assert p is not None
    assert np.isfinite(p[0])
    assert np.isnan(p[-1])


def test_columns_are_of_usable_and_fitted_stars_and_nan_where_unknown(stars: xr.Dataset) -> None:
    fitted = np.zeros(stars.sizes["star"], dtype=bool)
    fitted[[2, 35]] = True  # the second is flagged as unusable
    columns = star_columns(stars.drop_vars("teff"), potential="McMillan17", fitted=fitted)
    unusable = (stars["flag"].values & _UNUSABLE) != 0
    np.testing.assert_array_equal(columns["row"], np.flatnonzero(~unusable | fitted))
    assert columns["fitted"].sum() == 2
    assert np.isnan(columns["teff"]).all()
    rows = columns["row"].values
    expected = stars["rg_mean"].sel(potential="McMillan17").values[rows]
    np.testing.assert_allclose(columns["radius"], expected, rtol=1e-6)
    present = star_columns(stars, radius="r_present")["radius"]
    np.testing.assert_allclose(present, stars["r_present"].values[~unusable], rtol=1e-6)
    assert star_columns(columns) is columns


def test_columns_do_not_depend_on_the_parts_on_disk(stars: xr.Dataset, tmp_path: Path) -> None:
    whole = star_columns(stars, potential="MWPotential2014")
    write_stars(stars, tmp_path / "stars", part_size=701)
    parts = star_columns(open_stars(tmp_path / "stars"), potential="MWPotential2014")
    xr.testing.assert_identical(parts, whole)


def test_height_comes_from_its_logarithm_where_that_is_all_there_is(stars: xr.Dataset) -> None:
    with_it, without = star_columns(stars), star_columns(stars.drop_vars("zmax"))
    np.testing.assert_allclose(without["zmax"], with_it["zmax"], rtol=1e-5)


@pytest.mark.parametrize("fewest", [1, 4])
def test_medians_and_means_in_cells_are_those_of_a_loop(fewest: int) -> None:
    rng = np.random.default_rng(3)
    x, y, v = rng.normal(size=500), rng.normal(size=500), rng.normal(size=500)
    x[0], y[0] = 1.0, 1.0  # on the last edges
    xe, ye = np.linspace(-1, 1, 6), np.linspace(-1, 1, 5)
    median = in_cells(x, y, v, xe, ye, fewest=fewest)
    mean = in_cells(x, y, v, xe, ye, by="mean", fewest=fewest)
    assert median.shape == (5, 4)
    for i in range(5):
        for j in range(4):
            last_x, last_y = i == 4, j == 3
            here = (x >= xe[i]) & ((x < xe[i + 1]) | (last_x & (x == xe[i + 1])))
            here &= (y >= ye[j]) & ((y < ye[j + 1]) | (last_y & (y == ye[j + 1])))
            if here.sum() < fewest:
                assert np.isnan(median[i, j])
                assert np.isnan(mean[i, j])
            else:
                assert median[i, j] == pytest.approx(np.median(v[here]))
                assert mean[i, j] == pytest.approx(np.mean(v[here]))


def test_no_figure_holds_a_star_for_each_of_many() -> None:
    rng = np.random.default_rng(4)
    n = 20_000
    feh, alpha = rng.normal(-0.2, 0.2, n), rng.normal(0.1, 0.05, n)
    ax = plots.chemistry(made_up(feh=feh, alpha_fe=alpha, age=feh))
    sizes = [np.size(c.get_offsets()) for c in ax.collections]
    assert max(sizes, default=0) < n


def test_truth_of_stars_that_migrated_is_drawn_as_the_curve_it_is(fit: xr.DataTree) -> None:
    recipe = Recipe(name="x", data={"source": "mock"}, simulate={"population": "migration"})
    ax = plots.gradient(fit, truth=recipe.truth())
    x, y = lines(ax)["truth"].T
    np.testing.assert_allclose(y, expected_gradient(recipe.simulate.migration, x))
    # No straight line: between, it lies 0.003 dex/kpc and more off that through 1 and 12 Gyr.
    line = np.interp(x, [1.0, 12.0], np.interp([1.0, 12.0], x, y))
    within = (x > 1) & (x < 12)
    assert np.abs(y - line)[within].max() > 0.003
    assert lines(ax)["_truth"][0, 1] == lines(ax)["_truth"][-1, 1] == 0.02


def test_disc_figure_draws_points_band_truth_and_a_panel_per_bin(
    stars: xr.Dataset, fit: xr.DataTree, baseline: xr.Dataset, truth: dict[str, float]
) -> None:
    made = plots.disc(stars, baseline, fit=fit, truth=truth)
    assert len(made.axes) == 3 + baseline.sizes["age_bin"]
    top = made.axes[0]
    assert {"hierarchical, thin disc", "truth"} <= set(lines(top))
    points = next(k for k in top.containers if k.get_label() == "ODR")
    np.testing.assert_allclose(
        points.lines[0].get_xydata()[:, 1], baseline["slope"].sel(regression="odr")
    )
    colours: dict[str, set[object]] = {}
    gradient = plots.gradient(fit, baseline, thick_baseline=baseline)
    for ax in (*made.axes, *plots.disc(stars, baseline, component="thick").axes, gradient):
        for one in (*ax.containers, *ax.get_lines()):
            name = str(one.get_label()).split(",")[0]
            line = one.lines[0] if hasattr(one, "lines") else one
            colours.setdefault(name, set()).add(line.get_color())
    assert len(colours["ODR"]) == len(colours["ODR + scatter"]) == 1
    assert colours["ODR"].isdisjoint(colours["ODR + scatter"] | colours["truth"])
    # Without a truth the paper's line stands there instead: -0.075 at 1 Gyr, 0.003 a gigayear.
    plain = lines(plots.disc(star_columns(stars), baseline).axes[0])
    (x0, y0), (x1, y1) = plain["Vickers et al. (2021)"]
    assert (x0, y0) == (1.0, -0.075)
    assert (y1 - y0) / (x1 - x0) == pytest.approx(0.003)


def test_variant_figure_shows_each_variant_at_its_slopes(baseline: xr.Dataset) -> None:
    steeper = baseline.assign(slope=baseline["slope"] - 0.01)
    ax = plots.overlay([Curve("one", baseline), Curve("other", steeper)])
    one, other = (c.lines[0].get_xydata() for c in ax.containers)
    np.testing.assert_allclose(one[:, 1] - other[:, 1], 0.01)
    assert (np.abs(one[:, 0] - other[:, 0]) < 0.2).all()


def test_of_many_fitted_variants_one_band_is_drawn_and_factors_have_colour_and_dashes():
    ages = np.array([1.0, 5.0, 9.0])
    level = np.full(3, -0.05)

    def curve(v0: int, r0: int) -> Curve:
        return Curve(f"{r0} {v0}", None, ages, level - 0.01, level, level + 0.01, v0, r0)

    six = [curve(v0, r0) for r0 in range(2) for v0 in range(3)]
    axes = plots.overlay(six)
    few = plots.overlay(six[:4])
    assert len(few.collections) - len(axes.collections) == 3
    drawn = {h.get_label(): h for h in axes.lines}
    style = {v.label: (drawn[v.label].get_color(), drawn[v.label].get_linestyle()) for v in six}
    assert len(set(style.values())) == 6
    assert style["0 1"][0] == style["1 1"][0]
    assert style["1 0"][1] == style["1 2"][1] != style["0 0"][1]


def test_figures_of_potentials_and_solar_parameters_take_their_own_variants_alone():
    # A comparison of everything: potentials, solar frames, a family, and two of these at once.
    rows = [
        ("reference", "A", "rescaled", 8.2, 236.0, "dartmouth"),
        ("B", "B", "rescaled", 8.2, 236.0, "dartmouth"),
        ("B native", "B", "native", 8.0, 220.0, "dartmouth"),
        ("A R0=8.0 V0=220.0", "A", "rescaled", 8.0, 220.0, "dartmouth"),
        ("mist", "A", "rescaled", 8.2, 236.0, "mist"),
        ("B, mist", "B", "rescaled", 8.2, 236.0, "mist"),
    ]
    names = ("variant", "potential", "scaling", "r0", "v0", "family")
    coords = {n: ("variant", list(c)) for n, c in zip(names, zip(*rows, strict=True), strict=True)}
    ages = np.array([1.0, 5.0, 9.0])
    values = (("component", "variant", "age"), np.full((1, 6, 3), -0.05))
    curve = xr.Dataset(
        {"mean": values, "sd": values}, {**coords, "component": ["thin"], "age": ("age", ages)}
    )
    tree = xr.DataTree.from_dict({"curve": curve})
    taken = {
        kind: [v.label for v in comparison_curves(tree, kind, reference="A")]
        for kind in ("potential", "solar")
    }
    assert taken["potential"] == ["A", "B", "B native"]
    assert taken["solar"] == [r"$R_0$ = 8.2, $V_0$ = 236", r"$R_0$ = 8, $V_0$ = 220"]
    family = tree["curve"].to_dataset().isel(variant=[0, 4])
    assert comparison_curves(xr.DataTree.from_dict({"curve": family}), "potential") == []


def test_age_posterior_of_stars_on_disk(stars: xr.Dataset, tmp_path: Path) -> None:
    ages = np.linspace(0.5, 14.0, 28)
    ln_p = -0.5 * (ages - stars["age_ml"].values[:, None]) ** 2
    with_ages = stars.assign(log_age_likelihood=(("star", "age"), ln_p)).assign_coords(age=ages)
    write_stars(with_ages, tmp_path / "stars")
    ax = plots.age_posterior(open_stars(tmp_path / "stars"), 3)
    assert str(stars["source_id"].values[3]) in ax.get_title()
    x, y = ax.get_lines()[0].get_data()
    assert abs(x[y.argmax()] - float(stars["age_ml"][3])) <= 0.25


def test_a_backend_loaded_by_the_first_figure_stays_interactive():
    was = mpl.is_interactive()
    try:
        mpl.interactive(False)
        with paper_style():
            mpl.interactive(True)
        assert mpl.is_interactive()
    finally:
        mpl.interactive(was)
