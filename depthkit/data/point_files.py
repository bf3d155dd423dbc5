# SPDX-License-Identifier: Apache-2.0
"""Known keypoints of a frame: `points/%06d.txt` of a sequence folder, one `u v` a line.

Pixels of the stored frame, whole numbers at pixel centres; the most certain first where that is
known. A frame without a point has an empty file.
"""

from pathlib import Path

import numpy as np

from depthkit.data.image_io import write_atomic
from depthkit.errors import DataError

FOLDER = "points"


def write_points(path: Path, points: np.ndarray) -> None:
    """Write points to a thousandth of a pixel.

    Args:
        path: the file.
        points: pixels (u, v). (N, 2)
    """
    write_atomic(path, "".join(f"{u:.3f} {v:.3f}\n" for u, v in points))


def read_points(path: Path) -> np.ndarray:
    """Read points, pixels (u, v). (N, 2)

    Raises:
        DataError: the file is missing or holds anything but two finite numbers a line.
    """
    try:
        rows = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
        points = np.array([[float(word) for word in row] for row in rows], dtype=float)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot read points: {error}; write points/ again") from None
    if not rows:
        return np.zeros((0, 2))
    if points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all():
        raise DataError(f"{path}: expected two finite numbers u v a line; write points/ again")
    return points
