"""StarPosteriors: assembled, written, read, joined; never lost, never mixed."""

import gc
import json

import netCDF4
import numpy as np
import pytest
import xarray as xr

from migrate_bayes.core.errors import ProductError
from migrate_bayes.core.flags import StarFlag
from migrate_bayes.core.provenance import content_hash
from migrate_bayes.stars import (
    StarWriter,
    assemble_stars,
    concat_stars,
    iter_parts,
    open_stars,
    replace_ages,
    replace_orbits,
    validate,
    verify_stars,
    write_stars,
)
from migrate_bayes.stars.joins import in_order_of


def make_parts(n=10, text_ids=False, seed=0):
    rng = np.random.default_rng(seed)
    ids = np.arange(n) + 10**15
    ids = np.array([f"HD{i}" for i in ids]) if text_ids else ids
    coords = {"source_id": ("star", ids)}
    catalog = xr.Dataset(
        {
            "feh": ("star", rng.normal(size=n), {"units": "dex"}),
            "flag": ("star", np.full(n, int(StarFlag.LOW_SNR), np.int32)),
            "star_key": ("star", rng.integers(0, 2**63, n).astype(np.uint64)),
        },
        coords=coords,
        attrs={"source": "test"},
    )
    ages = xr.Dataset(
        {
            "log_age_likelihood": (("star", "age"), rng.normal(size=(n, 4)).astype(np.float32)),
            "log_interim_prior": ("age", np.zeros(4)),
            "flag": ("star", np.full(n, int(StarFlag.POOR_AGE), np.int32)),
        },
        coords={"age": [1.0, 2.0, 4.0, 8.0], **coords},
        attrs={"isochrone_source": "none", "nested": {"a": [1, 2]}, "yes": True},
    )
    orbits = xr.Dataset(
        {
            "rg_mean": (("star", "potential"), rng.normal(8, 1, (n, 2)), {"units": "kpc"}),
            "flag": ("star", np.zeros(n, np.int32)),
        },
        coords={"potential": ["A", "B"], **coords},
    )
    return catalog, ages, orbits


def test_flags_are_joined_and_attributes_kept():
    stars = assemble_stars(*make_parts(), attrs={"seed": "1"})
    assert (stars["flag"] == int(StarFlag.LOW_SNR | StarFlag.POOR_AGE)).all()
    assert stars.attrs["source"] == "test"
    assert stars.attrs["seed"] == "1"
    assert stars["rg_mean"].attrs["units"] == "kpc"


@pytest.mark.parametrize("text_ids", [False, True])
@pytest.mark.parametrize("part_size", [3, 10, 100])
def test_round_trip(tmp_path, text_ids, part_size):
    stars = assemble_stars(*make_parts(text_ids=text_ids))
    path = write_stars(stars, tmp_path / "stars", part_size=part_size)
    verify_stars(path)
    back = open_stars(path)
    assert back["log_age_likelihood"].chunks is not None
    for name in stars.variables:
        np.testing.assert_array_equal(back[name].values, stars[name].values)
    assert back["star_key"].dtype == np.uint64
    assert back["source_id"].dtype.kind == ("U" if text_ids else "i")
    assert back["feh"].attrs["units"] == "dex"
    assert json.loads(back.attrs["nested"]) == {"a": [1, 2]}


def test_no_file_that_is_read_lazily_is_left_to_netcdf4(small, tmp_path):
    # When the garbage collector closed one while another thread read, HDF5 failed or crashed.
    write_stars(small, tmp_path / "stars", part_size=4)
    stars = open_stars(tmp_path / "stars")
    stars["feh"].mean().compute()
    # By its type: `isinstance` would ask a weak reference what it refers to, which may be gone.
    left = [o for o in gc.get_objects() if issubclass(type(o), netCDF4.Dataset) and o.isopen()]
    assert left == []


def test_no_overwrite_unless_asked(tmp_path):
    stars = assemble_stars(*make_parts())
    write_stars(stars, tmp_path / "s")
    with pytest.raises(ProductError, match="exists already: use --overwrite"):
        write_stars(stars, tmp_path / "s")
    write_stars(stars.isel(star=slice(0, 4)), tmp_path / "s", overwrite=True)
    assert open_stars(tmp_path / "s").sizes["star"] == 4
    assert [p.name for p in tmp_path.iterdir()] == ["s"]


def test_interrupted_write_leaves_nothing(tmp_path):
    stars = assemble_stars(*make_parts())

    def interrupted():
        with StarWriter(tmp_path / "s") as out:
            out.append(stars)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_unwritable_output(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ProductError, match="cannot write"):
        write_stars(assemble_stars(*make_parts()), tmp_path / "file" / "stars")


@pytest.fixture
def five_a_part(tmp_path):
    return write_stars(assemble_stars(*make_parts(n=14)), tmp_path / "s", part_size=5)


