"""Isochrone sources: names, shapes, bolometric corrections, and malformed native files."""

import h5py
import numpy as np
import pytest

import lachesis_grids  # isort: skip
from migrate_bayes.core.errors import IsochroneError
from migrate_bayes.isochrones import load_source, source_names
from migrate_bayes.isochrones.sources.base import COLUMNS, fill_between, mend, refine, renumber
from migrate_bayes.isochrones.sources.dartmouth import read_native, read_native_file
from migrate_bayes.isochrones.sources.lachesis import BANDS, load_bolometric_corrections

FAMILIES = ["dartmouth", "mist", "parsec", "basti", "yapsi"]


def test_unknown_names_list_the_valid_ones():
    with pytest.raises(IsochroneError, match=r"did you mean 'parsec'.*basti.*yapsi"):
        load_source("parsek")
    with pytest.raises(IsochroneError, match="dartmouth-native:DIR"):
        load_source("dartmouth-native")
    assert set(FAMILIES) < set(source_names())


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_is_whole_and_physical(name):
    source = load_source(name)
    shape = (len(source.ages), len(source.feh), len(source.alpha), len(source.eep), len(COLUMNS))
    assert source.values.shape == shape
    for axis in (source.ages, source.feh, source.eep):
        assert np.all(np.diff(axis) > 0)
    good = np.isfinite(source.values).all(axis=-1)
    # Nothing is missing between the first and the last point of an isochrone.
    changes = np.abs(np.diff(good.astype(int), axis=-1)).sum(-1)
    assert good.any(-1).all()
    assert changes.max() <= 2
    mass = np.where(good, source.values[..., 0], np.nan)
    assert np.nanmin(np.diff(mass, axis=-1)) >= 0
    # A solar twin: 4.5 Gyr, solar composition, one solar mass.
    i = np.argmin(np.abs(source.ages - 4.5))
    j = np.argmin(np.abs(source.feh - source.solar_feh_initial))
    track = source.values[i, j, 0]
    twin = track[np.nanargmin(np.abs(track[:, 0] - 1.0))]
    assert twin[1] == pytest.approx(5772, abs=150)
    assert twin[2] == pytest.approx(4.438, abs=0.04)
    assert twin[3] == pytest.approx(4.67, abs=0.2)
    assert twin[4] == pytest.approx(0.80, abs=0.06)


def test_lachesis_rows_are_those_of_the_file():
    with h5py.File(f"{lachesis_grids.__path__[0]}/grids/dartmouth_dsep.h5") as handle:
        columns = list(handle.attrs["columns"])
        k = list(np.round(handle["feh_values"][()], 3)).index(0.0) * 29 + 7
        start = int(handle["lengths"][:k].sum())
        rows = handle["values"][start : start + int(handle["lengths"][k])]
    source = load_source("dartmouth")
    track = source.values[7, list(source.feh).index(0.0), 0]
    at = np.searchsorted(source.eep, rows[:, columns.index("eep")])
    np.testing.assert_array_equal(track[at, 1], rows[:, columns.index("Teff")])
    np.testing.assert_array_equal(track[at, 2], rows[:, columns.index("log_g")])


def test_bolometric_corrections_are_exact_at_nodes_and_between_them_elsewhere():
    corrections = load_bolometric_corrections()
    j, t, g = 14, 13, 18
    node = corrections(corrections.log_teff[t], corrections.logg[g], corrections.feh[j])
    np.testing.assert_allclose(node, corrections.table[j, t, g], rtol=0, atol=1e-12)
    middle = corrections(
        corrections.log_teff[t : t + 2].mean(),
        corrections.logg[g : g + 2].mean(),
        corrections.feh[j : j + 2].mean(),
    )
    corners = corrections.table[j : j + 2, t : t + 2, g : g + 2]
    np.testing.assert_allclose(middle, corners.mean(axis=(0, 1, 2)), atol=1e-12)
    # The Sun: M_bol 4.74, M_G 4.67 (Casagrande & VandenBerg 2018).
    assert 4.74 - corrections(np.log10(5772), 4.438, 0.0)[0] == pytest.approx(4.67, abs=0.03)
    assert len(BANDS) == corrections.table.shape[-1]


def test_mending_fills_holes_and_straightens_masses():
    track = np.array([[np.nan, np.nan], [1.0, 10.0], [np.nan, np.nan], [3.0, 30.0], [2.9, 40.0]])
    mended = mend(track[None].copy())[0]
    np.testing.assert_array_equal(mended[1:, 0], [1, 2, 3, 3])
    np.testing.assert_array_equal(mended[1:, 1], [10, 20, 30, 40])
    assert np.isnan(mended[0]).all()


def test_refining_keeps_the_points_and_follows_a_curve():
    eep = np.arange(8.0)
    curve = np.column_stack([eep, np.exp(-0.3 * eep)])
    numbers, fine = refine(eep, curve[None].copy(), column=1, step=0.07)
    old = np.isin(numbers, eep)
    np.testing.assert_array_equal(fine[0, old], curve)
    assert np.abs(np.diff(fine[0, :, 1])).max() < 0.5 * np.abs(np.diff(curve[:, 1])).max()
    np.testing.assert_allclose(fine[0, :, 1], np.exp(-0.3 * numbers), atol=4e-3)


