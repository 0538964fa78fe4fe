"""Selections: the paper's limits, three-valued logic, and messages."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np
import pytest
import xarray as xr

from migrate_bayes.core.errors import CatalogError, OrbitError, RecipeError
from migrate_bayes.core.flags import StarFlag
from migrate_bayes.orbits import Potential
from migrate_bayes.selection import SELECTIONS, dividing_line, limits, select
from migrate_bayes.selection.expressions import as_expression, expand, parse_selection


def stars_at(**columns: object) -> xr.Dataset:
    """Stars with the columns given; scalars are repeated, and the rest is unremarkable."""
    n = max(np.size(np.asarray(v)) for v in columns.values())
    values = {
        "feh": 0.0, "alpha_fe": 0.0, "zmax": 0.1, "teff": 6000.0, "logg": 4.3, "age_error": 0.2,
        "flag": 0,
    }  # fmt: skip
    values.update(columns)  # type: ignore[arg-type]
    data = xr.Dataset(coords={"potential": ["MWPotential2014", "McMillan17"]})
    for name, value in values.items():
        column = np.broadcast_to(np.asarray(value), n)
        if name == "zmax":
            both = np.stack([column, column + 5.0], axis=1)
            data[name] = (("star", "potential"), both)
        else:
            data[name] = ("star", column.astype(np.int32) if name == "flag" else column)
    return data


def chosen(stars: xr.Dataset, what: object, **kwargs: str) -> list[bool]:
    return select(stars, what, **kwargs).values.tolist()  # type: ignore[arg-type]


def test_thin_disc_is_the_papers_two_inequalities_and_zmax() -> None:
    rng = np.random.default_rng(1)
    feh, alpha, zmax = (
        rng.uniform(-1, 0.5, 500),
        rng.uniform(-0.2, 0.4, 500),
        rng.uniform(0, 4, 500),
    )
    stars = stars_at(feh=feh, alpha_fe=alpha, zmax=zmax)
    chemical = (alpha < 0.15) & (alpha < -0.2 * feh + 0.1)
    enhanced = (alpha > 0.15) | (alpha > -0.2 * feh + 0.1)
    assert chosen(stars, "thin-chemical") == chemical.tolist()
    assert chosen(stars, "thin") == (chemical & (zmax < 0.25)).tolist()
    assert chosen(stars, "thick-chemical") == enhanced.tolist()
    assert chosen(stars, "thick") == (enhanced & (zmax > 2)).tolist()
    assert 0 < chemical.sum() < 500


def test_dividing_line_passes_through_the_points_of_figure_5() -> None:
    np.testing.assert_allclose(dividing_line([-0.5, -0.25, 0.25]), [0.15, 0.15, 0.05])


@pytest.mark.parametrize("family", ["zmax-", "alpha-"])
def test_slices_partition_the_stars(family: str) -> None:
    rng = np.random.default_rng(2)
    stars = stars_at(
        feh=rng.uniform(-1, 0.5, 300), alpha_fe=rng.uniform(-0.3, 0.5, 300),
        zmax=rng.exponential(1.0, 300),
    )  # fmt: skip
    slices = [n for n in SELECTIONS if n.startswith(family)]
    assert len(slices) == 4
    counts = sum(select(stars, n).values.astype(int) for n in slices)
    assert np.all(counts == 1)
    assert all(select(stars, n).any() for n in slices)


def test_high_quality_takes_hot_stars_and_subgiants() -> None:
    stars = stars_at(
        teff=[5800, 5700, 5300, 5200, 5800],
        logg=[4.4, 4.4, 3.9, 3.9, 4.4],
        age_error=[0.05, 0.05, 0.05, 0.05, 0.12],
    )
    assert chosen(stars, "high-quality") == [True, False, True, False, False]


@pytest.mark.parametrize(
    "flag",
    [
        StarFlag.MISSING_PARAMETERS, StarFlag.OFF_GRID, StarFlag.BAD_ERROR, StarFlag.BAD_DISTANCE,
        StarFlag.UNBOUND, StarFlag.DUPLICATE, StarFlag.LOW_SNR, StarFlag.POOR_AGE,
        StarFlag.POOR_FIT,
    ],
)  # fmt: skip
def test_unusable_stars_are_in_no_selection(flag: StarFlag) -> None:
    stars = stars_at(flag=[0, int(flag), int(flag | StarFlag.RETROGRADE), int(StarFlag.RETROGRADE)])
    for name in ("all", "thin", "~thick", "thin | thick"):
        assert chosen(stars, name) == [True, False, False, True]


def test_a_product_of_ages_alone_does_not_lack_orbits() -> None:
    lost = [0, int(StarFlag.MISSING_RADIAL_VELOCITY), int(StarFlag.POOR_AGE)]
    stars = stars_at(flag=lost)
    assert chosen(stars, "all") == [True, False, False]
    assert chosen(stars.drop_dims("potential"), "all") == [True, True, False]


def test_unknown_values_pass_neither_a_condition_nor_its_opposite() -> None:
    stars = stars_at(alpha_fe=[0.0, np.nan, 0.3], zmax=[0.1, 0.1, np.nan])
    assert chosen(stars, "thin-chemical") == [True, False, False]
    assert chosen(stars, "~thin-chemical") == [False, False, True]
    # Height alone shows that the second star is not thick; the third may be.
    assert chosen(stars, "~thick") == [True, True, False]
    # And chemistry alone shows that the third is not thin.
    assert chosen(stars, "~thin") == [False, False, True]


def test_de_morgan_holds_with_missing_values() -> None:
    rng = np.random.default_rng(3)
    columns = [rng.choice([0.0, 0.3, np.nan], 60) for _ in range(2)]
    stars = stars_at(alpha_fe=columns[0], zmax=columns[1])
    a, b = SELECTIONS["thin-chemical"], SELECTIONS["zmax-below-0.25"]
    assert chosen(stars, ~(a & b)) == chosen(stars, ~a | ~b)
    assert chosen(stars, ~(a | b)) == chosen(stars, ~a & ~b)
    assert chosen(stars, a & b) != chosen(stars, a)


def test_expressions_follow_pythons_precedence() -> None:
    stars = stars_at(
        alpha_fe=[0.0, 0.3, 0.0, 0.3], zmax=[0.1, 3.0, 3.0, 0.1], age_error=[0.2, 0.2, 0.05, 0.05]
    )
    thin, thick, good = (select(stars, n).values for n in ("thin", "thick", "high-quality"))
    assert chosen(stars, "thin | thick & high-quality") == (thin | (thick & good)).tolist()
    assert chosen(stars, "(thin | thick) & ~high-quality") == ((thin | thick) & ~good).tolist()


def test_limits_table_narrows_a_named_selection() -> None:
    stars = stars_at(feh=[-0.5, -0.1, 0.2], zmax=[0.1, 0.4, 0.1])
    table = {"selection": "thin-chemical", "zmax": {"max": 0.25}, "feh": {"min": -0.3}}
    assert chosen(stars, table) == [False, False, True]


def test_zmax_is_of_the_potential_asked_for() -> None:
    stars = stars_at(zmax=[0.1])
    assert chosen(stars, "thin", potential="MWPotential2014") == [True]
    assert chosen(stars, "thin", potential="McMillan17") == [False]


def test_zmax_from_its_logarithm_where_that_is_all_there_is() -> None:
    stars = stars_at(zmax=[0.2, 0.3])
    stars["ln_zmax_mean"] = np.log(stars["zmax"])
    assert chosen(stars.drop_vars("zmax"), "thin") == [True, False]


def test_descriptions_read_as_written() -> None:
    mask = select(stars_at(feh=[0.0]), "thin")
    assert mask.attrs["description"] == (
        "[α/Fe] < 0.15 and [α/Fe] < −0.2 [Fe/H] + 0.1 and Z_max < 0.25 kpc"
    )
    a, b, c = (limits(name, upper=1.0) for name in "abc")
    assert ((a | b) & c).description == "(a < 1 or b < 1) and c < 1"
    assert (~limits("zmax", 0.5, 1)).description == "not (0.5 ≤ Z_max < 1 kpc)"


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        ("thinn", r"unknown selection 'thinn'; did you mean 'thin'\? Valid: age-error-25, all"),
        ("thin thick", "stands where an operator should"),
        ("thin zmax < 1", "'zmax < 1' stands where an operator should"),
        ("zmax <", "cannot read '<'"),
        ("zmaxx < 1", "column 'zmaxx', which the stars lack; did you mean 'zmax'"),
        ([], r"a list of these or a table; got \[\]"),
        (["thin", "quallity"], "unknown selection 'quallity'; did you mean 'quality'"),
        ("thin &", "ends where a name should"),
        ("(thin", r"ends where \) should"),
        ("thin + thick", r"cannot read '\+ thick'"),
        ("", "ends where a name should"),
        ({"zmaxx": {"max": 1}}, "column 'zmaxx', which the stars lack; did you mean 'zmax'"),
        ({"zmax": 0.3}, "must be a table of min, max or both"),
        ({"zmax": {"max": 1, "min": 2}}, "min 2 not below max 1"),
        ({"zmax": {"max": "high"}}, "must be numbers"),
        ({"potential": {"max": 1}}, "which the stars lack"),
    ],
)
def test_mistakes_are_named(selection: object, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        select(stars_at(feh=[0.0]), selection)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("thin)", r"'\)' stands where an operator should"),
        ("thin (thick)", r"'\(' stands where an operator should"),
        ("()", r"'\)' stands where a name should"),
        ("thin & & thick", "'&' stands where a name should"),
        ("(thin | (thick)", r"it ends where \) should"),
        ("thin ~ thick", "'~' stands where an operator should"),
        ("__import__", "cannot read '__import__'"),
        ("lambda", "unknown selection 'lambda'"),
    ],
)
def test_the_place_of_a_mistake_is_named(expression: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        parse_selection(expression)


def nested(levels: int) -> list[object]:
    member: list[object] = ["thin"]
    for _ in range(levels):
        member = [member]
    return member


@pytest.fixture(params=[1000, 100_000])
def recursion_limit(request: pytest.FixtureRequest) -> Iterator[None]:
    """Python's own limit, and a high one: PyTensor raises it for the whole process."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(request.param)
    yield
    sys.setrecursionlimit(before)


