"""Grid files with every defect that the real ones have, or could: made up, and as published."""

import h5py
import numpy as np
import pytest

from migrate_bayes.core.errors import IsochroneError
from migrate_bayes.isochrones import build_grid, load_source
from migrate_bayes.isochrones.grid import kroupa_cumulative
from migrate_bayes.isochrones.sources.base import mend, rising
from migrate_bayes.isochrones.sources.dartmouth import read_native
from migrate_bayes.isochrones.sources.lachesis import FAMILIES, read_grid

COLUMNS = ["eep", "initial_mass", "log_g", "phase", "Teff", "Mbol"]
FEH, LOG_AGE, N_EEP = np.array([-0.5, 0.0, 0.5]), np.array([9.0, 9.3]), 12


def write(path, *, drop=(), rows=None, **changes):
    """Write a small grid whose slices begin at EEP 1 and 2 and hold 10, 9, ... points."""
    lengths = np.array([10, 9, 10, 9, 10, 9])
    offsets = np.array([1, 2, 1, 2, 1, 2])
    values = []
    for length, offset in zip(lengths, offsets, strict=True):
        e = offset + np.arange(length)
        mass = 0.6 + 0.05 * e
        values.append(
            np.column_stack([e, mass, 4.7 - 0.05 * e, 0 * e, 4000 + 150 * e, 8 - 0.5 * e])
        )
    data = {
        "feh_values": FEH, "age_values": LOG_AGE, "eep_values": np.arange(N_EEP, dtype=float),
        "lengths": lengths, "offsets": offsets, "values": np.concatenate(values),
    } | changes  # fmt: skip
    if rows is not None:
        data["values"] = rows(data["values"].copy())
    with h5py.File(path, "w") as handle:
        handle.attrs["storage"] = data.pop("storage", "sparse_v1")
        handle.attrs["columns"] = data.pop("columns", COLUMNS)
        for name, value in data.items():
            if name not in drop:
                handle[name] = value
    return path


def test_a_whole_file_is_laid_out_by_slice_and_eep(tmp_path):
    *_, values = read_grid(write(tmp_path / "g.h5"))
    assert values.shape == (3, 2, N_EEP, 5)
    present = np.isfinite(values).all(axis=-1)
    assert present[:, 0].sum(axis=-1).tolist() == [10, 10, 10]
    assert not present[:, 1, :2].any()
    np.testing.assert_allclose(values[2, 1, 2:11, 0], 0.6 + 0.05 * np.arange(2, 11))


@pytest.mark.parametrize(
    ("defect", "message"),
    [
        ({"drop": ["offsets"]}, "offsets"),
        ({"storage": "dense"}, "storage is 'dense'"),
        ({"columns": [*COLUMNS[:4], "T", "Mbol"]}, "needed are .*Teff"),
        ({"columns": COLUMNS[:5]}, "its columns eep"),
        ({"feh_values": np.array([-0.5, 0.5, 0.0])}, "'feh_values', entry 3 does not increase"),
        ({"age_values": np.array([9.0, np.nan])}, "'age_values', entry 2 does not increase"),
        ({"lengths": np.array([10, 9, 10, 9, 10])}, "5 lengths and 6 offsets .* = 6"),
        ({"lengths": np.array([10, 9, 10, 9, 10, 5])}, "hold 53 rows, the file 57"),
        ({"lengths": np.array([10, 9, 10, 9, 10, 10])}, r"slice 5 \(\[Fe/H\] = 0.5, log age = 9.3"),
        ({"offsets": np.array([1, 2, 1, 4, 1, 2])}, r"slice 3 \(\[Fe/H\] = 0, log age = 9.3\)"),
        ({"offsets": np.array([1, 2, -1, 2, 1, 2])}, r"slice 2 \(\[Fe/H\] = 0, log age = 9\)"),
    ],
)
def test_malformed_files_are_named_with_their_slice(tmp_path, defect, message):
    path = write(tmp_path / "grid.h5", **defect)
    with pytest.raises(IsochroneError, match=message) as caught:
        read_grid(path)
    assert str(path) in str(caught.value)


