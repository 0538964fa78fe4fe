"""Reading takes no longer than the formats' own readers, and no more memory for more stars."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.table import Table

# Processor time (s), which other work on the machine does not change, and peak memory (GB).
_READ = """
import re, sys, time
from pathlib import Path
how, path, small = sys.argv[1:]
if how == "ours":
    from migrate_bayes.catalog import iter_catalog
    list(iter_catalog(small))
    began = time.process_time()
    for chunk in iter_catalog(path, chunk_size=65536):
        pass
elif path.endswith("parquet"):
    import pyarrow.parquet as pq
    began = time.process_time()
    for batch in pq.ParquetFile(path).iter_batches(65536):
        [column.to_numpy(zero_copy_only=False) for column in batch.columns]
else:
    import numpy as np
    from astropy.io import fits
    began = time.process_time()
    with fits.open(path, memmap=True) as hdus:
        data = hdus[1].data
        for start in range(0, len(data), 65536):
            rows = data[start : start + 65536]
            [c.astype(c.dtype.newbyteorder("=")) for c in map(rows.field, data.names)]
seconds = time.process_time() - began
# Of this process: getrusage counts what the one that started it held as well.
peak = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]
print(seconds, int(peak) / 1024**2)
"""


def stars(n):
    rng = np.random.default_rng(1)
    distance = rng.uniform(0.2, 3.0, n)
    single = {
        "parallax_error": 0.02, "pmra_error": 0.02, "pmdec_error": 0.02, "radial_velocity": 25.0,
        "radial_velocity_error": 3.0, "phot_g_mean_mag": 14.0, "phot_bp_mean_mag": 14.4,
        "phot_rp_mean_mag": 13.5, "teff": 5800.0, "teff_error": 60.0, "logg": 4.3,
        "logg_error": 0.08, "feh": -0.1, "feh_error": 0.05, "alpha_fe": 0.05,
        "alpha_fe_error": 0.03, "a_v": 0.3, "snr_g": 90.0, "snr_r": 120.0, "snr_i": 130.0,
    }  # fmt: skip
    double = {
        "source_id": rng.permutation(n) * 1_000_003 + 4_111_834_567_779_557_377,
        "ra": rng.uniform(0, 360, n), "dec": np.degrees(np.arcsin(rng.uniform(-0.2, 1, n))),
        "parallax": 1 / distance, "pmra": rng.normal(0, 8, n), "pmdec": rng.normal(0, 8, n),
        "distance": distance, "distance_lo": 0.95 * distance, "distance_hi": 1.05 * distance,
    }  # fmt: skip
    varied = {k: (v * rng.uniform(0.9, 1.1, n)).astype(np.float32) for k, v in single.items()}
    return double | varied


def timed(how, path, small):
    command = [sys.executable, "-c", _READ, how, str(path), str(small)]
    seconds, gigabytes = subprocess.check_output(command, text=True).split()
    return float(seconds), float(gigabytes)


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["parquet", "fits"])
def test_reading_is_as_fast_as_the_formats_own_readers(tmp_path, ending):
    paths = {}
    for n in (2_000, 1_100_000, 4_400_000):
        paths[n] = tmp_path / f"{n}.{ending}"
        if ending == "parquet":
            pq.write_table(pa.table(stars(n)), paths[n], row_group_size=131_072)
        else:
            Table(stars(n)).write(paths[n])
    few, quarter, all_ = paths.values()
    runs = [(timed("theirs", all_, few)[0], *timed("ours", all_, few)) for _ in range(3)]
    theirs, ours, peak = map(min, zip(*runs, strict=True))
    _, peak_of_quarter = timed("ours", quarter, few)
    print(f"{ending}: {ours:.1f} s, their own reader {theirs:.1f} s; peak {peak:.2f} GB,")
    print(f"  of a quarter of the stars {peak_of_quarter:.2f} GB")
    assert ours < 1.3 * theirs
    # The first pass keeps a star's key and place, to tell identifiers that stand twice.
    assert peak - peak_of_quarter < 3_300_000 * 120 / 1024**3