@pytest.mark.usefixtures("recursion_limit")
def test_deep_and_huge_selections_are_refused_in_words() -> None:
    assert parse_selection("~" * 99 + "(" * 99 + "thin" + ")" * 99)
    wide = " & ".join(["teff > 5000"] * 200)
    assert chosen(stars_at(feh=[0.0]), wide) == [True]
    doubled = {"a0": "thin & thin"} | {f"a{i + 1}": f"a{i} & a{i}" for i in range(40)}
    chain = {"b0": "thin"} | {f"b{i + 1}": f"b{i}" for i in range(5000)}
    for what, own in (
        (" & ".join(["thin"] * 201), {}),
        ("thin &" * 1_000_000, {}),
        ("~" * 100_000 + "thin", {}),
        ("(" * 5000 + "thin" + ")" * 5000, {}),
        ("(" * 190 + "~" + "(" * 10 + "thin" + ")" * 200, {}),
        (["thin"] * 5000, {}),
        (nested(20_000), {}),
        ("a40", doubled),
        ("b5000", chain),
    ):
        with pytest.raises(RecipeError) as error:
            expand(what, own)
        assert len(str(error.value)) < 1000
    with pytest.raises(RecipeError, match="nested too deeply"):
        select(stars_at(feh=[0.0]), nested(20_000))


