"""Column maps as a user meets them: surveys' real columns, bits, maps over maps, one message."""

import numpy as np
import pytest
from astropy.table import Table
from typer.testing import CliRunner

from migrate_bayes.catalog import column_map_names, load_column_map, open_catalog, read_catalog
from migrate_bayes.catalog.columns import COLUMNS
from migrate_bayes.catalog.maps import as_column_map, draft_map, missing_columns, near_columns
from migrate_bayes.catalog.measured import validate_required
from migrate_bayes.cli import app
from migrate_bayes.core.errors import CatalogError, RecipeError, suggest
from migrate_bayes.core.flags import StarFlag
from migrate_bayes.run import Run, load_recipe
from migrate_bayes.run.recipe import write_template
from migrate_bayes.selection import select

N = 6
GAIA = {
    "ra": 100.0, "dec": 20.0, "parallax": 2.0, "parallax_error": 0.02, "pmra": 3.0,
    "pmra_error": 0.02, "pmdec": -4.0, "pmdec_error": 0.02, "phot_g_mean_mag": 13.0,
    "phot_bp_mean_mag": 13.4, "phot_rp_mean_mag": 12.4, "ruwe": 1.0,
}  # fmt: skip
GEO = {"r_med_geo": 500.0, "r_lo_geo": 495.0, "r_hi_geo": 506.0}
VIZIER = {
    "RA_ICRS": 100.0, "DE_ICRS": 20.0, "Plx": 2.0, "e_Plx": 0.02, "pmRA": 3.0, "e_pmRA": 0.02,
    "pmDE": -4.0, "e_pmDE": 0.02, "Gmag": 13.0, "BPmag": 13.4, "RPmag": 12.4, "rgeo": 500.0,
    "b_rgeo": 495.0, "B_rgeo": 506.0,
}  # fmt: skip


def spectrum(teff, logg, feh, alpha, rv, error):
    """Name a survey's columns; `error` makes an error's name of a value's."""
    values = dict(zip((teff, logg, feh, alpha, rv), (5800.0, 4.3, -0.1, 0.05, 20.0), strict=True))
    errors = zip(values, (60.0, 0.08, 0.05, 0.03, 0.5), strict=True)
    return values | {error(name): value for name, value in errors}


def percentiles(**names):
    return {
        f"{n}{p}": v + s * k for n, (v, s) in names.items() for p, k in ((16, -1), (50, 0), (84, 1))
    }


