"""The packaged maps on the files they were written for."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import xarray as xr
from astropy.table import Table
from scipy.stats import spearmanr

from migrate_bayes.catalog import iter_catalog, mark_duplicates, read_catalog
from migrate_bayes.catalog.measured import validate_required
from migrate_bayes.core.flags import StarFlag, count_flags

# One star of Hypatia has [α/Fe] = 4.3, of which every reading warns.
pytestmark = pytest.mark.filterwarnings("ignore:.*'alpha_fe'.* 1 values outside")

FILES = {
    "harps-gto": "harps_gto/DelgadoMena2017.fits",
    "corogee": "corogee/corot_apogee_anders2017.fit",
    "lamost-gaia": "lamost_gaia/gaia_lamost_chemo_kinematic_features.csv",
    "hypatia": "hypatia/hypatia_6d_even_hip.csv",
    "apokasc2": "apokasc2/apokasc2_apogee_even_kic.csv",
    "gcs": "gcs/gcs_casagrande2011_even_hip.csv",
}


@pytest.mark.parametrize("name", FILES)
def test_chunks_of_real_files(shared_data, name):
    path = shared_data(FILES[name])
    whole = read_catalog(path, columns=name)
    parts = list(iter_catalog(path, columns=name, chunk_size=97))
    xr.testing.assert_identical(xr.concat(parts, dim="star", combine_attrs="override"), whole)
    validate_required(whole, needs="ages")
    if name != "apokasc2":  # no velocities
        validate_required(whole, needs="orbits")


def test_harps(shared_data):
    path = shared_data(FILES["harps-gto"])
    catalog = read_catalog(path, columns="harps-gto")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # astropy's, about the names of the file's columns
        raw = Table.read(path)
    assert catalog.sizes["star"] == 1059
    assert catalog["source_id"].dtype.kind == "U"
    # G is missing for the 136 stars that Gaia DR1 lacks, and for these alone.
    assert count_flags(catalog["flag"])[StarFlag.MISSING_PHOTOMETRY] == 136
    assert float(catalog["teff_error"].min()) == 40.0
    mean = (raw["MgFe"] + raw["SiFe"] + raw["TiIFe"]) / 3
    np.testing.assert_allclose(catalog["alpha_fe"], mean, atol=1e-6)
    assert float(np.abs(catalog["alpha_fe"]).max()) < 0.6
    # The parallax distance agrees with the published one, which used the parallax and more.
    ratio = catalog["distance"] / catalog["ref_distance"]
    assert abs(float(ratio.median()) - 1) < 0.01
    # The guiding radius is that of the published velocity; the frame is the one the map states.
    speed = catalog["ref_Rg"] * catalog["ref_vPhig"] / catalog["ref_Rc"]
    np.testing.assert_allclose(float(speed.median()), 220.0, rtol=5e-3)
    assert float(catalog["ref_Rg"].max()) < 8.4


def test_harps_orbits_have_two_velocities_interchanged(shared_data):
    """What the map warns of: the published zmax belongs to the radial velocity."""
    catalog = read_catalog(shared_data(FILES["harps-gto"]), columns="harps-gto")
    zmax = catalog["ref_zmax"].values
    assert spearmanr(zmax, np.abs(catalog["ref_vRg"]))[0] > 0.9
    assert spearmanr(zmax, np.abs(catalog["ref_vZg"]))[0] < 0.4
    peri, apo = catalog["ref_rperi"].values, catalog["ref_rap"].values
    np.testing.assert_allclose((apo - peri) / (apo + peri), catalog["ref_ecc"], atol=2e-3)
    assert np.mean(catalog["ref_Rg"].values < peri) > 0.3  # present radii inside the pericentre


def sky_of(catalog):
    from astropy import units as u
    from astropy.coordinates import SkyCoord

    return SkyCoord(
        catalog["ra"].values * u.deg,
        catalog["dec"].values * u.deg,
        distance=catalog["distance"].values * u.kpc,
        pm_ra_cosdec=catalog["pmra"].values * u.mas / u.yr,
        pm_dec=catalog["pmdec"].values * u.mas / u.yr,
        radial_velocity=catalog["radial_velocity"].values * u.km / u.s,
    )


def test_harps_astrometry_gives_the_published_velocities(shared_data):
    """Units and signs of every astrometric column at once, by astropy's transformation."""
    from astropy import units as u
    from astropy.coordinates import CartesianDifferential, Galactocentric

    catalog = read_catalog(shared_data(FILES["harps-gto"]), columns="harps-gto")
    catalog = catalog.isel(star=np.flatnonzero(np.isfinite(catalog["distance"].values)))
    sky = sky_of(catalog)
    frame = Galactocentric(
        galcen_distance=8.3 * u.kpc,
        z_sun=11 * u.pc,
        galcen_v_sun=CartesianDifferential([11.1, 232.24, 7.25] * u.km / u.s),
    )
    velocity = sky.transform_to(frame).velocity.d_xyz.to_value(u.km / u.s)
    for got, name in ((-velocity[0], "vXg"), (velocity[1], "vYg"), (velocity[2], "vZg")):
        assert np.median(np.abs(got - catalog[f"ref_{name}"].values)) < 0.2, name