def test_a_missing_column_is_named() -> None:
    with pytest.raises(CatalogError, match="the catalogue has no alpha_fe, which the selection"):
        select(stars_at(feh=[0.0]).drop_vars("alpha_fe"), "thin")


def test_an_unknown_potential_is_named() -> None:
    with pytest.raises(OrbitError, match=r"'MacMillan17'; did you mean 'McMillan17'\?"):
        select(stars_at(feh=[0.0]), "all", potential="MacMillan17")


def test_names_and_expressions_parse() -> None:
    for name in SELECTIONS:
        assert parse_selection(f" {name} ") is SELECTIONS[name]


JUST = 1e-9

# Stars at each boundary of the paper's text: values, and who is inside.
BOUNDARIES = {
    "thin-chemical": (
        # [α/Fe] < 0.15 below [Fe/H] = -0.25, and < 0.1 - 0.2 [Fe/H] above.
        {"feh": [-0.8, -0.8, 0.2, 0.2], "alpha_fe": [0.15 - JUST, 0.15, 0.06 - JUST, 0.06 + JUST]},
        [True, False, True, False],
    ),
    "thick-chemical": (
        {"feh": [-0.8, -0.8, 0.2, 0.2], "alpha_fe": [0.15 - JUST, 0.15, 0.06 - JUST, 0.06 + JUST]},
        [False, True, False, True],
    ),
    "thin": ({"alpha_fe": 0.0, "zmax": [0.25 - JUST, 0.25]}, [True, False]),
    "thick": ({"alpha_fe": 0.3, "zmax": [2.0, 2.0 + JUST]}, [False, True]),
    "zmax-below-0.25": ({"zmax": [0.0, 0.25 - JUST, 0.25]}, [True, True, False]),
    "zmax-0.25-to-1": ({"zmax": [0.25 - JUST, 0.25, 1.0 - JUST, 1.0]}, [False, True, True, False]),
    "zmax-1-to-2": ({"zmax": [1.0 - JUST, 1.0, 2.0 - JUST, 2.0]}, [False, True, True, False]),
    "zmax-above-2": ({"zmax": [2.0 - JUST, 2.0]}, [False, True]),
    "alpha-lowest": ({"feh": -0.8, "alpha_fe": [0.05 - JUST, 0.05 + JUST]}, [True, False]),
    "alpha-low": (
        {"feh": -0.8, "alpha_fe": [0.05 - JUST, 0.05 + JUST, 0.15]}, [False, True, False],
    ),
    "alpha-high": (
        {"feh": -0.8, "alpha_fe": [0.15, 0.25 - JUST, 0.25 + JUST]}, [True, True, False],
    ),
    "alpha-highest": ({"feh": -0.8, "alpha_fe": [0.25 - JUST, 0.25 + JUST]}, [False, True]),
    "high-quality": (
        {
            "age_error": [0.10, 0.10 + JUST, 0.05, 0.05, 0.05, 0.05],
            "teff": [5800, 5800, 5750, 5751, 5251, 5251],
            "logg": [4.3, 4.3, 4.3, 4.3, 4.0, 4.0 - JUST],
        },
        [True, False, False, True, False, True],
    ),
    "snr-50": ({"snr_g": [50.0, 51.0, 51.0], "snr_r": [60.0, 51.0, 50.0]}, [False, True, False]),
    "age-error-25": ({"age_error": [0.25 - JUST, 0.25]}, [True, False]),
    "quality": ({"age_error": [0.2, 0.3, 0.2], "snr_i": [90.0, 90.0, 40.0]}, [True, False, False]),
    "parallax-10": (
        {"parallax": [1.0, 1.01, -1.0, 1.0], "parallax_error": [0.1, 0.1, 0.1, 0.0]},
        [False, True, False, False],
    ),
    "ruwe-1.4": ({"ruwe": [1.4 - JUST, 1.4, float("nan")]}, [True, False, False]),
    "single-star": ({"non_single_star": [0, 1, 4]}, [True, False, False]),
    "unblended": ({"ipd_frac_multi_peak": [2.0, 2.0 + JUST, 0.0]}, [True, False, True]),
    "survey-clean": ({"survey_flag": [0.0, 1.0]}, [True, False]),
    "evolved": (
        {"teff": [5400.0, 5399.0, 5399.0], "logg": [4.5, 4.0, 4.0 + JUST]}, [True, True, False],
    ),
    "toomre-thin": (
        {"v_phi": [230.0, 206.0, 206.1], "v_r": [50.0, 40.0, 40.0], "v_z": [0.0, 0.0, 0.0]},
        [False, False, True],
    ),
    "toomre-thick": (
        {"v_phi": [236.0, 236.0, 236.0, 56.0], "v_r": [69.9, 70, 0, 0], "v_z": [0, 0, 179, 0]},
        [False, True, True, False],
    ),
}  # fmt: skip