# What each release calls its columns.
SURVEYS = {
    "apogee-dr17": {
        "APOGEE_ID": "2M00000", "RA": 100.0, "DEC": 20.0, "SNREV": 120.0, "AK_TARG": 0.02,
        "ASPCAPFLAG": 0, "STARFLAG": 0, "EXTRATARG": 0, "ALPHA_M_ERR": 0.03, "VERR": 0.5,
        **spectrum("TEFF", "LOGG", "FE_H", "ALPHA_M", "VHELIO_AVG", lambda n: f"{n}_ERR"),
        **{f"GAIAEDR3_{n.upper()}": v for n, v in (GAIA | GEO).items()
           if n not in ("ra", "dec", "ruwe")},
    },
    "astronn-dr17": {
        "APOGEE_ID": "2M00000", "MG_H": -0.05, "MG_H_ERR": 0.02, "weighted_dist": 500.0,
        "weighted_dist_error": 5.0, "age_lowess_correct": 5.0, "age_total_error": 1.5,
        **spectrum("TEFF", "LOGG", "FE_H", "X", "radial_velocity",
                   lambda n: f"{n}_error" if n == "radial_velocity" else f"{n}_ERR"), **GAIA,
    },
    "galah-dr3": {
        "dr3_source_id": 1, "flag_sp": 0, "flag_fe_h": 0, "snr_c3_iraf": 70.0, "ebv": 0.02,
        **spectrum("teff", "logg", "fe_h", "alpha_fe", "rv_galah", lambda n: f"e_{n}"),
        **GAIA, **GEO,
    },
    "galah-dr4": {
        "sobject_id": 1, "flag_sp": 0, "flag_fe_h": 1, "snr_px_ccd3": 70.0, "ebv": 0.02,
        "r_med": 500.0, "r_lo": 495.0, "r_hi": 506.0,
        **spectrum("teff", "logg", "fe_h", "mg_fe", "rv_comp_1", lambda n: f"e_{n}"), **GAIA,
    },
    "lamost-lrs": {
        "obsid": 1, "snrg": 60.0, "snrr": 80.0, "snri": 90.0,
        **spectrum("teff", "logg", "feh", "alpha_m", "rv", lambda n: f"{n}_err"), **GAIA, **GEO,
    },
    "lamost-mrs": {
        "mobsid": 1, "snr": 60.0, "fibermask": 0,
        **spectrum("teff_lasp", "logg_lasp", "feh_lasp", "alpha_m_lasp", "rv_br1",
                   lambda n: f"{n}_err"), **GAIA, **GEO,
    },
    "lamost-ddpayne-vizier": {
        "Source": 1, "snrg": 60.0,
        **spectrum("Teff", "logg", "[Fe/H]", "[a/Fe]", "HRV", lambda n: f"e_{n}"), **VIZIER,
    },
    "gaia-dr3-gspspec": {
        "source_id": 1, "radial_velocity": 20.0, "radial_velocity_error": 0.5,
        "flags_gspspec": "0" * 41, **GAIA, **GEO,
        **{f"{n}_gspspec{end}": v + s * k
           for n, (v, s) in {"teff": (5800, 60), "logg": (4.3, 0.08), "mh": (-0.1, 0.05),
                             "alphafe": (0.05, 0.03)}.items()
           for end, k in (("", 0), ("_lower", -1), ("_upper", 1))},
    },
    "gaia-eso": {
        "CNAME": "06440000", "RA": 100.0, "DECLINATION": 20.0, "SNR": 60.0,
        **spectrum("TEFF", "LOGG", "FEH", "ALPHA_FE", "VRAD", lambda n: f"E_{n}"),
        **{n: v for n, v in (GAIA | GEO).items() if n not in ("ra", "dec")},
    },
    "starhorse": {
        "source_id": 1, "radial_velocity": 20.0, "radial_velocity_error": 0.5, **GAIA,
        **percentiles(dist=(0.5, 0.005), av=(0.1, 0.02), teff=(5800, 60), logg=(4.3, 0.08),
                      met=(-0.1, 0.05)),
    },
}  # fmt: skip


def write(columns, path, **changes):
    table = Table()
    for name, value in (columns | changes).items():
        if isinstance(value, list | np.ndarray):
            table[name] = value
        elif isinstance(value, str):
            table[name] = [f"{value}{i if name != 'flags_gspspec' else ''}" for i in range(N)]
        else:
            table[name] = np.full(N, value)
            if isinstance(value, int) and value == 1 and "flag" not in name:
                table[name] = np.arange(N) + 3_000_000_000_000_000_000
    table.write(path, overwrite=True)
    return path


@pytest.mark.parametrize("name", SURVEYS)
def test_a_release_is_read_by_its_map(tmp_path, name):
    path = write(SURVEYS[name], tmp_path / "survey.ecsv")
    stars = read_catalog(path, columns=name)
    for needs in ("ages", "orbits", "photometry"):
        validate_required(stars, needs=needs)
    seen = {n: float(stars[n][0]) for n in ("teff", "teff_error", "logg", "feh", "radial_velocity")}
    wanted = {"teff": 5800, "teff_error": 60, "logg": 4.3, "feh": -0.1, "radial_velocity": 20}
    assert seen == pytest.approx(wanted)
    low, middle, high = (float(stars[f"distance{end}"][0]) for end in ("_lo", "", "_hi"))
    assert (low, middle, high) == pytest.approx((0.495, 0.5, 0.506), abs=2e-3)
    assert stars["feh_error"].values == pytest.approx(0.05)
    assert not stars["flag"].values.any()
    fitting = [
        n for n in column_map_names() if not missing_columns(load_column_map(n), _names(path))
    ]
    assert name in fitting


def _names(path):
    return Table.read(path).colnames


@pytest.mark.parametrize("columns", [GAIA | GEO | {"source_id": 1}, VIZIER | {"Source": 1}])
def test_bailer_jones_in_both_spellings(tmp_path, columns):
    stars = read_catalog(write(columns, tmp_path / "bj.ecsv"), columns="bailer-jones")
    found = [float(stars[f"distance{end}"][0]) for end in ("_lo", "", "_hi")]
    assert found == pytest.approx([0.495, 0.5, 0.506])