def test_damage_is_named(five_a_part, tmp_path):
    part = five_a_part / "part-00001.nc"
    whole = part.read_bytes()
    rng = np.random.default_rng(1)
    for damaged in (whole + b"x", whole[:-1], b"", *(_flipped(whole, rng) for _ in range(20))):
        part.write_bytes(damaged)
        for read in (verify_stars, open_stars):
            with pytest.raises(ProductError, match=r"part-00001\.nc is missing or differs"):
                read(five_a_part)
    part.unlink()
    with pytest.raises(ProductError, match=r"part-00001\.nc is missing"):
        open_stars(five_a_part)
    with pytest.raises(ProductError, match=r"part-00001\.nc is missing or damaged"):
        open_stars(five_a_part, verify=False)
    with pytest.raises(ProductError, match=r"no manifest\.json"):
        open_stars(tmp_path)


def _flipped(content, rng):
    flipped = bytearray(content)
    flipped[rng.integers(len(content))] ^= 1 << rng.integers(8)
    return bytes(flipped)


def _twice(parts):
    parts[1] = parts[0]


def _elsewhere(parts):
    parts[1]["file"] = "../other/part-00001.nc"


def _absolute(parts):
    parts[1]["file"] = "/etc/passwd"


@pytest.mark.parametrize("edit", [_twice, _elsewhere, _absolute, list.pop, list.reverse])
@pytest.mark.parametrize("signed", [False, True])
def test_an_edited_manifest_is_refused(five_a_part, edit, signed):
    """Signed anew as well: a part is where its number says, once, and no path leaves the folder."""
    file = five_a_part / "manifest.json"
    manifest = json.loads(file.read_text())
    edit(manifest["parts"])
    if signed:
        del manifest["digest"]
        manifest["digest"] = content_hash(manifest)
    file.write_text(json.dumps(manifest))
    with pytest.raises(ProductError, match=r"manifest\.json was altered"):
        open_stars(five_a_part, verify=False)


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"format": "migrate-bayes stars 1"}'])
def test_a_manifest_that_is_none_is_named(five_a_part, text):
    (five_a_part / "manifest.json").write_text(text)
    with pytest.raises(ProductError, match=r"damaged|has format"):
        open_stars(five_a_part)


def test_join_refuses_other_grids():
    one = assemble_stars(*make_parts())
    two = one.assign_coords(age=one["age"] + 0.5)
    with pytest.raises(ProductError, match="different `age`"):
        concat_stars([one, two])
    with pytest.raises(ProductError, match="no StarPosteriors"):
        concat_stars([])
    joined = concat_stars([one, one])
    assert joined.sizes == {"star": 20, "age": 4, "potential": 2}


def test_stages_of_other_stars_are_refused():
    catalog, ages, _ = make_parts()
    with pytest.raises(ProductError, match="not of the same stars"):
        assemble_stars(catalog, ages.isel(star=slice(0, 5)))


def test_external_ages_make_way_for_the_age_axis():
    # `age` was both a catalogue column and the axis of the likelihood, and the merge failed.
    catalog, ages, orbits = make_parts()
    for name in ("age", "age_lo", "age_hi"):
        catalog[name] = ("star", np.full(10, 3.0))
    stars = assemble_stars(catalog, ages, orbits)
    assert stars["external_age"].dims == ("star",)
    np.testing.assert_array_equal(stars["age"], [1.0, 2.0, 4.0, 8.0])


@pytest.mark.parametrize("text_ids", [False, True])
def test_parts_are_the_same_bytes_whatever_the_chunks(tmp_path, text_ids):
    stars = assemble_stars(*make_parts(n=23, text_ids=text_ids), attrs={"seed": "1"})
    sums = []
    for i, size in enumerate((1, 4, 7, 8, 23, 100)):
        path = tmp_path / str(i)
        with StarWriter(path, part_size=7) as out:
            for start in range(0, 23, size):
                chunk = stars.isel(star=slice(start, start + size))
                # When a run was made stands in the manifest only.
                out.append(chunk.assign_attrs(created=f"today, run {i}"))
        manifest = json.loads((path / "manifest.json").read_text())
        assert [part["stars"] for part in manifest["parts"]] == [7, 7, 7, 2]
        assert open_stars(path).attrs["created"] == f"today, run {i}"
        sums.append([part["sha256"] for part in manifest["parts"]])
        verify_stars(path)
    assert all(s == sums[0] for s in sums)
    for name in stars.variables:
        np.testing.assert_array_equal(open_stars(path)[name].values, stars[name].values)


def test_chunks_that_do_not_fit_together_are_refused(tmp_path):
    stars = assemble_stars(*make_parts())

    def write(other):
        with StarWriter(tmp_path / "s", part_size=20) as out:
            out.append(stars)
            out.append(other)

    with pytest.raises(ProductError, match="differ in their variables: feh"):
        write(stars.drop_vars("feh"))
    with pytest.raises(ProductError, match="different `age`"):
        write(stars.assign_coords(age=stars["age"] + 0.5))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ProductError, match="part_size must be at least 1"):
        StarWriter(tmp_path / "s", part_size=0)