def test_corogee(shared_data):
    catalog = read_catalog(shared_data(FILES["corogee"]), columns="corogee")
    assert catalog.sizes["star"] == 606
    counts = count_flags(catalog["flag"])
    assert counts[StarFlag.MISSING_ASTROMETRY] == 2
    assert counts[StarFlag.MISSING_PARAMETERS] == 3  # without [Fe/H]
    assert bool((catalog["age_lo"] <= catalog["age"]).all())
    assert 2.0 < float(catalog["distance"].median()) < 3.0
    # The frame that the map's comment states: X from the centre to the Sun at 8.3 kpc.
    from astropy import units as u
    from astropy.coordinates import SkyCoord

    place = SkyCoord(catalog["ra"].values * u.deg, catalog["dec"].values * u.deg).galactic
    along = catalog["distance"].values * np.cos(place.b.rad)
    x, y = 8.3 - along * np.cos(place.l.rad), along * np.sin(place.l.rad)
    assert abs(np.median(np.hypot(x, y) - catalog["ref_Rg"].values)) < 0.02
    speed = catalog["ref_Rg"] * catalog["ref_vPhig"] / catalog["ref_Rguide"]
    np.testing.assert_allclose(float(speed.median()), 220.0, rtol=1e-4)


def test_lamost_gaia(shared_data):
    catalog = read_catalog(shared_data(FILES["lamost-gaia"]), columns="lamost-gaia")
    assert catalog.sizes["star"] == 138
    marked = mark_duplicates(catalog)
    repeats = catalog.sizes["star"] - len(np.unique(catalog["source_id"]))
    assert count_flags(marked["flag"])[StarFlag.DUPLICATE] == repeats > 0
    kept = (marked["flag"].values & StarFlag.DUPLICATE) == 0
    for source in np.unique(catalog["source_id"]):
        same = catalog["source_id"].values == source
        snr = catalog["snr_g"].values
        assert snr[same & kept] == snr[same].max()
    wide = shared_data("lamost_gaia/gaia_lamost_larger_velocity_features.csv")
    larger = read_catalog(wide, columns="lamost-gaia")
    assert "teff_error" not in larger
    assert larger.sizes["star"] == 1838


def test_hypatia(shared_data):
    catalog = read_catalog(shared_data(FILES["hypatia"]), columns="hypatia")
    assert catalog.sizes["star"] == 5259
    disk = catalog["ref_disk"].values  # 'thin ' and 'thick ' in the file
    assert [int(np.sum(disk == d)) for d in (0, 1)] == [2789, 282]
    # Why the recipe leaves giants out: abundances of giants have another zero point.
    thin = (disk == 0) & (np.abs(catalog["feh"].values) < 0.1)
    giant = catalog["logg"].values < 3.5
    alpha = [float(np.nanmedian(catalog["alpha_fe"].values[thin & w])) for w in (giant, ~giant)]
    assert 0.03 < alpha[0] - alpha[1] < 0.06, alpha
    # Units, signs and the frame of the radial velocity: (U, V, W) as published, but for
    # stars whose distance or proper motion was another one.
    from astropy import units as u

    known = np.isfinite((catalog["distance"] * catalog["pmra"] * catalog["radial_velocity"]).values)
    catalog = catalog.isel(star=np.flatnonzero(known & np.isfinite(catalog["ra"].values)))
    sky = sky_of(catalog)
    velocity = sky.galactic.velocity.d_xyz.to_value(u.km / u.s)
    for got, name in zip(velocity, "UVW", strict=True):
        assert np.median(np.abs(got - catalog[f"ref_{name}"].values)) < 1.0, name


def test_gcs(shared_data):
    catalog = read_catalog(shared_data(FILES["gcs"]), columns="gcs")
    assert catalog.sizes["star"] == 7447
    assert "alpha_fe" not in catalog
    counts = count_flags(catalog["flag"])
    assert counts[StarFlag.MISSING_RADIAL_VELOCITY] == 7447 - 1633
    assert counts[StarFlag.BAD_ERROR] == 474  # T_eff without an error
    good = (catalog["flag"].values == 0) & np.isfinite(catalog["distance"].values)
    # M_G and log g of one star tell the same of it: the log g of the survey is of the parallax.
    m_g = catalog["phot_g_mean_mag"] - 5 * np.log10(100 * catalog["distance"])
    assert spearmanr(m_g[good], catalog["logg"][good])[0] > 0.9


def test_apokasc2(shared_data):
    catalog = read_catalog(shared_data(FILES["apokasc2"]), columns="apokasc2")
    assert catalog.sizes["star"] == 3183
    clump = catalog["ref_clump"].values  # 'RGB', 'RC' and -9999.0 in the file
    assert [int(np.sum(clump == state)) for state in (0, 1)] == [1680, 1279]
    for name in ("parallax", "ref_age", "feh"):
        assert float(catalog[name].min()) > -100.0  # no sentinel is a value
    # Asteroseismic ages follow masses.
    assert spearmanr(catalog["ref_mass"], catalog["ref_age"])[0] < -0.9