def with_everything(**columns: object) -> xr.Dataset:
    usual = {"snr_g": 80.0, "snr_r": 90.0, "snr_i": 90.0, "parallax": 1.0, "parallax_error": 0.02,
             "v_phi": 230.0, "v_r": 0.0, "v_z": 0.0, "r_present": 8.0, "z": 0.1}  # fmt: skip
    stars = stars_at(**(usual | columns))
    per = {"v0": [236.0, 236.0], "r0": [8.27, 8.27], "scaling": ["rescaled"] * 2}
    per["potential_model"] = ["MWPotential2014", "McMillan17"]
    return stars.assign_coords({name: ("potential", values) for name, values in per.items()})


@pytest.mark.parametrize("name", BOUNDARIES)
def test_a_star_on_either_side_of_each_boundary(name: str) -> None:
    columns, inside = BOUNDARIES[name]
    assert chosen(with_everything(**columns), name) == inside
    # As stars on disk are: every variable and coordinate of dask's.
    lazy = with_everything(**columns).chunk()
    assert lazy["v0"].chunks is not None
    assert chosen(lazy, name) == inside


def test_every_selection_has_its_boundaries_tested() -> None:
    assert set(SELECTIONS) - set(BOUNDARIES) == {
        "all", "toomre-thin-local", "toomre-thick-local",
    }  # fmt: skip