def test_parts_are_gone_through_in_order(tmp_path):
    stars = assemble_stars(*make_parts(n=11))
    path = write_stars(stars, tmp_path / "s", part_size=4)
    for data, sizes in ((open_stars(path), [4, 4, 3]), (stars, [11])):
        rows, values = zip(*iter_parts(data, ["feh", "log_age_likelihood"]), strict=True)
        assert [r.stop - r.start for r in rows] == sizes
        for name in ("feh", "log_age_likelihood"):
            joined = np.concatenate([v[name] for v in values])
            np.testing.assert_array_equal(joined, stars[name].values)


def test_stages_that_disagree_are_refused():
    catalog, ages, orbits = make_parts()
    orbits["feh"] = ("star", np.zeros(10))
    with pytest.raises(ProductError, match="different 'feh'"):
        assemble_stars(catalog, ages, orbits)


OFF, REPEAT, UNBOUND = (int(f) for f in (StarFlag.OFF_GRID, StarFlag.DUPLICATE, StarFlag.UNBOUND))


def small_stars(ages, potentials, age_ml, rg, flag):
    return xr.Dataset(
        {
            "feh": ("star", np.arange(5) / 10),
            "age_ml": ("star", np.full(5, age_ml)),
            "log_age_likelihood": (("star", "age"), np.full((5, len(ages)), age_ml)),
            "log_interim_prior": ("age", np.zeros(len(ages))),
            "rg_mean": (("star", "potential"), np.full((5, len(potentials)), rg)),
            "rg_sd": (("star", "potential"), np.full((5, len(potentials)), 0.1)),
            "flag": ("star", np.array(flag, np.int32)),
        },
        coords={
            "age": ages, "potential": potentials, "source_id": ("star", np.arange(5)),
            "r0": ("potential", np.arange(len(potentials)) + 8.0),
        },
    )  # fmt: skip


@pytest.fixture
def small():
    return small_stars([1.0, 2.0, 3.0], ["a"], 1.0, 8.0, [0, OFF, REPEAT, OFF, UNBOUND])


def test_ages_of_a_family_replace_ages_and_what_flags_say_of_them(small):
    ages = small_stars([1.0, 2.0], [], 2.0, 0.0, [OFF, 0, REPEAT, 0, 0]).drop_dims("potential")
    joined = replace_ages(small, ages)
    assert joined["flag"].values.tolist() == [OFF, 0, REPEAT, 0, UNBOUND]
    assert joined["age"].values.tolist() == [1.0, 2.0]
    assert (joined["age_ml"] == 2.0).all()
    assert (joined["rg_mean"] == 8.0).all()


def test_orbits_in_other_frames_replace_orbits_and_what_flags_say_of_them(small):
    orbits = small_stars([], ["a", "b"], 0.0, 9.0, [UNBOUND, 0, REPEAT, 0, 0])
    orbits = orbits.drop_dims("age").drop_vars("age_ml")
    joined = replace_orbits(small, orbits)
    assert joined["flag"].values.tolist() == [UNBOUND, OFF, REPEAT, OFF, 0]
    assert joined["potential"].values.tolist() == ["a", "b"]
    assert joined["r0"].values.tolist() == [8.0, 9.0]
    assert (joined["age_ml"] == 1.0).all()
    assert (joined["rg_mean"] == 9.0).all()


@pytest.mark.parametrize("keys", [True, False])
def test_stages_of_the_same_stars_in_another_order_are_joined_by_star(keys):
    catalog, ages, orbits = make_parts(text_ids=not keys)
    if keys:
        ages, orbits = (half.assign(star_key=catalog["star_key"]) for half in (ages, orbits))
    straight = assemble_stars(catalog, ages, orbits)
    order = np.random.default_rng(3).permutation(10)
    joined = assemble_stars(catalog, ages.isel(star=order), orbits.isel(star=order[::-1]))
    xr.testing.assert_identical(joined, straight)
    back = replace_ages(straight, straight.isel(star=order))
    xr.testing.assert_identical(back[sorted(back)], straight[sorted(straight)])
    xr.testing.assert_equal(replace_orbits(straight, straight.isel(star=order)), straight)


def test_repeat_observations_are_joined_by_their_rows_or_not_at_all(small):
    twice = small.assign_coords(source_id=("star", [0, 1, 2, 3, 3]))
    assert in_order_of(twice, twice) is twice
    moved = in_order_of(twice, twice.isel(star=[3, 4, 0, 1, 2]))
    xr.testing.assert_identical(moved, twice)
    with pytest.raises(ProductError, match="repeat observations cannot be told apart: 'feh'"):
        in_order_of(twice[["feh"]], twice[["feh"]].isel(star=[4, 3, 0, 1, 2]))


def test_ages_of_other_stars_are_refused(small):
    with pytest.raises(ProductError, match="not of the same stars"):
        replace_ages(small, small.isel(star=slice(1, None)))


def test_what_stars_lack_is_named(small):
    assert validate(small) is small
    with pytest.raises(ProductError, match=r"'rg_mean' has dims .*; 'rg_sd' is missing"):
        validate(small.drop_vars("rg_sd").isel(potential=0))
    validate(small.drop_dims("potential"), orbits=False)
    with pytest.raises(ProductError, match="'log_age_likelihood' is missing"):
        validate(small.drop_dims("age"))