@pytest.mark.parametrize(
    ("survey", "change", "bad"),
    [
        ("apogee-dr17", {"ASPCAPFLAG": [0, 1 << 23, 1 << 7, (1 << 41) + 1, 1 << 19, 0]}, [1, 3, 4]),
        ("apogee-dr17", {"STARFLAG": [1 << 3, 2, 0, 0, 0, 1 << 22]}, [0, 5]),
        ("apogee-dr17", {"EXTRATARG": [16, 1, 0, 0, 0, 17]}, [0, 5]),
        ("galah-dr3", {"flag_sp": [0, 1, 0, 64, 0, 0], "flag_fe_h": [0, 0, 2, 0, 0, 0]}, [1, 2, 3]),
        ("galah-dr4", {"flag_sp": [0, 0, 0, 0, 16, 0]}, [4]),
        (
            "gaia-dr3-gspspec",
            {"flags_gspspec": [z + "0" * 30 for z in ("00000000", "0000001", "1000000", "00000009")]
             + ["0" * 41] * 2},
            [1, 2],
        ),
    ],
)  # fmt: skip
def test_a_surveys_own_flags(tmp_path, survey, change, bad):
    path = write(SURVEYS[survey], tmp_path / "survey.csv", **change)
    stars = read_catalog(path, columns=survey)
    flagged = np.flatnonzero(stars["flag"].values & StarFlag.SURVEY_FLAG)
    assert flagged.tolist() == bad
    assert np.flatnonzero(stars["survey_flag"].values == 1).tolist() == bad
    # A named choice: the stars are cut, or kept and selected.
    settings = {"columns": survey, "extinction": None, "duplicate_radius": None, "min_snr": None}
    kept = next(open_catalog(path, survey_flags="keep", **settings).chunks())
    cut = next(open_catalog(path, **settings).chunks())
    assert select(kept, "all").values.all()
    assert np.flatnonzero(~select(cut, "all").values).tolist() == bad
    assert np.flatnonzero(~select(kept, "survey-clean").values).tolist() == bad


def test_astrometric_quality_is_selected_by_name(tmp_path):
    path = write(SURVEYS["galah-dr3"], tmp_path / "s.ecsv", ruwe=[1.0, 1.39, 1.4, 5.0, 1.0, np.nan])
    stars = read_catalog(path, columns="galah-dr3")
    assert select(stars, "ruwe-1.4").values.tolist() == [True, True, False, False, True, False]


def test_a_map_over_another(tmp_path):
    path = write(
        {n: v for n, v in SURVEYS["lamost-lrs"].items() if not n.startswith("alpha")},
        tmp_path / "s.ecsv", vlos=np.full(N, -7.0),
    )  # fmt: skip
    own = {"extends": "lamost-lrs", "radial_velocity": "vlos", "snr_g": "none"}
    stars = read_catalog(path, columns=own)
    assert float(stars["radial_velocity"][0]) == -7.0
    assert "snr_g" not in stars
    assert "snr_r" in stars
    # As a file, and one over that.
    (tmp_path / "a.toml").write_text(
        'extends = "lamost-lrs"\n[columns]\nradial_velocity = "vlos"\n'
    )
    (tmp_path / "b.toml").write_text(
        f'extends = "{tmp_path}/a.toml"\n[columns]\nteff = 5000\n[extra]\nv = "vlos"\n'
    )
    stars = read_catalog(path, columns=str(tmp_path / "b.toml"))
    assert float(stars["radial_velocity"][0]) == -7.0
    assert float(stars["teff"][0]) == 5000.0
    assert float(stars["ref_v"][0]) == -7.0
    (tmp_path / "a.toml").write_text(f'extends = "{tmp_path}/b.toml"\n')
    with pytest.raises(CatalogError, match="extends itself"):
        load_column_map.__wrapped__(str(tmp_path / "b.toml"))
    with pytest.raises(CatalogError, match=r"no column map 'lamost-lr'.*did you mean 'lamost-lrs'"):
        as_column_map({"extends": "lamost-lr"})


def test_all_missing_columns_in_one_message(tmp_path):
    columns = dict(SURVEYS["galah-dr3"])
    for old, new in {"teff": "teff_k", "fe_h": "feh", "rv_galah": "vlos", "e_logg": ""}.items():
        columns[new] = columns.pop(old)
    columns.pop("")
    filler = {f"column_{i}": 0.0 for i in range(90)}
    path = write(columns | filler, tmp_path / "s.ecsv")
    with pytest.raises(CatalogError) as error:
        read_catalog(path, columns="galah-dr3")
    said = str(error.value)
    assert "4 columns are not among the 119 of the file" in said
    for line in (
        "no column 'teff', which the column map 'galah-dr3' reads as 'teff'; did you mean 'teff_k'",
        "reads as 'feh'; did you mean 'feh'", "no column 'e_logg'", "constant = ...",
        "no column 'rv_galah' or 'rv_nogr_obst'", "reads as 'radial_velocity'; did you mean 'vlos'",
    ):  # fmt: skip
        assert line in said
    assert said.count("column_") == 0
    assert 'extends = "galah-dr3"' in said
    assert len(suggest("x", [f"column_{i}" for i in range(90)])) < 120


