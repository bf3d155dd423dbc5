# SPDX-License-Identifier: Apache-2.0
"""The sigmas beside the live trajectories of an odometry's folder, and how they fare."""

import csv
import math
import re
from pathlib import Path

import numpy as np

from depthkit.errors import DataError
from depthkit.evaluation.odometry import OdometryScore
from depthkit.evaluation.sigmas import SigmaCheck, check_sigmas
from depthkit.pipelines.odometry.outputs import POSES

LIVE = re.compile(r"trajectory_(tum|kitti)(_\d+)?\.txt")
"""Name of a live trajectory: sigmas are of these, not of smoothed ones."""
SIGMAS = "sigma_position", "sigma_rotation_deg"


def sigmas_of(path: Path, score: OdometryScore, *, max_gap: float) -> SigmaCheck | None:
    """Compare the errors of a scored live trajectory with the sigmas in its folder.

    Args:
        path: file of the trajectory.
        score: its score.
        max_gap: largest time between the stamps of a pose and of its sigma, seconds.

    Returns:
        The figures; None for another file, or where the odometry gave no sigmas.

    Raises:
        DataError: a table of sigmas that cannot be read.
    """
    kind, table = LIVE.fullmatch(path.name), path.parent / POSES
    if kind is None or not table.is_file():
        return None
    by_frame = kind[1] == "kitti"
    keys, sigma = _read(table, "frame" if by_frame else "stamp")
    if not len(keys):
        return None
    nearest = np.abs(keys[None] - score.stamps[:, None]).argmin(axis=1)
    far = np.abs(keys[nearest] - score.stamps) > (0.5 if by_frame else max_gap)
    mine = np.where(far[:, None], np.nan, sigma[nearest])
    aligned = score.aligned
    return check_sigmas(aligned.reference, aligned.estimate, mine, scale=aligned.similarity.scale)


def _read(path: Path, key: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the key of each row (N,), and the sigmas of position and rotation, radians (N, 2).

    A table of that name with other columns is not an odometry's: no rows.
    """
    keys, sigmas = [], []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            table = csv.DictReader(file)
            if not {key, *SIGMAS} <= set(table.fieldnames or ()):
                return np.zeros(0), np.zeros((0, 2))
            for row in table:
                keys.append(float(row[key]))
                position, degrees = (_number(row[name]) for name in SIGMAS)
                sigmas.append((position, math.radians(degrees)))
    except (ValueError, TypeError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path}: expected the table of sigmas that odometry writes, got {error}; run the "
            "odometry again, or move the table away"
        ) from None
    return np.array(keys), np.array(sigmas).reshape(-1, 2)


def _number(text: str) -> float:
    return float(text) if text else math.nan