def test_a_file_that_is_no_hdf5_is_named(tmp_path):
    path = tmp_path / "grid.h5"
    path.write_text("no grid")
    with pytest.raises(IsochroneError, match=r"grid\.h5: cannot be read as an isochrone grid"):
        read_grid(path)


@pytest.mark.parametrize("fill", [0.0, -999.0, 1e30, np.inf, np.nan])
def test_fill_values_are_no_points(tmp_path, fill):
    def fill_three(rows):
        rows[[4, 5, 56]] = fill
        return rows

    *_, values = read_grid(write(tmp_path / "g.h5", rows=fill_three))
    present = np.isfinite(values).all(axis=-1)
    assert present.sum() == 57 - 3
    mended = mend(values)
    # Inside an isochrone they are interpolated, at its end there is one point less.
    np.testing.assert_allclose(mended[0, 0, 5:7, 0], [0.85, 0.90])
    assert np.isfinite(mended[2, 1]).all(axis=-1).sum() == 8


def test_the_longest_rising_selection_is_kept():
    mass = np.array([2.0, 2.0, 2.0, 2.0, 0.6, 0.6, 0.7, 0.8, 0.75, 0.9])
    np.testing.assert_array_equal(rising(mass), [False] * 4 + [True] * 3 + [False, True, True])
    assert rising(np.array([0.5, 0.5, 0.6])).all()
    # Against all subsets of short random tracks.
    rng = np.random.default_rng(3)
    for _ in range(50):
        m = rng.choice(np.linspace(0.5, 1.0, 30), 8, replace=False)
        best = max(
            bin(pick).count("1")
            for pick in range(1, 256)
            if np.all(np.diff(m[[bool(pick >> i & 1) for i in range(8)]]) >= 0)
        )
        kept = m[rising(m)]
        assert len(kept) == best
        assert np.all(np.diff(kept) >= 0)


def test_a_damaged_isochrone_gives_birth_to_all_its_masses():
    # As YaPSI at [Fe/H] = 0.4: a few points of two solar masses, the lower limit repeated, then
    # the isochrone itself.
    mass = np.r_[[1.9954] * 7, [0.6005] * 6, np.linspace(0.65, 1.5, 18)]
    track = np.column_stack([mass, 3500.0 + 2500.0 * mass, 5.0 - mass, 10.0 - 5.0 * mass, mass])
    mended = mend(track[None].copy())[0]
    kept = mended[np.isfinite(mended[:, 0]), 0]
    assert kept[0] == pytest.approx(0.6005)
    assert len(kept) == 19
    born = np.diff(kroupa_cumulative(kept)).sum()
    assert born == pytest.approx(kroupa_cumulative(1.5) - kroupa_cumulative(0.6005))


def test_a_loop_in_the_hook_keeps_its_places():
    # At the turn-off's hook the mass turns back by 1e-4 while T_eff and log g go on.
    mass = np.array([1.80, 1.84, 1.8437, 1.8434, 1.8431, 1.8440, 1.86])
    track = np.column_stack([mass, np.arange(7.0)])
    mended = mend(track[None].copy())[0]
    np.testing.assert_array_equal(mended[:, 1], track[:, 1])
    np.testing.assert_array_equal(mended[2:5, 0], 1.8437)


@pytest.mark.parametrize("name", FAMILIES)
def test_published_grids_reach_the_kernel_whole(name):
    grid = build_grid(name)
    assert np.isfinite(grid.points).all()
    assert np.isfinite(grid.mass).all()
    assert np.all(np.diff(grid.mass, axis=-1) >= 0)
    born = grid.points[..., 4]
    assert born.min() >= 0
    # Points that are the same twice are padding: no star is born between them.
    same = (np.diff(grid.points[..., :4], axis=-2) == 0).all(axis=-1)
    assert np.all(born[..., :-1][same] < 1e-9)
    # No isochrone has lost its dwarfs: all are born, and they are stars enough. (2% for what is
    # interpolated between nodes of metallicity, where births are not those of the masses.)
    mass = grid.mass.astype(float)
    dwarf = grid.points[..., :-1, 1] > 3.5
    whole = np.where(dwarf, np.diff(kroupa_cumulative(mass), axis=-1), 0).sum(-1)
    mine = np.where(dwarf, born[..., :-1], 0).sum(-1)
    assert whole.min() > 0.015  # of all stars, a fifth of them above half a solar mass
    np.testing.assert_allclose(mine, whole, rtol=0.02)


