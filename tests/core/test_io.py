"""Products are written whole or not at all, and every way of not being readable has its message."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from migrate_bayes.core.errors import ProductError
from migrate_bayes.core.io import atomic_output, read_netcdf, refuse_existing, write_netcdf


def product():
    return xr.Dataset({"x": ("star", [1.0, 2.0])}, attrs={"seed": "1"})


def test_a_product_reads_back_with_and_without_groups(tmp_path):
    flat = write_netcdf(product(), tmp_path / "sub" / "flat.nc")
    xr.testing.assert_identical(read_netcdf(flat).to_dataset(), product())
    tree = xr.DataTree.from_dict({"/": product(), "/posterior": product()})
    path = write_netcdf(tree, tmp_path / "tree.nc")
    assert set(read_netcdf(path).groups) == {"/", "/posterior"}
    lazy = read_netcdf(path, lazy=True)
    assert lazy["posterior/x"].values.tolist() == [1.0, 2.0]
    lazy.close()


def test_a_missing_product_says_what_to_do(tmp_path):
    with pytest.raises(ProductError, match=r"no such product: .*fit\.nc: run `fit` first"):
        read_netcdf(tmp_path / "fit.nc", missing="run `fit` first")
    with pytest.raises(ProductError, match=r"no such product: .*fit\.nc$"):
        read_netcdf(tmp_path / "fit.nc")
    with pytest.raises(ProductError, match="no such product"):
        read_netcdf(tmp_path)  # a folder


@pytest.mark.parametrize("kept", [0, 40, 3000])
def test_a_damaged_product_is_named(tmp_path, kept):
    path = write_netcdf(product(), tmp_path / "fit.nc")
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ProductError, match=r"fit\.nc is damaged or no NetCDF file"):
        read_netcdf(path)
    path.write_text("name = 'no NetCDF'")
    with pytest.raises(ValueError, match="is damaged or no NetCDF file"):
        read_netcdf(path, lazy=True)


def test_no_flipped_bit_of_a_product_goes_unnoticed(tmp_path):
    tree = xr.DataTree.from_dict({"/": product(), "/posterior": product()})
    path = write_netcdf(tree, tmp_path / "fit.nc")
    whole, rng = path.read_bytes(), np.random.default_rng(1)
    for place in rng.integers(len(whole) - 80, size=60):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << rng.integers(8)
        path.write_bytes(flipped)
        with pytest.raises(ProductError, match=r"fit\.nc is damaged"):
            read_netcdf(path)
    # Without the checksum's line, as other programs write it, the file is what it was.
    path.write_bytes(whole[:-72])
    xr.testing.assert_identical(read_netcdf(path), tree)


def test_what_stands_is_not_replaced_unasked(tmp_path):
    path = write_netcdf(product(), tmp_path / "fit.nc")
    before = path.read_bytes()
    with pytest.raises(ProductError, match="exists already: use --overwrite"):
        write_netcdf(product(), path)
    with pytest.raises(ProductError, match="exists already"):
        refuse_existing(tmp_path / "other.nc", path)
    refuse_existing(tmp_path / "other.nc")
    refuse_existing(path, overwrite=True)
    assert path.read_bytes() == before
    write_netcdf(product().assign_attrs(seed="2"), path, overwrite=True)
    assert read_netcdf(path).attrs["seed"] == "2"


@pytest.mark.parametrize("directory", [False, True])
def test_a_failed_write_leaves_what_stood_and_nothing_else(tmp_path, directory):
    path = tmp_path / "out"

    def write(text, error=None, **options):
        with atomic_output(path, directory=directory, **options) as tmp:
            (tmp / "part" if directory else tmp).write_text(text)
            if error is not None:
                raise error

    def stands():
        assert [p.name for p in tmp_path.iterdir()] == ["out"]
        return (path / "part" if directory else path).read_text()

    write("old")
    with pytest.raises(RuntimeError, match="full"):
        write("half", RuntimeError("the disk is full"), overwrite=True)
    assert stands() == "old"
    write("new", overwrite=True)
    assert stands() == "new"


def test_a_folder_that_cannot_be_made_is_an_error_of_the_product(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ProductError, match="cannot write"), atomic_output(tmp_path / "file" / "x"):
        pass
