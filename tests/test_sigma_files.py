# SPDX-License-Identifier: Apache-2.0
"""Maps of sigma on disk: 16 bits, a ten-thousandth a step, 0 unknown."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from depthkit.errors import DataError
from depthkit.outputs.sigma_files import read_sigma, save_sigma


def test_round_trip_by_hand(tmp_path: Path) -> None:
    """Half a step is lost at most; what is known stays above 0, what is large stays large."""
    sigma = np.array([[0.05, 0.12342, 1e-6, 9.0, np.nan, 0.0]], np.float32)
    save_sigma(tmp_path / "a.png", sigma)
    stored = cv2.imread(str(tmp_path / "a.png"), cv2.IMREAD_UNCHANGED)
    assert stored.dtype == np.uint16 and stored.tolist() == [[500, 1234, 1, 65535, 0, 0]]
    found = read_sigma(tmp_path / "a.png")
    assert found.dtype == np.float32 and found[0, :2] == pytest.approx([0.05, 0.1234], abs=5e-5)


@pytest.mark.parametrize("kind", ["missing", "text", "8 bits", "colour"])
def test_what_is_no_map_is_one_line(tmp_path: Path, kind: str) -> None:
    """The file and what was expected."""
    path = tmp_path / "b.png"
    if kind == "text":
        path.write_text("sigma")
    if kind == "8 bits":
        cv2.imwrite(str(path), np.ones((2, 3), np.uint8))
    if kind == "colour":
        cv2.imwrite(str(path), np.ones((2, 3, 3), np.uint16))
    with pytest.raises(DataError, match=r"b\.png: no map of sigma; expected a 16-bit PNG"):
        read_sigma(path)