def test_filling_between_is_linear_along_the_axis():
    values = np.array([[1.0], [np.nan], [4.0], [np.nan]])
    fill_between(np.array([0.0, 1.0, 3.0, 4.0]), values, np.isnan(values[:, 0]))
    np.testing.assert_allclose(values[:3, 0], [1, 2, 4])
    assert np.isnan(values[3, 0])


NATIVE = """\
#NUMBER OF AGES= 2 MAGS= 3
#----
#MIX-LEN  Y      Z          Zeff        [Fe/H] [a/Fe]
# 1.9380  0.2741 1.8850E-02 1.8850E-02   0.07   0.00
#----
#**PHOTOMETRIC SYSTEM**: Gaia DR2 Revised (Vega)
#----
#AGE= 1.000 EEPS=3
#EEP   M/Mo    LogTeff  LogG   LogL/Lo  Gaia_G Gaia_BP Gaia_RP
   2  0.8  3.70  4.6 -0.4  5.8 6.2 5.3
   3  1.0  3.76  4.5  0.0  4.7 5.0 4.2
   4  1.2  3.80  4.3  0.3  3.9 4.2 3.5

#AGE= 2.000 EEPS=2
#EEP   M/Mo    LogTeff  LogG   LogL/Lo  Gaia_G Gaia_BP Gaia_RP
   2  0.7  3.68  4.6 -0.5  6.0 6.4 5.5
   3  0.9  3.74  4.5 -0.1  4.9 5.2 4.4
"""


def test_native_file_is_read(tmp_path):
    path = tmp_path / "fehp00afep0.Gaia"
    path.write_text(NATIVE)
    feh, alpha, isochrones = read_native_file(path)
    assert (feh, alpha) == (0.07, 0.0)
    assert list(isochrones) == [1.0, 2.0]
    np.testing.assert_array_equal(isochrones[2.0][:, 1], [0.7, 0.9])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("1.0  3.76", "1.0  x3.76", "line 11: expected 8 numbers"),
        ("4.7 5.0 4.2", "4.7 5.0", "line 11: expected 8 numbers"),
        ("3.9 4.2 3.5", "3.9 nan 3.5", "line 12: expected 8 numbers"),
        ("   3  1.0", "   2  1.0", "EEPs of age 1.0 Gyr do not increase"),
        ("EEPS=2", "EEPS=5", "5 points announced"),
        ("0.07   0.00", "solar", "line 4"),
        ("#AGE", "#EGA", "no line '#AGE"),
    ],
)
def test_malformed_native_files_are_named_with_their_line(tmp_path, old, new, message):
    path = tmp_path / "fehp00afep0.Gaia"
    path.write_text(NATIVE.replace(old, new))
    with pytest.raises(IsochroneError, match=message) as caught:
        read_native_file(path)
    assert str(path) in str(caught.value)


def test_native_folder_must_exist_and_hold_files(tmp_path):
    with pytest.raises(IsochroneError, match="is absent"):
        read_native(tmp_path / "nowhere")
    with pytest.raises(IsochroneError, match="fehp00afep0"):
        read_native(tmp_path)
    (tmp_path / "fehp00afep2.Gaia").write_text(NATIVE)
    with pytest.raises(IsochroneError, match="afep0"):
        read_native(tmp_path)


def test_native_grid_keeps_its_own_compositions(shared_data):
    folder = shared_data("dartmouth_gaia")
    source = load_source(f"dartmouth-native:{folder}")
    assert source.ages[0] == 0.25
    assert source.ages[-1] == 15.0
    np.testing.assert_allclose(source.alpha, [-0.2, 0.0, 0.2, 0.4, 0.6, 0.8])
    _, _, isochrones = read_native_file(folder / "fehm05afep0.Gaia")
    rows = isochrones[4.5]
    i, j, k = (
        list(source.ages).index(4.5),
        list(source.feh).index(-0.5),
        list(source.alpha).index(0.0),
    )
    ours = source.values[i, j, k]
    # From the subgiant branch on point by point; below it numbered anew, on the same curve.
    same = rows[:, 0] >= 160
    at = np.searchsorted(source.eep, rows[same, 0])
    np.testing.assert_allclose(ours[at, 3], rows[same, 5], rtol=1e-6)
    below = ours[: at[0]]
    assert np.all(np.diff(below[:, 0]) > 0)
    expected = np.interp(below[:, 0], rows[:, 1], rows[:, 5])
    np.testing.assert_allclose(below[:, 3], expected, atol=0.02)  # refined by cubics


def test_isochrones_numbered_unlike_are_numbered_alike():
    # Two compositions with the same straight isochrone, whose points stand elsewhere on it.
    mass = np.array([[0.1, 0.3, 0.5, 0.9, 1.0, 1.1], [0.1, 0.15, 0.2, 0.25, 1.0, 1.1]])
    values = np.stack([mass, 3000 + 3000 * mass, 5 - mass, 12 - 8 * mass, 2 - mass], axis=-1)
    out = renumber(np.float32(values[:, None]), last=4, count=9)
    assert out.shape == (2, 1, 11, 5)
    np.testing.assert_allclose(out[0], out[1], rtol=1e-6)
    np.testing.assert_allclose(out[0, 0, :10, 0], np.linspace(0.1, 1.0, 10), rtol=1e-6)
    np.testing.assert_array_equal(out[:, :, 9:], np.float32(values[:, None, 4:]))