def test_every_source_states_what_it_covers():
    for name in FAMILIES:
        text = load_source(name).describe()
        source = load_source(name)
        assert text["source"] == name
        assert text["ages [Gyr]"].startswith(f"{source.ages[0]:g} to ")
        assert f"({len(source.feh)})" in text["[Fe/H] initial"]
        assert text["[α/Fe]"] == "Salaris et al. 1993"
        assert "Gaia_G" in text["bands"]
        assert len(text["SHA-256"]) == 16


NATIVE = """\
#NUMBER OF AGES= 2 MAGS= 3
#----
#MIX-LEN  Y      Z          Zeff        [Fe/H] [a/Fe]
# 1.9380  0.2741 1.8850E-02 1.8850E-02   {feh:.2f}   0.00
#----
#**PHOTOMETRIC SYSTEM**: Gaia DR2 Revised (Vega)
#----
"""


def native(ages, feh, shift=0.0):
    text = NATIVE.format(feh=feh)
    for age in ages:
        text += f"#AGE= {age:.3f} EEPS=20\n#EEP   M/Mo    LogTeff  LogG   LogL/Lo  G BP RP\n"
        for e in range(2, 22):
            m = 0.5 + 0.04 * e - 0.01 * age
            text += f"{e} {m:.4f} {3.6 + 0.008 * e:.4f} 4.5 0.0 {8 - 0.1 * e + shift:.4f} 6.0 5.0\n"
        text += "\n"
    return text


def test_young_native_files_join_the_old_ones(tmp_path):
    for name, feh in (("fehm05afep0", -0.5), ("fehp00afep0", 0.07)):
        (tmp_path / f"{name}.Gaia").write_text(native([1.0, 2.0], feh))
        (tmp_path / f"{name}.Gaia_2").write_text(native([0.5, 1.0], feh, shift=0.01))
    source = read_native(tmp_path)
    assert source.ages.tolist() == [0.5, 1.0, 2.0]
    # At the age that both have, the young file's isochrone stands.
    g = source.values[:, 0, 0, 0, 3]
    np.testing.assert_allclose(g, [7.81, 7.81, 7.80], atol=1e-5)


def test_real_native_files_join_smoothly_at_one_gigayear(shared_data):
    source = load_source(f"dartmouth-native:{shared_data('dartmouth_gaia')}")
    ages = [0.9, 0.95, 1.0, 1.25, 1.5]
    at = [int(np.flatnonzero(np.abs(source.ages - a) < 1e-9)[0]) for a in ages]
    assert np.all(np.diff(source.ages) > 0)
    for j in range(len(source.feh)):
        for k in range(len(source.alpha)):
            if source.feh[j] > 0.1 and source.alpha[k] != 0.0:
                continue  # partly filled from its neighbours, where there is no file
            line = []
            for i in at:
                track = source.values[i, j, k]
                track = track[np.isfinite(track[:, 0]) & (track[:, 2] > 4.0)]
                line.append([np.interp(1.1, track[:, 0], track[:, c]) for c in (1, 2, 3)])
            teff, logg, g = np.array(line).T
            # A dwarf of 1.1 solar masses, as the ages go by: no step where the files meet.
            rate = np.diff(g) / np.diff(ages)
            assert np.ptp(rate) < 0.25, (source.feh[j], source.alpha[k])
            assert np.abs(np.diff(teff) / np.diff(ages)).max() < 400
            assert np.abs(np.diff(logg) / np.diff(ages)).max() < 0.15