def test_local_toomre_speed_is_relative_to_the_rotation_curve() -> None:
    from migrate_bayes.orbits import circular_velocity

    r = np.array([4.0, 8.27, 14.0])
    v_circ = circular_velocity(r, "MWPotential2014")
    assert np.ptp(v_circ) > 10.0
    stars = with_everything(r_present=r, v_phi=v_circ - 49.9)
    assert chosen(stars, "toomre-thin-local") == [True] * 3
    stars = with_everything(r_present=r, v_phi=v_circ - 50.1)
    assert chosen(stars, "toomre-thin-local") == [False] * 3
    assert chosen(with_everything(r_present=r, v_phi=v_circ - 71.0), "toomre-thick-local") == (
        [True] * 3
    )


def test_comparisons_compose_with_names() -> None:
    stars = with_everything(zmax=[0.1, 0.2, 0.3], r_present=[6.0, 9.0, 9.0], z=[0.1, -0.4, 0.4])
    assert chosen(stars, "thin & r_present >= 6.5") == [False, True, False]
    assert chosen(stars, "thin-chemical & ~(zmax < 0.2)") == [False, True, True]
    assert chosen(stars, "abs_z<=.1|zmax>2.5e-1") == [True, False, True]


def test_a_list_is_the_stars_in_all_of_its_members() -> None:
    stars = with_everything(alpha_fe=[0.0, 0.0, 0.3], age_error=[0.2, 0.3, 0.2])
    both = ["thin | thick-chemical", "quality"]
    assert chosen(stars, both) == [True, False, True]
    assert as_expression(both) == "(thin | thick-chemical) & quality"
    assert as_expression(["thin", {"selection": "quality", "feh": {"min": -0.5}}]) == (
        "thin & (quality & feh >= -0.5)"
    )


def test_names_of_a_recipes_own_are_written_out() -> None:
    own = {"cold": ["thin", "ring"], "ring": {"r_present": {"min": 6, "max": 10}}}
    assert expand("cold | thick", own) == (
        "(thin & (all & r_present >= 6.0 & r_present < 10.0)) | thick"
    )
    for wrong, message in (
        ({"thin": "thick"}, "gives 'thin' anew"),
        ({"a": "b", "b": "a"}, "'a' is defined by itself"),
        ({"a b": "thin"}, "'a b' is no name"),
        ({"a": "thn"}, "unknown selection 'thn'; did you mean 'thin'"),
    ):
        with pytest.raises(RecipeError, match=message):
            expand("a", wrong)


def test_recipes_take_lists_and_names_of_their_own() -> None:
    from pydantic import ValidationError

    from migrate_bayes.run.recipe import Recipe

    recipe = Recipe.model_validate({
        "name": "x",
        "selections": {"clean": "quality & parallax_over_error > 5"},
        "baseline": {"selection": ["thin", "clean"]},
        "model": {"selection": "clean"},
    })  # fmt: skip
    assert recipe.baseline is not None
    assert recipe.baseline.selection == "thin & (quality & parallax_over_error > 5)"
    assert recipe.model.selection == "(quality & parallax_over_error > 5)"
    with pytest.raises(ValidationError, match="unknown selection 'claen'; did you mean 'clean'"):
        Recipe.model_validate({
            "name": "x", "selections": {"clean": "quality"}, "model": {"selection": "claen"},
        })  # fmt: skip


def test_a_product_that_names_code_does_not_run_it(tmp_path) -> None:
    """Only a caller's own word, as a recipe's, imports a potential that is not the package's."""
    marker, file = tmp_path / "was-run", tmp_path / "code.py"
    file.write_text(
        "from pathlib import Path\n"
        "from galpy.potential import MWPotential2014 as mine\n"
        f"Path({str(marker)!r}).touch()\n"
    )
    name = f"{file}:mine"
    stars = with_everything(r_present=[8.0, 9.0])
    named = stars.assign_coords(potential_model=("potential", [name] * stars.sizes["potential"]))
    with pytest.raises(OrbitError, match="code of somebody's own"):
        select(named, "toomre-thin-local", potential="MWPotential2014")
    assert not marker.exists()
    Potential(name)
    select(named, "toomre-thin-local", potential="MWPotential2014")
    assert marker.exists()
