# SPDX-License-Identifier: Apache-2.0
"""The benchmark of the search for places: its object, and the bytes of an hour's map by hand."""

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).resolve().parent.parent / "scripts/speed/bench_places.py"


def test_bench_prints_time_ratio_and_bytes() -> None:
    """Eight numbers are 32 bytes a place, 7200 places an hour: 0.23 MB."""
    words = ["--places", "50", "--widths", "8", "--repeats", "3"]
    done = subprocess.run([sys.executable, SCRIPT, *words], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    (row,) = json.loads(done.stdout)["rows"]
    assert (row["bytes_a_place"], row["megabytes_an_hour"]) == (32, 0.23)
    assert row["ms"] > 0 and row["ratio"] > 0