def test_columns_are_told(tmp_path):
    def told(*arguments):
        done = CliRunner().invoke(app, ["columns", *map(str, arguments)], catch_exceptions=False)
        assert done.exit_code == 0
        return done.output

    everything = told()
    for word in ("radial_velocity", "km/s", "orbits", "apogee-dr17", "quadrature", "extends"):
        assert word in everything
    path = write(SURVEYS["starhorse"], tmp_path / "s.ecsv")
    lines = told(path).splitlines()
    assert lines[3].split()[0] == "starhorse"
    assert lines[3].endswith("fits")
    assert "dist50" in told("--map", "starhorse")
    assert "absent" in told(path, "--map", "apogee-dr17")


def test_a_proposal_is_a_synonym_or_spelt_alike_in_enough_letters():
    names = ["R", "D", "logt", "logTe", "distance_with_feh_term", "Ti_err", "C_err", "h_m",
             "RADIUS", "pmra_hg", "BaFe", "Bmag", "G_MAG", "BP_MAG", "RP_MAG", "my_rv", "e_rv",
             "eTeff", "lo_teff", "radialvelocty"]  # fmt: skip
    found = {c: near_columns(c, names) for c in COLUMNS if near_columns(c, names)}
    assert found.pop("phot_g_mean_mag")[0] == "G_MAG"
    assert found == {"teff": ["lo_teff"], "teff_error": ["eTeff"], "pmra": ["pmra_hg"],
                     "distance": ["distance_with_feh_term"],
                     "radial_velocity": ["radialvelocty", "my_rv"],
                     "radial_velocity_error": ["e_rv"], "phot_bp_mean_mag": ["BP_MAG"],
                     "phot_rp_mean_mag": ["RP_MAG"]}  # fmt: skip
    draft = draft_map(names)  # none is asked about twice
    assert all(draft.count(f"'{band}_MAG'") == 1 for band in ("G", "BP", "RP"))


def test_init_names_the_map_of_a_catalogue_or_drafts_one(tmp_path):
    def begun(columns):
        data = write(columns, tmp_path / "s.ecsv")
        recipe = load_recipe(write_template(tmp_path / "r.toml", data=str(data), overwrite=True))
        return recipe.data.columns, Run(recipe, products=tmp_path / "runs", say=lambda line: None)

    named, run = begun(SURVEYS["galah-dr3"])
    assert named == {"extends": "galah-dr3"}
    run.check("ages", "orbits", "fit")
    lacking, run = begun({k: v for k, v in SURVEYS["galah-dr3"].items() if "pm" not in k})
    assert lacking == {"extends": "galah-dr3"}
    assert '# pmra = "..."      # not found' in (tmp_path / "r.toml").read_text("utf-8")
    canonical = {"source_id": 1, "a_v": 0.1, **GAIA,
                 **spectrum("teff", "logg", "feh", "alpha_fe", "radial_velocity",
                            lambda n: f"{n}_error")}  # fmt: skip
    named, run = begun(canonical)
    assert named is None
    run.check("ages", "orbits", "fit")
    own = {"APOGEE_ID": "2M", "RAdeg": 1.0, "DEdeg": 2.0, "Teff": 5800.0, "logg": 4.3,
           "eTeff": 50.0, "FE_H": 0.1}  # fmt: skip
    named, run = begun(own)
    assert named == {"source_id": "APOGEE_ID", "ra": "RAdeg", "dec": "DEdeg", "teff": "Teff",
                     "logg": "logg", "feh": "FE_H"}  # fmt: skip
    assert "# teff_error = \"...\"      # is it 'eTeff'?" in (tmp_path / "r.toml").read_text(
        "utf-8"
    )
    message = r'(?s)things to mend:.*teff_error = "eTeff", logg_error = \{ constant'
    with pytest.raises(RecipeError, match=message):
        run.check("ages", "orbits", "fit")
